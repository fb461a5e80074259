//! Crash images: a workload is cut off at every single operation, and what may then be on disk is opened again.
//!
//! Promises: everything synced is there; nothing is there that was not appended; the order is kept, so what is
//! there is a prefix of what was appended; an append is there whole or not at all; a torn tail is never taken
//! for damage.

mod twin;

use bytes::Bytes;
use store_wal::sim::{Operation, SimDisk, Tear};
use store_wal::{Record, Vote, Wal, WalError};
use twin::{IDENTITY, Twin, config, entry, in_both_places, open, try_open};

/// States the log may be in after a cut: the last one known durable, and each one appended since.
struct History {
    states: Vec<Twin>,
    durable: usize,
}

/// One of everything: batches, an override, votes, rotations, a spare made ahead and one made late, a local
/// snapshot, a purge with reuse, a snapshot from elsewhere. Stops where the power is cut.
struct Run {
    history: History,
    twin: Twin,
}

impl Run {
    fn append(&mut self, wal: &mut Wal<SimDisk>, records: &[Record]) -> Result<(), WalError> {
        self.twin.append(records);
        self.history.states.push(self.twin.clone());
        wal.append(records)
    }

    fn sync(&mut self, wal: &mut Wal<SimDisk>) -> Result<(), WalError> {
        wal.sync()?;
        self.history.durable = self.history.states.len() - 1;
        Ok(())
    }

    fn snapshot(&mut self, wal: &mut Wal<SimDisk>, index: u64, term: u64) -> Result<(), WalError> {
        let mut writer = wal.snapshot_begin(index, term, format!("meta {index}").as_bytes())?;
        let chunks: Vec<_> = (1..4)
            .map(|n| Bytes::from(vec![n as u8; 300 * n]))
            .collect();
        for chunk in &chunks {
            writer.write(chunk)?;
        }
        self.twin.snapshot(index, term, chunks);
        self.history.states.push(self.twin.clone());
        wal.snapshot_finish(writer)?;
        self.history.durable = self.history.states.len() - 1;
        Ok(())
    }

    fn work(&mut self, disk: &SimDisk) -> Result<(), Box<dyn std::error::Error>> {
        let (mut wal, recovered) = Wal::open(disk.clone(), config(), IDENTITY)?;
        assert!(recovered.fresh);
        let wal = &mut wal;
        let mut index = 0;
        let mut next = |n: u64| {
            index += n;
            index - n + 1..=index
        };
        self.append(
            wal,
            &[Record::Vote(Vote {
                term: 1,
                vote: 3,
                commit: 0,
            })],
        )?;
        self.sync(wal)?;
        for batch in 1..5 {
            let records: Vec<_> = next(batch)
                .map(|i| entry(i, 1, 100 + 90 * batch as usize))
                .collect();
            self.append(wal, &records)?;
            self.append(
                wal,
                &[Record::Vote(Vote {
                    term: 1,
                    vote: 3,
                    commit: batch,
                })],
            )?;
            if batch != 2 {
                self.sync(wal)?;
            }
        }
        while !wal.prepare_reserve()? {}
        // A new leader overwrites from 8 on.
        let records: Vec<_> = (8..=12).map(|i| entry(i, 2, 150)).collect();
        self.append(wal, &records)?;
        self.append(
            wal,
            &[
                entry(13, 2, 700),
                Record::Vote(Vote {
                    term: 2,
                    vote: 1,
                    commit: 9,
                }),
            ],
        )?;
        self.sync(wal)?;
        self.snapshot(wal, 9, 2)?;
        assert_eq!(wal.purge(9)?, 1, "one segment goes");
        assert!(wal.has_reserve(), "and becomes the spare");
        for i in 14..24 {
            self.append(wal, &[entry(i, 2, 600)])?;
            if i % 3 == 0 {
                self.sync(wal)?;
            }
        }
        self.snapshot(wal, 20, 2)?;
        wal.purge(20)?;
        self.append(wal, &[entry(24, 2, 600)])?;
        // From a leader far ahead.
        self.snapshot(wal, 100, 5)?;
        wal.purge(100)?;
        self.append(wal, &[entry(101, 5, 10), entry(102, 5, 10)])?;
        self.sync(wal)?;
        self.append(wal, &[entry(103, 5, 1500)])?;
        self.append(
            wal,
            &[
                entry(104, 5, 10),
                Record::Vote(Vote {
                    term: 5,
                    vote: 0,
                    commit: 103,
                }),
            ],
        )?;
        Ok(())
    }
}

