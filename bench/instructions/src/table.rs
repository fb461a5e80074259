//! What was counted before, and how it compares.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path as File, PathBuf};

use crate::paths::Path;

/// The kept counts are not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// No such file, or no room for it.
    #[error("{operation} {file}")]
    File {
        /// What failed.
        operation: &'static str,
        /// Which file.
        file: PathBuf,
        /// As the system says.
        #[source]
        source: io::Error,
    },
    /// Something else stands there.
    #[error("read {file}: expected an object of path names and counts")]
    Form {
        /// Which file.
        file: PathBuf,
        /// Where it went wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// Counts by path; none when there is no such file yet.
pub(crate) fn read(file: &File) -> Result<BTreeMap<String, u64>, TableError> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(failed("read", file, source)),
    };
    serde_json::from_slice(&text).map_err(|source| TableError::Form {
        file: file.to_owned(),
        source,
    })
}

pub(crate) fn write(file: &File, counts: Vec<(String, u64)>) -> Result<(), TableError> {
    let counts: BTreeMap<_, _> = counts.into_iter().collect();
    // A map of strings and numbers has a JSON form.
    let mut text = serde_json::to_string_pretty(&counts).unwrap_or_default();
    text.push('\n');
    std::fs::write(file, text).map_err(|source| failed("write", file, source))
}

fn failed(operation: &'static str, file: &File, source: io::Error) -> TableError {
    TableError::File {
        operation,
        file: file.to_owned(),
        source,
    }
}

/// One line for a person.
pub(crate) fn line(path: &Path, count: u64, before: Option<u64>) -> String {
    let change = match before {
        Some(before) if before > 0 => {
            format!("{:+.1} %", (count as f64 / before as f64 - 1.0) * 100.0)
        }
        _ => "new".to_owned(),
    };
    format!("{:14} {count:>12} {change:>9}  {}", path.name, path.about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::PATHS;

    #[test]
    fn a_change_is_told_in_percent() {
        for (count, before, wanted) in [
            (110, Some(100), "+10.0 %"),
            (99, Some(100), "-1.0 %"),
            (5, None, "new"),
            (5, Some(0), "new"),
        ] {
            let line = line(&PATHS[0], count, before);
            assert!(line.contains(wanted), "{line}");
        }
    }

    #[test]
    fn kept_counts_are_of_paths_there_are() {
        let file = File::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/instructions.json");
        let kept: Vec<_> = read(&file).unwrap().into_keys().collect();
        let mut names: Vec<_> = PATHS.iter().map(|path| path.name.to_owned()).collect();
        names.sort();
        assert_eq!(
            kept, names,
            "run `make instructions` after changing the list"
        );
    }
}
