//! The files of a log after the disk did with them what it wanted.
//!
//! The folder is refused, or it opens; and when it opens, it can be written to, and opens again with what it
//! had and what was written.

use std::path::Path;

use bytes::Bytes;
use store_wal::sim::SimDisk;
use store_wal::{Entry, Identity, Record, Recovered, Vote, Wal, WalConfig};

/// Whose log it is.
pub const IDENTITY: Identity = Identity {
    cluster: 1,
    member: 2,
};

/// A small log in a folder, closed in order: two segments, a vote, entries of two terms, a snapshot.
///
/// # Panics
/// When the log does not do what it is for.
#[must_use]
pub fn folder() -> SimDisk {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk).unwrap_or_else(|| unreachable!("an empty folder opens"));
    let write = |wal: &mut Wal<SimDisk>| {
        for index in 1..=6 {
            let entry = entry(index, 1 + index / 4, 500);
            let vote = Vote {
                term: entry.term,
                vote: 2,
                commit: index - 1,
            };
            wal.append(&[Record::Entry(entry), Record::Vote(vote)])?;
            wal.sync()?;
        }
        let mut writer = wal.snapshot_begin(4, 2, b"meta")?;
        writer.write(b"one chunk")?;
        writer.write(b"and another")?;
        wal.snapshot_finish(writer)?;
        for index in 7..=8 {
            wal.append(&[Record::Entry(entry(index, 2, 300))])?;
            wal.sync()?;
        }
        Ok::<(), store_wal::WalError>(())
    };
    write(&mut wal)
        .and_then(|()| wal.close())
        .unwrap_or_else(|error| unreachable!("a disk without faults: {error}"));
    disk
}

/// Puts the bytes in place of the file that the first byte names, counted in order of their names.
///
/// # Panics
/// When a promise above is broken.
pub fn run(data: &[u8]) {
    let Some((&file, content)) = data.split_first() else {
        return;
    };
    let disk = folder();
    let files = disk.files();
    let path = &files[usize::from(file) % files.len()];
    disk.damage(path, |bytes| *bytes = content.to_vec());
    check(&disk);
}

/// Opens the folder, writes, opens again.
///
/// # Panics
/// When what was there and what was written is not there again.
pub fn check(disk: &SimDisk) {
    let Some((mut wal, recovered)) = open(disk) else {
        return;
    };
    let Some(before) = content(recovered) else {
        return;
    };
    let last = before
        .entries
        .last()
        .map_or(before.snapshot, |entry| (entry.index, entry.term));
    let Some(next) = last.0.checked_add(1).filter(|next| *next < u64::MAX) else {
        return;
    };
    let added = entry(next, last.1, 10);
    let written = wal
        .append(&[Record::Entry(added.clone())])
        .and_then(|()| wal.sync());
    if written.is_err() {
        return;
    }
    drop(wal);
    let again = open(disk).and_then(|(_wal, recovered)| content(recovered));
    let mut expected = before;
    expected.entries.push(added);
    assert_eq!(again, Some(expected), "written and read again");
}

#[derive(Debug, PartialEq, Eq)]
struct Content {
    /// Index and term; zeros without one.
    snapshot: (u64, u64),
    chunks: Vec<Bytes>,
    vote: Option<Vote>,
    entries: Vec<Entry>,
}

/// All there is; `None` when the snapshot cannot be read after all.
fn content(recovered: Recovered<SimDisk>) -> Option<Content> {
    let mut chunks = Vec::new();
    let mut snapshot = (0, 0);
    if let Some(mut found) = recovered.snapshot {
        snapshot = (found.index, found.term);
        while let Some(chunk) = found.chunks.next_chunk().ok()? {
            chunks.push(chunk);
        }
    }
    Some(Content {
        snapshot,
        chunks,
        vote: recovered.vote,
        entries: recovered.entries,
    })
}

fn open(disk: &SimDisk) -> Option<(Wal<SimDisk>, Recovered<SimDisk>)> {
    let config = WalConfig {
        log_dir: None,
        dir: Path::new("d").to_owned(),
        segment_bytes: 4096,
        snapshots_max: 2,
    };
    Wal::open(disk.clone(), config, IDENTITY).ok()
}

fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    Entry {
        index,
        term,
        kind: 0,
        body: Bytes::from(vec![b'x'; bytes]),
    }
}
