//! Notices that files of the configuration directory changed, and joins the bursts in which editors write them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Time without a further change before files are read. 100 ms: an editor writes, moves and sets attributes in one go, a
/// deployment copies many files.
const SETTLE: Duration = Duration::from_millis(100);

/// A directory that never comes to rest is read this often all the same.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Changes below a directory.
pub(super) struct Notice {
    bursts: mpsc::Receiver<()>,
    directory: PathBuf,
    /// Ends the joining task by closing its channel; `None` if nothing is watched.
    watcher: Option<RecommendedWatcher>,
    problem: Option<String>,
}

impl Notice {
    /// Never notices anything.
    pub(super) fn none() -> Self {
        let (_, bursts) = mpsc::channel(1);
        Self {
            bursts,
            directory: PathBuf::new(),
            watcher: None,
            problem: None,
        }
    }

    /// Watches a configuration directory. If that cannot be done there is a problem to show, and changes are
    /// seen on a reload only.
    pub(super) fn watch(directory: &Path) -> Self {
        // One notice that was not taken yet says all: look again.
        let (tell, changes) = mpsc::channel(1);
        let (tell_burst, bursts) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading files is what we do ourselves.
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                let _ = tell.try_send(());
            }
        });
        let watching = watcher.and_then(|mut watcher| {
            watch_all(&mut watcher, directory)?;
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => {
                tokio::spawn(join(changes, tell_burst));
                Self {
                    bursts,
                    directory: directory.to_owned(),
                    watcher: Some(watcher),
                    problem: None,
                }
            }
            Err(error) => {
                let problem = format!(
                    "changes of {} are not noticed: {error}",
                    directory.display()
                );
                tracing::warn!("{problem}");
                Self {
                    problem: Some(problem),
                    ..Self::none()
                }
            }
        }
    }

    /// Watches also what has been created since; before the files are read, so that no change falls between.
    pub(super) fn refresh(&mut self) {
        if let Some(watcher) = &mut self.watcher
            && let Err(error) = watch_all(watcher, &self.directory)
        {
            tracing::warn!(%error, "changes of {} may not be noticed", self.directory.display());
        }
    }

    /// Why nothing is watched.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }

    /// Waits for the end of a burst of changes. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        if self.bursts.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// The directory itself for its two folders to appear, these with all that is below. Not everything below the directory:
/// some set-ups have their output there, and every file written would be noticed.
fn watch_all(watcher: &mut RecommendedWatcher, directory: &Path) -> notify::Result<()> {
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    for folder in ["conf.d", "templates"].map(|name| directory.join(name)) {
        if folder.is_dir() {
            watcher.watch(&folder, RecursiveMode::Recursive)?;
        }
    }
    Ok(())
}

/// Turns bursts of notices into one each; ends with the watcher or the agent.
async fn join(mut changes: mpsc::Receiver<()>, tell: mpsc::Sender<()>) {
    while changes.recv().await.is_some() {
        let end = Instant::now() + SETTLE_MAX;
        while Instant::now() < end
            && matches!(
                tokio::time::timeout(SETTLE, changes.recv()).await,
                Ok(Some(()))
            )
        {}
        if tell.send(()).await.is_err() {
            return;
        }
    }
}
