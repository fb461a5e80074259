//! The global flags and their `ETCDCTL_…` variables: where the store is, how long to wait, how to print.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use store_discovery::srv::{Domain, Found, Role};
use store_duration::NotADuration;

use crate::connect::ANSWER_BYTES_MAX;
use crate::failure::Failure;
use crate::prompt;

/// Flags every command takes; a variable is what its flag is when that is not given.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// Members to talk to, separated by commas; the first that can be reached is used
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_ENDPOINTS",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379"
    )]
    pub(crate) endpoints: Vec<String>,
    /// How long connecting may take
    #[arg(long, global = true, env = "ETCDCTL_DIAL_TIMEOUT", value_parser = duration, default_value = "2s")]
    pub(crate) dial_timeout: Duration,
    /// How long a short command may take
    #[arg(long, global = true, env = "ETCDCTL_COMMAND_TIMEOUT", value_parser = duration, default_value = "5s")]
    pub(crate) command_timeout: Duration,
    /// How often to ask a quiet connection for a sign of life
    #[arg(long, global = true, env = "ETCDCTL_KEEPALIVE_TIME", value_parser = duration, default_value = "2s")]
    pub(crate) keepalive_time: Duration,
    /// How long to wait for that sign
    #[arg(long, global = true, env = "ETCDCTL_KEEPALIVE_TIMEOUT", value_parser = duration, default_value = "6s")]
    pub(crate) keepalive_timeout: Duration,
    /// Output format: simple, fields, json, protobuf or table
    #[arg(
        short = 'w',
        long,
        global = true,
        env = "ETCDCTL_WRITE_OUT",
        default_value = "simple"
    )]
    pub(crate) write_out: String,
    /// Print byte strings as hex
    #[arg(long, global = true, env = "ETCDCTL_HEX")]
    pub(crate) hex: bool,
    /// Largest request to send, in bytes; 0 = whatever the store takes
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_MAX_REQUEST_BYTES",
        default_value_t = 0
    )]
    max_request_bytes: usize,
    /// Largest answer to take, in bytes; 0 = 2 GiB
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_MAX_RECV_BYTES",
        default_value_t = 0
    )]
    max_recv_bytes: usize,
    /// Name of the user, with `:password` if it is not given apart
    #[arg(long, global = true, env = "ETCDCTL_USER")]
    pub(crate) user: Option<String>,
    /// Password of the user
    #[arg(long, global = true, env = "ETCDCTL_PASSWORD")]
    pub(crate) password: Option<String>,
    /// Token to show instead of a name and a password
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_AUTH_JWT_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub(crate) auth_jwt_token: Option<String>,
    /// Say on stderr which flags are in force
    #[arg(long, global = true, env = "ETCDCTL_DEBUG")]
    debug: bool,
    /// Certificate authorities to trust (PEM) [default: the system's]
    #[arg(long, global = true, env = "ETCDCTL_CACERT", value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Certificate to show (PEM)
    #[arg(long, global = true, env = "ETCDCTL_CERT", value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, global = true, env = "ETCDCTL_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Speak in the clear to endpoints without a scheme, unless there are certificates
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_TRANSPORT", value_name = "BOOL", default_value = "true",
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    pub(crate) insecure_transport: bool,
    /// Believe whoever answers (only for tests)
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_SKIP_TLS_VERIFY", value_name = "BOOL",
          default_value = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = go_bool)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// Take endpoints in the clear from a domain's records
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_DISCOVERY", value_name = "BOOL", default_value = "true",
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    insecure_discovery: bool,
    /// Domain whose records name the endpoints
    #[arg(
        short = 'd',
        long,
        global = true,
        env = "ETCDCTL_DISCOVERY_SRV",
        value_name = "DOMAIN"
    )]
    discovery_srv: Option<String>,
    /// Name of the service in these records
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_DISCOVERY_SRV_NAME",
        value_name = "NAME"
    )]
    discovery_srv_name: Option<String>,
    /// Name server to ask for them, as address:port [default: the system's]
    #[arg(
        long,
        global = true,
        env = "ETCDCTL_DISCOVERY_DNS_SERVER",
        value_name = "ADDRESS"
    )]
    discovery_dns_server: Option<SocketAddr>,
}

