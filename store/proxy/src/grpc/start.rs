//! The flags of `etcd grpc-proxy start`, and how TLS is spoken by what they say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgAction;
use store_transport::tls::{CertificateFiles, Keeper, OwnCertificate, Policy, Settings, TlsError};

use crate::outcome::{Outcome, chain, go_duration};
use crate::upstream::{Trust, UpstreamArgs};

/// 2 MiB: the store's default for a request, with what the call itself needs.
const MESSAGE_BYTES_MAX: usize = 2 << 20;
/// Years that a certificate of the proxy's own making lasts.
const OWN_YEARS: u32 = 1;

/// See the module.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Start {
    #[command(flatten)]
    pub(super) upstream: UpstreamArgs,
    /// Where to listen for clients: host:port, or unix:///path of a socket file
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:23790")]
    pub(super) listen_addr: String,
    /// Where to listen for those who watch over the proxy, too; /proxy/metrics and /proxy/health
    #[arg(long, value_name = "URL")]
    pub(super) metrics_addr: Option<String>,
    /// What clients are told as the only member: the URL of this proxy
    #[arg(long, value_name = "URL")]
    pub(super) advertise_client_url: Option<String>,
    /// Prefix of all keys: clients see what is below it, and nothing else
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub(super) namespace: String,
    /// Between two looks at the records; 0 = the endpoints stay as they are
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = go_duration)]
    pub(super) endpoints_auto_sync_interval: Duration,
    /// Silence of a member after which it is asked for a sign of life; 0 = never
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = go_duration)]
    pub(super) dial_keepalive_time: Duration,
    /// How long that sign may take
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = go_duration)]
    pub(super) dial_keepalive_timeout: Duration,
    /// Silence of a client after which it is asked for a sign of life; 0 = never
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = go_duration)]
    pub(super) grpc_keepalive_interval: Duration,
    /// How long that sign may take
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = go_duration)]
    pub(super) grpc_keepalive_timeout: Duration,
    /// Largest message of a client, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = MESSAGE_BYTES_MAX)]
    pub(super) max_recv_bytes: usize,
    /// Calls one connection may have open
    #[arg(long, value_name = "COUNT", default_value_t = u32::MAX)]
    pub(super) max_concurrent_streams: u32,
    /// Certificate to show to members; its name must be nobody's, as all clients come with it
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Authorities that the members' certificates must be signed by
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Believe whoever answers (only for tests)
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    insecure_skip_tls_verify: bool,
    /// Certificate to show to clients
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Authorities that clients' certificates must be signed by; with it they must show one
    #[arg(long, value_name = "FILE")]
    trusted_ca_file: Option<PathBuf>,
    /// Certificates of clients that do not count any more
    #[arg(long, value_name = "FILE", requires = "trusted_ca_file")]
    client_crl_file: Option<PathBuf>,
    /// Make a certificate to show to clients, if none is given; it is kept in the data folder
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", action = ArgAction::Set)]
    auto_tls: bool,
    /// Ciphers of TLS 1.2 for clients, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    listen_cipher_suites: Vec<String>,
    /// Lowest version of TLS for clients
    #[arg(long, value_name = "VERSION", default_value = "TLS1.2")]
    tls_min_version: String,
    /// Highest version of TLS for clients
    #[arg(long, value_name = "VERSION", default_value = "")]
    tls_max_version: String,
    /// Where a certificate of its own is kept; nothing else is
    #[arg(long, value_name = "FOLDER", default_value = "default.proxy")]
    data_dir: PathBuf,
    /// Accepted; members are asked for a sign of life whether calls are open or not
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    permit_without_stream: Option<String>,
    /// Accepted; any number of questions after a sign of life is answered
    #[arg(long, value_name = "TIME")]
    grpc_keepalive_min_time: Option<String>,
    /// Accepted; members bound what they take
    #[arg(long, value_name = "BYTES")]
    max_send_bytes: Option<String>,
    /// Accepted; see --log-level
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    debug: Option<String>,
    /// Accepted; it shows the profile of a Go program, which this is not
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    enable_pprof: Option<String>,
    /// Accepted; see --log-level
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    experimental_enable_grpc_logging: Option<String>,
}

fn pair(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Option<CertificateFiles> {
    Some(CertificateFiles {
        certificate: certificate?.clone(),
        key: key?.clone(),
    })
}

impl Start {
    /// How TLS is spoken to members.
    pub(super) fn trust(&self) -> Trust {
        Trust {
            authorities: self.cacert.clone(),
            certificate: pair(self.cert.as_ref(), self.key.as_ref()),
            anybody: self.insecure_skip_tls_verify,
        }
    }

    /// The certificates shown to clients, if TLS is spoken to them.
    pub(super) fn keeper(&self) -> Result<Option<Arc<Keeper>>, Outcome> {
        let given = pair(self.cert_file.as_ref(), self.key_file.as_ref());
        let own = (self.auto_tls && given.is_none()).then(|| OwnCertificate {
            folder: self.data_dir.join("fixtures").join("proxy"),
            hosts: vec![self.host(), "localhost".to_owned()],
            years: OWN_YEARS,
            as_client: false,
        });
        let Some(files) = given.or_else(|| own.as_ref().map(OwnCertificate::files)) else {
            return Ok(None);
        };
        let lowest = &self.tls_min_version;
        let policy = Policy::new(lowest, &self.tls_max_version, &self.listen_cipher_suites);
        let policy =
            policy.map_err(|error| Outcome::failed(error.to_string()).hint(error.hint()))?;
        let settings = Settings {
            own: Some(files),
            authorities: self.trusted_ca_file.clone(),
            revoked: self.client_crl_file.clone(),
            policy,
            ..Settings::default()
        };
        let failed = |error: TlsError| {
            Outcome::failed(format!("failed to {}", chain(&error))).hint(error.hint())
        };
        Keeper::new("client", settings, own)
            .map(Some)
            .map_err(failed)
    }

    /// The host that is listened on.
    fn host(&self) -> String {
        if self.listen_addr.starts_with("unix:") {
            return "localhost".to_owned();
        }
        let host = self.listen_addr.rsplit_once(':');
        let host = host.map_or(self.listen_addr.as_str(), |(host, _)| host);
        host.trim_matches(['[', ']']).to_owned()
    }
}
