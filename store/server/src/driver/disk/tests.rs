//! Who writes: decided without a disk.

use std::sync::Mutex;

use bytes::Bytes;
use store_member::record::{Entry, EntryKind};

use super::*;

/// A log that takes some time, or is busy.
#[derive(Default)]
struct Fake {
    busy: bool,
    takes: Duration,
    written: Mutex<Vec<u64>>,
}

impl DirectLog for Fake {
    fn append_now(&self, append: Append) -> Result<Durable, Append> {
        if self.busy {
            return Err(append);
        }
        std::thread::sleep(self.takes);
        self.written.lock().unwrap().push(append.number);
        Ok(Durable {
            number: append.number,
            released: Vec::new(),
            bytes: 0,
        })
    }
}

fn append(number: u64, entries: usize, bytes: usize) -> Append {
    let entry = Entry {
        index: 1,
        term: 1,
        kind: EntryKind::Normal,
        body: Bytes::from(vec![0; bytes]),
    };
    Append {
        number,
        entries: vec![entry; entries],
        ..Append::default()
    }
}

fn driver_disk(log: Fake) -> (DriverDisk, Arc<Fake>) {
    let log = Arc::new(log);
    let shared: Arc<dyn DirectLog> = Arc::<Fake>::clone(&log);
    (DriverDisk::new(Arc::default(), shared), log)
}

#[test]
fn a_lone_small_append_is_written_here() {
    let (mut disk, log) = driver_disk(Fake::default());
    for number in 1..5 {
        assert!(disk.append_now(append(number, 1, 100)).is_ok());
    }
    assert_eq!(*log.written.lock().unwrap(), [1, 2, 3, 4]);
}

#[test]
fn large_appends_and_those_a_peer_waits_for_go_to_the_thread() {
    let (mut disk, _) = driver_disk(Fake::default());
    assert!(disk.append_now(append(1, ENTRIES_MAX + 1, 1)).is_err());
    assert!(disk.append_now(append(1, 1, BYTES_MAX + 1)).is_err());
    let waited_for = Append {
        then: vec![raft_message()],
        ..append(1, 1, 1)
    };
    assert!(disk.append_now(waited_for).is_err());
}

fn raft_message() -> store_member::effects::Envelope {
    store_member::effects::Envelope {
        to: 2,
        message: store_member::effects::PeerMessage::Raft(Box::default()),
    }
}

#[test]
fn nothing_overtakes_what_the_thread_has() {
    let (mut disk, log) = driver_disk(Fake::default());
    disk.order([Order::Append(append(1, 1, 1))]);
    assert!(disk.append_now(append(2, 1, 1)).is_err());
    disk.order([Order::Append(append(2, 1, 1))]);
    disk.note_durable(1);
    assert!(disk.append_now(append(3, 1, 1)).is_err());
    disk.note_durable(2);
    assert!(disk.append_now(append(3, 1, 1)).is_ok());
    assert_eq!(*log.written.lock().unwrap(), [3]);
}

#[test]
fn a_busy_log_gives_the_append_back() {
    let (mut disk, _) = driver_disk(Fake {
        busy: true,
        ..Fake::default()
    });
    assert_eq!(
        disk.append_now(append(7, 2, 1)).err(),
        Some(append(7, 2, 1))
    );
}

#[test]
fn a_slow_disk_is_left_to_the_thread_for_a_while() {
    let (mut disk, log) = driver_disk(Fake {
        takes: SYNC_MAX * SMOOTHING + Duration::from_millis(1),
        ..Fake::default()
    });
    assert!(disk.append_now(append(1, 1, 1)).is_ok());
    let mut number = 1;
    for _ in 0..PENANCE {
        number += 1;
        assert!(disk.append_now(append(number, 1, 1)).is_err());
        disk.order([Order::Append(append(number, 1, 1))]);
        disk.note_durable(number);
    }
    assert_eq!(*log.written.lock().unwrap(), [1]);
    assert!(disk.append_now(append(number + 1, 1, 1)).is_ok());
}
