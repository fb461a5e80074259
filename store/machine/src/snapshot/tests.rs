//! Snapshots taken while commands go on, against a copy made when they began; and bytes that are
//! no snapshots.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::Limits;
use crate::checksum::Trail;
use crate::command::Command;
use crate::tests::dump::dump;
use crate::tests::strategies::command;

const LIMITS: Limits = Limits {
    quota_bytes: u64::MAX,
};

fn whole(machine: &Machine) -> Vec<u8> {
    let mut cursor = machine.snapshot_begin();
    let mut bytes = Vec::new();
    while let Some(chunk) = cursor.chunk(1000) {
        bytes.extend(chunk);
    }
    bytes
}

fn restored(bytes: &[u8]) -> Result<Machine, RestoreError> {
    let mut restore = Restore::new(LIMITS);
    restore.feed(bytes)?;
    restore.finish()
}

fn machine_of(commands: &[Command]) -> Machine {
    let mut machine = Machine::new(LIMITS);
    for command in commands {
        machine.apply(Index(machine.applied().0 + 1), command.clone());
    }
    machine
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn a_restored_machine_equals_a_copy_made_at_the_beginning(
        before in prop::collection::vec((command(), 0usize..6), 0..100),
        during in prop::collection::vec((command(), 0usize..40), 0..60),
        after in prop::collection::vec(command(), 0..20),
        chunk_bytes in 1usize..300,
        splits in prop::collection::vec(1usize..500, 1..20),
    ) {
        let mut machine = Machine::new(LIMITS);
        for (command, scrub) in before {
            machine.apply(Index(machine.applied().0 + 1), command);
            machine.scrub(scrub);
        }
        let mut copy = machine.clone();
        let mut cursor = machine.snapshot_begin();
        prop_assert_eq!((cursor.applied(), cursor.revision()), (copy.applied(), copy.revision()));
        let bytes_total = cursor.bytes_left();
        let mut bytes = Vec::new();
        for (command, scrub) in during {
            machine.apply(Index(machine.applied().0 + 1), command);
            machine.scrub(scrub);
            bytes.extend(cursor.chunk(chunk_bytes).unwrap_or_default());
        }
        while let Some(chunk) = cursor.chunk(chunk_bytes) {
            prop_assert!(chunk.len() == chunk_bytes || cursor.bytes_left() == 0);
            bytes.extend(chunk);
        }
        prop_assert_eq!((bytes.len() as u64, cursor.bytes_left()), (bytes_total, 0));
        prop_assert_eq!(cursor.chunk(chunk_bytes), None);

        let mut restore = Restore::new(LIMITS);
        let mut rest = &bytes[..];
        for split in splits.iter().cycle() {
            let (piece, behind) = rest.split_at((*split).min(rest.len()));
            restore.feed(piece).unwrap();
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        let mut restored = restore.finish().unwrap();
        prop_assert_eq!(dump(&restored), dump(&copy));
        prop_assert_eq!(restored.trail_marks(), copy.trail_marks());
        prop_assert_eq!(restored.trail(), copy.trail());
        // And it goes on as the copy does, which a forgotten counter would show.
        for command in after {
            let index = Index(copy.applied().0 + 1);
            prop_assert_eq!(restored.apply(index, command.clone()), copy.apply(index, command));
            restored.scrub(2);
        }
        prop_assert_eq!(dump(&restored), dump(&copy));
        prop_assert_eq!(restored.trail_marks(), copy.trail_marks());
        prop_assert_eq!(restored.trail(), copy.trail());
        while !restored.scrub(10) {}
        while !copy.scrub(10) {}
        prop_assert_eq!(restored.keyspace.versions(), copy.keyspace.versions());
    }

    #[test]
    fn no_bytes_make_it_panic_and_none_pass_damaged(
        commands in prop::collection::vec(command(), 0..30),
        damages in prop::collection::vec((any::<prop::sample::Index>(), 1u8..=255), 1..3),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let bytes = whole(&machine_of(&commands));
        let mut damaged = bytes.clone();
        for (at, bits) in &damages {
            let at = at.index(damaged.len());
            damaged[at] ^= bits;
        }
        prop_assert!(damaged == bytes || restored(&damaged).is_err());
        prop_assert!(restored(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(restored(&noise).is_err());
        // Well framed and well summed, but nonsense inside.
        let state = state::encode(&machine_of(&commands));
        let (some, others) = noise.split_at(noise.len() / 2);
        let framed =
            framed(&[(kind::STATE, &state), (kind::RECORDS, some), (kind::RECORDS, others)]);
        if let Ok(mut machine) = restored(&framed) {
            dump(&machine);
            while !machine.scrub(100) {}
        }
    }
}

fn golden_machine() -> Machine {
    machine_of(&[
        Command::LeaseGrant {
            id: crate::revision::LeaseId(7),
            ttl_seconds: 60,
        },
        Command::Put(crate::request::PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            lease: crate::revision::LeaseId(7),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }),
        Command::Delete(crate::request::DeleteRequest {
            keys: crate::request::KeyRange::single(Bytes::from_static(b"k")),
            prev_kv: false,
        }),
        Command::AlarmRaise {
            member: 9,
            kind: crate::alarm::AlarmKind::NoSpace,
        },
        Command::MemberPublish {
            id: 9,
            name: "m".into(),
            client_urls: vec!["u".into()],
        },
    ])
}

/// The golden machine in this version, with what stands in the place of the trail.
fn golden(version: u8, trail: &[u8]) -> Vec<u8> {
    let mut golden = b"muster-s".to_vec();
    golden.push(version);
    golden.extend([1, 20, 0, 0, 0]);
    golden.extend([5, 3, 0, 0]); // applied 5, revision 3, never compacted, no term
    golden.extend([1, 7, 60, 0]); // a lease
    golden.extend([1, 9, 1]); // an alarm
    golden.extend([1, 9, 1, b'm', 0, 1, 1, b'u', 0]); // a member
    golden.extend(trail);
    golden.extend([2, 12, 0, 0, 0]);
    golden.extend([2, 1, 0, 7, 1, 1, b'k', b'v']); // the put at revision 2
    golden.extend([3, 0, 1, b'k']); // the delete at revision 3
    let checksum = crc32c::crc32c(&golden);
    golden.extend([3, 4, 0, 0, 0]);
    golden.extend(checksum.to_le_bytes());
    golden
}

/// Written once and kept: what stood in these bytes must be read for as long as the version is.
#[test]
fn golden_bytes() {
    let machine = golden_machine();
    let digests = [0x7cc1_78bf_de2f_58bcu64, 0x8aad_e65d_b468_c4f0];
    let mut trail = vec![kind::TRAIL, 28, 0, 0, 0];
    trail.extend([1, 3]); // from revision 1 to 3
    trail.extend(digests[1].to_le_bytes());
    trail.extend([2, 0]); // two revisions, none below
    for digest in digests {
        trail.extend(digest.to_le_bytes());
    }
    let bytes = golden(2, &trail);
    let trail = machine.trail();
    assert_eq!((trail.origin, trail.revision), (Revision(1), Revision(3)));
    assert_eq!(trail.digest, digests[1]);
    assert_eq!(whole(&machine), bytes);
    let restored = restored(&bytes).unwrap();
    assert_eq!(dump(&restored), dump(&machine));
    assert_eq!(restored.trail_marks(), machine.trail_marks());
}

/// A snapshot of version 1 knows no trail: it begins there, and is compared with no other.
#[test]
fn golden_bytes_of_version_1() {
    let restored = restored(&golden(1, &[])).unwrap();
    assert_eq!(dump(&restored), dump(&golden_machine()));
    assert_eq!(restored.trail(), Trail::new(Revision(3)).point());
}

/// What the member had not scrubbed yet comes along, and the restored one scrubs it.
#[test]
fn the_scrub_goes_on_after_a_restore() {
    let put = Command::Put(crate::request::PutRequest {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        lease: crate::revision::LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    });
    let compact = Command::Compact {
        revision: Revision(4),
    };
    let machine = machine_of(&[put.clone(), put.clone(), put, compact]);
    let mut restored = restored(&whole(&machine)).unwrap();
    assert_eq!(restored.keyspace.versions(), 3);
    assert_eq!(dump(&restored), dump(&machine));
    while !restored.scrub(1) {}
    assert_eq!(restored.keyspace.versions(), 1);
    assert_eq!(dump(&restored), dump(&machine));
}

/// The quota, and which alarms the store raised by itself, come along.
#[test]
fn room_comes_along() {
    use crate::command::SpaceChange::{Free, Full, Quota};
    let by_hand = Command::AlarmRaise {
        member: 2,
        kind: crate::alarm::AlarmKind::NoSpace,
    };
    let commands = [
        Command::Space(Quota { bytes: 500 }),
        Command::Space(Full { member: 1 }),
        by_hand,
    ];
    let mut restored = restored(&whole(&machine_of(&commands))).unwrap();
    assert_eq!(restored.quota_bytes(), 500);
    assert!(restored.is_full());
    restored.apply(Index(4), Command::Space(Free));
    assert_eq!(restored.alarms().len(), 1);
}

#[test]
fn a_byte_at_a_time_is_enough() {
    let commands = [Command::Compact {
        revision: Revision(1),
    }];
    let bytes = whole(&machine_of(&commands));
    let mut restore = Restore::new(LIMITS);
    for byte in &bytes {
        restore.feed(&[*byte]).unwrap();
    }
    assert_eq!(
        dump(&restore.finish().unwrap()),
        dump(&machine_of(&commands))
    );
}

/// A snapshot of these frames, well summed.
fn framed(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], &[VERSION]].concat();
    for (kind, content) in frames {
        bytes.extend_from_slice(&frame_head(*kind, content.len()));
        bytes.extend_from_slice(content);
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&frame_head(kind::END, END_BYTES));
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn what_is_well_summed_must_still_make_sense() {
    // Applied 1, revision 3, nothing compacted; no leases, alarms, members.
    let state = (kind::STATE, &[1, 3, 0, 0, 0, 0, 0][..]);
    let of = |records: &'static [u8]| restored(&framed(&[state, (kind::RECORDS, records)])).err();
    let put_at = "records in the order of their revisions";
    let table: [(&'static [u8], Option<&str>); 7] = [
        (&[], None),
        (&[2, 1, 0, 0, 1, 1, b'k', b'v', 3, 0, 1, b'k'], None),
        (
            &[3, 1, 0, 0, 1, 0, b'a', 2, 1, 0, 0, 1, 0, b'b'],
            Some(put_at),
        ),
        (&[4, 1, 0, 0, 1, 0, b'a'], Some(put_at)),
        (&[2, 1, 0, 0, 1, 1, b'k'], Some("a whole record")),
        (&[2, 1, 0, 0, 0xff], Some("a whole record")),
        (
            &[2, 1, 0, 7, 1, 0, b'k'],
            Some("the lease of every key that has one"),
        ),
    ];
    for (records, expected) in table {
        match of(records) {
            Some(RestoreError::Damaged {
                expected: found, ..
            }) => {
                assert_eq!(Some(found), expected, "{records:?}");
            }
            other => assert_eq!((other, expected), (None, None), "{records:?}"),
        }
    }
    let twice = restored(&framed(&[state, state])).err();
    let damaged = RestoreError::Damaged {
        offset: 21,
        expected: "a frame of records or the end",
    };
    assert_eq!(twice, Some(damaged));
}

#[test]
fn each_fault_is_named() {
    let bytes = whole(&machine_of(&[]));
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        restored(&bytes).err()
    };
    let table = [
        (
            with(0, b'x'),
            "restore snapshot: the bytes do not begin like a snapshot",
        ),
        (
            with(8, 3),
            "restore snapshot: version 3 is not known, expected 1 to 2",
        ),
        (
            with(9, 2),
            "restore snapshot: expected the state frame first in the frame at byte 9",
        ),
        (
            with(14, 5),
            "restore snapshot: checksum 805280d8 is written, d8faa58c was found",
        ),
        (
            restored(&bytes[..20]).err(),
            "restore snapshot: it is cut off after 20 bytes",
        ),
        (
            restored(&[&bytes[..], b"x"].concat()).err(),
            "restore snapshot: expected nothing behind the end in the frame at byte 47",
        ),
    ];
    for (error, text) in table {
        let error = error.unwrap();
        assert_eq!(error.to_string(), text);
        assert!(error.hint().is_some());
    }
}
