//! What the program says while it runs: lines for people or JSON for machines, on stderr, so that stdout stays free for
//! answers. One set-up for all parts: `--log-format` and `--log-level` are understood wherever they stand.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

const FORMAT: &str = "log-format";
const LEVEL: &str = "log-level";
/// What libraries say below a warning helps nobody who did not ask for them by name.
const LIBRARIES: &str = "h2=warn,hyper=warn,hyper_util=warn,tower=warn,tonic=warn,bollard=warn,raft=warn,tera=warn,\
     zookeeper_client=warn";

/// How much is said and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logging {
    json: bool,
    /// `None`: nothing was said.
    directives: Option<String>,
    /// The flags as they stood on the command line, for parts that keep their own log.
    pub(crate) words: Vec<OsString>,
}

impl Logging {
    /// Takes both settings off the command line, so that no part need know them; what is not said there is looked up in
    /// the environment (`MUSTER_LOG_FORMAT`, `MUSTER_LOG_LEVEL`, etcd's `ETCD_LOG_LEVEL`).
    ///
    /// # Errors
    /// When a value cannot be understood.
    pub(crate) fn taken_from(
        words: &mut Vec<OsString>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let (format, level) = (take(words, FORMAT), take(words, LEVEL));
        let given = [(FORMAT, &format), (LEVEL, &level)].into_iter();
        let given = given.filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let taken = given.map(|(name, value)| OsString::from(format!("--{name}={value}")));
        let taken = taken.collect();
        let json = match format
            .or_else(|| environment("MUSTER_LOG_FORMAT"))
            .as_deref()
        {
            None | Some("text" | "console") => false,
            Some("json") => true,
            Some(other) => {
                return Err(
                    Failure::usage(format!("--{FORMAT} {other}: no such format"))
                        .hint("text or json"),
                );
            }
        };
        let level = level
            .or_else(|| environment("MUSTER_LOG_LEVEL"))
            .or_else(|| environment("ETCD_LOG_LEVEL"));
        Ok(Self {
            json,
            directives: level.as_deref().map(directives).transpose()?,
            words: taken,
        })
    }

    /// Sets logging up for the life of the program, at `level` if nothing was said.
    pub(crate) fn start(&self, level: &str) {
        let directives = self
            .directives
            .clone()
            .unwrap_or_else(|| format!("{level},{LIBRARIES}"));
        // Checked when it was read.
        let filter = EnvFilter::new(directives);
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        if self.json {
            lines.json().flatten_event(true).init();
        } else {
            lines.with_target(false).with_ansi(colours()).init();
        }
    }
}

/// Directives for a level: ours at that level, libraries no lower than a warning. Pairs (`info,raft=debug`) stand as they are.
fn directives(level: &str) -> Result<String, Failure> {
    let known = match level {
        "panic" | "fatal" => "error", // etcd has these as well
        "off" | "error" | "warn" | "info" | "debug" | "trace" => level,
        pairs if pairs.contains('=') && EnvFilter::try_new(pairs).is_ok() => {
            return Ok(pairs.to_owned());
        }
        other => {
            return Err(Failure::usage(format!("--{LEVEL} {other}: no such level"))
                .hint("one of error, warn, info, debug, trace; or pairs such as info,raft=debug"));
        }
    };
    Ok(if known == "trace" {
        known.to_owned()
    } else {
        format!("{known},{LIBRARIES}")
    })
}

/// Takes `--name value`, `--name=value` or the same with a single dash away, if it stands before any `--`.
fn take(words: &mut Vec<OsString>, name: &str) -> Option<String> {
    for at in 1..words.len() {
        let word = words[at].to_str().unwrap_or_default().to_owned();
        if word == "--" {
            return None;
        }
        let Some(rest) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            continue;
        };
        let Some(rest) = rest.strip_prefix(name) else {
            continue;
        };
        if let Some(value) = rest.strip_prefix('=') {
            words.remove(at);
            return Some(value.to_owned());
        }
        if rest.is_empty() {
            let value = words.get(at + 1)?.to_str()?.to_owned();
            words.drain(at..at + 2);
            return Some(value);
        }
    }
    None
}

/// Colours only for people who have not said no (<https://no-color.org>).
fn colours() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, environment: &[(&str, &str)]) -> Result<(Logging, String), Failure> {
        let mut words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let looked_up = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let logging = Logging::taken_from(&mut words, looked_up)?;
        let left: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        Ok((logging, left.join(" ")))
    }

    #[test]
    fn both_settings_are_found_wherever_they_stand() {
        let table = [
            ("muster up", false, None, "muster up"),
            ("muster --log-format json up", true, None, "muster up"),
            (
                "muster store --log-format=json --log-level debug",
                true,
                Some("debug"),
                "muster store",
            ),
            (
                "etcd store -log-level=fatal",
                false,
                Some("error"),
                "etcd store",
            ),
            (
                "muster confd -- --log-format json",
                false,
                None,
                "muster confd -- --log-format json",
            ),
        ];
        for (line, json, level, left) in table {
            let (logging, words) = read(line, &[]).unwrap();
            assert_eq!(logging.json, json, "{line}");
            let directives = level.map(|level| format!("{level},{LIBRARIES}"));
            assert_eq!(logging.directives, directives, "{line}");
            let given = usize::from(level.is_some()) + usize::from(json);
            assert_eq!(logging.words.len(), given, "{line}");
            assert_eq!(words, left);
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment() {
        let environment = [
            ("MUSTER_LOG_FORMAT", "json"),
            ("MUSTER_LOG_LEVEL", "info,raft=debug"),
        ];
        let (logging, _) = read("muster up", &environment).unwrap();
        assert!(logging.json && logging.words.is_empty());
        assert_eq!(logging.directives.as_deref(), Some("info,raft=debug"));
        let (logging, _) = read(
            "muster up --log-format text --log-level trace",
            &environment,
        )
        .unwrap();
        assert!(!logging.json);
        assert_eq!(logging.directives.as_deref(), Some("trace"));
        assert_eq!(logging.words, ["--log-format=text", "--log-level=trace"]);
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        assert!(read("muster up --log-format xml", &[]).is_err());
        assert!(read("muster up --log-level loud", &[]).is_err());
        assert!(read("muster up", &[("MUSTER_LOG_LEVEL", "a=b=c")]).is_err());
    }
}
