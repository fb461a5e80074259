//! YAML and JSON files as keys: nested names become paths, positions in lists become numbers. Several files and
//! directories lie on top of each other, the later over the earlier. Watched: a saved file is read at once, and one that
//! does not parse leaves the keys as they were.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use notify::{RecursiveMode, Watcher as _};
use serde_yaml::Value;
use store_client::mirror::{Cause, Change, Entry, Event, FeedStatus, KeyRange, Snapshot};
use tokio::sync::{mpsc, watch};

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
        let (tell_event, events) = mpsc::channel(1);
        let (tell_status, status) = watch::channel(FeedStatus::default());
        let follower = Follower {
            files: self.clone(),
            ranges,
            tell_event,
            tell_status,
            held: Snapshot::from_entries(0, Vec::new()),
        };
        let task = tokio::spawn(follower.run());
        Box::new(Running {
            events,
            status,
            task,
        })
    }
}

struct Running {
    events: mpsc::Receiver<Event>,
    status: watch::Receiver<FeedStatus>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source for Running {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.poll_recv(context)
    }

    fn status(&self) -> watch::Receiver<FeedStatus> {
        self.status.clone()
    }
}

/// Reads again whenever something moves.
struct Follower {
    files: Files,
    ranges: Vec<KeyRange>,
    tell_event: mpsc::Sender<Event>,
    tell_status: watch::Sender<FeedStatus>,
    /// What was told last; revision 0 before the first reading.
    held: Snapshot,
}

impl Follower {
    async fn run(mut self) {
        let (moved, mut moves) = mpsc::channel(1);
        // Kept for its life; without one, looking again now and then has to do.
        let _watcher = self.watcher(moved);
        loop {
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || files.read()).await;
            let event = match read {
                Ok(Ok(keys)) => self.advance(keys),
                Ok(Err(error)) => {
                    let error = error.to_string();
                    self.tell_status.send_modify(|status| {
                        status.error = Some(error);
                        status.hint =
                            Some("the keys stay as they were until the file is mended".to_owned());
                    });
                    None
                }
                Err(_) => return,
            };
            if let Some(event) = event
                && self.tell_event.send(event).await.is_err()
            {
                return;
            }
            let moved = tokio::time::timeout(LOOK_AGAIN, moves.recv()).await;
            if matches!(moved, Ok(Some(()))) {
                tokio::time::sleep(SETTLE).await;
                while moves.recv().now_or_never().flatten().is_some() {}
            }
        }
    }

    /// Directories are watched rather than files: editors put a new file in place of the old one.
    fn watcher(&self, moved: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
        let told = move |event: notify::Result<notify::Event>| {
            // Reading files is what we do ourselves; a full channel means that a move is noted already.
            if event.is_ok_and(|event| !matches!(event.kind, notify::EventKind::Access(_))) {
                let _ = moved.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(told).ok()?;
        for path in &self.files.paths {
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

    /// The event that leads from what was told to these keys; `None` if they are the same.
    fn advance(&mut self, keys: BTreeMap<String, String>) -> Option<Event> {
        let first = self.held.revision() == 0;
        let revision = self.held.revision() + 1;
        let mut changes = Vec::new();
        let mut entries: Vec<(Bytes, Entry)> = Vec::new();
        for (key, value) in keys {
            let key = Bytes::from(key);
            if !self.ranges.iter().any(|range| range.contains(&key)) {
                continue;
            }
            let before = self.held.get(&key).cloned();
            let value = Bytes::from(value);
            let entry = match &before {
                Some(before) if before.value == value => before.clone(),
                _ => Entry {
                    value,
                    create_revision: before
                        .as_ref()
                        .map_or(revision, |before| before.create_revision),
                    mod_revision: revision,
                },
            };
            if entry.mod_revision == revision {
                changes.push(Change {
                    key: key.clone(),
                    before,
                    after: Some(entry.clone()),
                });
            }
            entries.push((key, entry));
        }
        let kept: BTreeMap<&Bytes, ()> = entries.iter().map(|(key, _)| (key, ())).collect();
        let gone: Vec<Change> = self
            .held
            .iter()
            .filter(|(key, _)| !kept.contains_key(key))
            .map(|(key, entry)| Change {
                key: key.clone(),
                before: Some(entry.clone()),
                after: None,
            })
            .collect();
        changes.extend(gone);
        let endpoint = Some(
            self.files
                .paths
                .iter()
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
                .join(","),
        );
        self.tell_status.send_modify(|status| {
            status.endpoint = endpoint;
            status.error = None;
            status.hint = None;
            status.revision = if changes.is_empty() && !first {
                status.revision
            } else {
                revision
            };
        });
        if changes.is_empty() && !first {
            return None;
        }
        let snapshot = Snapshot::from_entries(revision, entries);
        self.held = snapshot.clone();
        Some(match first {
            true => Event::Listed {
                snapshot,
                changes,
                cause: Cause::First,
            },
            false => Event::Advanced { snapshot, changes },
        })
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
