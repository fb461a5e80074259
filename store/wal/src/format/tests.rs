use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const IDENTITY: Identity = Identity {
    cluster: 0x0102_0304_0506_0708,
    member: 0x1112_1314_1516_1718,
};

fn hex(bytes: &[u8]) -> String {
    let words: Vec<String> = bytes
        .chunks(4)
        .map(|word| word.iter().map(|b| format!("{b:02x}")).collect())
        .collect();
    words
        .chunks(8)
        .map(|line| line.join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The format on disk. A change here needs a new folder version and a way to read the old one.
#[test]
fn golden_bytes() {
    let items = [
        Item::Start(Start {
            number: 2,
            previous_end: 0x1000,
            recycled: true,
        }),
        Item::Mark(Mark { index: 5, term: 3 }, MarkKind::Replaces),
        Item::Vote(Vote {
            term: 3,
            vote: 7,
            commit: 6,
        }),
        Item::Entry {
            index: 7,
            term: 3,
            kind: 9,
            body: b"hello",
        },
    ];
    let mut out = Vec::new();
    let place = Place {
        sequence: 0x22,
        durable: 0x20,
    };
    encode_frame(
        &mut out,
        Seed::new(IDENTITY, 2),
        0x40,
        place,
        items.iter().copied(),
    );
    assert_eq!(hex(&out), GOLDEN);
    let bytes = [vec![0; 0x40], out].concat();
    let seed = Seed::new(IDENTITY, 2);
    let head = Head::at(&bytes, seed, 0x40).unwrap();
    assert_eq!(
        (head.place, head.frame_bytes()),
        (place, bytes.len() - 0x40)
    );
    let mut found = Vec::new();
    let mut read = head.items(&bytes, seed, 0x40).unwrap();
    while let Some(item) = read.next().unwrap() {
        found.push(item);
    }
    assert_eq!(found, items);
}

const GOLDEN: &str = "\
4d574631 862dc631 22000000 00000000 02000000 75000000 04000000 79277a29
03000000 00000000 02000000 00000000 00100000 00000000 01000000 00000000
04010000 00000000 05000000 00000000 03000000 00000000 02000000 00000000
03000000 00000000 07000000 00000000 06000000 00000000 01090000 05000000
07000000 00000000 03000000 00000000 68656c6c 6f000000";

/// What protects a file that is used again.
#[test]
fn a_frame_is_valid_only_at_its_offset_of_its_segment_of_its_member() {
    let seed = Seed::new(IDENTITY, 2);
    let mut out = Vec::new();
    let place = Place {
        sequence: 1,
        durable: 0,
    };
    encode_frame(&mut out, seed, 0, place, std::iter::empty());
    assert!(Head::at(&out, seed, 0).is_some());
    for number in (0..2).chain(3..10_000) {
        assert_eq!(
            Head::at(&out, Seed::new(IDENTITY, number), 0),
            None,
            "segment {number}"
        );
    }
    assert_eq!(
        Head::at(
            &out,
            Seed::new(
                Identity {
                    member: 1,
                    ..IDENTITY
                },
                2
            ),
            0
        ),
        None
    );
    for offset in (8..4096).step_by(8) {
        let moved = [vec![0; offset], out.clone()].concat();
        assert_eq!(Head::at(&moved, seed, offset), None, "offset {offset}");
    }
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        (
            any::<u64>(),
            any::<u64>(),
            any::<u8>(),
            prop::collection::vec(any::<u8>(), 0..40)
        )
            .prop_map(|(index, term, kind, body)| Record::Entry(Entry {
                index,
                term,
                kind,
                body: Bytes::from(body)
            })),
        (any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(term, vote, commit)| Record::Vote(Vote { term, vote, commit })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(records in prop::collection::vec(record(), 0..10)) {
        let seed = Seed::new(IDENTITY, 1);
        let mut out = Vec::new();
        encode_frame(&mut out, seed, 0, Place { sequence: 9, durable: 3 }, records.iter().map(Item::from));
        prop_assert_eq!(out.len(), frame_bytes(records.iter().map(|r| Item::from(r).bytes()).sum()));
        let head = Head::at(&out, seed, 0).unwrap();
        let mut items = head.items(&out, seed, 0).unwrap();
        for record in &records {
            prop_assert_eq!(items.next(), Ok(Some(Item::from(record))));
        }
        prop_assert_eq!(items.next(), Ok(None));
    }

    /// Nothing a checksum happens to let through makes the reader panic.
    #[test]
    fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200), left in 0..9_u32) {
        let mut items = Items { rest: &bytes, left };
        while let Ok(Some(_)) = items.next() {}
    }
}
