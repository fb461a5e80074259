//! Pure: The command lines that people bring along, rewritten into ours.
//!
//! confd takes Go's flags: one dash or two, `-x=v` or `-x v`, switches as `-x` or `-x=true`. Its fork takes the backend as a
//! subcommand and long flags of its own. Both are read here and nowhere else; what comes out is what clap declares
//! in `config.rs`. A flag that has no meaning here is told of, never swallowed.

use std::ffi::OsString;

/// A command line in our own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translated {
    /// The words.
    pub words: Vec<OsString>,
    /// What was given and has no effect, and why; a line each.
    pub notes: Vec<String>,
}

/// What follows a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Nothing, or `=true`, `=false`.
    Nothing,
    /// A value.
    Value,
}
use Takes::{Nothing, Value};

/// What becomes of a flag.
#[derive(Clone, Copy)]
enum Becomes {
    /// Ours of this name.
    Flag(&'static str),
    /// One of a list that ours takes in one word, separated by commas.
    Listed(&'static str),
    /// Nothing, for this reason.
    Note(&'static str),
}
use Becomes::{Flag, Listed, Note};

const NO_FIXED_WAIT: &str = "failed passes are tried again with growing waits until they hold";
const OWN_STATE: &str =
    "templates are compiled when they change, and files compared when a pass needs it";
const ONE_STREAM: &str = "the store is watched over one connection with deadlines of its own";

/// Every flag that is not ours by name, or not in this form. Ours alone (`--state-dir`, …) pass as they are.
const FLAGS: &[(&str, Takes, Becomes)] = &[
    // The original's, confd 0.16.
    ("backend", Value, Flag("backend")),
    ("node", Value, Listed("endpoints")),
    ("confdir", Value, Flag("confdir")),
    ("config-file", Value, Flag("config-file")),
    ("interval", Value, Flag("interval")),
    ("watch", Nothing, Flag("watch")),
    ("onetime", Nothing, Flag("onetime")),
    ("noop", Nothing, Flag("noop")),
    ("prefix", Value, Flag("prefix")),
    ("sync-only", Nothing, Flag("sync-only")),
    ("keep-stage-file", Nothing, Flag("keep-stage-file")),
    ("scheme", Value, Flag("scheme")),
    ("client-cert", Value, Flag("cert")),
    ("client-key", Value, Flag("key")),
    ("client-ca-keys", Value, Flag("cacert")),
    (
        "client-insecure",
        Nothing,
        Note("a certificate that is not checked protects nothing; give its CA with --cacert"),
    ),
    (
        "basic-auth",
        Nothing,
        Note("user and password are used as soon as they are given"),
    ),
    ("username", Value, Flag("user")),
    ("password", Value, Flag("password")),
    ("file", Value, Listed("file")),
    ("filter", Value, Flag("filter")),
    ("version", Nothing, Flag("version")),
    // The fork's, abtreece/confd 0.41.
    ("failure-mode", Value, Flag("failure-mode")),
    ("check-config", Nothing, Flag("check-config")),
    ("validate", Nothing, Flag("check-config")),
    ("diff", Nothing, Flag("noop")),
    ("debounce", Value, Flag("quiet-min")),
    ("batch-interval", Value, Flag("quiet-max")),
    ("check-cmd-timeout", Value, Flag("check-cmd-timeout")),
    ("reload-cmd-timeout", Value, Flag("reload-cmd-timeout")),
    ("metrics-addr", Value, Flag("listen")),
    ("resource", Value, Flag("resource")),
    (
        "diff-context",
        Value,
        Note("a difference shows three lines of context"),
    ),
    (
        "color",
        Nothing,
        Note("colours follow the terminal and NO_COLOR"),
    ),
    ("template-cache", Nothing, Note(OWN_STATE)),
    ("no-template-cache", Nothing, Note(OWN_STATE)),
    ("stat-cache-ttl", Value, Note(OWN_STATE)),
    ("watch-error-backoff", Value, Note(NO_FIXED_WAIT)),
    ("retry-max-attempts", Value, Note(NO_FIXED_WAIT)),
    ("retry-base-delay", Value, Note(NO_FIXED_WAIT)),
    ("retry-max-delay", Value, Note(NO_FIXED_WAIT)),
    ("backend-timeout", Value, Note(ONE_STREAM)),
    ("dial-timeout", Value, Note(ONE_STREAM)),
    ("read-timeout", Value, Note(ONE_STREAM)),
    ("write-timeout", Value, Note(ONE_STREAM)),
    (
        "preflight",
        Nothing,
        Note(
            "the store is asked anyway, and --onetime waits for it no longer than --startup-timeout",
        ),
    ),
    ("preflight-timeout", Value, Note("see --startup-timeout")),
    (
        "shutdown-timeout",
        Value,
        Note("steps under way have five seconds to end"),
    ),
    (
        "systemd-notify",
        Nothing,
        Note("systemd is told whenever NOTIFY_SOCKET is set"),
    ),
    (
        "watchdog-interval",
        Value,
        Note("systemd says it in WATCHDOG_USEC"),
    ),
];

/// Backends, as the fork's subcommands name them.
const SUBCOMMANDS: &[&str] = &[
    "consul",
    "etcd",
    "etcdv3",
    "vault",
    "redis",
    "zookeeper",
    "dynamodb",
    "ssm",
    "acm",
    "secretsmanager",
    "imds",
    "env",
    "file",
];

/// Rewrites the words behind the program's name. Words that cannot be read are left as they are: clap says what
/// is wrong with them.
pub fn translate(words: impl IntoIterator<Item = OsString>) -> Translated {
    let mut out = Translated::default();
    let mut lists: Vec<(&str, Vec<String>)> = Vec::new();
    let mut words = words.into_iter().peekable();
    if let Some(backend) = words.peek().and_then(|word| word.to_str())
        && SUBCOMMANDS.contains(&backend)
    {
        // Its prefix stands before a resource's own.
        out.words.extend([
            "--backend".into(),
            backend.into(),
            "--prefix-rule=join".into(),
        ]);
        words.next();
    }
    while let Some(word) = words.next() {
        if word == "--" {
            out.words.push(word);
            out.words.extend(words);
            break;
        }
        let Some(given) = Given::read(&word) else {
            out.words.push(word);
            continue;
        };
        let Some((_, takes, becomes)) = FLAGS.iter().find(|(name, ..)| *name == given.name) else {
            // Ours: with one dash it is meant as with two.
            out.words.push(given.with_two_dashes());
            continue;
        };
        let value = match (takes, given.value) {
            (Nothing, None) => Some(String::new()),
            (Nothing, Some(value)) => {
                truth(value).map(|on| if on { String::new() } else { "off".to_owned() })
            }
            (Value, Some(value)) => Some(value.to_owned()),
            (Value, None) => words.next().and_then(|value| value.into_string().ok()),
        };
        let Some(value) = value else {
            // No value, or one that is no text: clap names it.
            out.words.push(given.with_two_dashes());
            continue;
        };
        match (becomes, takes) {
            (Note(why), _) => out
                .notes
                .push(format!("--{} has no effect: {why}", given.name)),
            (_, Nothing) if value == "off" => {}
            (Flag(name) | Listed(name), Nothing) => out.words.push(format!("--{name}").into()),
            (Flag(name), Value) => out.words.push(format!("--{name}={value}").into()),
            (Listed(name), Value) => match lists.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(value),
                None => lists.push((name, vec![value])),
            },
        }
    }
    for (name, values) in lists {
        let at = out.words.iter().position(|word| word == "--");
        let word = format!("--{name}={}", values.join(",")).into();
        out.words.insert(at.unwrap_or(out.words.len()), word);
    }
    out
}

/// A long flag as it was given.
struct Given<'a> {
    name: &'a str,
    value: Option<&'a str>,
}

impl<'a> Given<'a> {
    /// `--name`, `-name`, with or without `=value`; not `-n`, which is a short one.
    fn read(word: &'a OsString) -> Option<Self> {
        let word = word.to_str()?;
        let body = match word.strip_prefix("--") {
            Some(body) => body,
            None => word.strip_prefix('-').filter(|body| {
                let name = body.split('=').next().unwrap_or_default();
                name.chars().count() > 1
            })?,
        };
        let letter = body
            .chars()
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic());
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        letter.then_some(Self { name, value })
    }

