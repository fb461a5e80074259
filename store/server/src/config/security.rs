//! TLS: the flags, and what they mean together.
//!
//! The ports for clients and those for peers have the same flags, but for the few that only one of them
//! has. What is refused here is what would be less safe than it was asked to be.

use std::path::{Path, PathBuf};

use clap::Args;
use store_transport::tls::{Allowed, CertificateFiles, OwnCertificate, Policy, Settings};

use super::address::Address;
use super::args::go_bool;
use super::error::ConfigError;

/// Flags about TLS. An empty text is what etcd takes for "not given".
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Security")]
pub struct SecurityArgs {
    /// Certificate shown to clients, with what it is signed by (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub cert_file: String,

    /// Key of that certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub key_file: String,

    /// Clients must show a certificate signed by one of these authorities (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub trusted_ca_file: String,

    /// Clients must show a certificate; its common name is their user when authentication is on
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub client_cert_auth: bool,

    /// Certificates of clients that do not count any more (PEM or DER)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub client_crl_file: String,

    /// Hosts, comma-separated: the certificate of a client must be for one of them
    #[arg(
        long,
        value_name = "HOSTS",
        default_value = "",
        hide_default_value = true
    )]
    pub client_cert_allowed_hostname: String,

    /// Make a certificate for clients if there is none; they cannot tell whose it is
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub auto_tls: bool,

    /// Certificate shown to other members, with what it is signed by (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_cert_file: String,

    /// Key of that certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_key_file: String,

    /// Certificate shown when connecting to other members, if another one (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_client_cert_file: String,

    /// Key of that certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_client_key_file: String,

    /// Other members must show a certificate signed by one of these authorities (PEM)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_trusted_ca_file: String,

    /// Other members must show a certificate
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub peer_client_cert_auth: bool,

    /// Certificates of members that do not count any more (PEM or DER)
    #[arg(
        long,
        value_name = "FILE",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_crl_file: String,

    /// Common names, comma-separated: the certificate of a member must have one of them
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_cert_allowed_cn: String,

    /// Hosts, comma-separated: the certificate of a member must be for one of them
    #[arg(
        long,
        value_name = "HOSTS",
        default_value = "",
        hide_default_value = true
    )]
    pub peer_cert_allowed_hostname: String,

    /// Make a certificate for other members if there is none, and believe theirs
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub peer_auto_tls: bool,

    /// A member may connect from another address than its certificate is for
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub peer_skip_client_san_verification: bool,

    /// Years a certificate made here lasts; it is renewed before
    #[arg(long, value_name = "YEARS", default_value_t = 1)]
    pub self_signed_cert_validity: u32,

    /// Cipher suites of TLS 1.2, comma-separated, by Go's names [default: all that are safe]
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "",
        hide_default_value = true
    )]
    pub cipher_suites: String,

    /// Lowest version: TLS1.2 or TLS1.3
    #[arg(long, value_name = "VERSION", default_value = "TLS1.2")]
    pub tls_min_version: String,

    /// Highest version: TLS1.2 or TLS1.3 [default: the highest]
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "",
        hide_default_value = true
    )]
    pub tls_max_version: String,
}

/// TLS on ports of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// What the library needs to know.
    pub settings: Settings,
    /// The certificate to be made, if nobody gave one.
    pub own: Option<OwnCertificate>,
}

/// Both kinds of ports.
#[derive(Clone, Debug, Default)]
pub(super) struct Security {
    pub(super) client: Option<Tls>,
    pub(super) peer: Option<Tls>,
    pub(super) warnings: Vec<String>,
}

/// The flags of one kind of port.
struct Ports<'a> {
    /// What the names of its flags begin with.
    prefix: &'static str,
    listen_flag: &'static str,
    listen: &'a [Address],
    /// Where others are told to go.
    advertised: Vec<Address>,
    certificate: &'a str,
    key: &'a str,
    client_certificate: &'a str,
    client_key: &'a str,
    authorities: &'a str,
    demand: bool,
    /// The flag about revoked certificates, whose name is not like the others.
    crl_flag: &'static str,
    crl: &'a str,
    allowed_names: &'a str,
    allowed_hosts: &'a str,
    auto: bool,
    any_address: bool,
    /// Others are connected to over TLS.
    dials: bool,
    /// The folder for a certificate of our own.
    fixtures: PathBuf,
}

