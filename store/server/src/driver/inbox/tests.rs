//! Order, bounds and wake-ups of the queue.

use std::sync::Arc;
use std::thread::JoinHandle;
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
    inbox.take(&mut taken);
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
            inbox.wait(Some(until));
            inbox.take(&mut taken);
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

/// Sleeps as the driver does, until `until`; returns once it sleeps.
fn sleeps(inbox: &Arc<Inbox>, until: Option<Instant>) -> JoinHandle<()> {
    let driver = std::thread::spawn({
        let inbox = Arc::clone(inbox);
        move || inbox.wait(until)
    });
    while !inbox.is_quiet() {
        std::thread::yield_now();
    }
    driver
}

#[test]
fn it_is_quiet_when_the_driver_sleeps_and_requests_are_lone() {
    let inbox = Arc::new(Inbox::default());
    take_now(&inbox);
    assert!(!inbox.is_quiet(), "nobody sleeps");
    let driver = sleeps(&inbox, None);
    inbox.tell(Knock::Synced(1));
    driver.join().unwrap();
    assert!(!inbox.is_quiet(), "it is awake");
}

#[test]
fn it_is_not_quiet_after_a_crowd_until_some_turns_were_lone() {
    let inbox = Arc::new(Inbox::default());
    for _ in 0..4 {
        inbox.tell(Knock::Synced(1));
    }
    for lone in [false, false, true] {
        take_now(&inbox);
        assert_eq!(inbox.lone.load(Ordering::Relaxed), lone);
    }
}

#[test]
fn a_sleep_is_disturbed_only_when_it_is_too_long() {
    let inbox = Arc::new(Inbox::default());
    take_now(&inbox);
    let until = Instant::now() + Duration::from_secs(60);
    let driver = sleeps(&inbox, Some(until));
    inbox.wake_by(None);
    inbox.wake_by(Some(until + Duration::from_secs(1)));
    assert!(inbox.is_quiet());
    inbox.wake_by(Some(until - Duration::from_secs(1)));
    driver.join().unwrap();
    let driver = sleeps(&inbox, None);
    inbox.wake_by(Some(until));
    driver.join().unwrap();
}
