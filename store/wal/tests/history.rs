//! Random histories against the twin, with the log closed, killed, cut off and opened again in between; on a disk in memory
//! and, shorter, on a real one.

mod twin;

use bytes::Bytes;
use proptest::prelude::*;
use store_wal::sim::{SimDisk, Tear};
use store_wal::{Disk, Entry, OpenError, RealDisk, Record, Vote, Wal, WalConfig};
use twin::{IDENTITY, Twin, config, entry};

#[derive(Clone, Debug)]
enum Op {
    /// Entries from `back` below the end on, so long each, and a vote or none.
    Append {
        back: u64,
        bytes: Vec<usize>,
        vote: bool,
    },
    Sync,
    Prepare,
    /// Of the entry so far below the end.
    Snapshot {
        back: u64,
    },
    /// From elsewhere, so far above the end.
    Install {
        ahead: u64,
    },
    Purge {
        back: u64,
    },
    Close,
    Kill,
    PowerCut {
        tear: Tear,
        seed: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let tear = prop_oneof![Just(Tear::Lose), Just(Tear::Sectors), Just(Tear::Bytes)];
    prop_oneof![
        10 => (0..3_u64, prop::collection::vec(0..1200_usize, 0..4), any::<bool>())
            .prop_map(|(back, bytes, vote)| Op::Append { back, bytes, vote }),
        5 => Just(Op::Sync),
        3 => Just(Op::Prepare),
        2 => (0..4_u64).prop_map(|back| Op::Snapshot { back }),
        1 => (1..20_u64).prop_map(|ahead| Op::Install { ahead }),
        2 => (0..4_u64).prop_map(|back| Op::Purge { back }),
        1 => Just(Op::Close),
        1 => Just(Op::Kill),
        2 => (tear, any::<u64>()).prop_map(|(tear, seed)| Op::PowerCut { tear, seed }),
    ]
}

/// A log, what it should say, and what it may say after a power cut.
struct Run<D: Disk> {
    disk: D,
    config: WalConfig,
    wal: Option<Wal<D>>,
    twin: Twin,
    term: u64,
    /// States since the last sync, oldest first.
    since: Vec<Twin>,
}

impl<D: Disk> Run<D> {
    fn new(disk: D, config: WalConfig) -> Self {
        let (wal, recovered) =
            Wal::open(disk.clone(), config.clone(), IDENTITY).expect("a new log");
        assert!(recovered.fresh);
        Self {
            disk,
            config,
            wal: Some(wal),
            twin: Twin::default(),
            term: 1,
            since: vec![Twin::default()],
        }
    }

    fn wal(&mut self) -> &mut Wal<D> {
        self.wal.as_mut().expect("open")
    }

    fn snapshot_index(&self) -> u64 {
        self.twin.snapshot.as_ref().map_or(0, |s| s.0)
    }

    fn last(&self) -> u64 {
        self.twin
            .entries
            .keys()
            .last()
            .copied()
            .unwrap_or_else(|| self.snapshot_index())
    }

    fn synced(&mut self) {
        self.since = vec![self.twin.clone()];
    }

    fn reopen(&mut self) {
        self.wal = None;
        let opened = Wal::open(self.disk.clone(), self.config.clone(), IDENTITY);
        let (wal, recovered) = opened.unwrap_or_else(|error| panic!("refused: {error}"));
        assert!(recovered.snapshots_refused.is_empty());
        let found = Twin::of(recovered);
        assert!(
            self.since.contains(&found),
            "found {found:?}\nexpected one of {:?}",
            self.since
        );
        self.wal = Some(wal);
        self.twin = found;
        self.synced();
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Append { back, bytes, vote } => {
                let first =
                    (self.last() + 1 - (*back).min(self.last())).max(self.snapshot_index() + 1);
                self.term += u64::from(*back > 0);
                let term = self.term;
                let entry = |(n, bytes): (usize, &usize)| {
                    let index = first + n as u64;
                    let body = Bytes::from(vec![index as u8; *bytes]);
                    Record::Entry(Entry {
                        index,
                        term,
                        kind: *bytes as u8,
                        body,
                    })
                };
                let mut records: Vec<_> = bytes.iter().enumerate().map(entry).collect();
                if *vote {
                    records.push(Record::Vote(Vote {
                        term,
                        vote: *back,
                        commit: 0,
                    }));
                }
                self.wal().append(&records).expect("room");
                self.twin.append(&records);
                self.since.push(self.twin.clone());
            }
            Op::Sync => {
                self.wal().sync().expect("a sync");
                self.synced();
            }
            Op::Prepare => {
                self.wal().prepare_reserve().expect("room");
            }
            Op::Snapshot { back } => {
                let index = self.last().saturating_sub(*back);
                if let Some(entry) = self.twin.entries.get(&index) {
                    self.snapshot(index, entry.term);
                }
            }
            Op::Install { ahead } => self.snapshot(self.last() + ahead, self.term),
            Op::Purge { back } => {
                let index = self.last().saturating_sub(*back);
                self.wal().purge(index).expect("purged");
            }
            Op::Close => {
                self.wal.take().expect("open").close().expect("a clean end");
                self.synced();
                self.reopen();
            }
            Op::Kill => {
                self.since = vec![self.twin.clone()];
                self.reopen();
            }
            // Only a disk in memory can do that.
            Op::PowerCut { .. } => {}
        }
    }

