//! The mirror against a store that keeps every revision as a whole map (the dumb twin).

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::mirror::ChangeKind;

type Map = BTreeMap<Bytes, Entry>;

/// A store that remembers the full state at each revision.
struct Store {
    cluster: u64,
    /// Index is the revision.
    states: Vec<Map>,
    events: Vec<Vec<KeyEvent>>,
    compacted: usize,
}

impl Store {
    fn new() -> Self {
        Self {
            cluster: 1,
            states: vec![Map::new(); 2],
            events: vec![Vec::new(); 2],
            compacted: 0,
        }
    }

    fn head(&self) -> usize {
        self.states.len() - 1
    }

    fn write(&mut self, writes: &[(u8, Option<u8>)]) {
        let revision = i64::try_from(self.states.len()).unwrap();
        let mut state = self.states[self.head()].clone();
        let mut events: Map = Map::new();
        let mut deleted = Vec::new();
        for (name, value) in writes {
            let key = key(*name);
            if events.contains_key(&key) || deleted.contains(&key) {
                continue; // one write per key and revision, as in etcd
            }
            match value {
                Some(value) => {
                    let create_revision = state
                        .get(&key)
                        .map_or(revision, |entry| entry.create_revision);
                    let entry = Entry {
                        value: Bytes::from(vec![*value]),
                        create_revision,
                        mod_revision: revision,
                    };
                    state.insert(key.clone(), entry.clone());
                    events.insert(key, entry);
                }
                None => {
                    if state.remove(&key).is_some() {
                        deleted.push(key);
                    }
                }
            }
        }
        let puts = events.into_iter().map(|(key, entry)| KeyEvent {
            key,
            revision,
            entry: Some(entry),
        });
        let deletes = deleted.into_iter().map(|key| KeyEvent {
            key,
            revision,
            entry: None,
        });
        let events: Vec<_> = puts.chain(deletes).collect();
        if !events.is_empty() {
            self.states.push(state);
            self.events.push(events);
        }
    }

    fn header(&self) -> Header {
        Header {
            cluster: self.cluster,
            revision: i64::try_from(self.head()).unwrap(),
        }
    }
}

/// `/a/0…` to `/d/7`; the mirrored ranges are `/a/` and `/c/`.
fn key(name: u8) -> Bytes {
    Bytes::from(format!("/{}/{}", char::from(b'a' + name % 4), name / 4 % 8))
}

/// The store's side of one connection.
#[derive(Default)]
struct Stream {
    /// Per watch: range and the next revision to send. `None` until its creation was answered.
    watches: Vec<(usize, KeyRange, usize)>,
    unanswered: VecDeque<(usize, KeyRange, usize)>,
    asked: usize,
}

struct World {
    store: Store,
    mirror: Mirror,
    now: Duration,
    connected: bool,
    read: Option<(KeyRange, Option<i64>)>,
    stream: Stream,
    /// The state a consumer builds from `changes` alone.
    follower: Map,
    /// True for a server whose fence may overtake events.
    overtakes: bool,
    page: usize,
}

