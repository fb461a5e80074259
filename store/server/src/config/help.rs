//! The help in etcd's shape, for whoever starts the store as `etcd`: each flag with its default in quotes, and below
//! it what it does. Scripts read the flags and defaults out of it.

use std::fmt::Write as _;

use clap::{Arg, CommandFactory as _};

use super::args::Args;
use super::later::{LATER, Later};

/// Ways to start, before the flags.
const USAGE: &str = "Usage:

  etcd [flags]
    Start a store that speaks the etcd protocol.

  etcd --version
    Show the version of etcd whose behaviour this is.

  etcd -h | --help
    Show this help.

  etcd --config-file
    Path to a file with settings. Flags and variables win over it.

  etcd --print-config
    Show every setting with its value and who said so.

Every flag can also be set in the environment: ETCD_ and the name in capitals.
";

/// Flags that stand in the usage instead.
const IN_USAGE: [&str; 4] = ["config-file", "help", "print-config", "version"];

/// What holds when nothing is said, where that is not a value of its own.
const UNSAID: [(&str, &str); 4] = [
    ("data-dir", "${name}.etcd"),
    ("listen-peer-urls", "http://localhost:2380"),
    ("initial-cluster", "default=http://localhost:2380"),
    ("advertise-client-urls", "http://localhost:2379"),
];

/// The whole text.
pub(crate) fn as_etcd() -> String {
    let command = Args::command();
    let mut text = USAGE.to_owned();
    let mut headings: Vec<&str> = Vec::new();
    for heading in command.get_arguments().filter_map(Arg::get_help_heading) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        let flags = command.get_arguments();
        let flags = flags.filter(|arg| arg.get_help_heading() == Some(heading));
        // Writing to a string does not fail, here and below.
        let _ = writeln!(text, "\n{heading}:");
        for flag in flags {
            if let Some(name) = flag.get_long().filter(|name| !IN_USAGE.contains(name)) {
                let said = flag.get_help().map(ToString::to_string).unwrap_or_default();
                entry(&mut text, name, &default(name, flag), &said);
            }
        }
    }
    for (heading, moot, said) in [
        (
            "Accepted",
            true,
            "Changes nothing here that could be noticed.",
        ),
        (
            "Refused with any other value",
            false,
            "Not served by this version.",
        ),
    ] {
        let _ = writeln!(text, "\n{heading}:");
        for Later { name, default, .. } in LATER.iter().filter(|later| later.moot == moot) {
            entry(&mut text, name, default, said);
        }
    }
    text
}

fn default(name: &str, flag: &Arg) -> String {
    if let Some((_, unsaid)) = UNSAID.iter().find(|(flag, _)| *flag == name) {
        return (*unsaid).to_owned();
    }
    let values = flag.get_default_values().iter();
    let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
    values.join(",")
}

fn entry(text: &mut String, name: &str, default: &str, said: &str) {
    let _ = writeln!(text, "  --{name} '{default}'");
    for line in said.lines() {
        let _ = writeln!(text, "    {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_stands_in_it_once() {
        let text = as_etcd();
        let command = Args::command();
        let flags = command.get_arguments().filter_map(Arg::get_long);
        let flags = flags.filter(|name| !IN_USAGE.contains(name));
        for name in flags.chain(LATER.iter().map(|later| later.name)) {
            let entries = text.matches(&format!("\n  --{name} '")).count();
            assert_eq!(entries, 1, "{name}");
        }
        assert!(text.contains("\n  --name 'default'\n    Name of this member"));
    }
}