fn run_until(operations: Option<u64>) -> (SimDisk, History, bool) {
    let disk = SimDisk::new();
    if let Some(operations) = operations {
        disk.cut_power_after(operations);
    }
    let history = History {
        states: vec![Twin::default()],
        durable: 0,
    };
    let mut run = Run {
        history,
        twin: Twin::default(),
    };
    let done = run.work(&disk).is_ok();
    (disk, run.history, done)
}

fn check(image: &SimDisk, history: &History, context: &str) -> bool {
    let (mut wal, recovered) =
        try_open(image).unwrap_or_else(|error| panic!("{context}: refused: {error}"));
    let cut = recovered.cut.is_some();
    let found = Twin::of(recovered);
    let allowed = &history.states[history.durable..];
    assert!(
        allowed.contains(&found),
        "{context}: found {found:?}\nlast durable {:?}",
        allowed[0]
    );
    // Opened twice is the same, even if the power is cut right after the first.
    let again = image.after_power_cut(Tear::Lose, 0);
    let (_, recovered) = open(&again);
    assert!(recovered.cut.is_none(), "{context}: cut again");
    assert_eq!(Twin::of(recovered), found, "{context}: opened again");
    // The log goes on where it stopped: with frames as long as those cut off, so that what is left of these would fit.
    let mut twin = found;
    for _ in 0..6 {
        let last = twin.entries.keys().last().copied();
        let last = last.or(twin.snapshot.as_ref().map(|s| s.0)).unwrap_or(0);
        let records = [entry(last + 1, 9, 600)];
        twin.append(&records);
        wal.append(&records)
            .unwrap_or_else(|error| panic!("{context}: append: {error}"));
    }
    wal.sync()
        .unwrap_or_else(|error| panic!("{context}: sync: {error}"));
    let (_, recovered) = open(&image.after_power_cut(Tear::Lose, 0));
    assert_eq!(Twin::of(recovered), twin, "{context}: gone on");
    cut
}

#[test]
fn every_cut_leaves_a_prefix_with_all_that_was_synced() {
    in_both_places(cuts);
}

fn cuts() {
    let (disk, _, done) = run_until(None);
    assert!(done);
    let operations = disk.operations();
    let mut cuts = 0;
    for at in 0..=operations {
        let (disk, history, _) = run_until(Some(at));
        for tear in [Tear::Lose, Tear::Keep] {
            let context = format!("cut at operation {at}, {tear:?}");
            check(&disk.after_power_cut(tear, 0), &history, &context);
        }
        for seed in 0..12 {
            for tear in [Tear::Sectors, Tear::Bytes] {
                let context = format!("cut at operation {at}, {tear:?}, seed {seed}");
                cuts += usize::from(check(&disk.after_power_cut(tear, seed), &history, &context));
            }
        }
    }
    assert!(cuts > 100, "the images tear something: {cuts}");
}

/// A killed process leaves writes that only the system's memory holds. Who opens the log reads them like any other; they must
/// be durable before anything is built on them, wherever the power is cut then.
#[test]
fn what_a_killed_process_left_is_durable_before_it_counts() {
    in_both_places(kills);
}

fn kills() {
    let mut kept = 0;
    for operations in 0..12 {
        for seed in 0..40 {
            let disk = SimDisk::new();
            let (mut wal, _) = open(&disk);
            let mut states = vec![Twin::default()];
            for index in 1..=4 {
                let mut next = states[states.len() - 1].clone();
                let records = [entry(index, 1, 600)];
                wal.append(&records).expect("room");
                next.append(&records);
                states.push(next);
            }
            drop(wal);
            disk.cut_power_after(operations);
            let opened = try_open(&disk).is_ok();
            let (_, recovered) = try_open(&disk.after_power_cut(Tear::Sectors, seed))
                .unwrap_or_else(|error| panic!("cut at {operations}, seed {seed}: {error}"));
            let found = Twin::of(recovered);
            assert!(states.contains(&found));
            assert!(!opened || found == states[4], "what was read once stays");
            kept += usize::from(opened);
        }
    }
    assert!(kept > 0, "some get to the end");
}

/// After a failed sync the system shows what was written and never brings it to the disk. The process that opens the log
/// next must not believe a sync of its own that has nothing left to do (found by `simulate --seed 20`).
#[test]
fn what_a_failed_sync_left_is_written_again_before_it_counts() {
    in_both_places(failed_syncs);
}