impl World {
    fn new(ranges: Vec<KeyRange>, overtakes: bool) -> Self {
        Self {
            store: Store::new(),
            mirror: Mirror::new(ranges),
            now: Duration::ZERO,
            connected: false,
            read: None,
            stream: Stream::default(),
            follower: Map::new(),
            overtakes,
            page: 3,
        }
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.mirror.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Read { range, at, .. } => {
                    assert!(self.read.is_none(), "one read at a time");
                    self.read = Some((range, at));
                }
                Effect::Watch { watch, range, from } => {
                    self.stream.unanswered.push_back((
                        watch,
                        range,
                        usize::try_from(from).unwrap(),
                    ));
                }
                Effect::AskProgress => self.stream.asked += 1,
                Effect::CloseStream => self.stream = Stream::default(),
                Effect::Tell(event) => self.told(&event),
            }
        }
    }

    /// The promises of the mirror, checked at every event.
    fn told(&mut self, event: &Event) {
        let (snapshot, changes, listed) = match event {
            Event::Listed {
                snapshot, changes, ..
            } => (snapshot, changes, true),
            Event::Advanced { snapshot, changes } => (snapshot, changes, false),
        };
        for change in changes {
            assert_eq!(
                self.follower.get(&change.key),
                change.before.as_ref(),
                "before of {:?}",
                change.key
            );
            assert_ne!(change.before, change.after);
            match &change.after {
                Some(after) => self.follower.insert(change.key.clone(), after.clone()),
                None => self.follower.remove(&change.key),
            };
        }
        assert!(
            snapshot.iter().eq(self.follower.iter()),
            "differences are complete"
        );
        if listed || !self.overtakes {
            let at = usize::try_from(snapshot.revision()).unwrap();
            let wanted: Map = self.mirrored(&self.store.states[at]);
            assert!(
                snapshot.iter().eq(wanted.iter()),
                "snapshot equals the store at revision {at}"
            );
        }
    }

    fn mirrored(&self, state: &Map) -> Map {
        let inside = |key: &Bytes| self.mirror.ranges().iter().any(|range| range.contains(key));
        state
            .iter()
            .filter(|(key, _)| inside(key))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect()
    }

    fn connect(&mut self) {
        if !self.connected {
            self.connected = true;
            self.step(Input::Connected);
        }
    }

    fn disconnect(&mut self) {
        self.connected = false;
        self.read = None;
        self.stream = Stream::default();
        self.step(Input::Lost);
    }

    /// Answers the outstanding read, if any.
    fn serve_read(&mut self) {
        let Some((range, at)) = self.read.take() else {
            return;
        };
        let at = at.map_or(self.store.head(), |at| usize::try_from(at).unwrap());
        if at < self.store.compacted {
            self.step(Input::PageCompacted);
            return;
        }
        let mut entries: Vec<_> = self.store.states[at]
            .iter()
            .filter(|(key, _)| range.contains(key))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        let more = entries.len() > self.page;
        entries.truncate(self.page);
        self.step(Input::Page {
            header: self.store.header(),
            entries,
            more,
        });
    }

    fn serve_create(&mut self) {
        let Some((watch, range, from)) = self.stream.unanswered.pop_front() else {
            return;
        };
        self.stream.watches.push((watch, range, from));
        self.step(Input::Created {
            watch,
            header: self.store.header(),
        });
        if from <= self.store.compacted && self.connected {
            self.step(Input::WatchCompacted);
        }
    }

    /// Sends up to `revisions` revisions on one watch; `back` repeats some, `cut` splits the last one.
    fn serve_events(&mut self, index: usize, revisions: usize, back: usize, cut: bool) {
        if self.stream.watches.is_empty() {
            return;
        }
        let index = index % self.stream.watches.len();
        let (watch, range, next) = self.stream.watches[index].clone();
        if next <= self.store.compacted {
            // Slow watcher: its history went away.
            self.step(Input::WatchCompacted);
            return;
        }
        let end = (next + revisions).min(self.store.head() + 1);
        let begin = next.saturating_sub(back).max(1);
        let mut events: Vec<KeyEvent> = (begin..end)
            .flat_map(|revision| self.store.events[revision].iter())
            .filter(|event| range.contains(&event.key))
            .cloned()
            .collect();
        self.stream.watches[index].2 = end.max(next);
        let last = events.last().map(|event| event.revision);
        let tail_from = events
            .iter()
            .position(|event| Some(event.revision) == last)
            .unwrap_or_default();
        if cut && events.len() > tail_from + 1 {
            let tail = events.split_off(tail_from + 1);
            self.step(Input::Events {
                watch,
                may_continue: true,
                events,
            });
            events = tail;
        }
        if !events.is_empty() && !self.stream.watches.is_empty() {
            self.step(Input::Events {
                watch,
                may_continue: false,
                events,
            });
        }
    }

    fn serve_progress(&mut self) {
        let head = self.store.head();
        let synced = self.stream.unanswered.is_empty()
            && self.stream.watches.iter().all(|watch| watch.2 > head);
        if self.stream.asked > 0 && (synced || self.overtakes) {
            self.stream.asked = 0;
            self.step(Input::Progress {
                watch: None,
                revision: i64::try_from(head).unwrap(),
            });
        } else if let Some((watch, _, next)) = self.stream.watches.first().cloned()
            && next > head
        {
            self.step(Input::Progress {
                watch: Some(watch),
                revision: i64::try_from(head).unwrap(),
            });
        }
    }

    fn tick(&mut self) {
        if let Some(deadline) = self.mirror.next_deadline() {
            self.now = self.now.max(deadline);
            self.step(Input::Tick);
        }
    }

    /// Without faults the mirror reaches the head within a bounded number of exchanges.
    fn settle(&mut self) {
        self.page = 1_000;
        for _ in 0..60 {
            self.connect();
            self.serve_read();
            self.serve_create();
            for index in 0..self.stream.watches.len() {
                self.serve_events(index, 1_000, 0, false);
            }
            self.serve_progress();
            self.tick();
        }
        let wanted = self.mirrored(&self.store.states[self.store.head()]);
        let shown = self.mirror.snapshot().expect("listed after settling");
        assert!(
            shown.iter().eq(wanted.iter()),
            "mirror equals the store at its head"
        );
    }
}

