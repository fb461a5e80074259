//! The service that confd starts and keeps itself: which, how it is told of changes, and how long it may take to end.

use std::time::Duration;

use super::{ConfigError, File, or};
use crate::child::Settings;
use crate::{duration, reload};

/// 10 s: as long as Docker waits before it kills a container.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);

/// Flags of the service.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Exec {
    /// Start this service when every file was applied once, and keep it: told of changes, started again when it ends, ended
    /// with confd
    #[arg(long, value_name = "COMMAND", env = "CONFD_EXEC")]
    pub exec: Option<String>,
    /// What has it read its files: a signal, or restart [default: HUP]
    #[arg(long, value_name = "SIGNAL", env = "CONFD_EXEC_SIGNAL")]
    pub exec_signal: Option<String>,
    /// Time it has to end before it is killed [default: 10s]
    #[arg(long, value_name = "TIME", env = "CONFD_EXEC_KILL_TIMEOUT")]
    pub exec_kill_timeout: Option<String>,
}

impl Exec {
    /// The settings, if there is a service.
    ///
    /// # Errors
    /// What cannot be.
    pub(super) fn settings(&self, file: &File) -> Result<Option<Settings>, ConfigError> {
        let bad = |option, value: String, problem| ConfigError::Value {
            option,
            value,
            problem,
        };
        let command = or(&self.exec, file.text("exec")?).filter(|text| !text.trim().is_empty());
        let signal = or(&self.exec_signal, file.text("exec_signal")?);
        let patience = or(&self.exec_kill_timeout, file.time("exec_kill_timeout")?);
        let Some(command) = command else {
            return match (signal, patience) {
                (None, None) => Ok(None),
                (Some(value), _) => Err(bad("--exec-signal", value, "is for a service of --exec")),
                (_, Some(value)) => Err(bad(
                    "--exec-kill-timeout",
                    value,
                    "is for a service of --exec",
                )),
            };
        };
        let change = match signal.as_deref() {
            None => Some("HUP"),
            Some("restart") => None,
            Some(text) => match reload::signal_name(text) {
                Some(name) => Some(name),
                None => {
                    let problem = "is neither restart nor a known signal";
                    return Err(bad("--exec-signal", text.to_owned(), problem));
                }
            },
        };
        let patience = match patience {
            None => PATIENCE_DEFAULT,
            Some(text) => {
                let seconds = || text.parse().ok().map(Duration::from_secs);
                let time = duration::parse(&text).or_else(seconds);
                time.ok_or_else(|| bad("--exec-kill-timeout", text, "is not a time"))?
            }
        };
        Ok(Some(Settings {
            command,
            change,
            patience,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Args;

    fn settings(words: &[&str]) -> Result<Option<Settings>, ConfigError> {
        let home = tempfile::tempdir().unwrap();
        let text = |at: usize| words.get(at).filter(|word| !word.is_empty());
        let args = Args {
            confdir: Some(home.path().to_owned()),
            exec: Exec {
                exec: text(0).map(|word| (*word).to_owned()),
                exec_signal: text(1).map(|word| (*word).to_owned()),
                exec_kill_timeout: text(2).map(|word| (*word).to_owned()),
            },
            ..Args::default()
        };
        args.resolve().map(|config| config.child)
    }

    #[test]
    fn a_service_and_what_cannot_be() {
        assert_eq!(settings(&[]).unwrap(), None);
        let some = settings(&["nginx"]).unwrap().unwrap();
        assert_eq!(
            (some.change, some.patience),
            (Some("HUP"), PATIENCE_DEFAULT)
        );
        let some = settings(&["x", "SIGUSR1", "3s"]).unwrap().unwrap();
        assert_eq!((some.change, some.patience.as_secs()), (Some("USR1"), 3));
        let some = settings(&["x", "restart", "5"]).unwrap().unwrap();
        assert_eq!((some.change, some.patience.as_secs()), (None, 5));
        for words in [
            ["", "HUP", ""],
            ["", "", "3s"],
            ["x", "NO", ""],
            ["x", "", "soon"],
        ] {
            assert!(settings(&words).is_err(), "{words:?}");
        }
    }
}
