//! Room and faults: what was admitted under the rule on room always fits; a full disk harms nothing; a failed write or sync
//! ends it.

mod twin;

use std::io::ErrorKind;

use store_wal::sim::{Operation, SimDisk, Tear};
use store_wal::{ENTRY_BYTES_MAX, Record, Vote, Wal, WalError};
use twin::{Twin, entry, open, try_open};

/// Small deterministic numbers.
fn below(state: &mut u64, bound: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % bound
}

fn bytes(record: &Record) -> u64 {
    match record {
        Record::Entry(entry) => entry.body.len() as u64 + ENTRY_BYTES_MAX,
        Record::Vote(_) => 0,
    }
}

/// A server that keeps the rule: it admits while there is a spare segment and what is admitted and not yet appended stays below
/// the bound, and asks for the spare when there is none. The disk fills up and empties as it goes.
#[test]
fn what_was_admitted_under_the_rule_never_meets_a_full_disk() {
    let (mut refused, mut rotations) = (0, 0);
    for seed in 0..200_u64 {
        let mut chance = seed;
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk);
        let (mut next, mut admitted, mut admitted_bytes) = (1, Vec::new(), 0);
        for _ in 0..120 {
            // As last seen; the log may have used the spare up since.
            let seen = wal.has_reserve();
            for _ in 0..below(&mut chance, 4) {
                let record = entry(next, 1, below(&mut chance, 900) as usize);
                if seen && admitted_bytes + bytes(&record) <= wal.reserve_bytes() {
                    admitted_bytes += bytes(&record);
                    admitted.push(record);
                    next += 1;
                }
            }
            match below(&mut chance, 6) {
                0 => disk.set_free_bytes(Some(below(&mut chance, 6000))),
                1 => disk.set_free_bytes(None),
                2 => match wal.prepare_reserve() {
                    Ok(_) => {}
                    Err(WalError::NoSpace { .. }) => refused += 1,
                    Err(error) => panic!("seed {seed}: {error}"),
                },
                _ => {
                    let count = below(&mut chance, admitted.len() as u64 + 1) as usize;
                    let batch: Vec<_> = admitted.drain(..count).collect();
                    let before = wal.segments();
                    wal.append(&batch)
                        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    wal.sync().expect("a sync");
                    rotations += wal.segments() - before;
                    admitted_bytes -= batch.iter().map(bytes).sum::<u64>();
                }
            }
        }
    }
    assert!(
        refused > 100 && rotations > 500,
        "{refused} refusals, {rotations} rotations"
    );
}

#[test]
fn a_full_disk_refuses_and_harms_nothing() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk);
    let mut twin = Twin::default();
    disk.set_free_bytes(Some(1000));
    let mut index = 0;
    let error = loop {
        let records = [entry(index + 1, 1, 700)];
        match wal.append(&records) {
            Ok(()) => {
                index += 1;
                twin.append(&records);
            }
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, WalError::NoSpace { .. }) && !error.is_fatal() && error.hint().is_some(),
        "{error}"
    );
    assert!(matches!(
        wal.prepare_reserve(),
        Err(WalError::NoSpace { .. })
    ));
    let mut writer = wal
        .snapshot_begin(2, 1, b"meta 2")
        .expect("room for the head");
    assert!(matches!(
        writer.write(&[0; 5000]),
        Err(WalError::NoSpace { .. })
    ));
    drop(writer);
    assert!(
        !disk
            .files()
            .iter()
            .any(|path| path.extension().is_some_and(|e| e == "new"))
    );
    // A vote still fits, what was appended can be synced, and reading goes on.
    let vote = [Record::Vote(Vote {
        term: 1,
        vote: 2,
        commit: index,
    })];
    wal.append(&vote).expect("room for a vote");
    twin.append(&vote);
    wal.sync().expect("a sync");
    let (_, recovered) = open(&disk.after_power_cut(Tear::Lose, 0));
    assert_eq!(Twin::of(recovered), twin);
    // Space comes back, and it goes on.
    disk.set_free_bytes(None);
    while !wal.prepare_reserve().expect("room") {}
    let records = [entry(index + 1, 1, 700)];
    wal.append(&records).expect("room");
    twin.append(&records);
    wal.close().expect("a clean end");
    let (_, recovered) = open(&disk);
    assert_eq!(Twin::of(recovered), twin);
}

