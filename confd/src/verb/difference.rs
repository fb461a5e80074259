//! `confd diff`: what the next pass would change in each file, as a unified difference without secrets.

use std::io::IsTerminal as _;

use super::{FAILED, PENDING};
use crate::agent::Fault;
use crate::config::Config;
use crate::disk::OsDisk;
use crate::{files, run};

/// Shows all differences.
pub(super) async fn run(config: &Config) -> Result<u8, Fault> {
    let units = super::units(config)?;
    let snapshot = super::snapshot(config, &units).await?;
    let (globals, colours) = (run::globals(), has_colours());
    let (mut faults, mut pending) = (0, 0);
    for (name, unit) in &units {
        let difference = unit.clone().and_then(|unit| {
            let text = super::rendered(&unit, &snapshot, &globals).result?;
            let difference = files::difference(&OsDisk, &unit.resource, &text)?;
            let secrets = super::secrets(&unit, &snapshot);
            Ok(difference.map(|text| secrets.hide_in_difference(&text)))
        });
        match difference {
            Ok(None) => {}
            Ok(Some(text)) => {
                pending += 1;
                super::say(&coloured(&text, colours));
            }
            Err(fault) => {
                faults += 1;
                super::complain(&Fault {
                    message: format!("{name}: {}", fault.message),
                    hint: fault.hint,
                });
            }
        }
    }
    Ok(match (faults, pending) {
        (0, 0) => 0,
        (0, _) => PENDING,
        _ => FAILED,
    })
}

/// Colours are for a terminal whose owner has not said no (no-color.org).
fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// Removed lines in red, added ones in green, places in cyan.
fn coloured(difference: &str, colours: bool) -> String {
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
