//! What would change in a file, shown to people instead of done: with `--noop` and for `confd dev`.

use std::path::Path;

use store_client::mirror::Snapshot;

use crate::agent::Fault;
use crate::bundle::split;
use crate::confdir::Unit;
use crate::disk::Disk;
use crate::files;
use crate::redact::Secrets;

/// Shows the difference to what stands there, without the secrets among the keys; whether there is one.
pub(super) fn show_difference(
    disk: &dyn Disk,
    unit: &Unit,
    snapshot: Option<&Snapshot>,
    text: &str,
) -> Result<bool, Fault> {
    let parts = split(&unit.resource, text).unwrap_or_default();
    let mut changes = false;
    for (part, text) in parts {
        let difference = files::difference(disk, part, &text.unwrap_or_default())?;
        if let Some(difference) = &difference {
            let secrets = snapshot.map(|snapshot| secrets(unit, snapshot));
            let shown = secrets.unwrap_or_default().hide_in_difference(difference);
            print_whole(&part.dest, &coloured(&shown, has_colours()));
            changes = true;
        }
    }
    Ok(changes)
}

/// The secrets among the keys a resource may see.
pub(crate) fn secrets(unit: &Unit, snapshot: &Snapshot) -> Secrets {
    let scope = unit.resource.scope();
    let pairs = snapshot.iter().filter_map(|(key, entry)| {
        let value = std::str::from_utf8(&entry.value).ok()?;
        Some((scope.path(key)?, value))
    });
    Secrets::of(pairs)
}

/// Writes a difference in one piece, so that those of several resources do not mix.
fn print_whole(dest: &Path, difference: &str) {
    use std::io::Write as _;
    if let Err(error) = std::io::stdout().lock().write_all(difference.as_bytes()) {
        tracing::warn!(dest = %dest.display(), %error, "difference could not be shown");
    }
}

/// Colours are for a terminal whose owner has not said no (no-color.org).
pub(crate) fn has_colours() -> bool {
    use std::io::IsTerminal as _;
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// Removed lines in red, added ones in green, places in cyan.
pub(crate) fn coloured(difference: &str, colours: bool) -> String {
    if !colours {
        return difference.to_owned();
    }
    let colour = |line: &str| match line.as_bytes() {
        [b'-', b'-', b'-', ..] | [b'+', b'+', b'+', ..] => Some("1"),
        [b'-', ..] => Some("31"),
        [b'+', ..] => Some("32"),
        [b'@', ..] => Some("36"),
        _ => None,
    };
    difference
        .lines()
        .map(|line| match colour(line) {
            Some(code) => format!("\x1b[{code}m{line}\x1b[0m\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_colours() {
        let text = "--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\n z\n";
        assert_eq!(coloured(text, false), text);
        assert_eq!(
            coloured(text, true),
            "\x1b[1m--- a\x1b[0m\n\x1b[1m+++ b\x1b[0m\n\x1b[36m@@ -1 +1 @@\x1b[0m\n\x1b[31m-x\x1b[0m\n\x1b[32m+y\x1b[0m\n z\n"
        );
    }
}
