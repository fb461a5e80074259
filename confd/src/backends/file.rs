//! YAML and JSON files as keys: nested names become paths, positions in lists become numbers. Several files and
//! directories lie on top of each other, the later over the earlier. Watched: a saved file is read at once, and one that
//! does not parse leaves the keys as they were.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use notify::{RecursiveMode, Watcher as _};
use serde_yaml::Value;
use store_client::mirror::KeyRange;
use tokio::sync::mpsc;

use super::follow::{Reader, Trouble, follow};
use super::ledger::Keys;
use super::{Backend, Source};
use crate::glob::Glob;

/// Levels of directories and of nested names; what lies deeper is a loop or a mistake.
const DEPTH_MAX: usize = 32;
/// Editors write in several steps; what they do within this time is one change.
const SETTLE: Duration = Duration::from_millis(20);
/// Looked at this often even if nothing was reported: some file systems report nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Files and directories of YAML.
#[derive(Debug, Clone)]
pub struct Files {
    /// The files, and directories of them, in order.
    pub paths: Vec<PathBuf>,
    /// Names of files in directories that are read; all others are left out.
    pub filter: Glob,
}

/// A file that cannot be read as keys.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileFault {
    path: PathBuf,
    problem: String,
}

impl Files {
    /// All keys and values.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub fn read(&self) -> Result<BTreeMap<String, String>, FileFault> {
        let mut keys = BTreeMap::new();
        for path in &self.paths {
            self.read_path(path, 0, &mut keys)?;
        }
        Ok(keys)
    }

    fn read_path(
        &self,
        path: &Path,
        depth: usize,
        keys: &mut BTreeMap<String, String>,
    ) -> Result<(), FileFault> {
        let fault = |problem: String| FileFault {
            path: path.to_owned(),
            problem,
        };
        let io = |error: std::io::Error| fault(error.to_string());
        if std::fs::metadata(path).map_err(io)?.is_dir() {
            let mut entries = std::fs::read_dir(path)
                .and_then(|entries| {
                    entries
                        .map(|entry| Ok(entry?.path()))
                        .collect::<std::io::Result<Vec<_>>>()
                })
                .map_err(io)?;
            entries.sort();
            for entry in entries {
                let name = entry
                    .file_name()
                    .and_then(|name| name.to_str())
                    .unwrap_or(".");
                let shown = !name.starts_with('.') && (entry.is_dir() || self.filter.matches(name));
                if shown && depth < DEPTH_MAX {
                    self.read_path(&entry, depth + 1, keys)?;
                }
            }
            return Ok(());
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let value: Value = serde_yaml::from_str(&text).map_err(|error| fault(error.to_string()))?;
        plant("", &value, 0, keys).map_err(fault)
    }
}

/// Adds what is below a path.
fn plant(
    path: &str,
    value: &Value,
    depth: usize,
    keys: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("{path} is nested deeper than {DEPTH_MAX} levels"));
    }
    let mut leaf = |text: String| {
        let path = if path.is_empty() { "/" } else { path };
        keys.insert(path.to_owned(), text);
    };
    match value {
        // As in confd: a name without a value has no key.
        Value::Null => {}
        Value::Bool(flag) => leaf(flag.to_string()),
        Value::Number(number) => leaf(number.to_string()),
        Value::String(text) => leaf(text.clone()),
        Value::Sequence(list) => {
            for (index, value) in list.iter().enumerate() {
                plant(&format!("{path}/{index}"), value, depth + 1, keys)?;
            }
        }
        Value::Mapping(map) => {
            for (name, value) in map {
                let name = match name {
                    Value::String(name) => name.clone(),
                    Value::Number(number) => number.to_string(),
                    Value::Bool(flag) => flag.to_string(),
                    _ => return Err(format!("below {path:?} stands a name that is no text")),
                };
                plant(
                    &format!("{path}/{}", name.trim_matches('/')),
                    value,
                    depth + 1,
                    keys,
                )?;
            }
        }
        Value::Tagged(tagged) => plant(path, &tagged.value, depth, keys)?,
    }
    Ok(())
}

impl Backend for Files {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        let (moved, moves) = mpsc::channel(1);
        let reader = Watched {
            // Kept for its life; without one, looking again now and then has to do.
            _watcher: self.watcher(moved),
            files: self.clone(),
            moves,
        };
        follow(reader, ranges, 0)
    }
}

/// Files that are read again whenever something moves.
struct Watched {
    files: Files,
    moves: mpsc::Receiver<()>,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Reader for Watched {
    fn read(&mut self) -> BoxFuture<'_, Result<Keys, Trouble>> {
        let files = self.files.clone();
        async move {
            match tokio::task::spawn_blocking(move || files.read()).await {
                Ok(Ok(keys)) => Ok(keys
                    .into_iter()
                    .map(|(key, value)| (Bytes::from(key), Bytes::from(value)))
                    .collect()),
                Ok(Err(error)) => Err(Trouble::hinted(
                    error.to_string(),
                    "the keys stay as they were until the file is mended",
                )),
                Err(error) => Err(Trouble::new(error.to_string())),
            }
        }
        .boxed()
    }

    fn moved(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        async {
            let moved = tokio::time::timeout(LOOK_AGAIN, self.moves.recv()).await;
            if matches!(moved, Ok(Some(()))) {
                tokio::time::sleep(SETTLE).await;
                while self.moves.recv().now_or_never().flatten().is_some() {}
            } else if matches!(moved, Ok(None)) {
                // There is no watcher.
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(())
        }
        .boxed()
    }

    fn endpoint(&self) -> String {
        let paths = self.files.paths.iter();
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        paths.join(",")
    }
}

impl Files {
    /// Directories are watched rather than files: editors put a new file in place of the old one.
    fn watcher(&self, moved: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        let told = move |event: notify::Result<notify::Event>| {
            // Reading files is what we do ourselves; a full channel means that a move is noted already.
            if event.is_ok_and(|event| !matches!(event.kind, notify::EventKind::Access(_))) {
                let _ = moved.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(told).ok()?;
        for path in &self.paths {
            let (place, mode) = match path.is_dir() {
                true => (path.as_path(), RecursiveMode::Recursive),
                false => (
                    path.parent().unwrap_or(Path::new(".")),
                    RecursiveMode::NonRecursive,
                ),
            };
            let place = if place.as_os_str().is_empty() {
                Path::new(".")
            } else {
                place
            };
            if let Err(error) = watcher.watch(place, mode) {
                tracing::warn!(path = %place.display(), %error, "not watched; it is read every {LOOK_AGAIN:?}");
            }
        }
        Some(watcher)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