impl SecurityArgs {
    /// What the flags mean, for ports that listen there.
    pub(super) fn checked(
        &self,
        data_dir: &Path,
        clients: (&[Address], Vec<Address>),
        peers: (&[Address], Vec<Address>),
        members_secure: bool,
    ) -> Result<Security, ConfigError> {
        if self.self_signed_cert_validity == 0 {
            return Err(ConfigError::Zero {
                flag: "self-signed-cert-validity",
            });
        }
        let policy = Policy::new(
            &self.tls_min_version,
            &self.tls_max_version,
            &words(&self.cipher_suites),
        );
        let policy = policy.map_err(|source| ConfigError::Tls {
            flag: "tls-min-version, --tls-max-version and --cipher-suites",
            source,
        })?;
        let mut security = Security::default();
        let fixtures = data_dir.join("fixtures");
        let client = Ports {
            prefix: "",
            listen_flag: "listen-client-urls",
            listen: clients.0,
            advertised: clients.1,
            certificate: &self.cert_file,
            key: &self.key_file,
            client_certificate: "",
            client_key: "",
            authorities: &self.trusted_ca_file,
            demand: self.client_cert_auth,
            crl_flag: "client-crl-file",
            crl: &self.client_crl_file,
            allowed_names: "",
            allowed_hosts: &self.client_cert_allowed_hostname,
            auto: self.auto_tls,
            any_address: true,
            dials: false,
            fixtures: fixtures.join("client"),
        };
        let peer = Ports {
            prefix: "peer-",
            listen_flag: "listen-peer-urls",
            listen: peers.0,
            advertised: peers.1,
            certificate: &self.peer_cert_file,
            key: &self.peer_key_file,
            client_certificate: &self.peer_client_cert_file,
            client_key: &self.peer_client_key_file,
            authorities: &self.peer_trusted_ca_file,
            demand: self.peer_client_cert_auth,
            crl_flag: "peer-crl-file",
            crl: &self.peer_crl_file,
            allowed_names: &self.peer_cert_allowed_cn,
            allowed_hosts: &self.peer_cert_allowed_hostname,
            auto: self.peer_auto_tls,
            any_address: self.peer_skip_client_san_verification,
            dials: true,
            fixtures: fixtures.join("peer"),
        };
        security.client = client.tls(self, &policy, false, &mut security.warnings)?;
        security.peer = peer.tls(self, &policy, members_secure, &mut security.warnings)?;
        Ok(security)
    }
}

