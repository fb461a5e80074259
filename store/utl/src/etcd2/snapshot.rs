//! The files below `member/snap`: the tree of keys at some entry of the log.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

use super::message::{Snapshot, SnapshotFile};
use crate::failure::Failure;

/// Where the log goes on, and what there was until then.
#[derive(Default)]
pub(super) struct Start {
    pub(super) index: u64,
    pub(super) term: u64,
    /// The tree as JSON, and the file it is from; nothing where the log begins at its beginning.
    pub(super) tree: Option<(Bytes, PathBuf)>,
}

/// The newest one that is whole, and what is to be said about newer ones. Names are `<term>-<index>.snap` with 16 hex
/// digits each, so that they sort.
pub(super) fn newest(dir: &Path) -> Result<(Start, Vec<String>), Failure> {
    let failed = |cause: io::Error| Failure::of(&format!("read {}", dir.display()), &cause);
    let mut passed_over = Vec::new();
    let mut files = Vec::new();
    match fs::read_dir(dir) {
        Ok(found) => {
            for entry in found {
                let path = entry.map_err(failed)?.path();
                if path
                    .extension()
                    .is_some_and(|extension| extension == "snap")
                {
                    files.push(path);
                }
            }
        }
        // An etcd that never took one may have no such folder.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(failed(cause)),
    }
    files.sort_unstable();
    for path in files.into_iter().rev() {
        match opened(&path) {
            Ok(start) => return Ok((start, passed_over)),
            Err(reason) => passed_over.push(format!("{}: {reason}", path.display())),
        }
    }
    Ok((Start::default(), passed_over))
}

fn opened(path: &Path) -> Result<Start, String> {
    let bytes = fs::read(path).map_err(|cause| cause.to_string())?;
    let file = SnapshotFile::decode(Bytes::from(bytes)).map_err(|_| "it is no snapshot")?;
    let computed = crc32c::crc32c(&file.data);
    if file.data.is_empty() || computed != file.crc {
        return Err(format!(
            "checksum {:08x} is written, {computed:08x} was found",
            file.crc
        ));
    }
    let snapshot = Snapshot::decode(file.data).map_err(|_| "it holds no snapshot")?;
    let metadata = snapshot.metadata.unwrap_or_default();
    Ok(Start {
        index: metadata.index,
        term: metadata.term,
        tree: Some((snapshot.data, path.to_owned())),
    })
}