    fn snapshot(&mut self, index: u64, term: u64) {
        let mut writer = self
            .wal()
            .snapshot_begin(index, term, format!("meta {index}").as_bytes())
            .expect("begun");
        let chunks = vec![
            Bytes::from(vec![index as u8; 700]),
            Bytes::from_static(b"end"),
        ];
        for chunk in &chunks {
            writer.write(chunk).expect("a chunk");
        }
        self.wal().snapshot_finish(writer).expect("finished");
        self.twin.snapshot(index, term, chunks);
        self.synced();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn says_what_the_twin_says(ops in prop::collection::vec(op(), 1..60)) {
        let mut run = Run::new(SimDisk::new(), config());
        for op in &ops {
            run.step(op);
            if let Op::PowerCut { tear, seed } = op {
                run.wal = None;
                run.disk = run.disk.after_power_cut(*tear, *seed);
                run.reopen();
            }
        }
        run.step(&Op::Close);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn says_what_the_twin_says_on_a_real_disk(ops in prop::collection::vec(op(), 1..40)) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut run = Run::new(RealDisk, WalConfig { segment_bytes: 8192, ..WalConfig::new(dir.path().join("a/b")) });
        for op in &ops {
            run.step(op);
        }
        run.step(&Op::Close);
    }
}

/// An older mark, read when the entry it names is purged, must not drop the entries before it.
#[test]
fn a_mark_whose_entry_is_purged_keeps_the_log() {
    let append = |bytes: &[usize], vote| Op::Append {
        back: 0,
        bytes: bytes.to_vec(),
        vote,
    };
    let mut run = Run::new(SimDisk::new(), config());
    for op in [
        append(&[457], true),
        append(&[1034, 345, 1094], true),
        Op::Close,
        append(&[713], false),
        Op::Snapshot { back: 2 },
        append(&[0, 0], false),
        Op::Snapshot { back: 3 },
        Op::Purge { back: 0 },
        Op::Close,
    ] {
        run.step(&op);
    }
    assert_eq!(
        run.twin.entries.keys().copied().collect::<Vec<_>>(),
        [5, 6, 7]
    );
}

#[test]
fn a_real_folder_is_locked_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let config = WalConfig {
        segment_bytes: 8192,
        ..WalConfig::new(dir.path().join("data"))
    };
    let (held, _) = Wal::open(RealDisk, config.clone(), IDENTITY).expect("a new log");
    let error = Wal::open(RealDisk, config.clone(), IDENTITY)
        .map(|_| ())
        .expect_err("in use");
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(held);
    Wal::open(RealDisk, config.clone(), IDENTITY).expect("free again");
    for path in [config.dir.clone(), config.dir.join("0000000000000001.wal")] {
        let mode = std::fs::metadata(&path)
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    let file = config.dir.join("not-a-folder");
    std::fs::write(&file, b"").expect("a file");
    let error = Wal::open(RealDisk, WalConfig::new(&file), IDENTITY)
        .map(|_| ())
        .expect_err("a file");
    assert_eq!(error.to_string(), format!("create {}", file.display()));
}

/// The log in a folder of its own: found again there, missed elsewhere, and never shared.
#[test]
fn a_log_may_have_a_folder_of_its_own() {
    let root = tempfile::tempdir().expect("a folder");
    let of = |data: &str, log: Option<&str>| {
        let log = log.map(|log| root.path().join(log));
        WalConfig {
            segment_bytes: 8192,
            ..WalConfig::new(root.path().join(data)).with_log(log.as_deref())
        }
    };
    let refused = |config| match Wal::open(RealDisk, config, IDENTITY) {
        Ok(_) => panic!("taken"),
        Err(error) => error,
    };
    let ours = of("data", Some("log"));
    let (mut wal, found) = Wal::open(RealDisk, ours.clone(), IDENTITY).expect("a new log");
    assert!(found.fresh);
    wal.append(&[entry(1, 1, 100)]).expect("room");
    wal.sync().expect("a sound disk");
    // In use, from whichever side.
    for config in [ours.clone(), of("other", Some("log"))] {
        let error = refused(config);
        assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    }
    drop(wal);
    assert!(!root.path().join("data/0000000000000001.wal").exists());
    let error = refused(of("another", Some("log")));
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    for config in [of("data", None), of("data", Some("elsewhere"))] {
        let error = refused(config);
        assert!(matches!(error, OpenError::NoLog { .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--wal-dir")));
    }
    let (_, found) = Wal::open(RealDisk, ours, IDENTITY).expect("its log");
    assert_eq!(found.entries.len(), 1);
}
