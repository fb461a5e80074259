//! A certificate authority of a test, and the certificates it signs, as PEM files in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

/// Signs certificates.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    issued: u64,
}

/// What a certificate is to say.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The common name.
    pub name: &'a str,
    /// Names and addresses it is for.
    pub hosts: &'a [&'a str],
    /// Days until its end, less half an hour: who counts whole days counts one less from the first second on. Negative
    /// for one past it.
    pub days: i64,
    /// Days until its begin; negative for one that has begun.
    pub begins: i64,
}

impl Default for Holder<'_> {
    /// Somebody at this machine, for thirty days.
    fn default() -> Self {
        Self {
            name: "somebody",
            hosts: &["localhost", "127.0.0.1"],
            days: 30,
            begins: -1,
        }
    }
}

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Its number.
    pub serial: u64,
}

impl Authority {
    /// A new authority; its certificate is `<name>.pem` in the folder.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Self {
            folder: folder.to_owned(),
            issuer,
            issued: 0,
        };
        fs::write(authority.file(name), authority.issuer.pem()).expect("written");
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    /// Signs a certificate: `<file>.pem` and `<file>-key.pem`. One of that name is replaced.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn issue(&mut self, file: &str, holder: Holder<'_>) -> Pair {
        self.issued += 1;
        let hosts: Vec<String> = holder.hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).expect("hosts");
        params
            .distinguished_name
            .push(DnType::CommonName, holder.name);
        params.serial_number = Some(SerialNumber::from(self.issued));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let now = OffsetDateTime::now_utc();
        params.not_after = now + Duration::days(holder.days) - Duration::minutes(30);
        let begins = now + Duration::days(holder.begins);
        params.not_before = begins.min(params.not_after - Duration::days(1));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let pair = Pair {
            certificate: self.file(file),
            key: self.file(&format!("{file}-key")),
            serial: self.issued,
        };
        // The key first: who sees the new certificate finds its key.
        replace(&pair.key, &key.serialize_pem());
        replace(&pair.certificate, &certificate.pem());
        pair
    }

    /// Writes a list of revoked numbers: `<file>.pem`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn revoke(&self, file: &str, serials: &[u64]) -> PathBuf {
        let now = OffsetDateTime::now_utc();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::days(10),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("signed");
        let path = self.file(file);
        replace(&path, &list.pem().expect("PEM"));
        path
    }
}

/// As those who hand out certificates do: beside it, then renamed.
fn replace(path: &Path, content: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).expect("written");
    fs::rename(beside, path).expect("renamed");
}
