use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::all;

/// Writes a history by hand, with a store beside it that answers as it should. Each step takes a
/// millisecond.
struct Story {
    recorded: Recorded,
    model: crate::model::Model,
    now: u64,
}

const MS: u64 = 1_000;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str, lease: i64) -> Command {
    Command::Put(PutRequest {
        key: bytes(key),
        value: bytes(value),
        lease: LeaseId(lease),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

fn delete(key: &str) -> Command {
    Command::Delete(DeleteRequest {
        keys: KeyRange::single(bytes(key)),
        prev_kv: false,
    })
}

fn read(key: &str) -> RangeRequest {
    RangeRequest::latest(KeyRange::single(bytes(key)))
}

fn header(revision: i64) -> Header {
    Header {
        revision: Revision(revision),
        ..Header::default()
    }
}

impl Story {
    fn new() -> Self {
        Self {
            recorded: Recorded::default(),
            model: crate::model::Model::new(Members::default()),
            now: 0,
        }
    }

    fn tick(&mut self) -> u64 {
        self.now += MS;
        self.now
    }

    /// The store takes a command, whatever clients know of it.
    fn happens(&mut self, command: &Command) -> (Body, i64) {
        let (reply, revision) = self.model.apply(command);
        if self
            .recorded
            .log
            .last()
            .map_or(1, |last| last.kv.mod_revision.0)
            < revision
        {
            self.recorded
                .log
                .extend_from_slice(self.model.events(revision));
        }
        (Body::Applied(reply.unwrap()), revision)
    }

    /// A request without an answer yet; its number.
    fn ask(&mut self, what: What) -> usize {
        let asked = self.tick();
        self.recorded.asked.push(Asked {
            what,
            asked,
            answer: None,
        });
        self.recorded.asked.len() - 1
    }

    fn tell(&mut self, number: usize, revision: i64, outcome: Result<Body, Failure>) {
        let at = self.tick();
        self.recorded.asked[number].answer = Some(Answer {
            at,
            header: header(revision),
            outcome,
        });
    }

    /// A write as it should be: asked, done, acknowledged.
    fn write(&mut self, command: &Command) -> usize {
        let number = self.ask(What::Write(command.clone()));
        let (body, revision) = self.happens(command);
        self.tell(number, revision, Ok(body));
        number
    }

    /// A read that shows the store at a revision.
    fn read_at(&mut self, key: &str, revision: i64, consistency: Consistency) {
        let number = self.ask(What::Range(read(key), consistency));
        let reply = self.model.range(&read(key), revision, 0).unwrap();
        self.tell(number, revision, Ok(Body::Range(reply)));
    }

    fn grant(&mut self, id: i64, ttl_seconds: i64) {
        self.write(&Command::LeaseGrant {
            id: LeaseId(id),
            ttl_seconds,
        });
    }

    /// A watcher of everything that is shown these revisions at once.
    fn watch(&mut self, revisions: &[i64]) {
        let events = revisions.iter().flat_map(|at| self.model.events(*at));
        let events: Vec<_> = events
            .map(|event| Arc::new(SharedEvent::new(event.clone())))
            .collect();
        let at = self.tick();
        let revision = Revision(self.model.revision());
        self.recorded.watched.push(Watched {
            spec: WatchSpec {
                keys: all(),
                start: Revision(1),
                id: WatchId(0),
                no_put: false,
                no_delete: false,
                prev_kv: true,
                progress_notify: false,
                fragment: false,
            },
            batches: vec![(
                at,
                Batch::Events {
                    id: WatchId(0),
                    revision,
                    events,
                    prev_kv: true,
                    fragment: false,
                },
            )],
            finished: true,
        });
    }

    #[track_caller]
    fn holds(&self) -> Account {
        match self.recorded.check() {
            Ok(account) => account,
            Err(violation) => panic!("{violation}"),
        }
    }

    #[track_caller]
    fn breaks(&self, promise: &str) {
        match self.recorded.check() {
            Ok(account) => panic!("nothing is broken: {account:?}"),
            Err(violation) => assert_eq!(violation.promise, promise, "{violation}"),
        }
    }
}

/// Two acknowledged puts at revisions 2 and 3.
fn two_puts() -> Story {
    let mut story = Story::new();
    story.write(&put("a", "1", 0));
    story.write(&put("a", "2", 0));
    story
}

#[test]
fn a_history_of_everything_holds() {
    let mut story = two_puts();
    story.read_at("a", 3, Consistency::Linearizable);
    story.read_at("a", 2, Consistency::Serializable);
    story.write(&delete("a"));
    story.write(&delete("a"));
    story.grant(7, 1);
    story.write(&put("leased", "3", 7));
    story.write(&Command::Txn(TxnRequest {
        compare: Vec::new(),
        success: vec![TxnOp::Range(read("a"))],
        failure: Vec::new(),
    }));
    let keep = story.ask(What::KeepAlive(LeaseId(7)));
    story.tell(keep, 0, Ok(Body::KeepAlive(1)));
    story.now += 1_100 * MS;
    story.happens(&Command::LeaseRevoke {
        id: LeaseId(7),
        term: 0,
    });
    story.read_at("leased", 6, Consistency::Linearizable);
    let gone = story.ask(What::Write(put("leased", "4", 7)));
    story.tell(gone, 0, Err(Failure::Refused(Refusal::LeaseNotFound)));
    story.watch(&[2, 3, 4, 5, 6]);
    let account = story.holds();
    assert_eq!(
        account,
        Account {
            revision: 6,
            acknowledged: 7,
            happened: 0,
            unknown: 0,
            reads: 3,
            shown: 5,
            expired: 1,
        }
    );
}

#[test]
fn what_nobody_was_told_may_happen_or_not() {
    let mut story = two_puts();
    story.ask(What::Write(put("a", "lost", 0)));
    let found = put("a", "found", 0);
    story.ask(What::Write(found.clone()));
    story.ask(What::Write(delete("b")));
    story.ask(What::Write(delete("a")));
    story.happens(&found);
    story.happens(&delete("a"));
    story.watch(&[2, 3, 4, 5]);
    let account = story.holds();
    assert_eq!((account.unknown, account.happened), (4, 2));
}

#[test]
fn an_acknowledged_write_that_is_gone_is_found() {
    let mut story = two_puts();
    let number = story.ask(What::Write(put("a", "3", 0)));
    story.tell(
        number,
        4,
        Ok(Body::Applied(Reply::Put(PutReply::default()))),
    );
    story.breaks("acknowledged writes are kept");

    let mut story = two_puts();
    let number = story.ask(What::Write(delete("a")));
    let reply = DeleteReply {
        deleted: 1,
        prev: Vec::new(),
    };
    story.tell(number, 4, Ok(Body::Applied(Reply::Delete(reply))));
    story.breaks("acknowledged writes are kept");

    // The log went back: it ends before what somebody has read.
    let mut story = two_puts();
    story.read_at("a", 3, Consistency::Linearizable);
    story.recorded.log.pop();
    story.breaks("acknowledged writes are kept");
}

#[test]
fn a_write_that_happens_twice_is_found() {
    let mut story = two_puts();
    story.happens(&put("a", "2", 0));
    story.breaks("a write happens once");
}

#[test]
fn a_refused_write_that_happens_is_found() {
    for failure in [Failure::NoLeader, Failure::TooManyRequests] {
        let mut story = two_puts();
        let number = story.ask(What::Write(put("a", "3", 0)));
        story.tell(number, 0, Err(failure));
        story.holds();
        story.happens(&put("a", "3", 0));
        story.breaks("unknown is not absent");
    }
}

#[test]
fn what_nobody_asked_for_is_found() {
    let mut story = two_puts();
    story.happens(&put("a", "3", 0));
    story.breaks("only what was asked for happens");
    let mut story = two_puts();
    story.happens(&delete("a"));
    story.breaks("only what was asked for happens");
}

#[test]
fn writes_out_of_their_order_are_found() {
    // Acknowledged at 3, asked before the write that stands at 2 was: fine for overlapping ones only.
    let mut story = Story::new();
    let (first, second) = (put("a", "1", 0), put("a", "2", 0));
    let one = story.ask(What::Write(first.clone()));
    let two = story.ask(What::Write(second.clone()));
    let (body, revision) = story.happens(&second);
    story.tell(two, revision, Ok(body));
    let (body, revision) = story.happens(&first);
    story.tell(one, revision, Ok(body));
    story.holds();
    // Asked when revision 3 was known.
    story.recorded.asked[two].asked = story.tick();
    story.recorded.asked[two].answer.as_mut().unwrap().at = story.tick();
    story.breaks("real-time order");
}

#[test]
fn a_wrong_answer_is_found() {
    let mut story = two_puts();
    story.recorded.asked[1].answer.as_mut().unwrap().header = header(2);
    story.breaks("answers follow the log");

    let mut story = two_puts();
    let number = story.write(&delete("a"));
    let answer = story.recorded.asked[number].answer.as_mut().unwrap();
    answer.outcome = Ok(Body::Applied(Reply::Delete(DeleteReply::default())));
    story.breaks("only what was asked for happens");
}

#[test]
fn a_stale_read_is_found() {
    let mut story = two_puts();
    story.read_at("a", 2, Consistency::Linearizable);
    story.breaks("linearizable reads");

    // Asked before the second write was known: both values may be shown.
    let mut story = Story::new();
    story.write(&put("a", "1", 0));
    let number = story.ask(What::Range(read("a"), Consistency::Linearizable));
    let old = story.model.range(&read("a"), 2, 0).unwrap();
    story.write(&put("a", "2", 0));
    story.tell(number, 2, Ok(Body::Range(old.clone())));
    story.holds();
    // The old value, given out as new.
    story.recorded.asked[number].answer.as_mut().unwrap().header = header(3);
    story.breaks("reads follow the log");

    // Known from a watch.
    let mut story = two_puts();
    story.happens(&put("a", "3", 0));
    story.recorded.asked.push(Asked {
        what: What::Write(put("a", "3", 0)),
        asked: 1,
        answer: None,
    });
    story.watch(&[2, 3, 4]);
    story.read_at("a", 3, Consistency::Linearizable);
    story.breaks("linearizable reads");
}

#[test]
fn a_read_that_is_refused_without_reason_is_found() {
    let mut story = two_puts();
    let number = story.ask(What::Range(read("a"), Consistency::Linearizable));
    story.tell(number, 0, Err(Failure::Refused(Refusal::Compacted)));
    story.breaks("reads follow the log");
}

#[test]
fn a_watcher_that_is_shown_something_else_is_found() {
    for (revisions, promise) in [
        (&[2, 4][..], "watch is reliable"),
        (&[2, 3], "watch is reliable"),
        (&[2, 3, 3, 4], "watch is atomic"),
        (&[2, 4, 3], "watch is ordered"),
    ] {
        let mut story = two_puts();
        story.write(&put("b", "3", 0));
        story.watch(revisions);
        story.breaks(promise);
    }
    let mut story = two_puts();
    story.watch(&[2, 3]);
    let again = story.recorded.watched[0].batches[0].clone();
    story.recorded.watched[0].batches.push(again);
    story.breaks("watch is unique");
}

#[test]
fn progress_ahead_of_events_is_found() {
    let mut story = two_puts();
    story.watch(&[2]);
    let progress = Batch::Progress {
        id: WatchId(0),
        revision: Revision(3),
    };
    story.recorded.watched[0]
        .batches
        .push((story.now, progress));
    story.breaks("watch is bookmarkable");
}

#[test]
fn a_hole_in_the_log_is_found() {
    let mut story = two_puts();
    story.recorded.log.remove(0);
    story.breaks("watch is reliable");
}

#[test]
fn a_lease_that_ends_early_is_found() {
    let early = |wait: u64| {
        let mut story = Story::new();
        story.grant(7, 2);
        story.write(&put("leased", "1", 7));
        story.now += wait;
        story.happens(&Command::LeaseRevoke {
            id: LeaseId(7),
            term: 0,
        });
        story
    };
    let mut story = early(1_000 * MS);
    story.read_at("leased", 3, Consistency::Serializable);
    story.breaks("a lease never ends early");
    let mut story = early(2_100 * MS);
    story.read_at("leased", 3, Consistency::Serializable);
    assert_eq!(story.holds().expired, 1);

    // Kept alive in between, and the answer came late.
    let mut story = early(1_500 * MS);
    let asked = story.now - 1_400 * MS;
    story.now += 700 * MS;
    story.read_at("leased", 3, Consistency::Serializable);
    story.holds();
    let at = story.tick();
    story.recorded.asked.push(Asked {
        what: What::KeepAlive(LeaseId(7)),
        asked: asked + 300 * MS,
        answer: Some(Answer {
            at,
            header: header(0),
            outcome: Ok(Body::KeepAlive(2)),
        }),
    });
    story.breaks("a lease never ends early");

    // Nothing was attached: its holder is told.
    let mut story = Story::new();
    story.grant(7, 2);
    let keep = story.ask(What::KeepAlive(LeaseId(7)));
    story.tell(keep, 0, Ok(Body::KeepAlive(0)));
    story.breaks("a lease never ends early");
}

#[test]
fn a_lease_may_be_revoked_at_any_time() {
    let revoke = Command::LeaseRevoke {
        id: LeaseId(7),
        term: 0,
    };
    let mut story = Story::new();
    story.grant(7, 60);
    story.write(&put("leased", "1", 7));
    story.write(&revoke);
    story.read_at("leased", 3, Consistency::Linearizable);
    assert_eq!(story.holds().expired, 0);
    // Nor does it need keys.
    let mut story = two_puts();
    story.grant(7, 60);
    story.write(&revoke);
    story.write(&put("b", "3", 0));
    story.holds();
}
