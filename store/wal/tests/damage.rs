//! Damage: every byte of a small log is changed, every file removed. Either the log is refused, naming the place, or what
//! is cut off was never acknowledged; a wrong record never comes back.

mod twin;

use std::path::{Path, PathBuf};

use store_wal::sim::{SimDisk, Tear};
use store_wal::{Identity, OpenError, Record, Vote, Wal, WalConfig};
use twin::{IDENTITY, Twin, config, entry, open, try_open};

/// A log of two segments and a snapshot, closed; the states it went through, and whether all of it was closed cleanly.
fn small_log(close: bool) -> (SimDisk, Vec<Twin>) {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk);
    let mut twin = Twin::default();
    let mut states = vec![twin.clone()];
    let mut append = |wal: &mut Wal<SimDisk>, twin: &mut Twin, records: &[Record]| {
        wal.append(records).expect("room");
        wal.sync().expect("a sync");
        twin.append(records);
        states.push(twin.clone());
    };
    append(
        &mut wal,
        &mut twin,
        &[Record::Vote(Vote {
            term: 1,
            vote: 3,
            commit: 0,
        })],
    );
    for index in 1..=4 {
        append(
            &mut wal,
            &mut twin,
            &[entry(index, 1, 450), entry(index + 1, 1, 450)],
        );
    }
    let mut writer = wal.snapshot_begin(3, 1, b"meta 3").expect("a snapshot");
    writer.write(&[7; 40]).expect("a chunk");
    writer.write(&[8; 40]).expect("a chunk");
    wal.snapshot_finish(writer).expect("a mark");
    twin.snapshot(3, 1, vec![vec![7; 40].into(), vec![8; 40].into()]);
    append(&mut wal, &mut twin, &[entry(6, 2, 100)]);
    append(
        &mut wal,
        &mut twin,
        &[
            entry(7, 2, 100),
            Record::Vote(Vote {
                term: 2,
                vote: 1,
                commit: 6,
            }),
        ],
    );
    assert_eq!(wal.segments(), 2);
    if close {
        wal.close().expect("a clean end");
    }
    (disk.after_power_cut(Tear::Lose, 0), states)
}

