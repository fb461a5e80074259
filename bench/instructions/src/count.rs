//! One path under valgrind.

use std::io;
use std::process::{Command, ExitStatus};

use crate::paths::Path;

/// A path could not be counted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CountError {
    /// valgrind did not start.
    #[error("start valgrind (Debian's package valgrind)")]
    Start(#[source] io::Error),
    /// It, or what it ran, failed.
    #[error("count {path}: valgrind ended with {status}: {said}")]
    Failed {
        /// Which path.
        path: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Its last line.
        said: String,
    },
    /// It did not say a number.
    #[error("count {path}: valgrind says no \"Collected\"")]
    NoCount {
        /// Which path.
        path: &'static str,
    },
}

/// Instructions of one of the things the path does.
pub(crate) fn each(path: &'static Path) -> Result<u64, CountError> {
    let prepared = collected(path, true)?;
    let whole = collected(path, false)?;
    Ok(whole.saturating_sub(prepared) / path.times)
}

fn collected(path: &'static Path, prepare_only: bool) -> Result<u64, CountError> {
    let own = std::env::current_exe().map_err(CountError::Start)?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--run", path.name]);
    if prepare_only {
        command.arg("--prepare-only");
    }
    let output = command.output().map_err(CountError::Start)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(CountError::Failed {
            path: path.name,
            status: output.status,
            said: said.lines().last().unwrap_or_default().to_owned(),
        });
    }
    number(&said).ok_or(CountError::NoCount { path: path.name })
}

/// The number in `==123== Collected : 456`.
fn number(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("Collected : ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valgrinds_number_is_found() {
        for (said, wanted) in [
            (
                "==7== Events    : Ir\n==7== Collected : 3604581\n==7== \n",
                Some(3_604_581),
            ),
            ("==7== Collected : \n", None),
            ("valgrind: no such tool", None),
        ] {
            assert_eq!(number(said), wanted, "{said:?}");
        }
    }
}
