//! The flags about finding the other first members without a list: by a domain's records or over another cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::args::go_bool;
use super::duration;

/// Flags about finding the others.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Discovery")]
pub struct DiscoveryArgs {
    /// Domain whose records name the first members
    #[arg(long, value_name = "DOMAIN", default_value = "")]
    pub discovery_srv: String,

    /// Name of the service in these records
    #[arg(long, value_name = "NAME", default_value = "")]
    pub discovery_srv_name: String,

    /// Name server to ask for them, as address:port [default: the system's]
    #[arg(long, value_name = "ADDRESS")]
    pub discovery_dns_server: Option<SocketAddr>,

    /// URL below which the first members find each other in keys of version 2
    #[arg(long, value_name = "URL", default_value = "")]
    pub discovery: String,

    /// Name under which the first members find each other in another cluster
    #[arg(long, value_name = "TOKEN", default_value = "")]
    pub discovery_token: String,

    /// Members of that cluster, comma-separated
    #[arg(long, value_name = "URLS", default_value = "")]
    pub discovery_endpoints: String,

    /// How long connecting to it may take.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    pub discovery_dial_timeout: Duration,

    /// How long an answer of it may take.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    pub discovery_request_timeout: Duration,

    /// Silence after which it is asked for a sign of life.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    pub discovery_keepalive_time: Duration,

    /// How long that sign may take.
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = duration::parse)]
    pub discovery_keepalive_timeout: Duration,

    /// Speak to endpoints without a scheme in the clear.
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub discovery_insecure_transport: bool,

    /// Believe whoever answers (only for tests).
    #[arg(long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool)]
    pub discovery_insecure_skip_tls_verify: bool,

    /// Certificate to show to it
    #[arg(long, value_name = "FILE")]
    pub discovery_cert: Option<PathBuf>,

    /// Its key
    #[arg(long, value_name = "FILE")]
    pub discovery_key: Option<PathBuf>,

    /// Authorities its certificate must be signed by
    #[arg(long, value_name = "FILE")]
    pub discovery_cacert: Option<PathBuf>,

    /// User there, with `:password` if it is not given apart
    #[arg(long, value_name = "USER", default_value = "")]
    pub discovery_user: String,

    /// Password there
    #[arg(long, value_name = "PASSWORD", default_value = "")]
    pub discovery_password: String,
}
