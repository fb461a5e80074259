//! A snapshot file, opened and vouched for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use store_bolt::etcd::{DIGEST_BYTES, Imported, import};
use store_bolt::{Source, Tree, TreeError};
use store_machine::Limits;
use store_machine::snapshot::State;

use crate::failure::Failure;
use crate::progress::Progress;
use crate::table::size;

/// Pages are multiples of this, whatever their size, so what is over tells whether a checksum follows them.
const SECTOR_BYTES: u64 = 512;

/// Read at once to compute the checksum.
const READ_BYTES: usize = 1 << 20;

/// An open snapshot.
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
    pub(crate) tree: Tree<Bytes>,
}

/// The bytes of an open file.
pub(crate) struct Bytes {
    file: File,
    bytes: u64,
}

impl Source for Bytes {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// What to make of the checksum behind the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Digest {
    /// It must be there and hold.
    Needed,
    /// Where there is one, it must hold: a file copied out of a data folder has none.
    IfThere,
    /// Nobody cares.
    Ignored,
}

/// Opens a snapshot.
///
/// # Errors
/// When it cannot be read, is cut or tampered with, or is something else.
pub(crate) fn open(path: &Path, digest: Digest) -> Result<SnapshotFile, Failure> {
    let shown = path.display();
    let file = File::open(path).map_err(|cause| match cause.kind() {
        // etcdutl's text.
        io::ErrorKind::NotFound => {
            Failure::error(format!("stat {shown}: no such file or directory"))
        }
        _ => Failure::error(format!("open {shown}: {cause}")),
    })?;
    let bytes = file
        .metadata()
        .map_err(|cause| Failure::of(&format!("read {shown}"), &cause))?
        .len();
    let source = Bytes { file, bytes };
    check_kind(path, &source)?;
    let tree = Tree::open(source).map_err(|error| unreadable(path, &error.into()))?;
    if digest != Digest::Ignored {
        check_digest(path, tree.source(), digest)?;
    }
    Ok(SnapshotFile {
        path: path.to_owned(),
        tree,
    })
}

/// What stands at the beginning of other files that are easily taken for one.
fn check_kind(path: &Path, source: &Bytes) -> Result<(), Failure> {
    let mut head = [0; 8];
    let read = source.bytes.min(8) as usize;
    let _ = source.read_at(&mut head[..read], 0);
    let what = match &head {
        b"muster s" => "a file of a data folder, which only the store that wrote it reads",
        _ if source.bytes == 0 => "empty",
        _ => return Ok(()),
    };
    Err(Failure::error(format!(
        "read {}: expected a snapshot, but the file is {what}",
        path.display()
    ))
    .hint("take a snapshot with `etcdctl snapshot save` from a member that runs"))
}

fn check_digest(path: &Path, source: &Bytes, digest: Digest) -> Result<(), Failure> {
    let shown = path.display();
    if source.bytes % SECTOR_BYTES != DIGEST_BYTES {
        if digest == Digest::IfThere {
            return Ok(());
        }
        return Err(Failure::error(format!(
            "snapshot missing hash but --skip-hash-check=false: {shown} has {} bytes, expected a multiple of \
             {SECTOR_BYTES} and {DIGEST_BYTES} more",
            source.bytes
        ))
        .hint(
            "copy the file again if it was cut; one copied from a data folder has no checksum: give --skip-hash-check",
        ));
    }
    let failed = |cause: io::Error| Failure::of(&format!("read {shown}"), &cause);
    let content = source.bytes - DIGEST_BYTES;
    let mut computed = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut offset = 0;
    let mut progress = Progress::new();
    while offset < content {
        let length = (content - offset).min(READ_BYTES as u64) as usize;
        source
            .read_at(&mut buffer[..length], offset)
            .map_err(failed)?;
        computed.update(&buffer[..length]);
        offset += length as u64;
        let name = || format!("{} to check", size(content.cast_signed()));
        progress.show(offset, content, name);
    }
    progress.clear();
    let computed = computed.finalize();
    let mut stored = [0; DIGEST_BYTES as usize];
    source.read_at(&mut stored, content).map_err(failed)?;
    if stored[..] == computed[..] {
        return Ok(());
    }
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    Err(Failure::error(format!(
        "expected sha256 {}, got {}: {shown} is not as it was saved",
        hex(&stored),
        hex(&computed)
    ))
    .hint("take another copy of the snapshot; --skip-hash-check restores what can be read of this one"))
}

/// A file that is no snapshot, or a damaged one.
pub(crate) fn unreadable(path: &Path, error: &store_bolt::etcd::ImportError) -> Failure {
    let doing = format!("read snapshot {}", path.display());
    Failure::of(&doing, error).hint(error.hint())
}

impl SnapshotFile {
    /// The store in it; `change` may alter what stands beside the keys.
    ///
    /// # Errors
    /// When it is damaged.
    pub(crate) fn import(&self, change: impl FnOnce(&mut State)) -> Result<Imported, Failure> {
        let limits = Limits {
            quota_bytes: u64::MAX,
        };
        import(&self.tree, limits, change).map_err(|error| unreadable(&self.path, &error))
    }

    /// An error of the tree as a failure.
    pub(crate) fn unreadable(&self, error: TreeError) -> Failure {
        unreadable(&self.path, &error.into())
    }
}
