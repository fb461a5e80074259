//! Certificates of the command line, made into what the library needs.

use std::error::Error as _;
use std::sync::Arc;

use store_transport::tls::rustls::ClientConfig;
use store_transport::tls::{CertificateFiles, Material, Settings};

use crate::failure::Failure;
use crate::flags::Globals;

/// How TLS is spoken to the endpoints.
///
/// # Errors
/// When a file is not what it should be.
pub(crate) fn config(globals: &Globals) -> Result<Arc<ClientConfig>, Failure> {
    let files = globals.cert.clone().zip(globals.key.clone());
    let settings = Settings {
        own_as_client: files.map(|(certificate, key)| CertificateFiles { certificate, key }),
        authorities: globals.cacert.clone(),
        trust_all: globals.insecure_skip_tls_verify,
        dials: true,
        ..Settings::default()
    };
    let material = Material::load(&settings).map_err(|error| {
        let cause = error.source().map(|cause| format!(": {cause}"));
        Failure::error(format!("{error}{}", cause.unwrap_or_default())).hint(error.hint())
    })?;
    material
        .client
        .ok_or_else(|| Failure::error("there is nothing to speak TLS with"))
}
