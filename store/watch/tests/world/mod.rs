//! A hub, a history in a list, and a checker for everything the hub hands out.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use store_machine::error::Refusal;
use store_machine::reply::{Event, EventKind, KeyValue};
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Revision;
use store_watch::batch::{Batch, CreateRefusal, StreamId, WatchId};
use store_watch::hub::{History, Hub};
use store_watch::watcher::WatchSpec;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A revision with these (key, put) events.
    Publish(Vec<(u8, bool)>),
    /// As `Publish`, but the hub is not told: it finds the store further on.
    Jump(Vec<(u8, bool)>),
    Create {
        stream: u8,
        keys: u8,
        start: i64,
        flags: u8,
        id: i64,
    },
    Cancel {
        stream: u8,
        id: i64,
    },
    Credit {
        stream: u8,
        credit: u8,
    },
    Drain,
    Progress {
        stream: u8,
    },
    ProgressDue,
    /// Compacts so many revisions below the current one.
    Compact {
        back: i64,
    },
    /// The client goes and another comes.
    Reopen {
        stream: u8,
    },
}

/// All that ever happened.
#[derive(Default)]
pub(crate) struct Past {
    /// Revision 2 first.
    revisions: Vec<Vec<Event>>,
    compacted: Revision,
}

impl History for Past {
    fn revision(&self) -> Revision {
        Revision(1 + self.revisions.len() as i64)
    }
    fn compacted(&self) -> Revision {
        self.compacted
    }
    fn events(
        &self,
        from: Revision,
        to: Revision,
        visit: &mut dyn FnMut(Revision, &[Event]) -> bool,
    ) -> Result<(), Refusal> {
        if from < self.compacted {
            return Err(Refusal::Compacted);
        }
        for number in from.0.max(2)..=to.0 {
            if !visit(Revision(number), &self.revisions[number as usize - 2]) {
                break;
            }
        }
        Ok(())
    }
}

/// What a client knows of one of its watchers.
struct Seen {
    spec: WatchSpec,
    /// First revision not yet seen.
    next: Revision,
}

struct Client {
    id: StreamId,
    /// Responses it may still be sent.
    credit: usize,
    /// Asked for and not answered.
    creates: Vec<WatchSpec>,
    watchers: BTreeMap<WatchId, Seen>,
    /// Ids that must not be heard of again until created anew.
    cancels: BTreeSet<WatchId>,
    /// Highest revision of a progress answer.
    progress: Option<Revision>,
    /// The hub's revision when it last asked for one while it had watchers.
    asked: Option<Revision>,
}

pub(crate) struct World {
    hub: Hub,
    past: Past,
    clients: Vec<Client>,
    streams: u64,
    /// Last revision the hub was told of.
    published: Revision,
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'a' + number])
}

fn keys(number: u8) -> KeyRange {
    let (start, end) = match number {
        0..=3 => (key(number), RangeEnd::Single),
        4 => (Bytes::from_static(b"\0"), RangeEnd::Open),
        5 => (key(1), RangeEnd::Before(key(3))),
        _ => (key(2), RangeEnd::Before(key(2))),
    };
    KeyRange { start, end }
}

fn covers(keys: &KeyRange, key: &[u8]) -> bool {
    match &keys.end {
        RangeEnd::Single => keys.start == key,
        RangeEnd::Open => keys.start <= key,
        RangeEnd::Before(end) => keys.start <= key && key < end.as_ref(),
    }
}

fn wants(spec: &WatchSpec, event: &Event) -> bool {
    covers(&spec.keys, &event.kv.key)
        && match event.kind {
            EventKind::Put => !spec.no_put,
            EventKind::Delete => !spec.no_delete,
        }
}

impl World {
    pub(crate) fn new(clients: usize) -> Self {
        let mut world = Self {
            hub: Hub::new(),
            past: Past::default(),
            clients: Vec::new(),
            streams: 0,
            published: Revision(0),
        };
        for _ in 0..clients {
            let client = world.connect();
            world.clients.push(client);
        }
        world
    }

    fn connect(&mut self) -> Client {
        self.streams += 1;
        let id = StreamId(self.streams);
        self.hub.open(id, 1);
        Client {
            id,
            credit: 1,
            creates: Vec::new(),
            watchers: BTreeMap::new(),
            cancels: BTreeSet::new(),
            progress: None,
            asked: None,
        }
    }

