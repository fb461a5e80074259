//! PEM files, with errors that name the file.

use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls;

use super::error::TlsError;

/// 16 MiB: far above any bundle of authorities, far below what would hurt.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The bytes of a file.
pub(super) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read {
        what,
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(content(what, path, "it is larger than 16 MiB"));
    }
    std::fs::read(path).map_err(failed)
}

/// All certificates of a file; at least one.
pub(super) fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(content(what, path, "it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(content(what, path, error.to_string())),
    }
}

/// The first private key of a file. What is wrong with it is told without any of it.
pub(super) fn key(what: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(what, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let locked = bytes
            .windows(b"ENCRYPTED".len())
            .any(|word| word == b"ENCRYPTED");
        let why = if locked {
            "the key is encrypted; write it without a passphrase"
        } else {
            "it holds no private key"
        };
        content(what, path, why)
    })
}

/// A list of revoked certificates, in PEM form or as it is.
pub(super) fn revoked(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read(what, path)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match lists {
        Ok(lists) if lists.is_empty() => Ok(vec![CertificateRevocationListDer::from(bytes)]),
        Ok(lists) => Ok(lists),
        Err(error) => Err(content(what, path, error.to_string())),
    }
}

pub(super) fn content(what: &'static str, path: &Path, why: impl Into<String>) -> TlsError {
    TlsError::Content {
        what,
        path: path.to_owned(),
        why: why.into(),
    }
}
