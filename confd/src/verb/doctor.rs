//! `confd doctor`: what of an existing set-up behaves differently here than under the original confd or its fork, and why.

use std::collections::BTreeMap;
use std::path::Path;

use super::say;
use crate::agent::Fault;
use crate::config::Config;

/// A key of a resource file, what is different about it, and why. Tried in order; each is told once for each file.
const RESOURCE_KEYS: &[(&str, &str)] = &[
    (
        "owner",
        "is set here; the original ignores it, its fork sets it",
    ),
    (
        "group",
        "is set here; the original ignores it, its fork sets it",
    ),
    (
        "min_reload_interval",
        "delays a reload here until the interval is over; the fork drops it, and the service stays on the old file",
    ),
    (
        "debounce",
        "waits here no longer than quiet_max in all; the fork starts anew with each change",
    ),
    (
        "reload_cmd",
        "is tried again here until it succeeds, also after a restart; confd tells of the fault once and forgets it",
    ),
    (
        "check_cmd",
        "is given 30 seconds here, after which its whole process group is killed; the original waits for ever",
    ),
];

/// A key of `confd.toml` and what is different about it.
const FILE_KEYS: &[(&str, &str)] = &[
    (
        "interval",
        "is here how often every file is compared with its render; keys are watched all the time",
    ),
    (
        "watch",
        "is always so here, unless --onetime says otherwise",
    ),
    (
        "prefix",
        "stands in the place of a resource's own as in the original; the fork joins them (--prefix-rule join)",
    ),
    (
        "client_insecure",
        "has no effect: a certificate that is not checked protects nothing; give its CA as client_cakeys",
    ),
];

/// What holds for every set-up.
const ALWAYS: &[&str] = &[
    "flags win over the environment, that over confd.toml, as confd's documents say; in its code the file wins over flags",
    "owner and mode of a file that no resource sets are kept; confd gives it to the user it runs as",
    "a resource that cannot be read stops no other; the original ends",
    "a misspelt key of a resource is refused; confd ignores it",
];

/// Says what it finds; finding something is no failure.
pub(super) fn run(config: &Config) -> Result<u8, Fault> {
    let mut out = String::from("For every set-up:\n");
    for line in ALWAYS {
        out.push_str(&format!("  {line}\n"));
    }
    let file = config.confdir.join("confd.toml");
    if let Ok(text) = std::fs::read_to_string(&file) {
        tell("confd.toml", &found(&text, FILE_KEYS), &mut out);
    }
    for (name, text) in resources(&config.confdir.join("conf.d"), "") {
        let mut lines = found(&text, RESOURCE_KEYS);
        lines.extend(mode(&text));
        tell(&format!("conf.d/{name}"), &lines, &mut out);
    }
    say(&out);
    Ok(0)
}

fn tell(name: &str, lines: &[String], out: &mut String) {
    if !lines.is_empty() {
        out.push_str(&format!("{name}:\n"));
        for line in lines {
            out.push_str(&format!("  {line}\n"));
        }
    }
}

/// The value of a key of one line, with its number.
fn value<'a>(text: &'a str, key: &str) -> Option<(usize, &'a str)> {
    text.lines().enumerate().find_map(|(at, line)| {
        let rest = line.trim_start().strip_prefix(key)?.trim_start();
        let value = rest.strip_prefix(['=', ':'])?;
        Some((at + 1, value.trim()))
    })
}

fn found(text: &str, keys: &[(&str, &str)]) -> Vec<String> {
    let found = keys.iter().filter_map(|(key, difference)| {
        let (line, _) = value(text, key)?;
        Some(format!("line {line}: {key} {difference}"))
    });
    found.collect()
}

/// confd takes a mode without a leading zero for a decimal number.
fn mode(text: &str) -> Option<String> {
    let (line, value) = value(text, "mode")?;
    let digits = value.trim_matches(['"', '\'']);
    let number: u32 = digits.parse().ok().filter(|_| !digits.starts_with('0'))?;
    Some(format!(
        "line {line}: mode {digits} is octal here, 0{digits}; confd takes it for a decimal number and sets {:#05o}",
        number & 0o7777
    ))
}

/// The resource files below a directory; one that cannot be read is told of by `lint`.
fn resources(directory: &Path, prefix: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() && prefix.matches('/').count() < 8 {
            found.extend(resources(&entry.path(), &format!("{name}/")));
        } else if crate::resource::is_resource_file(&name)
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            found.insert(name, text);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_with_their_lines() {
        let text = "[template]\nsrc = \"a\"\nmode = \"644\"\n  owner = \"www\"\nowners = 1\n";
        assert_eq!(
            mode(text).as_deref(),
            Some(
                "line 3: mode 644 is octal here, 0644; confd takes it for a decimal number and sets 0o1204"
            )
        );
        assert_eq!(mode("mode = \"0644\"\n"), None);
        assert_eq!(mode("model: 5\n"), None);
        let lines = found(text, RESOURCE_KEYS);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("line 4: owner is set here"));
    }
}
