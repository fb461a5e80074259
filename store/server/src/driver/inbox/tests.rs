//! Order, bounds and wake-ups of the queue.

use std::sync::Arc;
use std::time::Duration;

use store_member::answer::Consistency;

use super::*;

fn ask(inbox: &Inbox, bytes: u64) -> Result<(), Failure> {
    let (answer, _) = oneshot::channel();
    inbox.ask(
        Ask::Read(Read::Status, Consistency::Serializable),
        bytes,
        answer,
    )
}

fn take_now(inbox: &Inbox) -> Vec<Knock> {
    let mut taken = Vec::new();
    inbox.take(&mut taken, Some(Instant::now()));
    taken
}

#[test]
fn gives_all_there_is_in_order() {
    let inbox = Inbox::default();
    for number in 0..10 {
        inbox.tell(Knock::Synced(number));
    }
    let numbers: Vec<u64> = take_now(&inbox)
        .into_iter()
        .map(|knock| match knock {
            Knock::Synced(number) => number,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert!(take_now(&inbox).is_empty());
}

#[test]
fn requests_are_bounded_and_facts_are_not() {
    let inbox = Inbox::default();
    assert_eq!(ask(&inbox, REQUEST_BYTES_MAX), Ok(()));
    assert_eq!(ask(&inbox, 0), Err(Failure::TooManyRequests));
    inbox.tell(Knock::Synced(1));
    assert_eq!(take_now(&inbox).len(), 2);
    for _ in 0..REQUESTS_MAX {
        assert_eq!(ask(&inbox, 1), Ok(()));
    }
    assert_eq!(ask(&inbox, 1), Err(Failure::TooManyRequests));
    inbox.tell(Knock::Synced(2));
    assert_eq!(take_now(&inbox).len(), REQUESTS_MAX + 1);
    assert_eq!(ask(&inbox, 1), Ok(()));
}

#[test]
fn a_sleeping_driver_is_woken() {
    let inbox = Arc::new(Inbox::default());
    let driver = std::thread::spawn({
        let inbox = Arc::clone(&inbox);
        move || {
            let mut taken = Vec::new();
            let until = Instant::now() + Duration::from_secs(60);
            inbox.take(&mut taken, Some(until));
            (taken.len(), Instant::now() < until)
        }
    });
    inbox.tell(Knock::Synced(1));
    assert_eq!(driver.join().unwrap(), (1, true));
}

#[test]
fn a_closed_queue_takes_nothing() {
    let inbox = Inbox::default();
    assert_eq!(ask(&inbox, 1), Ok(()));
    assert_eq!(inbox.close().len(), 1);
    assert_eq!(ask(&inbox, 1), Err(Failure::Stopped));
    inbox.tell(Knock::Synced(1));
    assert!(take_now(&inbox).is_empty());
}