    fn with_two_dashes(&self) -> OsString {
        match self.value {
            Some(value) => format!("--{}={value}", self.name).into(),
            None => format!("--{}", self.name).into(),
        }
    }
}

/// What Go's flag package reads as true or false.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(line: &str) -> (String, Vec<String>) {
        let words = line.split_whitespace().map(OsString::from);
        let out = translate(words);
        let words: Vec<_> = out
            .words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect();
        (words.join(" "), out.notes)
    }

    #[test]
    fn both_dialects_become_ours() {
        let table = [
            ("", ""),
            (
                "-onetime -backend etcdv3 -node http://a:1 -node http://b:2",
                "--onetime --backend=etcdv3 --endpoints=http://a:1,http://b:2",
            ),
            (
                "--onetime=true --watch=false -noop=0 -sync-only=T",
                "--onetime --sync-only",
            ),
            (
                "-confdir /x -config-file=/y -interval 60 -prefix /p",
                "--confdir=/x --config-file=/y --interval=60 --prefix=/p",
            ),
            (
                "-client-cert c -client-key k -client-ca-keys a -username u -password=p=q",
                "--cert=c --key=k --cacert=a --user=u --password=p=q",
            ),
            ("-version", "--version"),
            (
                "etcd --watch -n a:1 --prefix /p",
                "--backend etcd --prefix-rule=join --watch -n a:1 --prefix=/p",
            ),
            (
                "env --onetime --diff",
                "--backend env --prefix-rule=join --onetime --noop",
            ),
            (
                "file --file a.yaml --file b.yaml --filter *.yaml",
                "--backend file --prefix-rule=join --filter=*.yaml --file=a.yaml,b.yaml",
            ),
            (
                "etcd --debounce 2s --metrics-addr :9100 --check-config",
                "--backend etcd --prefix-rule=join --quiet-min=2s --listen=:9100 --check-config",
            ),
            // Ours pass, with one dash too.
            (
                "--state-dir /s -state-dir=/t --endpoints x",
                "--state-dir /s --state-dir=/t --endpoints x",
            ),
            // What clap shall complain about.
            ("-node", "--node"),
            ("-onetime=maybe", "--onetime=maybe"),
            ("-nosuch", "--nosuch"),
            ("-- -onetime", "-- -onetime"),
            ("-node a:1 -- x", "--endpoints=a:1 -- x"),
            ("- --", "- --"),
        ];
        for (given, expected) in table {
            assert_eq!(
                translated(given),
                (expected.to_owned(), Vec::new()),
                "{given}"
            );
        }
    }

    #[test]
    fn a_flag_without_effect_is_told_of() {
        let (words, notes) =
            translated("etcd --retry-max-attempts 3 --template-cache=false --preflight --watch");
        assert_eq!(words, "--backend etcd --prefix-rule=join --watch");
        assert_eq!(notes.len(), 3);
        assert!(notes[0].starts_with("--retry-max-attempts has no effect: "));
    }

    #[test]
    fn words_that_are_not_text_stay() {
        use std::os::unix::ffi::OsStringExt as _;
        let odd = OsString::from_vec(vec![b'-', b'-', 0xff]);
        assert_eq!(translate(vec![odd.clone()]).words, vec![odd.clone()]);
        let out = translate([OsString::from("-prefix"), odd]);
        assert_eq!(out.words, ["--prefix"]);
    }
}