#[derive(Debug, Clone)]
enum Op {
    Write(Vec<(u8, Option<u8>)>),
    Connect,
    Disconnect,
    Compact,
    Read,
    Create,
    Events {
        index: usize,
        revisions: usize,
        back: usize,
        cut: bool,
    },
    Progress,
    Tick,
}

fn op() -> impl Strategy<Value = Op> {
    let write = proptest::collection::vec((0u8..32, proptest::option::weighted(0.7, 0u8..4)), 1..5);
    prop_oneof![
        8 => write.prop_map(Op::Write),
        3 => Just(Op::Connect),
        1 => Just(Op::Disconnect),
        1 => Just(Op::Compact),
        8 => Just(Op::Read),
        4 => Just(Op::Create),
        8 => (0usize..2, 1usize..5, 0usize..3, any::<bool>())
            .prop_map(|(index, revisions, back, cut)| Op::Events { index, revisions, back, cut }),
        4 => Just(Op::Progress),
        2 => Just(Op::Tick),
    ]
}

fn run(world: &mut World, ops: Vec<Op>, ticks: bool) {
    for op in ops {
        match op {
            Op::Write(writes) => world.store.write(&writes),
            Op::Connect => world.connect(),
            Op::Disconnect => world.disconnect(),
            Op::Compact => world.store.compacted = world.store.head(),
            Op::Read => world.serve_read(),
            Op::Create => world.serve_create(),
            Op::Events {
                index,
                revisions,
                back,
                cut,
            } => world.serve_events(index, revisions, back, cut),
            Op::Progress => world.serve_progress(),
            // Waiting out a fence gives up atomicity, so only the tolerant runs do it.
            Op::Tick if ticks => world.tick(),
            Op::Tick => {}
        }
    }
    world.settle();
}

fn two_ranges() -> Vec<KeyRange> {
    vec![KeyRange::prefix(b"/c/"), KeyRange::prefix(b"/a/")]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_snapshot_is_the_store_at_its_revision_one_range(ops in proptest::collection::vec(op(), 1..120)) {
        run(&mut World::new(vec![KeyRange::prefix(b"/a/")], false), ops, false);
    }

    #[test]
    fn every_snapshot_is_the_store_at_its_revision_two_ranges(ops in proptest::collection::vec(op(), 1..120)) {
        run(&mut World::new(two_ranges(), false), ops, false);
    }

    #[test]
    fn a_server_whose_fence_overtakes_events_loses_none(ops in proptest::collection::vec(op(), 1..120)) {
        run(&mut World::new(two_ranges(), true), ops, true);
    }
}

