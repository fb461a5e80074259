//! A restore that is cut off at every single operation: the folder counts whole or not at all, and what is left can be
//! restored into.

mod twin;

use bytes::Bytes;
use store_wal::sim::{SimDisk, Tear};
use store_wal::{Identity, OpenError, RestoreError, Vote, Wal, WalConfig};
use twin::{IDENTITY, Twin, config, entry, in_both_places, open, try_open};

const VOTE: Vote = Vote {
    term: 1,
    vote: 0,
    commit: 2,
};

fn restore(disk: &SimDisk, identity: Identity) -> Result<(), RestoreError> {
    let mut chunks = (1..5).map(|number| Bytes::from(vec![number; 3000]));
    Wal::restore(
        disk,
        config(),
        identity,
        (2, 1),
        b"meta 2",
        VOTE,
        &mut || chunks.next(),
    )
}

#[test]
fn a_restored_folder_begins_with_the_snapshot() {
    let disk = SimDisk::new();
    restore(&disk, IDENTITY).unwrap();
    let (_, recovered) = open(&disk.after_power_cut(Tear::Lose, 0));
    assert!(!recovered.fresh);
    let (snapshot, vote) = (recovered.snapshot.as_ref().unwrap(), recovered.vote);
    assert_eq!((snapshot.index, snapshot.term), (2, 1));
    assert_eq!((&snapshot.meta[..], vote), (&b"meta 2"[..], Some(VOTE)));
    let found = Twin::of(recovered);
    assert_eq!(found.snapshot.unwrap().2.len(), 4);
}

#[test]
fn no_store_starts_on_part_of_a_restore() {
    in_both_places(|| {
        let whole = SimDisk::new();
        restore(&whole, IDENTITY).unwrap();
        let (_, recovered) = open(&whole);
        let expected = Twin::of(recovered);
        let operations = whole.operations();
        let (mut refused, mut untouched) = (0, 0);
        for at in 0..operations {
            for (tear, seed) in [
                (Tear::Lose, 0),
                (Tear::Keep, 0),
                (Tear::Sectors, 1),
                (Tear::Bytes, 2),
            ] {
                let disk = SimDisk::new();
                disk.cut_power_after(at);
                let done = restore(&disk, IDENTITY).is_ok();
                let image = disk.after_power_cut(tear, seed);
                let started = Wal::identity(&image, &config().dir).unwrap().is_some();
                let begun = image.files().len() > 1;
                match try_open(&image.after_power_cut(Tear::Keep, 0)) {
                    Ok((_, recovered)) if started => assert_eq!(Twin::of(recovered), expected),
                    Ok((_, recovered)) => {
                        // Nothing of it is there, at most the lock.
                        assert!(recovered.fresh && !begun && !done, "cut at {at}, {tear:?}");
                        untouched += 1;
                    }
                    Err(OpenError::HalfRestored { .. }) => {
                        assert!(!done, "cut at {at}, {tear:?}");
                        refused += 1;
                    }
                    Err(error) => panic!("cut at {at}, {tear:?}: {error}"),
                }
                if !started {
                    restore(&image, IDENTITY).unwrap();
                    let (_, recovered) = open(&image.after_power_cut(Tear::Lose, 0));
                    assert_eq!(Twin::of(recovered), expected, "cut at {at}, {tear:?}");
                }
            }
        }
        assert!(refused > 50 && untouched > 0, "{refused} {untouched}");
    });
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let disk = SimDisk::new();
    drop(open(&disk));
    let before = disk.files();
    let refused = restore(&disk, IDENTITY).unwrap_err();
    assert!(
        matches!(refused, RestoreError::Occupied { .. }),
        "{refused}"
    );
    assert_eq!(disk.files(), before);
}

/// A log that has a folder of its own is somebody's, whatever data folder is named beside it.
#[test]
fn the_log_of_another_is_left_alone() {
    in_both_places(|| {
        let disk = SimDisk::new();
        let (mut wal, _) = open(&disk);
        wal.append(&[entry(1, 1, 10)]).unwrap();
        wal.sync().unwrap();
        drop(wal);
        let log_dir = config().log_dir.unwrap_or(config().dir);
        let other = WalConfig::new("/new").with_log(Some(&log_dir));
        let found = Wal::occupant(&disk, &other).unwrap();
        assert!(found.is_some_and(|name| name.ends_with(".wal")));

        let refused = Wal::restore(&disk, other, IDENTITY, (1, 1), b"", VOTE, &mut || None);
        assert!(
            matches!(refused, Err(RestoreError::Occupied { .. })),
            "{refused:?}"
        );
        assert_eq!(open(&disk).1.entries.len(), 1);
    });
}
