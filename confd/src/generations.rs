//! Copies of what destinations held when their services were proven to run on it, to go back to. Named by their content,
//! so equal ones are one; readable by us alone, for a configuration may hold secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::plan::ContentHash;

/// Copies in a directory, or in memory where there is none to write to.
#[derive(Debug)]
pub(crate) enum Generations {
    /// One file for each.
    Directory(PathBuf),
    /// Gone with the process, so there is nothing to go back to after a restart.
    Memory(Mutex<BTreeMap<ContentHash, Arc<[u8]>>>),
}

impl Generations {
    /// Below the directory for state.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn open(state: Option<PathBuf>) -> io::Result<Self> {
        let Some(state) = state else {
            return Ok(Self::Memory(Mutex::default()));
        };
        let directory = state.join("generations");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)?;
        Ok(Self::Directory(directory))
    }

    /// Keeps content.
    ///
    /// # Errors
    /// The copy cannot be written.
    pub(crate) fn keep(&self, hash: ContentHash, content: &[u8]) -> io::Result<()> {
        match self {
            Self::Memory(copies) => {
                let mut copies = copies.lock().unwrap_or_else(PoisonError::into_inner);
                copies.entry(hash).or_insert_with(|| content.into());
                Ok(())
            }
            Self::Directory(directory) => {
                let path = directory.join(hash.to_string());
                if path.exists() {
                    return Ok(());
                }
                // Moved into place, so that what is there is whole.
                let new = path.with_extension("new");
                let mut options = std::fs::OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .mode(0o600)
                    .open(&new)?;
                io::Write::write_all(&mut file, content)?;
                std::fs::rename(&new, &path)
            }
        }
    }

    /// The content of this hash; an error where the copy is not what it was.
    ///
    /// # Errors
    /// There is no copy, or it was changed.
    pub(crate) fn content(&self, hash: ContentHash) -> io::Result<Arc<[u8]>> {
        let content: Arc<[u8]> = match self {
            Self::Memory(copies) => {
                let copies = copies.lock().unwrap_or_else(PoisonError::into_inner);
                copies.get(&hash).cloned().ok_or(io::ErrorKind::NotFound)?
            }
            Self::Directory(directory) => std::fs::read(directory.join(hash.to_string()))?.into(),
        };
        if ContentHash::of(&content) == hash {
            Ok(content)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the copy was changed",
            ))
        }
    }

    /// Forgets all others.
    pub(crate) fn retain(&self, kept: &BTreeSet<ContentHash>) {
        match self {
            Self::Memory(copies) => copies
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|hash, _| kept.contains(hash)),
            Self::Directory(directory) => {
                let Ok(entries) = std::fs::read_dir(directory) else {
                    return;
                };
                for entry in entries.flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let stale = ContentHash::try_from(name).is_ok_and(|hash| !kept.contains(&hash));
                    if stale {
                        // What stays takes room and nothing else.
                        let _ = std::fs::remove_file(entry.path());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_the_rest_goes() {
        let home = tempfile::tempdir().unwrap();
        for state in [None, Some(home.path().join("state"))] {
            let generations = Generations::open(state).unwrap();
            let (one, two) = (ContentHash::of(b"one"), ContentHash::of(b"two"));
            generations.keep(one, b"one").unwrap();
            generations.keep(one, b"one").unwrap();
            generations.keep(two, b"two").unwrap();
            assert_eq!(&*generations.content(one).unwrap(), b"one");
            generations.retain(&BTreeSet::from([two]));
            assert!(generations.content(one).is_err());
            assert_eq!(&*generations.content(two).unwrap(), b"two");
        }
    }

    #[test]
    fn copies_are_ours_alone_and_a_changed_one_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let generations = Generations::open(Some(home.path().to_owned())).unwrap();
        let hash = ContentHash::of(b"secret");
        generations.keep(hash, b"secret").unwrap();
        let path = home.path().join("generations").join(hash.to_string());
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        std::fs::write(&path, "other").unwrap();
        assert_eq!(
            generations.content(hash).unwrap_err().to_string(),
            "the copy was changed"
        );
    }
}