    pub(crate) fn step(&mut self, op: &Op) {
        match op {
            Op::Publish(changes) => {
                let events = self.write(changes);
                self.published = self.past.revision();
                self.hub.publish(self.past.revision(), events);
            }
            Op::Jump(changes) => {
                self.write(changes);
            }
            Op::Create {
                stream,
                keys: number,
                start,
                flags,
                id,
            } => {
                let spec = WatchSpec {
                    keys: keys(*number),
                    start: Revision(*start),
                    id: WatchId(*id),
                    no_put: flags & 3 == 1,
                    no_delete: flags & 3 == 2,
                    prev_kv: flags & 4 != 0,
                    progress_notify: flags & 8 != 0,
                    fragment: false,
                };
                let client = &mut self.clients[*stream as usize];
                client.creates.push(spec.clone());
                self.hub.create(client.id, spec, &self.past);
            }
            Op::Cancel { stream, id } => self
                .hub
                .cancel(self.clients[*stream as usize].id, WatchId(*id)),
            Op::Credit { stream, credit } => {
                let client = &mut self.clients[*stream as usize];
                client.credit += usize::from(*credit);
                self.hub.credit(client.id, usize::from(*credit));
            }
            Op::Drain => {
                self.drain();
            }
            Op::Progress { stream } => {
                let client = &mut self.clients[*stream as usize];
                // What the client knows is at most what the hub knows.
                client.asked = (!client.watchers.is_empty()).then_some(self.published);
                self.hub.progress(client.id);
            }
            Op::ProgressDue => self.hub.progress_due(),
            Op::Compact { back } => {
                let at = Revision(self.past.revision().0 - back);
                self.past.compacted = self.past.compacted.max(at);
            }
            Op::Reopen { stream } => {
                self.hub.close(self.clients[*stream as usize].id);
                self.clients[*stream as usize] = self.connect();
            }
        }
    }

    fn write(&mut self, changes: &[(u8, bool)]) -> Vec<Event> {
        let revision = self.past.revision().next();
        let events: Vec<_> = changes
            .iter()
            .map(|(number, put)| Event {
                kind: if *put {
                    EventKind::Put
                } else {
                    EventKind::Delete
                },
                kv: KeyValue {
                    key: key(*number),
                    mod_revision: revision,
                    ..KeyValue::default()
                },
                prev: None,
            })
            .collect();
        self.past.revisions.push(events.clone());
        events
    }

    fn drain(&mut self) -> bool {
        let mut out = Vec::new();
        let more = self.hub.drain(&self.past, &mut out);
        for (stream, batch) in out {
            let client = self.clients.iter_mut().find(|client| client.id == stream);
            let client = client.unwrap_or_else(|| panic!("{batch:?} for closed stream {stream:?}"));
            assert!(client.credit > 0, "{batch:?} without credit");
            client.credit -= 1;
            client.take(&batch, &self.past);
        }
        more
    }

    fn drain_all(&mut self) {
        let mut drains = 0;
        while self.drain() {
            drains += 1;
            assert!(drains < 10_000, "draining never ends");
        }
    }

    /// Everybody listens until nothing comes any more: then everybody has everything.
    pub(crate) fn finish(&mut self) {
        for client in &mut self.clients {
            client.credit += 10_000;
            self.hub.credit(client.id, 10_000);
        }
        self.drain_all();
        let revision = self.past.revision();
        for client in &mut self.clients {
            let future = client
                .watchers
                .values()
                .any(|seen| seen.spec.start > revision);
            if let Some(asked) = client
                .asked
                .filter(|_| !client.watchers.is_empty() && !future)
            {
                assert!(
                    client.progress >= Some(asked),
                    "a progress request at {asked} was not answered"
                );
            }
            client.progress = None;
            self.hub.progress(client.id);
        }
        self.drain_all();
        let revision = self.past.revision();
        for client in &self.clients {
            assert!(
                client.creates.is_empty(),
                "not answered: {:?}",
                client.creates
            );
            for (id, seen) in &client.watchers {
                // Reliable: no matching event is left.
                let left = seen.until(revision, &self.past).next();
                assert_eq!(left, None, "never handed to {id:?}");
            }
            let future = client
                .watchers
                .values()
                .any(|seen| seen.spec.start > revision);
            let expected = (!client.watchers.is_empty() && !future).then_some(revision);
            assert_eq!(client.progress, expected, "answer to the progress request");
            assert_eq!(self.hub.backlog(client.id), 0);
        }
        let watchers = self
            .clients
            .iter()
            .map(|client| client.watchers.len())
            .sum::<usize>();
        let counts = self.hub.counts();
        assert_eq!(
            (counts.streams, counts.watchers, counts.lagging),
            (self.clients.len(), watchers, 0)
        );
        // And a closed stream leaves nothing behind.
        for client in &self.clients {
            self.hub.close(client.id);
        }
        assert_eq!(self.hub.counts(), store_watch::hub::Counts::default());
    }
}