impl Globals {
    /// As they are when nothing is said.
    ///
    /// # Errors
    /// The environment holds something that is no value of a flag.
    pub(crate) fn unset() -> Result<Self, Failure> {
        #[derive(Parser)]
        struct Unset {
            #[command(flatten)]
            globals: Globals,
        }
        let unset = Unset::try_parse_from(["etcdctl"]);
        let unset = unset.map_err(|error| Failure::error(store_utl::first_line(&error)))?;
        Ok(unset.globals)
    }

    /// Refuses a request that is larger than it may be.
    ///
    /// # Errors
    /// How large it is.
    pub(crate) fn within(&self, request: &impl prost::Message) -> Result<(), Failure> {
        let (bytes, most) = (request.encoded_len(), self.max_request_bytes);
        if most == 0 || bytes <= most {
            return Ok(());
        }
        let line = format!("trying to send message larger than max ({bytes} vs. {most})");
        Err(Failure::error(line).hint("raise --max-request-bytes, or put less at once"))
    }

    /// Largest answer that is taken, in bytes.
    pub(crate) const fn answer_bytes_max(&self) -> usize {
        match self.max_recv_bytes {
            0 => ANSWER_BYTES_MAX,
            bytes => bytes,
        }
    }

    /// With endpoints from a domain's records; those in the clear only where `insecure` says so.
    pub(crate) fn discovering(
        mut self,
        domain: Option<String>,
        service: Option<String>,
        insecure: bool,
    ) -> Self {
        self.discovery_srv = domain;
        self.discovery_srv_name = service;
        self.insecure_discovery = insecure;
        self
    }

    /// Name and password of the user, if there is one.
    ///
    /// # Errors
    /// A name without a password.
    pub(crate) fn credentials(&self) -> Result<Option<(&str, &str)>, Failure> {
        match (&self.user, &self.password) {
            (None, _) => Ok(None),
            (Some(user), Some(password)) => Ok(Some((user, password))),
            (Some(user), None) => user.split_once(':').map(Some).ok_or_else(|| {
                Failure::bad_arguments("the password is missing")
                    .hint("give --password, or --user name:password")
            }),
        }
    }

    /// Asks a person for the password that goes with the name.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn ask_password(&mut self) -> Result<(), Failure> {
        if self.credentials().is_err() && prompt::is_person() {
            self.password = Some(prompt::hidden("Password: ")?);
        }
        Ok(())
    }

    /// Refuses what does not fit together.
    ///
    /// # Errors
    /// Wrong arguments.
    pub(crate) fn checked(&self) -> Result<(), Failure> {
        match (&self.cert, &self.key) {
            (Some(_), None) => Err(Failure::bad_arguments("--cert is given without --key")),
            (None, Some(_)) => Err(Failure::bad_arguments("--key is given without --cert")),
            _ => Ok(()),
        }
    }

    /// With the endpoints that a domain's records name, if one is given.
    ///
    /// # Errors
    /// Why they are not known.
    pub(crate) async fn located(&self) -> Result<Self, Failure> {
        let mut located = self.clone();
        let Some(domain) = self.discovery_srv.as_ref().filter(|name| !name.is_empty()) else {
            return Ok(located);
        };
        let domain = Domain {
            name: domain.clone(),
            service: self.discovery_srv_name.clone(),
            server: self.discovery_dns_server,
        };
        let mut found = domain.find(Role::Client).await.map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            Failure::error(format!("{error}{}", cause.unwrap_or_default())).hint(error.hint())
        })?;
        if !self.insecure_discovery {
            found.retain(|one| one.secure);
        }
        if found.is_empty() {
            let line = format!(
                "the records of {} name endpoints in the clear only",
                domain.name
            );
            return Err(Failure::error(line).hint("allow them with --insecure-discovery"));
        }
        located.endpoints = found.iter().map(Found::url).collect();
        Ok(located)
    }
}

/// Shows them, as `etcdctl options` does.
pub(crate) fn show_options() {
    let shown = Globals::augment_args(clap::Command::new("etcdctl").disable_help_flag(true))
        .help_template("The following options can be passed to any command:\n\n{options}\n");
    print!("{}", shown.clone().render_help());
}

/// Booleans as Go reads them.
pub(crate) fn go_bool(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("not true or false"),
    }
}

/// A length of time as Go writes it: `5s`, `1h30m`, `300ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, NotADuration> {
    store_duration::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        for wrong in ["5", "s", "", "-1s", "1x"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
