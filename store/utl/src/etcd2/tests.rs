//! A folder made by hand: read as it is, and refused or read in part when bytes of it are others.

use std::path::Path;

use bytes::Bytes;
use prost::Message as _;

use super::message::{Entry, Record, Request, Snapshot, SnapshotFile, SnapshotMetadata};
use super::{Content, Found, read};

const ENTRY: i64 = 2;

fn put(path: &str, value: &str) -> Request {
    Request {
        method: Bytes::from_static(b"PUT"),
        path: Bytes::copy_from_slice(path.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
        ..Request::default()
    }
}

/// The requests as entries from that index on, each in a record of its own.
fn log(first: u64, requests: &[Request]) -> Vec<u8> {
    let (mut out, mut crc) = (Vec::new(), 0);
    for (index, request) in (first..).zip(requests) {
        let data = Entry {
            kind: 0,
            index,
            data: request.encode_to_vec().into(),
        };
        let data = Bytes::from(data.encode_to_vec());
        crc = crc32c::crc32c_append(crc, &data);
        let record = Record {
            kind: ENTRY,
            crc,
            data,
        };
        let record = record.encode_to_vec();
        let padding = (8 - record.len() % 8) % 8;
        let mut head = record.len() as u64;
        if padding != 0 {
            head |= (0x80 | padding as u64) << 56;
        }
        out.extend_from_slice(&head.to_le_bytes());
        out.extend_from_slice(&record);
        out.resize(out.len() + padding, 0);
    }
    out
}

fn snapshot(index: u64) -> Vec<u8> {
    let file = |value: &str| {
        format!(
            r#"{{"Path":"/1/k","CreatedIndex":3,"ModifiedIndex":4,"ExpireTime":"2120-01-01T00:00:00.5+02:00","Value":"{value}","Children":null}}"#
        )
    };
    let dir = |path: &str, children: &str| {
        format!(
            r#"{{"Path":"{path}","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","Value":"","Children":{{{children}}}}}"#
        )
    };
    let keys = dir("/1", &format!(r#""k":{}"#, file("old")));
    let root = dir("/", &format!(r#""1":{keys}"#));
    let tree = format!(r#"{{"Root":{root},"CurrentIndex":4,"CurrentVersion":2}}"#);
    let data = Snapshot {
        data: tree.into(),
        metadata: Some(SnapshotMetadata { index, term: 2 }),
    };
    let data = Bytes::from(data.encode_to_vec());
    SnapshotFile {
        crc: crc32c::crc32c(&data),
        data,
    }
    .encode_to_vec()
}

fn requests() -> Vec<Request> {
    vec![
        put("/1/a", "1"),
        put("/1/dir/b", "2"),
        Request {
            prev_value: Bytes::from_static(b"old"),
            ..put("/1/k", "new")
        },
        // Refused: it is a directory.
        put("/1/dir", "x"),
        Request {
            method: Bytes::from_static(b"DELETE"),
            ..put("/1/a", "")
        },
    ]
}

fn written(folder: &Path, log: &[u8], snapshot: Option<&[u8]>) {
    let member = folder.join("member");
    for name in ["wal", "snap"] {
        std::fs::create_dir_all(member.join(name)).unwrap();
    }
    let name = "0000000000000000-0000000000000000.wal";
    std::fs::write(member.join("wal").join(name), log).unwrap();
    if let Some(snapshot) = snapshot {
        let name = "0000000000000002-0000000000000009.snap";
        std::fs::write(member.join("snap").join(name), snapshot).unwrap();
    }
}

fn value(found: &Found, path: &str) -> Option<String> {
    match &found.tree.get(path)?.content {
        Content::File(value) => Some(String::from_utf8(value.to_vec()).unwrap()),
        Content::Dir(_) => None,
    }
}

#[test]
fn a_log_is_done_again_behind_its_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &log(10, &requests()), Some(&snapshot(9)));
    let found = read(folder.path(), None).unwrap();
    assert_eq!(value(&found, "/1/k").as_deref(), Some("new"));
    assert_eq!(value(&found, "/1/dir/b").as_deref(), Some("2"));
    assert_eq!(value(&found, "/1/a"), None);
    // 4 in the snapshot, and four of five requests.
    assert_eq!(found.tree.index, 8);
    let swapped = found.tree.get("/1/k").unwrap();
    assert_eq!((swapped.created, swapped.modified), (3, 7));
    // A swap without a time to live takes away the one there was.
    assert_eq!(swapped.ends, None);
    // Without the snapshot the log begins too late.
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &log(10, &requests()), None);
    let refused = read(folder.path(), None).err().unwrap();
    assert!(
        refused.line.contains("entry 1 is missing before 10"),
        "{}",
        refused.line
    );
}

#[test]
fn no_byte_that_is_another_goes_unseen() {
    let (whole, snapshot) = (log(10, &requests()), snapshot(9));
    let folder = tempfile::tempdir().unwrap();
    for at in 0..whole.len() {
        for bit in [0, 7] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            written(folder.path(), &bytes, Some(&snapshot));
            // In padding it means nothing, at the end it may look as if the rest was never written. The kind of a
            // record is under no checksum: the last may be another, those before leave a gap.
            if let Ok(found) = read(folder.path(), None) {
                assert!(
                    found.torn || found.tree.index >= 7 || bytes[at] == 0,
                    "byte {at}"
                );
            }
        }
    }
    for length in 0..whole.len() {
        written(folder.path(), &whole[..length], Some(&snapshot));
        let found = read(folder.path(), None).unwrap();
        assert!(found.tree.index <= 8, "{length} bytes");
    }
    for at in 0..snapshot.len() {
        let mut bytes = snapshot.clone();
        bytes[at] ^= 1;
        written(folder.path(), &whole, Some(&bytes));
        // Passed over, so that the log begins too late.
        assert!(read(folder.path(), None).is_err(), "byte {at}");
    }
}
