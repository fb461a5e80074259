//! Certificates nobody signed, for ports that are to be encrypted before there is an authority: etcd's
//! `--auto-tls`. They are kept where etcd keeps them, so that a restart shows the same one.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::certificate::Certificate;
use super::error::TlsError;
use super::settings::CertificateFiles;

/// A certificate that ends sooner than this is made again: nobody pinned it, so nobody is hurt.
const RENEW_BEFORE: Duration = Duration::days(7);

/// Where it is kept.
pub type OwnPaths = CertificateFiles;

/// A certificate to be made, and made again before it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The folder it is kept in.
    pub folder: PathBuf,
    /// Names and addresses it is for.
    pub hosts: Vec<String>,
    /// Years it lasts; not 0.
    pub years: u32,
    /// It is also shown when connecting.
    pub as_client: bool,
}

impl OwnCertificate {
    /// Its files.
    #[must_use]
    pub fn files(&self) -> OwnPaths {
        CertificateFiles {
            certificate: self.folder.join("cert.pem"),
            key: self.folder.join("key.pem"),
        }
    }

    /// Makes it, unless there is one that lasts.
    ///
    /// # Errors
    /// When it cannot be made or kept.
    pub fn ensure(&self) -> Result<(), TlsError> {
        let files = self.files();
        if lasts(&files) {
            return Ok(());
        }
        let failed = |why: String| TlsError::Make {
            folder: self.folder.clone(),
            why,
        };
        let (certificate, key) = self.make().map_err(|error| failed(error.to_string()))?;
        let kept = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .and_then(|()| replace(&files.key, &key))
            .and_then(|()| replace(&files.certificate, &certificate));
        kept.map_err(|error| failed(error.to_string()))?;
        tracing::info!(folder = %self.folder.display(), hosts = ?self.hosts, "made a certificate of our own");
        Ok(())
    }

    /// Certificate and key as PEM.
    fn make(&self) -> Result<(String, String), rcgen::Error> {
        let mut params = CertificateParams::new(self.hosts.clone())?;
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "etcd");
        params.distinguished_name = name;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if self.as_client {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        let now = OffsetDateTime::now_utc();
        params.not_before = now;
        params.not_after = now + Duration::days(365 * i64::from(self.years.max(1)));
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

fn lasts(files: &CertificateFiles) -> bool {
    let Ok(certificates) = Certificate::of_file(&files.certificate) else {
        return false;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let last = certificates.first().map_or(0, |first| first.not_after);
    files.key.exists() && last.saturating_sub(now) > RENEW_BEFORE.whole_seconds()
}

/// Writes a file only we can read, whole or not at all.
fn replace(path: &Path, content: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    // A leftover may have other rights.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)
}