#[test]
fn a_changed_byte_is_refused_or_cuts_what_was_written_last() {
    for close in [true, false] {
        let (disk, states) = small_log(close);
        let whole = states.last().expect("states");
        let (mut refused, mut cut, mut harmless) = (0, 0, 0);
        for path in disk.files() {
            let bytes = disk.content(&path).expect("a file").len();
            // The zeros of the spare part of a segment are all alike.
            for at in (0..bytes)
                .filter(|at| *at < 1100 || at % 41 == 0 || !path.ends_with("0000000000000002.wal"))
            {
                for bit in [0x01, 0x80] {
                    let image = disk.after_power_cut(Tear::Keep, 0);
                    image.damage(&path, |bytes| bytes[at] ^= bit);
                    let context = format!("{} byte {at} bit {bit}", path.display());
                    match try_open(&image) {
                        Err(
                            OpenError::Damaged { .. }
                            | OpenError::Version { .. }
                            | OpenError::OtherIdentity { .. },
                        ) => {
                            refused += 1;
                        }
                        Err(error) => panic!("{context}: {error:?}"),
                        Ok((_, recovered)) => {
                            let was_cut = recovered.cut.is_some();
                            let refused_snapshot = !recovered.snapshots_refused.is_empty();
                            let found = Twin::of(recovered);
                            cut += usize::from(was_cut);
                            harmless += usize::from(!was_cut);
                            if refused_snapshot {
                                // The log goes back to its beginning.
                                assert!(
                                    found.snapshot.is_none() && found.vote == whole.vote,
                                    "{context}"
                                );
                                assert_eq!(
                                    found.entries.keys().copied().collect::<Vec<_>>(),
                                    [1, 2, 3, 4, 5, 6, 7]
                                );
                            } else if close {
                                assert_eq!(
                                    &found, whole,
                                    "{context}: a clean end keeps everything"
                                );
                            } else {
                                assert!(states.contains(&found), "{context}: {found:?}");
                                // What was synced before the last append can be told from a torn tail.
                                assert!(
                                    found.entries.len() + 1 >= whole.entries.len(),
                                    "{context}: {found:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
        assert!(
            refused > 2000 && cut > 50,
            "{refused} refused, {cut} cut, {harmless} harmless"
        );
    }
}

#[test]
fn a_damaged_middle_names_file_record_and_offset() {
    let (disk, _) = small_log(true);
    let file = PathBuf::from("/data/0000000000000001.wal");
    disk.damage(&file, |bytes| bytes[700] ^= 4);
    let error = try_open(&disk).map(|_| ()).expect_err("damage");
    let OpenError::Damaged {
        file: named,
        record,
        offset,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    // Start, the empty frame of the first opening, the vote; then the first pair of entries.
    assert_eq!((named, *record, *offset), (&file, 2, 160));
    assert_eq!(
        error.to_string(),
        "/data/0000000000000001.wal: record 2 at offset 160 is damaged: the next file says that the log goes on here"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("keep a copy"))
    );
}

#[test]
fn a_missing_file_is_refused() {
    for (remove, says) in [
        ("0000000000000001.wal", None),
        ("0000000000000002.wal", None),
        ("identity", Some("the file identity is missing")),
        ("snap/0000000000000001-0000000000000003.snap", None),
    ] {
        let (disk, states) = small_log(true);
        let path = Path::new("/data").join(remove);
        store_wal::Disk::remove(&disk, &path).expect("a file");
        match try_open(&disk) {
            Err(error) => assert!(
                says.is_none_or(|says| error.to_string().contains(says)) && error.hint().is_some(),
                "{remove}: {error}"
            ),
            // Without the snapshot, the whole log is there; without the last segment, what it held cannot be missed.
            Ok((_, recovered)) if remove.contains("snap") => {
                assert_eq!(recovered.entries.len(), 7);
                assert_eq!(recovered.snapshots_refused.len(), 1);
            }
            Ok((_, recovered)) => {
                assert!(remove.contains("2.wal"), "{remove} is not missed");
                assert!(states.contains(&Twin::of(recovered)));
            }
        }
    }
}

#[test]
fn a_hole_in_the_row_of_segments_is_refused() {
    let disk = SimDisk::new();
    let (mut wal, _) = open(&disk);
    for index in 1..=9 {
        wal.append(&[entry(index, 1, 1500)]).expect("room");
    }
    assert!(wal.segments() > 3);
    wal.close().expect("a clean end");
    store_wal::Disk::remove(&disk, Path::new("/data/0000000000000002.wal")).expect("a file");
    let error = try_open(&disk).map(|_| ()).expect_err("a hole");
    assert_eq!(
        error.to_string(),
        "data folder /data: log file 0000000000000002.wal is missing"
    );
}

#[test]
fn a_folder_of_another_member_or_version_or_in_use_is_refused() {
    let (disk, _) = small_log(true);
    let other = Identity {
        cluster: 7,
        member: 4,
    };
    let error = Wal::open(disk.clone(), config(), other)
        .map(|_| ())
        .expect_err("another member");
    assert_eq!(
        error.to_string(),
        "data folder /data belongs to member 0000000000000003 of cluster 0000000000000007, \
         not to member 0000000000000004 of cluster 0000000000000007"
    );
    assert_eq!(
        Wal::identity(&disk, Path::new("/data")).expect("an identity"),
        Some(IDENTITY)
    );
    assert_eq!(
        Wal::identity(&disk, Path::new("/elsewhere")).expect("no identity"),
        None
    );

    let (held, _) = open(&disk);
    let error = try_open(&disk).map(|_| ()).expect_err("in use");
    assert!(
        matches!(error, OpenError::Locked { .. }) && error.hint().is_some(),
        "{error}"
    );
    drop(held);
    open(&disk);

    disk.damage(Path::new("/data/identity"), |bytes| bytes[12] = 2);
    let error = try_open(&disk).map(|_| ()).expect_err("another version");
    assert_eq!(
        error.to_string(),
        "data folder /data has format version 2, this program reads version 1"
    );
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("newer program"))
    );
}

/// The newest snapshot is damaged: the one before it serves, as long as the log still has what follows it.
#[test]
fn a_damaged_snapshot_is_passed_over_if_the_log_goes_back_far_enough() {
    for purge in [false, true] {
        let disk = SimDisk::new();
        let config = WalConfig {
            snapshots_max: 2,
            ..config()
        };
        let (mut wal, _) = open(&disk);
        for index in 1..=20 {
            wal.append(&[entry(index, 1, 900)]).expect("room");
            if index % 6 == 0 {
                let mut writer = wal
                    .snapshot_begin(index, 1, format!("meta {index}").as_bytes())
                    .expect("begun");
                writer.write(b"content").expect("a chunk");
                wal.snapshot_finish(writer).expect("finished");
                wal.purge(if purge {
                    index
                } else {
                    index.saturating_sub(6)
                })
                .expect("purged");
            }
        }
        wal.close().expect("a clean end");
        let newest = PathBuf::from("/data/snap/0000000000000001-0000000000000012.snap");
        assert_eq!(
            disk.files()
                .iter()
                .filter(|f| f.extension().is_some_and(|e| e == "snap"))
                .count(),
            2
        );
        disk.damage(&newest, |bytes| bytes[80] ^= 1);
        match Wal::open(disk.clone(), config, IDENTITY) {
            Ok((_, recovered)) => {
                assert!(!purge);
                assert_eq!(recovered.snapshots_refused.len(), 1);
                let found = Twin::of(recovered);
                assert_eq!(found.snapshot.map(|s| s.0), Some(12));
                assert_eq!(
                    found.entries.keys().copied().collect::<Vec<_>>(),
                    (13..=20).collect::<Vec<_>>()
                );
            }
            Err(error) => {
                assert!(purge, "{error}");
                assert!(
                    error
                        .to_string()
                        .starts_with(&format!("{}: record ", newest.display())),
                    "{error}"
                );
            }
        }
    }
}
