//! Histories in a few lines, for the tables of the promises: each shows a history that keeps its promise, and
//! beside it the ones that break it, every one by its own name and message.

use bytes::Bytes;
use store_machine::MemberRecord;
use store_machine::command::Command;
use store_machine::request::{DeleteRequest, KeyRange, PutRequest};
use store_machine::revision::{LeaseId, Revision};
use store_member::answer::Header;
use store_member::record::EntryKind;

use crate::host::{Shadow, Slot};
use crate::model::Members;
use crate::promises::{Canon, Check};

/// What a history comes to: `None` = its promise is kept; else which is broken, and a part of the message.
pub(crate) type Expected = Option<(&'static str, &'static str)>;

/// Compares what a check came to with what its row says.
#[track_caller]
pub(crate) fn expect(row: &str, found: Check, expected: Expected) {
    match (found, expected) {
        (Ok(()), None) => {}
        (Err(violation), Some((promise, words))) => {
            assert_eq!(violation.promise, promise, "{row}: {violation}");
            let told = violation.detail.contains(words);
            assert!(told, "{row}: {violation}\n  says nothing of: {words}");
        }
        (found, expected) => panic!("{row}: {found:?}, expected {expected:?}"),
    }
}

pub(crate) fn put(key: &'static str, value: &'static str) -> Command {
    leased(key, value, 0)
}

/// A put under a lease.
pub(crate) fn leased(key: &'static str, value: &'static str, lease: i64) -> Command {
    Command::Put(PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        lease: LeaseId(lease),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

pub(crate) fn delete(key: &'static str) -> Command {
    Command::Delete(DeleteRequest {
        keys: KeyRange::single(Bytes::from_static(key.as_bytes())),
        prev_kv: false,
    })
}

pub(crate) const fn compact(revision: i64) -> Command {
    Command::Compact {
        revision: Revision(revision),
    }
}

pub(crate) const fn grant(id: i64, ttl_seconds: i64) -> Command {
    Command::LeaseGrant {
        id: LeaseId(id),
        ttl_seconds,
    }
}

/// An entry of a term; the word makes it differ from others.
pub(crate) fn slot(term: u64, word: &'static str) -> Slot {
    Slot {
        term,
        kind: EntryKind::Normal,
        body: Bytes::from_static(word.as_bytes()),
    }
}

/// A log with entries of these terms from index 1 on.
pub(crate) fn log(terms: &[u64]) -> Shadow {
    let mut log = Shadow::default();
    for (index, term) in (1..).zip(terms) {
        log.push(index, slot(*term, "x"));
    }
    log
}

pub(crate) fn member(id: u64, learner: bool) -> MemberRecord {
    MemberRecord {
        id,
        peer_urls: vec![format!("p{id}")],
        learner,
        ..MemberRecord::default()
    }
}

/// Voters 1 to `voters`.
pub(crate) fn members(voters: u64) -> Members {
    Members::founded((1..=voters).map(|id| member(id, false)))
}

/// A log in which these were applied from index 2 on, all decided in term 1, by three members.
pub(crate) fn canon(commands: &[Command]) -> Canon {
    let mut canon = Canon::new(members(3));
    for command in commands {
        // What it comes to is the model's business.
        let _ = canon.model.apply(command);
        canon.push(slot(1, "x"), 1);
    }
    canon
}

/// The head of an answer.
pub(crate) const fn header(revision: i64, term: u64) -> Header {
    Header {
        cluster: 7,
        member: 1,
        revision: Revision(revision),
        term,
    }
}
