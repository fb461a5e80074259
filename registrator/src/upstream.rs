//! [pure] The command line of gliderlabs registrator in our words: its flags have one dash and names of their own, and
//! its registry is one word at the end (`etcd://host:2379/prefix`). What is not one of its flags is left as it is, so
//! that flags of both kinds go together.

use std::ffi::OsString;

/// Flags with a value, and our names for them.
const VALUES: [(&str, &str); 9] = [
    ("ip", "ip"),
    ("useIpFromLabel", "use-ip-from-label"),
    ("tags", "tags"),
    ("ttl", "ttl"),
    ("ttl-refresh", "ttl-refresh"),
    ("resync", "resync"),
    ("deregister", "deregister"),
    ("retry-attempts", "retry-attempts"),
    ("retry-interval", "retry-interval"),
];
/// Flags without.
const SWITCHES: [(&str, &str); 4] = [
    ("internal", "internal"),
    ("explicit", "explicit"),
    ("cleanup", "cleanup"),
    // Of a fork: the container's own address, which is what internal means.
    ("ip-from-container", "internal"),
];

/// The words behind the program's name, with upstream's flags and registry spelled as ours.
#[must_use]
pub fn spelled_out(words: Vec<OsString>) -> Vec<OsString> {
    let mut out = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    let mut registry_seen = false;
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            out.push(word);
            continue;
        };
        if !text.starts_with('-') {
            // Another one stays where it is, and is refused as one word too many.
            if text.contains("://") && !registry_seen && !takes_a_value(out.last()) {
                registry_seen = true;
                out.push(OsString::from(format!("--registry={text}")));
            } else {
                out.push(word);
            }
            continue;
        }
        let name = text.strip_prefix("--").unwrap_or(&text[1..]);
        let (name, given) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        // With two dashes it is ours, unless only upstream has that name.
        let known = |table: &[(&str, &'static str)]| {
            let found = table.iter().find(|(theirs, _)| *theirs == name);
            found.map(|(_, ours)| *ours)
        };
        if let Some(ours) = known(&SWITCHES) {
            match given.map(|value| (value, boolean(value))) {
                None | Some((_, Some(true))) => out.push(OsString::from(format!("--{ours}"))),
                Some((_, Some(false))) => {}
                // What clap says about it names the flag.
                Some((value, None)) => out.push(OsString::from(format!("--{ours}={value}"))),
            }
        } else if let Some(ours) = known(&VALUES) {
            match given.map(OsString::from).or_else(|| words.next()) {
                Some(value) => {
                    let mut joined = OsString::from(format!("--{ours}="));
                    joined.push(value);
                    out.push(joined);
                }
                None => out.push(OsString::from(format!("--{ours}"))),
            }
        } else {
            out.push(word);
        }
    }
    out
}

/// Whether the word before asks for this one: a long flag of ours without an equals sign.
fn takes_a_value(before: Option<&OsString>) -> bool {
    const URLS: [&str; 4] = ["--docker-host", "--docker", "--endpoints", "--config"];
    before.is_some_and(|word| URLS.iter().any(|flag| word == flag))
}

/// What Go's flag package takes for a boolean.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_s_words_become_ours() {
        for (given, want) in [
            (
                "consul://localhost:8500",
                "--registry=consul://localhost:8500",
            ),
            (
                "-ip 10.0.0.5 -ttl 30 -ttl-refresh=10 etcd://h:1/p",
                "--ip=10.0.0.5 --ttl=30 --ttl-refresh=10 --registry=etcd://h:1/p",
            ),
            (
                "--internal=true -cleanup -explicit=0",
                "--internal --cleanup",
            ),
            ("-internal=maybe", "--internal=maybe"),
            (
                "-useIpFromLabel addr -deregister on-success",
                "--use-ip-from-label=addr --deregister=on-success",
            ),
            ("-retry-attempts -1", "--retry-attempts=-1"),
            ("-resync", "--resync"),
            (
                "-ip-from-container etcd://h",
                "--internal --registry=etcd://h",
            ),
            // Ours pass, and URLs that are theirs.
            ("--layout native --node n", "--layout native --node n"),
            (
                "--docker-host tcp://h:1 etcd://h",
                "--docker-host tcp://h:1 --registry=etcd://h",
            ),
            ("explain web --json", "explain web --json"),
            ("-h", "-h"),
            ("etcd://a etcd://b", "--registry=etcd://a etcd://b"),
            ("", ""),
        ] {
            let words = given.split_whitespace().map(OsString::from).collect();
            let got: Vec<String> = spelled_out(words)
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            assert_eq!(got.join(" "), want, "{given}");
        }
    }
}
