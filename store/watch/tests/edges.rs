//! The edges of the watch contract, one test each, as transcripts of what a client reads.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use store_machine::error::Refusal;
use store_machine::reply::{Event, EventKind, KeyValue};
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Revision;
use store_watch::batch::{Batch, SharedEvent, StreamId, WatchId};
use store_watch::hub::{History, Hub};
use store_watch::watcher::WatchSpec;

const STREAM: StreamId = StreamId(1);

/// A store and a hub.
#[derive(Default)]
struct Store {
    hub: Hub,
    past: Past,
}

#[derive(Default)]
struct Past {
    /// Revision 2 first.
    revisions: Vec<Vec<Event>>,
    compacted: i64,
}

impl History for Past {
    fn revision(&self) -> Revision {
        Revision(1 + self.revisions.len() as i64)
    }
    fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }
    fn events(
        &self,
        from: Revision,
        to: Revision,
        visit: &mut dyn FnMut(Revision, &[Event]) -> bool,
    ) -> Result<(), Refusal> {
        assert!(
            from.0 >= self.compacted,
            "the hub asks for what is compacted"
        );
        for number in from.0.max(2)..=to.0 {
            if !visit(Revision(number), &self.revisions[number as usize - 2]) {
                break;
            }
        }
        Ok(())
    }
}

fn all() -> KeyRange {
    KeyRange {
        start: Bytes::from_static(b"\0"),
        end: RangeEnd::Open,
    }
}

fn one(key: &'static str) -> KeyRange {
    KeyRange {
        start: Bytes::from_static(key.as_bytes()),
        end: RangeEnd::Single,
    }
}

fn spec(keys: KeyRange, start: i64) -> WatchSpec {
    WatchSpec {
        keys,
        start: Revision(start),
        id: WatchId(0),
        no_put: false,
        no_delete: false,
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    }
}

impl Store {
    fn open(credit: usize) -> Self {
        let mut store = Self::default();
        store.hub.open(STREAM, credit);
        store
    }

