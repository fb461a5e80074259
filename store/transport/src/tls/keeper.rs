//! Keeps the material of a kind of port in step with its files.
//!
//! Level, not edge: a notice only says "look again", and so does every minute, for file systems that give
//! no notice. What is looked at are the bytes. Streams that are open keep what they were opened with; new
//! ones get the newest. Files that do not fit (half replaced, say) change nothing, and are said once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::error::TlsError;
use super::material::{Expiry, Material};
use super::own::OwnCertificate;
use super::settings::Settings;

/// A certificate and its key are replaced one after the other: this long after the last notice both are
/// there.
const SETTLE: Duration = Duration::from_millis(200);

/// Between two looks without a notice.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// What ends sooner is warned of.
const SOON: i64 = 30 * DAY;

/// Seconds.
const DAY: i64 = 24 * 60 * 60;

/// The material of one kind of port, always the newest that fits.
#[derive(Debug)]
pub struct Keeper {
    /// For people: `client` or `peer`.
    name: &'static str,
    settings: Settings,
    /// Made here when nobody else makes any; renewed before it ends.
    own: Option<OwnCertificate>,
    current: RwLock<Arc<Material>>,
}

/// The bytes of all files, as far as they can be read.
type Content = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Keeper {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn new(
        name: &'static str,
        settings: Settings,
        own: Option<OwnCertificate>,
    ) -> Result<Arc<Self>, TlsError> {
        if let Some(own) = &own {
            own.ensure()?;
        }
        let material = Material::load(&settings)?;
        let keeper = Arc::new(Self {
            name,
            settings,
            own,
            current: RwLock::new(Arc::new(material)),
        });
        keeper.warn_of_ends();
        Ok(keeper)
    }

    /// What new streams are opened with.
    #[must_use]
    pub fn material(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// For people and metrics: `client` or `peer`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Days until each part ends; negative once it has.
    #[must_use]
    pub fn days_left(&self) -> Vec<(&'static str, f64)> {
        let now = now();
        let days = |expiry: &Expiry| {
            let left = expiry.at.saturating_sub(now);
            (expiry.part.name(), left as f64 / DAY as f64)
        };
        self.material().expiries.iter().map(days).collect()
    }

    /// Follows the files for as long as it is polled.
    pub async fn follow(self: Arc<Self>) {
        let files: Vec<PathBuf> = self.settings.files().cloned().collect();
        if files.is_empty() {
            return std::future::pending().await;
        }
        let noticed = Arc::new(Notify::new());
        // Kept for as long as this runs.
        let _watcher = watch(&files, &noticed);
        let mut known = content(&files).await;
        let mut said = String::new();
        loop {
            if timeout(LOOK_AGAIN, noticed.notified()).await.is_ok() {
                sleep(SETTLE).await;
            }
            if let Some(own) = &self.own
                && let Err(error) = own.ensure()
            {
                tracing::warn!("the {} certificate is not renewed: {error}", self.name);
            }
            let now = content(&files).await;
            if now == known {
                continue;
            }
            known = now;
            self.load_again(&mut said);
        }
    }

    fn load_again(&self, said: &mut String) {
        match Material::load(&self.settings) {
            Ok(material) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
                said.clear();
                tracing::info!(ports = self.name, "TLS files have changed and are in use");
                self.warn_of_ends();
            }
            Err(error) => {
                let text = match std::error::Error::source(&error) {
                    Some(source) => format!("{error}: {source}"),
                    None => error.to_string(),
                };
                if text != *said {
                    tracing::warn!(
                        ports = self.name,
                        hint = error.hint(),
                        "TLS files have changed and are not used, the ones before stay: {text}"
                    );
                    *said = text;
                }
            }
        }
    }

    fn warn_of_ends(&self) {
        let now = now();
        for expiry in &self.material().expiries {
            let left = expiry.at.saturating_sub(now);
            let part = expiry.part.name();
            let days = left / DAY;
            if left <= 0 {
                tracing::warn!(ports = self.name, part, days, "a TLS file is past its end");
            } else if left < SOON {
                tracing::warn!(ports = self.name, part, days, "a TLS file ends soon");
            }
        }
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// Watches the folders: files are replaced by renaming, and what a container is given are links.
fn watch(files: &[PathBuf], noticed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let noticed = Arc::clone(noticed);
    let handler = move |event: notify::Result<notify::Event>| {
        let reading = |kind: &EventKind| match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
            EventKind::Access(_) => true,
            _ => false,
        };
        // What is only read, also by ourselves, is no change.
        if !event.is_ok_and(|event| reading(&event.kind)) {
            noticed.notify_one();
        }
    };
    let watched = notify::recommended_watcher(handler).and_then(|mut watcher| {
        let folders: BTreeSet<&Path> = files.iter().filter_map(|file| folder(file)).collect();
        for folder in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    watched
        .inspect_err(|error| {
            tracing::warn!("TLS files are looked at every minute only: {error}");
        })
        .ok()
}

fn folder(file: &Path) -> Option<&Path> {
    let folder = file.parent()?;
    Some(if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    })
}

async fn content(files: &[PathBuf]) -> Content {
    let files = files.to_vec();
    let read = tokio::task::spawn_blocking(move || {
        let read = |file: PathBuf| {
            let bytes = std::fs::read(&file).ok();
            (file, bytes)
        };
        files.into_iter().map(read).collect()
    });
    read.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_do_not_fit_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let own = OwnCertificate {
            folder: folder.path().to_owned(),
            hosts: vec!["localhost".to_owned()],
            years: 1,
            as_client: false,
        };
        let files = own.files();
        let settings = Settings {
            own: Some(files.clone()),
            ..Settings::default()
        };
        let keeper = Keeper::new("client", settings, Some(own.clone())).unwrap();
        let before = keeper.material();
        let mut said = String::new();
        // A certificate whose key is yet to come.
        let key = std::fs::read(&files.key).unwrap();
        std::fs::remove_file(&files.certificate).unwrap();
        own.ensure().unwrap();
        let newer_key = std::fs::read(&files.key).unwrap();
        std::fs::write(&files.key, key).unwrap();
        keeper.load_again(&mut said);
        assert!(Arc::ptr_eq(&before, &keeper.material()));
        assert!(
            said.contains("the key is not that of the certificate"),
            "{said}"
        );
        std::fs::write(&files.key, newer_key).unwrap();
        keeper.load_again(&mut said);
        assert!(!Arc::ptr_eq(&before, &keeper.material()));
        assert!(said.is_empty());
    }

    #[test]
    fn reading_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        std::fs::write(&file, "1").unwrap();
        let noticed = Arc::new(Notify::new());
        let _watcher = watch(std::slice::from_ref(&file), &noticed).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            std::fs::read(&file).unwrap();
            let short = Duration::from_millis(50);
            assert!(timeout(short, noticed.notified()).await.is_err());
            std::fs::write(&file, "2").unwrap();
            let long = Duration::from_secs(10);
            assert!(timeout(long, noticed.notified()).await.is_ok());
        });
    }
}
