//! What was loaded is read back; what was damaged is refused or read, and never more than that.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::loader::{Layout, Loader};
use crate::tree::{Tree, TreeError};

type Pairs = BTreeMap<Vec<u8>, Vec<u8>>;
type Buckets = BTreeMap<Vec<u8>, Pairs>;

/// Small, so that few pairs make deep trees.
const PAGE_BYTES: usize = 512;

fn load(buckets: &Buckets) -> Vec<u8> {
    let run = |mut loader: Loader| -> (Layout, Vec<u8>) {
        for (name, pairs) in buckets {
            loader.bucket(name);
            for (key, value) in pairs {
                loader.put(key, value.len(), |out| out.extend_from_slice(value));
            }
        }
        (loader.finish(), loader.take())
    };
    let (layout, nothing) = run(Loader::new(PAGE_BYTES, None));
    assert!(nothing.is_empty());
    let (written, bytes) = run(Loader::writing(layout));
    assert_eq!(written, layout);
    assert_eq!(bytes.len() as u64, layout.bytes());
    assert_eq!(layout.bytes() % PAGE_BYTES as u64, 0);
    bytes
}

fn read(bytes: &[u8]) -> Result<Buckets, TreeError> {
    let tree = Tree::open(bytes)?;
    let mut found = Buckets::new();
    for bucket in tree.buckets()? {
        let mut pairs = Pairs::new();
        tree.walk(&bucket, &mut |key, value| {
            pairs.insert(key.to_vec(), value.to_vec());
            Ok::<(), TreeError>(())
        })?;
        found.insert(bucket.name, pairs);
    }
    Ok(found)
}

fn bytes(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), length)
}

fn buckets() -> impl Strategy<Value = Buckets> {
    let value = prop_oneof![9 => bytes(0..40), 1 => bytes(400..2000)];
    let pairs = proptest::collection::btree_map(bytes(1..30), value, 0..120);
    proptest::collection::btree_map(bytes(1..8), pairs, 0..5)
}

/// Three levels deep, with a value over several pages and an empty bucket.
fn example() -> Buckets {
    let key = |number: u32| format!("{number:024}").into_bytes();
    let mut many: Pairs = (0..600).map(|number| (key(number), vec![1; 20])).collect();
    many.insert(key(300), vec![2; 5000]);
    Buckets::from([
        (b"empty".to_vec(), Pairs::new()),
        (b"many".to_vec(), many),
        (b"one".to_vec(), Pairs::from([(key(1), Vec::new())])),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_loaded_is_read(buckets in buckets()) {
        prop_assert_eq!(read(&load(&buckets)).unwrap(), buckets);
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut file = load(&example());
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if cuts {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(found) = read(&file) {
            let handed_out: usize = found.values().flatten().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert!(handed_out <= file.len());
        }
    }
}

#[test]
fn deep_trees_are_read() {
    let file = load(&example());
    assert_eq!(read(&file).unwrap(), example());
    assert_eq!(read(&load(&Buckets::new())).unwrap(), Buckets::new());
}

#[test]
fn every_changed_byte_of_a_head_is_survived() {
    let mut file = load(&example());
    let pages = file.len() / PAGE_BYTES;
    // Those in the middle are leaves like the first.
    for page in (0..6).chain(pages - 8..pages) {
        for at in (0..48).map(|at| page * PAGE_BYTES + at) {
            for changed in [0xff, 0x01, 0x80] {
                file[at] ^= changed;
                let _ = read(&file);
                file[at] ^= changed;
            }
        }
    }
}

#[test]
fn a_file_says_why_it_is_refused() {
    let file = load(&example());
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = file.clone();
        change(&mut file);
        read(&file).unwrap_err().to_string()
    };
    let both_metas = |at: usize, byte: u8| {
        move |file: &mut Vec<u8>| {
            for page in 0..2 {
                file[page * PAGE_BYTES + 16 + at] = byte;
            }
        }
    };
    // The first page behind the freelist is a leaf of `many`, the only branch above it the last but one.
    let leaf = 3 * PAGE_BYTES;
    for (change, wanted) in [
        (
            &(|file: &mut Vec<u8>| file.clear()) as &dyn Fn(&mut Vec<u8>),
            "does not begin like a bbolt file",
        ),
        (&both_metas(0, 0), "does not begin like a bbolt file"),
        (&both_metas(4, 3), "version 3, expected 2"),
        (&both_metas(40, 1), "checksum"),
        (
            &|file| {
                for page in 0..2 {
                    file[page * PAGE_BYTES + 16..][..4].reverse();
                }
            },
            "big-endian",
        ),
        (&|file| file.truncate(file.len() - 1), "cut off"),
        (&|file| file[leaf] = 9, "expected its own id in page 3"),
        (&|file| file[leaf + 8] = 4, "a branch or a leaf in page 3"),
        (&|file| file[leaf + 12] = 255, "no more overflow"),
        (&|file| file[leaf + 11] = 255, "as many elements as fit"),
        (&|file| file[leaf + 16 + 4] = 0, "one behind the other"),
        (&|file| file[leaf + 16] = 1, "no bucket inside a bucket"),
    ] {
        let said = changed(change);
        assert!(said.contains(wanted), "{said} instead of {wanted}");
    }
}

#[test]
fn a_damaged_meta_page_leaves_the_other() {
    for page in 0..2 {
        let mut file = load(&example());
        file[page * PAGE_BYTES + 16 + 20] ^= 1;
        assert_eq!(read(&file).unwrap(), example());
    }
}

#[test]
fn a_cycle_ends() {
    // A branch of the example, made to lead to itself.
    let file = load(&example());
    let branches = (3..file.len() / PAGE_BYTES).filter(|page| file[page * PAGE_BYTES + 8] == 1);
    let mut tried = 0;
    for branch in branches {
        let at = branch * PAGE_BYTES;
        if file[at] as usize != branch {
            continue; // Inside of a page of several.
        }
        let mut file = file.clone();
        let id = (branch as u64).to_le_bytes();
        file[at + 16 + 8..][..8].copy_from_slice(&id);
        let said = read(&file).unwrap_err().to_string();
        assert!(said.contains("each page in one place"), "{said}");
        tried += 1;
    }
    assert!(tried > 1, "{tried}");
}