    fn write(&mut self, changes: &[(&'static str, usize)]) {
        let revision = self.past.revision().next();
        let event = |(key, value_bytes): &(&'static str, usize)| Event {
            kind: EventKind::Put,
            kv: KeyValue {
                key: Bytes::from_static(key.as_bytes()),
                value: Bytes::from(vec![0; *value_bytes]),
                mod_revision: revision,
                ..KeyValue::default()
            },
            prev: None,
        };
        let events: Vec<_> = changes.iter().map(event).collect();
        self.past.revisions.push(events.clone());
        self.hub.publish(revision, events);
    }

    fn put(&mut self, key: &'static str) {
        self.write(&[(key, 1)]);
    }

    fn create(&mut self, spec: WatchSpec) {
        self.hub.create(STREAM, spec, &self.past);
    }

    fn batches(&mut self) -> Vec<(StreamId, Batch)> {
        let mut out = Vec::new();
        while self.hub.drain(&self.past, &mut out) {}
        out
    }

    /// What clients read now, a line each.
    fn read(&mut self) -> String {
        let mut text = String::new();
        for (_, batch) in self.batches() {
            match batch {
                Batch::Created { id, revision } => write!(text, "created {} at {revision}", id.0),
                Batch::Refused { reason, revision } => {
                    write!(text, "refused {reason:?} at {revision}")
                }
                Batch::Canceled { id, revision } => write!(text, "canceled {} at {revision}", id.0),
                Batch::Compacted { id, compacted } => {
                    write!(text, "compacted {} at {compacted}", id.0)
                }
                Batch::Progress { id, revision } => write!(text, "progress {} to {revision}", id.0),
                Batch::Events {
                    id,
                    revision,
                    events,
                    ..
                } => {
                    let events: Vec<_> = events
                        .iter()
                        .map(|shared| {
                            let kv = &shared.event.kv;
                            format!("{}@{}", String::from_utf8_lossy(&kv.key), kv.mod_revision)
                        })
                        .collect();
                    write!(text, "events {} at {revision}: {}", id.0, events.join(" "))
                }
            }
            .expect("a string takes everything");
            text.push('\n');
        }
        text
    }
}

#[test]
fn ids_count_up_from_zero_and_are_refused_twice() {
    let mut store = Store::open(100);
    store.create(spec(all(), 0));
    store.create(WatchSpec {
        id: WatchId(2),
        ..spec(all(), 0)
    });
    store.create(spec(all(), 0));
    store.create(spec(all(), 0));
    store.create(WatchSpec {
        id: WatchId(2),
        ..spec(all(), 0)
    });
    store.create(WatchSpec {
        id: WatchId::NONE,
        ..spec(all(), 0)
    });
    store.hub.cancel(STREAM, WatchId(1));
    store.hub.cancel(STREAM, WatchId(77));
    store.create(spec(all(), 0));
    let expected = "created 0 at 1\ncreated 2 at 1\ncreated 1 at 1\ncreated 3 at 1\n\
                    refused DuplicateId at 1\nrefused DuplicateId at 1\ncanceled 1 at 1\ncreated 4 at 1\n";
    assert_eq!(store.read(), expected);
}

#[test]
fn a_range_without_keys_and_a_negative_start_are_refused() {
    let mut store = Store::open(100);
    let before = |end| RangeEnd::Before(Bytes::from_static(end));
    store.create(spec(
        KeyRange {
            start: Bytes::from_static(b"b"),
            end: before(b"b"),
        },
        0,
    ));
    store.create(spec(
        KeyRange {
            start: Bytes::from_static(b"b"),
            end: before(b"a"),
        },
        0,
    ));
    store.create(spec(all(), -1));
    store.create(spec(all(), 0));
    let expected = "refused EmptyRange at 1\nrefused EmptyRange at 1\nrefused Compacted at 1\ncreated 0 at 1\n";
    assert_eq!(store.read(), expected);
}

#[test]
fn all_events_of_a_revision_come_in_one_batch_and_filters_leave_none_empty() {
    let mut store = Store::open(100);
    store.create(spec(all(), 0));
    store.create(WatchSpec {
        no_put: true,
        ..spec(all(), 0)
    });
    store.create(spec(one("b"), 0));
    store.read();
    store.write(&[("a", 1), ("b", 1), ("a", 1)]);
    store.put("a");
    let expected = "events 2 at 2: b@2\nevents 0 at 2: a@2 b@2 a@2\nevents 0 at 3: a@3\n";
    let mut lines: Vec<_> = store.read().lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| !line.starts_with("events 2"));
    assert_eq!(lines.join("\n") + "\n", expected);
}

/// etcd issue 20221.
#[test]
fn a_start_in_the_future_is_silent_until_then() {
    let mut store = Store::open(100);
    store.create(WatchSpec {
        progress_notify: true,
        ..spec(all(), 4)
    });
    store.hub.progress(STREAM);
    store.put("a");
    store.put("a");
    store.hub.progress_due();
    store.hub.progress_due();
    assert_eq!(store.read(), "created 0 at 1\n");
    store.put("a");
    assert_eq!(store.read(), "events 0 at 4: a@4\nprogress -1 to 4\n");
}

#[test]
fn a_start_at_the_compaction_is_allowed_and_one_below_is_not() {
    let mut store = Store::open(100);
    for _ in 0..4 {
        store.put("a");
    }
    store.past.compacted = 3;
    store.create(spec(all(), 3));
    store.create(spec(all(), 2));
    store.create(spec(all(), 0));
    let expected = "created 0 at 5\ncreated 1 at 5\ncompacted 1 at 3\ncreated 2 at 5\nevents 0 at 5: a@3 a@4 a@5\n";
    assert_eq!(store.read(), expected);
    assert_eq!(store.hub.counts().watchers, 2);
}

/// As in etcd: the id is free, and the end complete, once the client has said so as well.
#[test]
fn a_watcher_ended_by_a_compaction_keeps_its_id_until_it_is_cancelled() {
    let mut store = Store::open(100);
    for _ in 0..4 {
        store.put("a");
    }
    store.past.compacted = 3;
    let first = || WatchSpec {
        id: WatchId(1),
        ..spec(all(), 2)
    };
    store.create(first());
    store.create(first());
    store.create(spec(all(), 0));
    store.create(spec(all(), 0));
    let expected = "created 1 at 5\ncompacted 1 at 3\nrefused DuplicateId at 5\ncreated 0 at 5\ncreated 2 at 5\n";
    assert_eq!(store.read(), expected);
    for _ in 0..2 {
        store.hub.cancel(STREAM, WatchId(1));
    }
    store.create(first());
    assert_eq!(
        store.read(),
        "canceled 1 at 5\ncreated 1 at 5\ncompacted 1 at 3\n"
    );
}

#[test]
fn a_compaction_that_overtakes_a_lagging_watcher_ends_it() {
    let mut store = Store::open(2);
    store.create(spec(one("a"), 0));
    store.create(spec(one("b"), 0));
    assert_eq!(store.read(), "created 0 at 1\ncreated 1 at 1\n");
    store.put("a");
    store.put("b");
    store.put("b");
    assert_eq!(store.hub.counts().lagging, 2);
    store.past.compacted = 3;
    assert_eq!(store.read(), "", "no credit, no word");
    store.hub.credit(STREAM, 2);
    // The second needs revision 3, which is still there.
    assert_eq!(store.read(), "compacted 0 at 3\nevents 1 at 4: b@3 b@4\n");
}

#[test]
fn without_credit_a_watcher_lags_and_misses_nothing() {
    let mut store = Store::open(2);
    store.create(spec(all(), 0));
    store.put("a");
    assert_eq!(store.read(), "created 0 at 1\nevents 0 at 2: a@2\n");
    store.put("b");
    store.put("c");
    assert_eq!(store.read(), "");
    assert_eq!(store.hub.counts().lagging, 1);
    store.hub.credit(STREAM, 1);
    assert_eq!(store.read(), "events 0 at 4: b@3 c@4\n");
    assert_eq!(store.hub.counts().lagging, 0);
    store.hub.credit(STREAM, 1);
    store.put("d");
    assert_eq!(store.read(), "events 0 at 5: d@5\n");
}

/// etcd issue 15220.
#[test]
fn progress_comes_after_the_events_it_speaks_of() {
    let mut store = Store::open(1);
    store.create(spec(all(), 0));
    store.read();
    store.put("a");
    store.hub.progress(STREAM);
    assert_eq!(store.read(), "");
    store.hub.credit(STREAM, 1);
    assert_eq!(store.read(), "events 0 at 2: a@2\n");
    store.hub.credit(STREAM, 5);
    assert_eq!(store.read(), "progress -1 to 2\n");
}

/// etcd issue 20242: there, a stream on which one watcher never quite catches up gets no answer at all.
#[test]
fn a_progress_request_needs_only_what_was_there_when_it_was_made() {
    let mut store = Store::open(1);
    store.create(spec(one("a"), 0));
    store.read();
    store.put("a");
    store.hub.progress(STREAM);
    // Whenever the client takes a batch, the next revision is there already.
    store.hub.credit(STREAM, 1);
    store.put("a");
    assert_eq!(
        store.read(),
        "events 0 at 3: a@3\n".replace("a@3", "a@2 a@3").as_str()
    );
    store.put("a");
    assert_eq!(store.hub.counts().lagging, 1);
    store.hub.credit(STREAM, 1);
    assert_eq!(store.read(), "progress -1 to 3\n");
}

#[test]
fn many_progress_requests_are_answered_together_and_the_last_one_too() {
    let mut store = Store::open(1);
    store.create(spec(all(), 0));
    store.read();
    for _ in 0..100 {
        store.hub.progress(STREAM);
    }
    store.put("a");
    for _ in 0..100 {
        store.hub.progress(STREAM);
    }
    store.hub.credit(STREAM, 10);
    let read = store.read();
    assert!(read.ends_with("progress -1 to 2\n"), "{read}");
    assert!(read.lines().count() <= 3, "{read}");
}

#[test]
fn a_stream_without_watchers_gets_no_progress() {
    let mut store = Store::open(10);
    store.hub.progress(STREAM);
    store.create(spec(all(), 0));
    store.hub.cancel(STREAM, WatchId(0));
    store.hub.progress(STREAM);
    assert_eq!(store.read(), "created 0 at 1\ncanceled 0 at 1\n");
}

#[test]
fn periodic_progress_skips_who_saw_events() {
    let mut store = Store::open(100);
    store.create(WatchSpec {
        progress_notify: true,
        ..spec(one("a"), 0)
    });
    store.create(WatchSpec {
        progress_notify: true,
        ..spec(one("b"), 0)
    });
    store.create(spec(all(), 0));
    store.put("a");
    store.read();
    store.hub.progress_due();
    assert_eq!(store.read(), "progress 1 to 2\n");
    store.hub.progress_due();
    assert_eq!(store.read(), "progress 0 to 2\nprogress 1 to 2\n");
}

#[test]
fn a_batch_holds_at_most_a_thousand_revisions_and_about_a_mebibyte() {
    let mut store = Store::default();
    for _ in 0..2500 {
        store.put("a");
    }
    for _ in 0..3 {
        store.write(&[("b", 600 << 10), ("b", 600 << 10), ("c", 1)]);
    }
    store.hub.open(STREAM, 100);
    store.create(spec(all(), 2));
    let sizes: Vec<_> = store
        .batches()
        .iter()
        .filter_map(|(_, batch)| match batch {
            Batch::Events { events, .. } => Some(events.len()),
            _ => None,
        })
        .collect();
    // The third goes on to the first revision that fills it; a revision is never split.
    assert_eq!(sizes, [1000, 1000, 503, 3, 3]);
}

fn first_event(batches: &[(StreamId, Batch)], wanted: StreamId) -> Arc<SharedEvent> {
    let of_stream = batches.iter().rev().filter(|(stream, _)| *stream == wanted);
    let mut event = of_stream.filter_map(|(_, batch)| match batch {
        Batch::Events { events, .. } => Some(Arc::clone(&events[0])),
        _ => None,
    });
    event.next().expect("events for the stream")
}

#[test]
fn an_event_is_made_once_for_synced_and_lagging_watchers() {
    let mut store = Store::open(10);
    store.hub.open(StreamId(2), 1);
    store.hub.open(StreamId(3), 1);
    store.create(spec(all(), 0));
    store.hub.create(StreamId(2), spec(all(), 0), &store.past);
    store
        .hub
        .create(StreamId(3), spec(one("a"), 0), &store.past);
    store.batches();
    store.put("a");
    let synced = first_event(&store.batches(), STREAM);
    for stream in [StreamId(2), StreamId(3)] {
        store.hub.credit(stream, 1);
        let lagging = first_event(&store.batches(), stream);
        assert!(Arc::ptr_eq(&synced, &lagging), "of {stream:?}");
    }
}

/// On its own stream and on the one of the watcher that is far behind.
#[test]
fn who_is_nearly_there_does_not_wait_for_who_is_far_behind() {
    let mut store = Store::default();
    for _ in 0..100_000 {
        store.put("a");
    }
    store.hub.open(STREAM, 0);
    store.hub.open(StreamId(2), 0);
    store.create(spec(all(), 2));
    store.create(spec(one("a"), 100_000));
    store
        .hub
        .create(StreamId(2), spec(all(), 99_999), &store.past);
    store.hub.credit(STREAM, 50);
    store.hub.credit(StreamId(2), 50);
    let mut out = Vec::new();
    for _ in 0..3 {
        store.hub.drain(&store.past, &mut out);
    }
    let shown: Vec<_> = out
        .iter()
        .filter_map(|(stream, batch)| match batch {
            Batch::Events { id, events, .. } => {
                Some((stream.0, id.0, events[0].event.kv.mod_revision.0))
            }
            _ => None,
        })
        .collect();
    assert!(shown.contains(&(1, 0, 2)), "{shown:?}");
    assert!(shown.contains(&(1, 1, 100_000)), "{shown:?}");
    assert!(shown.contains(&(2, 0, 99_999)), "{shown:?}");
    assert!(
        store.hub.counts().lagging > 0,
        "and the far one is still under way"
    );
}

#[test]
fn a_closed_stream_hears_nothing_and_its_number_can_be_used_again() {
    let mut store = Store::open(10);
    store.create(spec(all(), 3));
    store.hub.progress(STREAM);
    store.put("a");
    store.hub.close(STREAM);
    store.put("a");
    assert_eq!(store.read(), "");
    store.hub.open(STREAM, 10);
    store.create(spec(all(), 0));
    store.put("a");
    assert_eq!(store.read(), "created 0 at 3\nevents 0 at 4: a@4\n");
}

/// A snapshot from the leader replaced the state: revisions passed that were never published.
#[test]
fn a_jump_of_the_store_is_caught_up_from_history() {
    let mut store = Store::open(10);
    store.create(spec(all(), 0));
    store.create(spec(all(), 4));
    store.read();
    for revision in [2, 3, 4] {
        let kv = KeyValue {
            key: Bytes::from_static(b"a"),
            mod_revision: Revision(revision),
            ..KeyValue::default()
        };
        store.past.revisions.push(vec![Event {
            kind: EventKind::Put,
            kv,
            prev: None,
        }]);
    }
    assert_eq!(
        store.read(),
        "events 0 at 4: a@2 a@3 a@4\nevents 1 at 4: a@4\n"
    );
}
