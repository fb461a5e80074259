//! Files in memory, whose operations fail, or are the last a process carries out.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use confd::disk::{Attributes, Disk, Kind, Stat};

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, (Vec<u8>, u32)>,
    /// Operations until one fails.
    fails_in: Option<u64>,
    /// Operations until the process is gone.
    dies_in: Option<u64>,
    dead: bool,
}

/// See the module. What the operations of a real disk do in one go they do in one go here.
#[derive(Debug, Default)]
pub(super) struct MemoryDisk(Mutex<State>);

impl MemoryDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, after one more operation.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if due(&mut state.dies_in) {
            state.dead = true;
        }
        let fails = due(&mut state.fails_in);
        if state.dead {
            return Err(ErrorKind::Interrupted.into());
        }
        if fails {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(state)
    }

    pub(super) fn fail_after(&self, operations: u64) {
        self.state().fails_in = Some(operations);
    }

    pub(super) fn die_after(&self, operations: u64) {
        self.state().dies_in = Some(operations);
    }

    /// Whether the process that used it has ended within an operation.
    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Another process uses it.
    pub(super) fn revive(&self) {
        let mut state = self.state();
        state.dead = false;
        state.fails_in = None;
        state.dies_in = None;
    }

    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.state()
            .files
            .get(path)
            .map(|(content, _)| content.clone())
    }

    pub(super) fn edit(&self, path: &Path, content: &[u8]) {
        let file = (content.to_vec(), 0o644);
        self.state().files.insert(path.to_owned(), file);
    }
}

/// Counts down; true when it is over.
fn due(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(more) => {
            *more -= 1;
            false
        }
        None => false,
    }
}

impl Disk for MemoryDisk {
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let state = self.operate()?;
        let stat = |kind, mode, len: usize| Stat {
            kind,
            mode,
            uid: 0,
            gid: 0,
            len: len as u64,
        };
        let file = state.files.get(path);
        let folder = || {
            (!path.starts_with(super::resources::FOLDER)).then(|| stat(Kind::Directory, 0o755, 0))
        };
        let folder_itself = path == Path::new(super::resources::FOLDER);
        Ok(match file {
            Some((content, mode)) => Some(stat(Kind::File, *mode, content.len())),
            None if folder_itself => Some(stat(Kind::Directory, 0o755, 0)),
            None => folder(),
        })
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.operate()?;
        let (content, _) = state.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(content.clone())
    }

    fn make_dirs(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn write_new(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        if self.state().files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let part = (content[..content.len() / 2].to_vec(), attributes.mode);
        match self.operate() {
            Ok(mut state) => {
                let whole = (content.to_vec(), attributes.mode);
                state.files.insert(path.to_owned(), whole);
                Ok(true)
            }
            Err(error) => {
                // Half of it is there.
                self.state().files.insert(path.to_owned(), part);
                Err(error)
            }
        }
    }

    fn overwrite(&self, path: &Path, content: &[u8], attributes: Attributes) -> io::Result<bool> {
        let whole = (content.to_vec(), attributes.mode);
        self.operate()?.files.insert(path.to_owned(), whole);
        Ok(true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let file = state.files.remove(from).ok_or(ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.operate().map(|_| ())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operate()?.files.remove(path);
        Ok(())
    }
}