impl Ports<'_> {
    /// `None` when nothing is said of TLS. `needed`: there is something to connect to over TLS.
    fn tls(
        &self,
        args: &SecurityArgs,
        policy: &Policy,
        needed: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Tls>, ConfigError> {
        let prefix = self.prefix;
        let (cert_flag, key_flag) = (format!("{prefix}cert-file"), format!("{prefix}key-file"));
        let given = pair((&cert_flag, self.certificate), (&key_flag, self.key))?;
        let own_as_client = pair(
            ("peer-client-cert-file", self.client_certificate),
            ("peer-client-key-file", self.client_key),
        )?;
        let authorities = path(self.authorities);
        let allowed = self.allowed()?;
        self.check_authority(&allowed, authorities.is_some())?;
        let secure = self.listen.iter().find(|url| url.scheme.is_secure());
        let own = self.own(args, given.is_some(), secure.is_some(), warnings);
        if let (Some(url), None, None) = (secure, &given, &own) {
            return Err(ConfigError::CertificateMissing {
                flag: self.listen_flag,
                url: url.to_string(),
                ports: prefix,
            });
        }
        if let Some(plain) = self.listen.iter().find(|url| !url.scheme.is_secure()) {
            if given.is_some() {
                warnings.push(format!(
                    "{plain} is in the clear: --{cert_flag} and --{key_flag} are not used there"
                ));
            }
            if authorities.is_some() {
                warnings.push(format!(
                    "{plain} is in the clear: nobody has to show a certificate there"
                ));
            }
        }
        if given.is_none() && own.is_none() && authorities.is_none() && !needed {
            return Ok(None);
        }
        let trust_all = own.is_some() && authorities.is_none();
        let settings = Settings {
            own: given.or_else(|| own.as_ref().map(OwnCertificate::files)),
            own_as_client,
            authorities,
            revoked: path(self.crl),
            allowed,
            any_address: self.any_address,
            trust_all,
            dials: self.dials,
            policy: policy.clone(),
        };
        Ok(Some(Tls { settings, own }))
    }

    fn allowed(&self) -> Result<Allowed, ConfigError> {
        let (names, hosts) = (words(self.allowed_names), words(self.allowed_hosts));
        match (names.is_empty(), hosts.is_empty()) {
            (true, true) => Ok(Allowed::All),
            (false, true) => Ok(Allowed::CommonNames(names)),
            (true, false) => Ok(Allowed::Hosts(hosts)),
            (false, false) => Err(ConfigError::Both {
                one: "peer-cert-allowed-cn".into(),
                other: "peer-cert-allowed-hostname".into(),
            }),
        }
    }

    /// What looks at certificates needs somebody to show one.
    fn check_authority(&self, allowed: &Allowed, given: bool) -> Result<(), ConfigError> {
        if given {
            return Ok(());
        }
        let prefix = self.prefix;
        let flag = if self.demand {
            match prefix {
                "" => "client-cert-auth".to_owned(),
                prefix => format!("{prefix}client-cert-auth"),
            }
        } else if !self.crl.is_empty() {
            self.crl_flag.to_owned()
        } else {
            match allowed {
                Allowed::All => return Ok(()),
                Allowed::CommonNames(_) => format!("{prefix}cert-allowed-cn"),
                Allowed::Hosts(_) if prefix.is_empty() => "client-cert-allowed-hostname".to_owned(),
                Allowed::Hosts(_) => format!("{prefix}cert-allowed-hostname"),
            }
        };
        Err(ConfigError::Without {
            flag,
            needs: format!("{prefix}trusted-ca-file"),
        })
    }

    /// The certificate to be made here, if one is asked for and needed.
    fn own(
        &self,
        args: &SecurityArgs,
        given: bool,
        secure: bool,
        warnings: &mut Vec<String>,
    ) -> Option<OwnCertificate> {
        if !self.auto {
            return None;
        }
        let prefix = self.prefix;
        if given {
            warnings.push(format!(
                "--{prefix}auto-tls is not used: there is a certificate"
            ));
            return None;
        }
        if !secure {
            warnings.push(format!(
                "--{prefix}auto-tls is not used: no URL of --{} begins with https:// or unixs://",
                self.listen_flag
            ));
            return None;
        }
        let urls = self.listen.iter().chain(&self.advertised);
        let mut hosts: Vec<String> = urls
            .map(|url| match url.file() {
                Some(_) => "localhost".to_owned(),
                None => url.host.clone(),
            })
            .collect();
        hosts.sort_unstable();
        hosts.dedup();
        Some(OwnCertificate {
            folder: self.fixtures.clone(),
            hosts,
            years: args.self_signed_cert_validity,
            as_client: self.dials,
        })
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn words(list: &str) -> Vec<String> {
    let words = list.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A certificate and its key: both or neither.
fn pair(
    (cert_flag, certificate): (&str, &str),
    (key_flag, key): (&str, &str),
) -> Result<Option<CertificateFiles>, ConfigError> {
    match (path(certificate), path(key)) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles { certificate, key })),
        (Some(_), None) => Err(ConfigError::Without {
            flag: cert_flag.to_owned(),
            needs: key_flag.to_owned(),
        }),
        (None, Some(_)) => Err(ConfigError::Without {
            flag: key_flag.to_owned(),
            needs: cert_flag.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::args::Args;
    use super::*;

    fn config(flags: &[&str]) -> Result<Config, ConfigError> {
        let line = std::iter::once("muster store").chain(flags.iter().copied());
        Config::checked(<Args as clap::Parser>::try_parse_from(line).unwrap())
    }

    const HTTPS: &str = "--listen-client-urls=https://127.0.0.1:0";
    const CERT: &str = "--cert-file=c.pem";
    const KEY: &str = "--key-file=k.pem";

    #[test]
    fn what_is_given_is_used() {
        let tls = config(&[
            HTTPS,
            CERT,
            KEY,
            "--trusted-ca-file=ca.pem",
            "--client-cert-auth",
        ]);
        let tls = tls.unwrap().client_tls.unwrap();
        let own = tls.settings.own.clone().unwrap();
        assert_eq!(own.certificate, Path::new("c.pem"));
        assert_eq!(own.key, Path::new("k.pem"));
        assert!(tls.settings.demands_certificate());
        assert!(!tls.settings.dials && tls.own.is_none());
        assert!(config(&[]).unwrap().client_tls.is_none());
    }

    #[test]
    fn a_certificate_of_our_own_is_for_where_we_listen() {
        let config = config(&[
            "--data-dir=d",
            "--auto-tls",
            "--listen-client-urls=https://127.0.0.1:1,unixs://s",
            "--advertise-client-urls=https://name:1",
        ]);
        let own = config.unwrap().client_tls.unwrap().own.unwrap();
        assert_eq!(own.folder, Path::new("d/fixtures/client"));
        assert_eq!(own.hosts, ["127.0.0.1", "localhost", "name"]);
    }

    #[test]
    fn what_is_not_used_is_said() {
        for (flags, said) in [
            (&[CERT, KEY][..], "in the clear: --cert-file"),
            (&["--auto-tls"], "no URL of --listen-client-urls"),
            (&[HTTPS, CERT, KEY, "--auto-tls"], "there is a certificate"),
            (&["--trusted-ca-file=c"], "nobody has to show"),
        ] {
            let warnings = config(flags).unwrap().warnings;
            assert!(
                warnings.iter().any(|line| line.contains(said)),
                "{flags:?}: {warnings:?}"
            );
        }
    }

    #[test]
    fn what_would_be_less_safe_than_asked_is_refused() {
        for (flags, said, hint) in [
            (&[HTTPS][..], "no certificate is given", "--auto-tls"),
            (
                &[HTTPS, CERT],
                "--cert-file is given without --key-file",
                "add --key-file",
            ),
            (
                &[HTTPS, KEY],
                "--key-file is given without --cert-file",
                "add --cert-file",
            ),
            (
                &["--client-cert-auth"],
                "without --trusted-ca-file",
                "--trusted-ca-file",
            ),
            (
                &["--client-crl-file=x"],
                "without --trusted-ca-file",
                "--client-crl-file",
            ),
            (
                &["--peer-client-cert-auth"],
                "without --peer-trusted-ca-file",
                "add",
            ),
            (
                &["--peer-cert-allowed-cn=a"],
                "without --peer-trusted-ca-file",
                "add",
            ),
            (
                &["--peer-cert-allowed-cn=a", "--peer-cert-allowed-hostname=b"],
                "only one of them can be",
                "leave",
            ),
            (
                &["--tls-min-version=TLS1.1"],
                "tls-min-version",
                "TLS1.2, TLS1.3",
            ),
            (&["--cipher-suites=x"], "cipher-suites", "TLS_ECDHE_RSA"),
            (&["--self-signed-cert-validity=0"], "at least 1", "default"),
        ] {
            let error = config(flags).unwrap_err();
            assert!(error.to_string().contains(said), "{flags:?}: {error}");
            assert!(error.hint().unwrap().contains(hint), "{flags:?}");
        }
    }
}