/// Brings a world to the watching state with both watches created.
fn watching() -> World {
    let mut world = World::new(two_ranges(), false);
    world.store.write(&[(0, Some(1)), (2, Some(1))]);
    world.connect();
    world.serve_read();
    world.serve_read();
    world.serve_create();
    world.serve_create();
    world
}

#[test]
fn a_transaction_over_two_ranges_is_seen_whole() {
    let mut world = watching();
    world.store.write(&[(0, Some(2)), (2, Some(2))]);
    world.serve_events(0, 1, 0, false);
    assert_eq!(
        world.mirror.snapshot().unwrap().revision(),
        2,
        "held back until the other range is known"
    );
    assert_eq!(world.stream.asked, 1);
    world.serve_events(1, 1, 0, false);
    assert_eq!(world.mirror.snapshot().unwrap().revision(), 3);
}

#[test]
fn a_silent_server_is_asked_again_and_then_not_waited_for() {
    let mut world = watching();
    world.store.write(&[(0, Some(2))]);
    let watch = world
        .stream
        .watches
        .iter()
        .position(|(_, range, _)| range.contains(b"/a/0"))
        .unwrap();
    world.serve_events(watch, 1, 0, false);
    for _ in 0..19 {
        world.tick();
        assert_eq!(world.mirror.snapshot().unwrap().revision(), 2);
    }
    assert_eq!(world.stream.asked, 20);
    world.tick();
    assert_eq!(world.mirror.snapshot().unwrap().revision(), 3);
    assert_eq!(world.mirror.stats().fences_missed, 1);
    assert_eq!(world.mirror.next_deadline(), None);
}

#[test]
fn a_store_that_went_back_is_read_again_once() {
    let mut world = watching();
    for _ in 0..5 {
        world.store.write(&[(0, Some(9))]);
        world.store.write(&[(0, Some(8))]);
        world.serve_events(0, 9, 0, false);
        world.serve_events(1, 9, 0, false);
        world.serve_progress();
    }
    world.disconnect();
    world.store.states.truncate(4);
    world.store.events.truncate(4);
    world.settle();
    assert_eq!(
        world.mirror.stats().listings.get(&Cause::StoreBehind),
        Some(&1)
    );
    assert_eq!(world.mirror.snapshot().unwrap().revision(), 3);
}

#[test]
fn another_cluster_is_read_again() {
    let mut world = watching();
    world.disconnect();
    world.store.cluster = 2;
    world.store.write(&[(0, None), (2, Some(3))]);
    world.settle();
    assert_eq!(
        world.mirror.stats().listings.get(&Cause::OtherCluster),
        Some(&1)
    );
}

#[test]
fn no_ranges_is_complete_at_once() {
    let mut world = World::new(Vec::new(), false);
    world.store.states[0] = Map::new();
    world.connect();
    assert_eq!(world.mirror.snapshot().map(Snapshot::len), Some(0));
}

#[test]
fn kinds_of_changes() {
    let entry = |value: &'static str, revision| {
        Some(Entry {
            value: Bytes::from(value),
            create_revision: 1,
            mod_revision: revision,
        })
    };
    for (before, after, kind) in [
        (None, entry("a", 2), ChangeKind::Created),
        (entry("a", 2), None, ChangeKind::Deleted),
        (entry("a", 2), entry("b", 3), ChangeKind::Modified),
        (entry("a", 2), entry("a", 3), ChangeKind::Rewritten),
    ] {
        assert_eq!(
            Change {
                key: Bytes::new(),
                before,
                after
            }
            .kind(),
            kind
        );
    }
}
