//! The log: written, read back, and played back.

use std::path::Path as Folder;

use store_member::record::{Entry, Recovered, Vote};
use store_wal::{Entry as Logged, Identity, RealDisk, Record, Wal, WalConfig};

use super::{KEYS, Path, TURN, writes};
use crate::lone::Lone;

pub(crate) const LOG: Path = Path {
    name: "log",
    about: "entry of a put written to the log, 64 with a sync",
    times: 20_000,
    prepare: |times| {
        let folder = tempfile::tempdir().expect("a folder for the log");
        let entries = entries(times);
        let (mut wal, _) = open(folder.path());
        Box::new(move || {
            for batch in entries.chunks(TURN as usize) {
                let records: Vec<_> = batch.iter().map(logged).collect();
                wal.append(&records).expect("there is room");
                wal.sync().expect("the disk is sound");
            }
            drop(folder);
        })
    },
};

pub(crate) const RECOVER_LOG: Path = Path {
    name: "recover-log",
    about: "entry read back from the log at a start",
    times: 20_000,
    prepare: |times| {
        let folder = tempfile::tempdir().expect("a folder for the log");
        let (mut wal, _) = open(folder.path());
        for batch in entries(times).chunks(TURN as usize) {
            let records: Vec<_> = batch.iter().map(logged).collect();
            wal.append(&records).expect("there is room");
        }
        wal.close().expect("the disk is sound");
        Box::new(move || {
            let (_wal, found) = open(folder.path());
            assert!(found.entries.len() as u64 > times);
        })
    },
};

pub(crate) const RECOVER: Path = Path {
    name: "recover",
    about: "entry that was read back played into an empty state",
    times: 20_000,
    prepare: |times| {
        let recovered = Recovered {
            mark: None,
            vote: Vote {
                term: 1,
                voted_for: 1,
                commit: 0,
            },
            entries: entries(times),
        };
        Box::new(move || {
            let lone = Lone::on(recovered);
            assert_eq!(lone.member().machine().keys(), times.min(KEYS));
        })
    },
};

/// Segments are small, so that making one, with zeros, costs little beside the entries.
fn open(folder: &Folder) -> (Wal<RealDisk>, store_wal::Recovered<RealDisk>) {
    let mut config = WalConfig::new(folder);
    config.segment_bytes = 8 << 20;
    let identity = Identity {
        cluster: 1,
        member: 1,
    };
    Wal::open(RealDisk, config, identity).expect("the log is sound")
}

/// What a member of one logs for so many puts: that, and a little before it.
fn entries(times: u64) -> Vec<Entry> {
    let mut lone = Lone::recording();
    writes::send(&mut lone, times, TURN, writes::put);
    lone.into_log()
}

fn logged(entry: &Entry) -> Record {
    Record::Entry(Logged {
        index: entry.index,
        term: entry.term,
        kind: 0,
        body: entry.body.clone(),
    })
}
