//! Why TLS settings cannot be used, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Files or settings that do not make a TLS configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {what} {}", .path.display())]
    Read {
        /// What it was to be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("read {what} {}: {why}", .path.display())]
    Content {
        /// What it was to be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate and a key that are no pair.
    #[error("use certificate {} with key {}: {why}", .certificate.display(), .key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// The library's reason.
        why: String,
    },
    /// A certificate of one's own cannot be made.
    #[error("make a certificate in {}: {why}", .folder.display())]
    Make {
        /// Where.
        folder: PathBuf,
        /// Why not.
        why: String,
    },
    /// The system has no certificate authorities, and nobody named one.
    #[error("find certificate authorities: the system has none")]
    NoRoots,
    /// The library refuses the rest.
    #[error("set TLS up: {0}")]
    Library(String),
}

impl TlsError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check the path; a relative one counts from where the program was started".into()
            }
            Self::Read { .. } => "let the user the program runs as read the file".into(),
            Self::Content { .. } => "the file must be in PEM form (-----BEGIN …-----)".into(),
            Self::Pair { .. } => {
                "both files must come from the same request; a file being replaced can be seen half \
                 way for a moment"
                    .into()
            }
            Self::Make { .. } => "let the user the program runs as write there".into(),
            Self::NoRoots => "name the certificates to trust".into(),
            Self::Library(_) => "check the certificates and the versions of TLS".into(),
        }
    }
}