fn failed_syncs() {
    for appends in 1..6 {
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk);
        wal.append(&[entry(1, 1, 300)]).expect("room");
        wal.sync().expect("a sync");
        for index in 2..2 + appends {
            wal.append(&[entry(index, 1, 300)]).expect("room");
        }
        disk.fail(Operation::Sync, 1, std::io::ErrorKind::Other);
        wal.sync().expect_err("the disk fails");
        drop(wal);
        let (wal, recovered) = open(&disk);
        let read = Twin::of(recovered);
        drop(wal);
        let (_, recovered) = open(&disk.after_power_cut(Tear::Lose, 0));
        assert_eq!(Twin::of(recovered), read, "after {appends} appends");
    }
}

/// What an old segment left in a file that is used again is no torn tail, also if the spare was made ready before a restart.
#[test]
fn a_segment_used_again_shows_no_torn_tail() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk);
    let records: Vec<_> = (1..=5).map(|index| entry(index, 1, 700)).collect();
    wal.append(&records).expect("room");
    wal.append(&[entry(6, 1, 700)]).expect("room");
    let writer = wal.snapshot_begin(5, 1, b"meta 5").expect("begun");
    wal.snapshot_finish(writer).expect("finished");
    assert_eq!(wal.purge(5).expect("purged"), 1);
    wal.close().expect("a clean end");
    for restarts in 0..2 {
        let (mut wal, recovered) = open(&disk);
        assert_eq!(recovered.cut, None, "after {restarts} restarts");
        assert_eq!(
            wal.has_reserve(),
            restarts == 0,
            "the spare is the old segment until it is used"
        );
        if restarts == 0 {
            let records: Vec<_> = (7..=11).map(|index| entry(index, 1, 650)).collect();
            wal.append(&records).expect("room");
            assert_eq!(wal.segments(), 2);
            wal.sync().expect("a sync");
        }
    }
    let (_, recovered) = open(&disk);
    assert_eq!((recovered.cut, recovered.entries.len()), (None, 6));
}

const SECTOR_BYTES: usize = 512;

/// Every set of sectors that can be on disk of three appends that were not synced: just the appends before the first one
/// with a sector missing come back. And if a fourth append shows that they were synced: the log is refused.
#[test]
fn every_set_of_sectors_is_a_torn_tail_or_damage_and_told_apart() {
    let file = std::path::Path::new("/data/0000000000000001.wal");
    for synced in [false, true] {
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk);
        wal.append(&[entry(1, 1, 100)]).expect("room");
        wal.sync().expect("a sync");
        let before = disk.content(file).expect("the segment");
        let mut ends = Vec::new();
        for index in 2..=4 {
            wal.append(&[entry(index, 1, 700)]).expect("room");
            let content = disk.content(file).expect("the segment");
            ends.push(content.iter().rposition(|byte| *byte != 0).expect("bytes") + 1);
        }
        if synced {
            wal.sync().expect("a sync");
            // In sectors of its own.
            wal.append(&[entry(5, 1, 700)]).expect("room");
        }
        drop(wal);
        let after = disk.content(file).expect("the segment");
        let sectors: Vec<usize> = (0..after.len() / SECTOR_BYTES)
            .filter(|n| {
                let range = n * SECTOR_BYTES..(n + 1) * SECTOR_BYTES;
                before[range.clone()] != after[range]
            })
            .collect();
        assert!((5..10).contains(&sectors.len()), "{sectors:?}");
        for set in 0..1_u32 << sectors.len() {
            let mut content = before.clone();
            let mut missing = after.len();
            for (bit, sector) in sectors.iter().enumerate() {
                let range = sector * SECTOR_BYTES..(sector + 1) * SECTOR_BYTES;
                if set >> bit & 1 == 1 {
                    content[range.clone()].copy_from_slice(&after[range]);
                } else {
                    missing = missing.min(range.start);
                }
            }
            let image = disk.after_power_cut(Tear::Lose, 0);
            image.damage(file, |bytes| *bytes = content.clone());
            // Where the head of the fourth begins: on the next multiple of eight.
            let fourth = ends[2].next_multiple_of(8);
            let says_synced = synced && content[fourth..fourth + 32] == after[fourth..fourth + 32];
            let whole = ends.iter().filter(|end| **end <= missing).count();
            match try_open(&image) {
                Ok((_, recovered)) => {
                    assert!(!says_synced || whole == 3, "set {set:b}: accepted");
                    let found = recovered.entries.len() - 1;
                    assert!(
                        found == whole || found == 4,
                        "set {set:b}: {found} of {whole}"
                    );
                    assert!(found < 4 || set + 1 == 1 << sectors.len(), "set {set:b}");
                }
                Err(error) => assert!(says_synced && whole < 3, "set {set:b}: {error}"),
            }
        }
    }
}
