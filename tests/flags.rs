//! Started as `etcd`, the store knows every flag the official etcd has, with the same default or for a reason, and
//! tells version and help in etcd's shape.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use end_to_end::programs;

/// Spelling of flags that were new once.
const EXPERIMENTAL: &str = "experimental-";

/// Where a default is another than that of etcd 3.5: the flag, etcd's, ours, and why.
const OTHER_DEFAULTS: &[(&str, &str, &str, &str)] = &[
    ("snapshot-count", "100000", "10000", "as etcd 3.6 and later"),
    ("max-snapshots", "5", "2", "each holds the whole state"),
    (
        "auto-compaction-retention",
        "0",
        "",
        "history is bounded when nothing is said",
    ),
    (
        "corrupt-check-time",
        "0s",
        "10m",
        "comparing costs little here",
    ),
    (
        "enable-v2",
        "false",
        "true",
        "the keys of version 2 are a view on those of version 3",
    ),
];

/// Defaults of flags that change nothing here are not told, and none of theirs matters.
const UNTOLD: &str = "Changes nothing here that could be noticed.";

/// A flag of a help in etcd's shape.
#[derive(Debug)]
struct Flag {
    default: String,
    said: String,
}

/// The flags of a help in etcd's shape, by name.
fn flags(help: &str) -> BTreeMap<String, Flag> {
    let mut flags = BTreeMap::<String, Flag>::new();
    let mut last = None;
    for line in help.lines() {
        if let Some(flag) = line.strip_prefix("  --") {
            let (name, default) = flag.split_once(' ').unwrap_or((flag, ""));
            let known = flags.insert(
                name.to_owned(),
                Flag {
                    default: default.trim_matches('\'').to_owned(),
                    said: String::new(),
                },
            );
            assert!(known.is_none(), "{name} stands in it twice");
            last = Some(name);
        } else if let Some(flag) = last.and_then(|name| flags.get_mut(name)) {
            flag.said.push_str(line.trim());
        }
    }
    flags
}

/// What a program prints.
fn run(program: &Path, words: &[String]) -> Output {
    let ran = Command::new(program).env_clear().args(words).output();
    ran.unwrap_or_else(|error| panic!("{}: {error}", program.display()))
}

fn stdout(program: &Path, word: &str) -> String {
    let output = run(program, &[word.to_owned()]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// muster under the name of etcd.
fn as_etcd(folder: &Path) -> std::path::PathBuf {
    let link = folder.join("etcd");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_muster"), &link).expect("link");
    link
}

#[test]
fn every_flag_of_etcd_is_known_with_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = programs::etcd_3_5("etcd");
    let ours = as_etcd(folder.path());
    let theirs = flags(&stdout(&etcd, "--help"));
    let known = flags(&stdout(&ours, "--help"));
    assert!(theirs.len() > 80, "{}", theirs.len());
    let mut wrong = Vec::new();
    for (name, flag) in &theirs {
        let stable = name.strip_prefix(EXPERIMENTAL).unwrap_or(name);
        let Some(ours) = known.get(stable) else {
            wrong.push(format!("--{name} is missing"));
            continue;
        };
        let other = OTHER_DEFAULTS.iter().find(|(flag, ..)| *flag == stable);
        let wanted = match other {
            _ if ours.said == UNTOLD => continue,
            Some((_, theirs, ours, _)) if *theirs == flag.default => ours,
            _ => flag.default.as_str(),
        };
        if ours.default != wanted {
            wrong.push(format!("--{name} '{}', not '{wanted}'", ours.default));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // All of them at once, as a script would write them that says what holds anyway.
    let mut words: Vec<String> = vec!["--print-config".to_owned()];
    let given = theirs
        .iter()
        .map(|(name, flag)| format!("--{name}={}", flag.default));
    words.extend(given);
    let output = run(&ours, &words);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn versions_are_told_as_etcd_tells_them() {
    let folder = tempfile::tempdir().unwrap();
    let ours = stdout(&as_etcd(folder.path()), "--version");
    let theirs = stdout(&programs::etcd_3_5("etcd"), "--version");
    let names = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(names(&ours), names(&theirs));
    let first = ours.lines().next().unwrap();
    let release = first.strip_prefix("etcd Version: ").unwrap();
    // Client and file tool are of the same release.
    for part in ["ctl", "utl"] {
        let words = [part.to_owned(), "version".to_owned()];
        let said = run(Path::new(env!("CARGO_BIN_EXE_muster")), &words).stdout;
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.starts_with(&format!("etcd{part} version: {release}\nAPI version: 3.")),
            "{said}"
        );
    }
}
