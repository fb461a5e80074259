//! The global flags and their `ETCDCTL_…` variables (reference C.2): where the store is, how long to wait, how to print.

use std::time::Duration;

use clap::Args;

use crate::failure::Failure;

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
    /// Name of the user, with `:password` if it is not given apart
    #[arg(long, global = true, env = "ETCDCTL_USER")]
    pub(crate) user: Option<String>,
    /// Password of the user
    #[arg(long, global = true, env = "ETCDCTL_PASSWORD")]
    pub(crate) password: Option<String>,
    /// Certificate authorities to trust
    #[arg(long, global = true, env = "ETCDCTL_CACERT")]
    cacert: Option<String>,
    /// Certificate to show
    #[arg(long, global = true, env = "ETCDCTL_CERT")]
    cert: Option<String>,
    /// Its private key
    #[arg(long, global = true, env = "ETCDCTL_KEY")]
    key: Option<String>,
}

impl Globals {
    /// Refuses what is not there yet, instead of going on without it.
    ///
    /// # Errors
    /// Wrong arguments, when TLS is asked for.
    pub(crate) fn checked(&self) -> Result<(), Failure> {
        let https = self
            .endpoints
            .iter()
            .any(|endpoint| endpoint.starts_with("https://"));
        if https || self.cacert.is_some() || self.cert.is_some() || self.key.is_some() {
            return Err(Failure::bad_arguments("TLS is not supported yet")
                .hint("take --cacert, --cert and --key away and use http:// endpoints"));
        }
        Ok(())
    }
}

/// A length of time as Go writes it, one unit: `5s`, `1.5m`, `300ms`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let at = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .ok_or_else(invalid)?;
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let unit = match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return Err(invalid()),
    };
    Duration::try_from_secs_f64(number * unit).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        for wrong in ["5", "s", "", "-1s", "1x"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
