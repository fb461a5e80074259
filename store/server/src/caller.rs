//! Who calls, as far as the connection tells.

use std::sync::Arc;

use http::Extensions;
use store_transport::tls::certificate::Certificate;

/// The holder of a connection that had to show a certificate. Every request on it carries this; requests
/// on other connections carry none.
///
/// With `--client-cert-auth` the common name is a user's, as in etcd, for gRPC calls without a token. The
/// JSON gateway does not take it: in etcd its calls come over a connection of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The certificate's common name; never empty.
    pub(crate) common_name: Option<String>,
}

impl Caller {
    pub(crate) fn of_certificate(certificate: &Certificate) -> Self {
        let name = &certificate.common_name;
        Self {
            common_name: (!name.is_empty()).then(|| name.clone()),
        }
    }

    /// Who sent the request these belong to.
    pub(crate) fn of_request(extensions: &Extensions) -> Option<&Arc<Self>> {
        extensions.get()
    }
}
