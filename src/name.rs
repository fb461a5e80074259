//! Which program am I? Started through a link called `etcd`, `etcdctl`, `etcdutl`, `registrator` or `confd`, muster is that program: the name
//! becomes the subcommand, and gliderlabs registrator's flags become ours. Pure.

use std::ffi::OsString;
use std::path::Path;

use store_server::program::Guise;

/// Names muster answers to, and the subcommand each stands for.
pub(crate) const NAMES: &[(&str, &str)] = &[
    ("etcd", "store"),
    ("etcdctl", "ctl"),
    ("etcdutl", "utl"),
    ("registrator", "registrator"),
    ("confd", "confd"),
];

/// Parts that read their own flags, and so print their own help.
const PARTS: &[&str] = &[
    "store",
    "ctl",
    "utl",
    "registrator",
    "confd",
    "doctor",
    "upgrade",
    "services",
    "agents",
    "status",
    "gateway",
    "grpc-proxy",
];

/// Parts that etcd has as commands of its own.
const OF_ETCD: &[&str] = &["gateway", "grpc-proxy"];

/// The command line with the subcommand spelled out, and `help <part>` asked of the part.
pub(crate) fn spelled_out(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let called = called(&arguments);
    if let Some((_, subcommand)) = NAMES.iter().find(|(name, _)| Some(*name) == called) {
        arguments.insert(1, OsString::from(subcommand));
        // The store tells the version of its etcd; the other parts have none of their own.
        let asks = *subcommand != "store" && arguments.len() == 3;
        if asks && (arguments[2] == "--version" || arguments[2] == "-version") {
            arguments[1] = OsString::from("--version");
            arguments.pop();
        }
    } else if arguments.len() == 3
        && arguments[1] == "help"
        && PARTS.iter().any(|part| arguments[2] == *part)
    {
        arguments[1] = arguments[2].clone();
        arguments[2] = OsString::from("--help");
    }
    if arguments.get(1).is_some_and(|word| word == "store")
        && arguments
            .get(2)
            .is_some_and(|word| OF_ETCD.iter().any(|part| word == *part))
    {
        arguments.remove(1);
    }
    // etcdctl and etcdutl have a command for it; here all names have one.
    let completes = arguments.get(2).is_some_and(|word| word == "completion");
    let name = match arguments.get(1) {
        Some(part) if part == "ctl" => Some("etcdctl"),
        Some(part) if part == "utl" => Some("etcdutl"),
        _ => None,
    };
    if let Some(name) = name.filter(|_| completes) {
        arguments[1] = OsString::from("completions");
        arguments.remove(2);
        arguments.extend(["--name", name].map(OsString::from));
    }
    if arguments
        .get(1)
        .is_some_and(|word| word == "drain" || word == "undrain")
    {
        arguments.insert(1, OsString::from("registrator"));
    }
    if arguments.get(1).is_some_and(|word| word == "registrator") {
        let rest = arguments.split_off(2);
        arguments.extend(registrator::upstream::spelled_out(rest));
    }
    arguments
}

/// Whether the store is started as `etcd`.
pub(crate) fn guise(arguments: &[OsString]) -> Guise {
    if called(arguments) == Some("etcd") {
        Guise::Etcd
    } else {
        Guise::Own
    }
}

/// The name the program was started under.
fn called(arguments: &[OsString]) -> Option<&str> {
    Path::new(arguments.first()?).file_name()?.to_str()
}

/// Rewrites a command line of confd's into ours; what had no effect in it, a line each.
pub(crate) fn translated(arguments: &mut Vec<OsString>) -> Vec<String> {
    if arguments.get(1).is_none_or(|part| part != "confd") {
        return Vec::new();
    }
    let translated = confd::dialect::translate(arguments.split_off(2));
    arguments.extend(translated.words);
    translated.notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_is_known_by_its_name_alone() {
        for (word, wanted) in [
            ("/usr/bin/etcd", Guise::Etcd),
            ("muster", Guise::Own),
            ("etcdctl", Guise::Own),
        ] {
            assert_eq!(guise(&[word.into(), "etcd".into()]), wanted);
        }
        assert_eq!(guise(&[]), Guise::Own);
    }

    #[test]
    fn a_link_s_name_is_the_subcommand() {
        let table: &[(&[&str], &[&str])] = &[
            (&["muster"], &["muster"]),
            (&["/usr/bin/muster", "up"], &["/usr/bin/muster", "up"]),
            (
                &["etcd", "--data-dir", "d"],
                &["etcd", "store", "--data-dir", "d"],
            ),
            (
                &["/opt/confd", "--onetime"],
                &["/opt/confd", "confd", "--onetime"],
            ),
            (&["etcdctl", "get", "k"], &["etcdctl", "ctl", "get", "k"]),
            (
                &["etcdutl", "completion", "zsh"],
                &["etcdutl", "completions", "zsh", "--name", "etcdutl"],
            ),
            (
                &["muster", "ctl", "completion", "bash"],
                &["muster", "completions", "bash", "--name", "etcdctl"],
            ),
            (&["./registrator"], &["./registrator", "registrator"]),
            (
                &["registrator", "-ip", "10.0.0.5", "etcd://h:1/p"],
                &[
                    "registrator",
                    "registrator",
                    "--ip=10.0.0.5",
                    "--registry=etcd://h:1/p",
                ],
            ),
            (
                &["muster", "drain", "web"],
                &["muster", "registrator", "drain", "web"],
            ),
            (&["etcd", "gateway", "start"], &["etcd", "gateway", "start"]),
            (&["muster", "store", "gateway"], &["muster", "gateway"]),
            (&["muster", "gateway"], &["muster", "gateway"]),
            (&["etcd", "--version"], &["etcd", "store", "--version"]),
            (&["confd", "--version"], &["confd", "--version"]),
            (&["confd", "-version"], &["confd", "--version"]),
            (&["muster", "help", "store"], &["muster", "store", "--help"]),
            (&["muster", "help", "up"], &["muster", "help", "up"]),
            (&[], &[]),
        ];
        for (given, expected) in table {
            let given = given.iter().map(OsString::from).collect();
            let expected: Vec<OsString> = expected.iter().map(OsString::from).collect();
            assert_eq!(spelled_out(given), expected);
        }
    }
}