#[test]
fn a_full_disk_does_not_keep_a_log_from_opening() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk);
    wal.append(&[entry(1, 1, 1500), entry(2, 1, 1500)])
        .expect("room");
    let image = disk.after_power_cut(Tear::Keep, 0);
    // Torn, so that there is something to repair.
    image.damage("/data/0000000000000001.wal".as_ref(), |bytes| {
        bytes[2000] ^= 1;
    });
    image.set_free_bytes(Some(0));
    let (_, recovered) = open(&image);
    assert!(recovered.cut.is_some() && recovered.entries.is_empty());
}

#[test]
fn an_append_that_no_segment_can_hold_is_refused() {
    let (mut wal, _) = open(&SimDisk::new());
    let error = wal.append(&[entry(1, 1, 4096)]).expect_err("too large");
    assert!(
        matches!(error, WalError::TooLarge { .. }) && !error.is_fatal(),
        "{error}"
    );
    let fits = wal.reserve_bytes() - ENTRY_BYTES_MAX;
    wal.append(&[entry(1, 1, fits as usize)])
        .expect("the largest that fits");
}

/// "fsyncgate": after a failed sync, a second one may succeed without having written anything.
#[test]
fn after_a_failed_write_or_sync_everything_is_refused() {
    for operation in [Operation::Write, Operation::Sync] {
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk);
        wal.append(&[entry(1, 1, 10)]).expect("room");
        wal.sync().expect("a sync");
        disk.fail(operation, 1, ErrorKind::Other);
        let failed = wal.append(&[entry(2, 1, 10)]).and_then(|()| wal.sync());
        let error = failed.expect_err("the fault");
        assert!(
            matches!(error, WalError::Io { .. }) && error.is_fatal(),
            "{error}"
        );
        assert!(matches!(
            wal.append(&[entry(3, 1, 10)]),
            Err(WalError::Poisoned)
        ));
        assert!(matches!(wal.sync(), Err(WalError::Poisoned)));
        assert!(matches!(wal.prepare_reserve(), Err(WalError::Poisoned)));
        assert!(matches!(wal.purge(1), Err(WalError::Poisoned)));
        assert!(
            wal.snapshot_begin(1, 1, b"")
                .is_err_and(|error| error.is_fatal())
        );
        assert!(wal.close().is_err_and(|error| error.is_fatal()));
        let (_, recovered) = open(&disk.after_power_cut(Tear::Lose, 0));
        assert_eq!(recovered.entries.len(), 1);
    }
}

/// Whatever fails, whenever: the log refuses from then on, and what was synced before is there.
#[test]
fn a_fault_anywhere_loses_nothing_that_was_synced() {
    let work = |wal: &mut Wal<SimDisk>, synced: &mut u64| -> Result<(), WalError> {
        for index in 1..=12 {
            wal.append(&[entry(index, 1, 800)])?;
            wal.sync()?;
            *synced = index;
            if index % 5 == 0 {
                let mut writer =
                    wal.snapshot_begin(index - 2, 1, format!("meta {}", index - 2).as_bytes())?;
                writer.write(&[1; 900])?;
                wal.snapshot_finish(writer)?;
                wal.purge(index - 2)?;
            }
            wal.prepare_reserve()?;
        }
        Ok(())
    };
    let mut failures = 0;
    for operation in [
        Operation::Write,
        Operation::Sync,
        Operation::Preallocate,
        Operation::SyncDir,
        Operation::Rename,
        Operation::Create,
        Operation::Remove,
    ] {
        for nth in 1..60 {
            for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
                let disk = SimDisk::new();
                let (mut wal, _) = open(&disk);
                let mut synced = 0;
                disk.fail(operation, nth, kind);
                failures += usize::from(work(&mut wal, &mut synced).is_err());
                let context = format!("{operation:?} {nth} {kind:?}");
                for (tear, seed) in [
                    (Tear::Lose, 0),
                    (Tear::Keep, 0),
                    (Tear::Sectors, 1),
                    (Tear::Sectors, 2),
                ] {
                    let image = disk.after_power_cut(tear, seed);
                    let (_, recovered) =
                        try_open(&image).unwrap_or_else(|e| panic!("{context} {tear:?}: {e}"));
                    let last = recovered.entries.last().map_or(0, |e| e.index);
                    let last = last.max(recovered.snapshot.map_or(0, |s| s.index));
                    assert!(last >= synced, "{context} {tear:?}: {last} of {synced}");
                }
            }
        }
    }
    assert!(failures > 100, "{failures}");
}
