//! What a log should say, kept the dumb way, and what the tests of the log share.
#![allow(dead_code, reason = "each test uses its part")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use store_wal::sim::SimDisk;
use store_wal::{Disk, Entry, Identity, OpenError, Record, Recovered, Vote, Wal, WalConfig};

pub(crate) const IDENTITY: Identity = Identity {
    cluster: 7,
    member: 3,
};

thread_local! {
    /// The log has a folder of its own.
    static APART: Cell<bool> = const { Cell::new(false) };
}

/// Does it with the log in the data folder, and again with one in a folder of its own.
pub(crate) fn in_both_places(test: impl Fn()) {
    for apart in [false, true] {
        APART.set(apart);
        test();
    }
}

pub(crate) fn config() -> WalConfig {
    let config = WalConfig {
        segment_bytes: 4096,
        ..WalConfig::new("/data")
    };
    config.with_log(APART.get().then_some(Path::new("/log")))
}

pub(crate) fn try_open(disk: &SimDisk) -> Result<(Wal<SimDisk>, Recovered<SimDisk>), OpenError> {
    Wal::open(disk.clone(), config(), IDENTITY)
}

pub(crate) fn open(disk: &SimDisk) -> (Wal<SimDisk>, Recovered<SimDisk>) {
    try_open(disk).unwrap_or_else(|error| panic!("refused: {error}"))
}

pub(crate) fn entry(index: u64, term: u64, bytes: usize) -> Record {
    let body = Bytes::from(vec![(index * 31 + term) as u8; bytes]);
    Record::Entry(Entry {
        index,
        term,
        kind: (index % 3) as u8,
        body,
    })
}

/// What a log should say, kept the dumb way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Twin {
    pub(crate) entries: BTreeMap<u64, Entry>,
    pub(crate) vote: Option<Vote>,
    pub(crate) snapshot: Option<(u64, u64, Vec<Bytes>)>,
}

impl Twin {
    pub(crate) fn append(&mut self, records: &[Record]) {
        for record in records {
            match record {
                Record::Entry(entry) => {
                    self.entries.split_off(&entry.index);
                    self.entries.insert(entry.index, entry.clone());
                }
                Record::Vote(vote) => self.vote = Some(*vote),
            }
        }
    }

    pub(crate) fn snapshot(&mut self, index: u64, term: u64, chunks: Vec<Bytes>) {
        if self.entries.get(&index).is_none_or(|e| e.term != term) {
            self.entries.clear();
        }
        self.entries = self.entries.split_off(&(index + 1));
        self.snapshot = Some((index, term, chunks));
    }

    pub(crate) fn of<D: Disk>(recovered: Recovered<D>) -> Self {
        let snapshot = recovered.snapshot.map(|mut snapshot| {
            let mut chunks = Vec::new();
            while let Some(chunk) = snapshot.chunks.next_chunk().expect("a whole chunk") {
                chunks.push(chunk);
            }
            assert_eq!(snapshot.meta, format!("meta {}", snapshot.index));
            (snapshot.index, snapshot.term, chunks)
        });
        Self {
            entries: recovered
                .entries
                .into_iter()
                .map(|e| (e.index, e))
                .collect(),
            vote: recovered.vote,
            snapshot,
        }
    }
}