impl Seen {
    /// Matching events not seen yet, up to a revision.
    fn until<'a>(&'a self, to: Revision, past: &'a Past) -> impl Iterator<Item = &'a Event> {
        (self.next.0.max(2)..=to.0)
            .flat_map(|number| &past.revisions[number as usize - 2])
            .filter(|event| wants(&self.spec, event))
    }
}

impl Client {
    fn take(&mut self, batch: &Batch, past: &Past) {
        self.check(batch, past);
        if self.watchers.is_empty() {
            // Nobody to answer for.
            self.asked = None;
        }
    }

    fn check(&mut self, batch: &Batch, past: &Past) {
        let current = past.revision();
        match batch {
            Batch::Created { id, revision } => {
                let spec = self.creates.remove(0);
                assert!(spec.start >= Revision(0) && spec.keys != keys(6));
                assert!(spec.id == WatchId(0) || spec.id == *id);
                assert!(!self.watchers.contains_key(id), "{id:?} twice");
                self.cancels.remove(id);
                let next = if spec.start == Revision(0) {
                    revision.next()
                } else {
                    spec.start
                };
                self.watchers.insert(*id, Seen { spec, next });
            }
            Batch::Refused { reason, .. } => {
                let spec = self.creates.remove(0);
                match reason {
                    CreateRefusal::EmptyRange => assert_eq!(spec.keys, keys(6)),
                    CreateRefusal::Compacted => assert!(spec.start < Revision(0)),
                    CreateRefusal::DuplicateId => assert!(spec.id != WatchId(0)),
                }
            }
            Batch::Canceled { id, .. } => {
                let watched = self.watchers.remove(id).is_some();
                assert!(watched || self.cancels.contains(id), "{id:?} was not there");
                self.cancels.insert(*id);
            }
            Batch::Compacted { id, compacted } => {
                let seen = self
                    .watchers
                    .remove(id)
                    .unwrap_or_else(|| panic!("{id:?} was not there"));
                assert!(seen.next < *compacted && *compacted <= past.compacted);
                self.cancels.insert(*id);
            }
            Batch::Events { id, events, .. } => {
                assert!(!self.cancels.contains(id), "events after the end of {id:?}");
                let seen = self
                    .watchers
                    .get_mut(id)
                    .unwrap_or_else(|| panic!("{id:?} is unknown"));
                let last = events.last().expect("an empty batch").event.kv.mod_revision;
                // Ordered, unique, reliable, atomic: just what is left up to the last one's revision.
                let expected: Vec<_> = seen.until(last, past).collect();
                let found: Vec<_> = events.iter().map(|shared| &shared.event).collect();
                assert_eq!(found, expected, "for {id:?} from {}", seen.next);
                seen.next = last.next();
            }
            Batch::Progress { id, revision } => {
                assert!(*revision <= current);
                let of: Vec<_> = match *id {
                    WatchId::NONE => {
                        assert!(self.progress.is_none_or(|before| before <= *revision));
                        self.progress = Some(*revision);
                        self.watchers.values_mut().collect()
                    }
                    id => self.watchers.get_mut(&id).into_iter().collect(),
                };
                assert!(!of.is_empty(), "progress for nobody");
                for seen in of {
                    assert!(seen.spec.start <= *revision, "progress below the start");
                    // Bookmarkable: nothing up to there is still to come...
                    assert_eq!(
                        seen.until(*revision, past).next(),
                        None,
                        "progress ahead of events"
                    );
                    // ...and resumable: nothing up to there will come again.
                    seen.next = seen.next.max(revision.next());
                }
            }
        }
    }
}
