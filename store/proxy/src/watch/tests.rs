//! The coalescer against a store of a few lines: what each watcher is shown is what it would be shown on a stream of its
//! own, whatever comes in between.

use bytes::Bytes;
use proptest::prelude::*;
use store_proto::etcdserverpb::watch_create_request::FilterType;
use store_proto::mvccpb::event::EventType;
use store_proto::mvccpb::{Event, KeyValue};

use super::*;

/// A store, its one watch stream, and the clients; each message is under way until it is delivered.
#[derive(Default)]
struct World {
    coalescer: Coalescer,
    /// All events so far; event n has revision n + 1.
    log: Vec<Event>,
    /// Requests under way to the store.
    requests: VecDeque<WatchRequest>,
    /// Answers under way to the proxy.
    answers: VecDeque<WatchResponse>,
    /// The store's watchers: range, next revision.
    upstream: BTreeMap<i64, (WatchCreateRequest, i64)>,
    created_upstream: usize,
    compacted: i64,
    /// What each client was sent.
    shown: BTreeMap<Client, Vec<WatchResponse>>,
}

fn in_range(create: &WatchCreateRequest, key: &Bytes) -> bool {
    match create.range_end.as_ref() {
        b"" => key == &create.key,
        b"\0" => key >= &create.key,
        end => *key >= create.key && key.as_ref() < end,
    }
}

impl World {
    fn revision(&self) -> i64 {
        self.log.len() as i64
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            revision: self.revision(),
            ..ResponseHeader::default()
        })
    }

    fn write(&mut self, key: u8, delete: bool) {
        let kind = if delete {
            EventType::Delete
        } else {
            EventType::Put
        };
        let pair = KeyValue {
            key: vec![key].into(),
            mod_revision: self.revision() + 1,
            ..KeyValue::default()
        };
        self.log.push(Event {
            r#type: kind.into(),
            kv: Some(pair),
            prev_kv: None,
        });
    }

    fn settle(&mut self) {
        for effect in self.coalescer.take() {
            match effect {
                Effect::Upstream(request) => self.requests.push_back(request),
                Effect::Client(client, response) => {
                    self.shown.entry(client).or_default().push(response);
                }
            }
        }
    }

    fn ask(&mut self, client: Client, request: RequestUnion) {
        let request_union = Some(request);
        self.coalescer
            .client_said(client, WatchRequest { request_union });
        self.settle();
    }

    fn watch(&mut self, client: Client, create: WatchCreateRequest) {
        self.ask(client, RequestUnion::CreateRequest(create));
    }

    /// The store takes one request.
    fn serve(&mut self) {
        let header = self.header();
        match self
            .requests
            .pop_front()
            .and_then(|request| request.request_union)
        {
            Some(RequestUnion::CreateRequest(create)) => {
                let next = match create.start_revision {
                    0 => self.revision() + 1,
                    start => start,
                };
                let id = create.watch_id;
                self.created_upstream += 1;
                self.answers.push_back(WatchResponse {
                    header,
                    watch_id: id,
                    created: true,
                    ..WatchResponse::default()
                });
                if next < self.compacted {
                    self.answers.push_back(WatchResponse {
                        header: Some(ResponseHeader::default()),
                        watch_id: id,
                        canceled: true,
                        compact_revision: self.compacted,
                        ..WatchResponse::default()
                    });
                    return;
                }
                assert!(self.upstream.insert(id, (create, next)).is_none());
            }
            Some(RequestUnion::CancelRequest(cancel)) => {
                let canceled = self.upstream.remove(&cancel.watch_id);
                self.answers.extend(canceled.map(|_| WatchResponse {
                    header,
                    watch_id: cancel.watch_id,
                    canceled: true,
                    ..WatchResponse::default()
                }));
            }
            Some(RequestUnion::ProgressRequest(_)) => {
                // Everything is shown first.
                self.feed(usize::MAX);
                self.answers.push_back(WatchResponse {
                    header,
                    watch_id: -1,
                    ..WatchResponse::default()
                });
            }
            None => {}
        }
    }

    /// The store shows each watcher up to so many of its events, a message for all of them.
    fn feed(&mut self, most: usize) {
        let header = self.header();
        for (id, (create, next)) in &mut self.upstream {
            let from = usize::try_from(*next - 1).unwrap();
            let rest = self.log.iter().enumerate().skip(from);
            let fitting =
                rest.filter(|(_, event)| in_range(create, &event.kv.as_ref().unwrap().key));
            let events: Vec<(usize, Event)> = fitting
                .take(most)
                .map(|(at, event)| (at, event.clone()))
                .collect();
            let Some((last, _)) = events.last() else {
                continue;
            };
            *next = *last as i64 + 2;
            self.answers.push_back(WatchResponse {
                header,
                watch_id: *id,
                events: events.into_iter().map(|(_, event)| event).collect(),
                ..WatchResponse::default()
            });
        }
    }

    /// The store tells a quiet watcher how far it is.
    fn tell_progress(&mut self) {
        self.feed(usize::MAX);
        let header = self.header();
        let revision = self.revision();
        for (id, (_, next)) in &mut self.upstream {
            if *next <= revision + 1 {
                *next = revision + 1;
                self.answers.push_back(WatchResponse {
                    header,
                    watch_id: *id,
                    ..WatchResponse::default()
                });
            }
        }
    }

    fn deliver(&mut self) {
        if let Some(answer) = self.answers.pop_front() {
            self.coalescer.upstream_said(&answer);
            self.settle();
        }
    }

    fn lose(&mut self) {
        self.requests.clear();
        self.answers.clear();
        self.upstream.clear();
        self.coalescer.upstream_lost();
        self.coalescer.upstream_came();
        self.settle();
    }

    /// Until nothing is under way.
    fn rest(&mut self) {
        loop {
            if !self.requests.is_empty() {
                self.serve();
            } else {
                self.feed(usize::MAX);
                if self.answers.is_empty() {
                    return;
                }
                while !self.answers.is_empty() {
                    self.deliver();
                }
            }
        }
    }

    fn of(&self, client: Client, id: i64) -> Vec<&WatchResponse> {
        let all = self.shown.get(&client).into_iter().flatten();
        all.filter(|response| response.watch_id == id).collect()
    }

    fn revisions(&self, client: Client, id: i64) -> Vec<i64> {
        let all = self
            .of(client, id)
            .into_iter()
            .flat_map(|response| &response.events);
        all.map(|event| event.kv.as_ref().unwrap().mod_revision)
            .collect()
    }
}

fn wish(key: u8, start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest {
        key: vec![key].into(),
        start_revision,
        ..WatchCreateRequest::default()
    }
}

#[test]
fn a_hundred_watchers_are_one_upstream() {
    let mut world = World::default();
    for client in 0..100 {
        world.watch(client, wish(b'k', 0));
    }
    world.rest();
    assert_eq!(
        (world.coalescer.feeds(), world.coalescer.riders()),
        (1, 100)
    );
    assert_eq!(world.upstream.len(), 1);
    world.write(b'k', false);
    world.rest();
    for client in 0..100 {
        assert_eq!(world.revisions(client, 0), [1]);
    }
    for client in 0..100 {
        world.coalescer.client_left(client);
    }
    world.settle();
    world.rest();
    assert_eq!((world.coalescer.feeds(), world.upstream.len()), (0, 0));
}

#[test]
fn one_that_begins_in_the_past_catches_up_and_joins() {
    let mut world = World::default();
    world.watch(1, wish(b'k', 0));
    world.rest();
    for _ in 0..3 {
        world.write(b'k', false);
    }
    world.rest();
    world.watch(2, wish(b'k', 2));
    assert_eq!(world.coalescer.feeds(), 2);
    world.rest();
    assert_eq!(world.coalescer.feeds(), 1);
    world.write(b'k', true);
    world.rest();
    assert_eq!(world.revisions(1, 0), [1, 2, 3, 4]);
    assert_eq!(world.revisions(2, 0), [2, 3, 4]);
    // From where the main feed is, nothing needs to be asked.
    let asked = world.created_upstream;
    world.watch(3, wish(b'k', 5));
    world.rest();
    assert_eq!(world.created_upstream, asked);
    assert!(world.of(3, 0)[0].created);
}

#[test]
fn a_new_watcher_is_not_shown_what_was_before_it() {
    let mut world = World::default();
    world.watch(1, wish(b'k', 0));
    world.rest();
    world.write(b'k', false);
    // The main feed has not shown that yet; the new one begins behind it.
    world.watch(2, wish(b'k', 0));
    world.serve();
    world.deliver();
    assert_eq!(world.coalescer.feeds(), 1);
    world.rest();
    world.write(b'k', false);
    world.rest();
    assert_eq!(world.revisions(1, 0), [1, 2]);
    assert_eq!(world.revisions(2, 0), [2]);
}

#[test]
fn ids_are_the_client_s_own() {
    let mut world = World::default();
    let with_id = |id| WatchCreateRequest {
        watch_id: id,
        ..wish(b'k', 0)
    };
    for id in [0, 1, 0, 1] {
        world.watch(1, with_id(id));
    }
    world.rest();
    let ids: Vec<(i64, bool)> = world.shown[&1]
        .iter()
        .map(|response| (response.watch_id, response.canceled))
        .collect();
    assert_eq!(ids, [(-1, true), (0, false), (1, false), (2, false)]);
    assert_eq!(world.shown[&1][0].cancel_reason, DUPLICATE);
    world.ask(
        1,
        RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 }),
    );
    assert!(world.of(1, 1)[1].canceled);
    world.ask(
        1,
        RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 9 }),
    );
    assert!(world.of(1, 9).is_empty());
}

#[test]
fn a_refusal_and_a_compaction_reach_those_they_concern() {
    let mut world = World::default();
    world.watch(1, wish(b'k', 0));
    world.rest();
    world.watch(
        2,
        WatchCreateRequest {
            watch_id: 7,
            ..wish(b'x', -1)
        },
    );
    world.requests.clear();
    world.answers.push_back(WatchResponse {
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: "no".to_owned(),
        ..WatchResponse::default()
    });
    world.deliver();
    let refused = &world.shown[&2][0];
    assert_eq!(
        (refused.watch_id, refused.created, refused.canceled),
        (-1, true, true)
    );
    for _ in 0..5 {
        world.write(b'k', false);
    }
    world.rest();
    world.compacted = 4;
    world.watch(3, wish(b'k', 2));
    world.rest();
    let ended = world.of(3, 0)[1];
    assert_eq!((ended.canceled, ended.compact_revision), (true, 4));
    assert_eq!(world.coalescer.riders(), 1);
}

#[test]
fn progress_goes_to_those_who_want_it() {
    let mut world = World::default();
    world.watch(
        1,
        WatchCreateRequest {
            progress_notify: true,
            ..wish(b'k', 0)
        },
    );
    world.watch(2, wish(b'k', 0));
    world.watch(
        3,
        WatchCreateRequest {
            progress_notify: true,
            ..wish(b'k', 50)
        },
    );
    world.rest();
    world.write(b'z', false);
    world.tell_progress();
    world.rest();
    assert_eq!(world.of(1, 0).len(), 2);
    assert_eq!(world.of(1, 0)[1].header.unwrap().revision, 1);
    assert_eq!((world.of(2, 0).len(), world.of(3, 0).len()), (1, 1));
    world.ask(2, RequestUnion::ProgressRequest(WatchProgressRequest {}));
    world.rest();
    assert_eq!(world.of(2, -1).len(), 1);
    assert!(world.of(1, -1).is_empty());
}

/// A step of the world.
#[derive(Clone, Debug)]
enum Step {
    Write(u8, bool),
    Watch(Client, u8, bool, i64, u8),
    Cancel(Client, i64),
    Leave(Client),
    Slow(Client, bool),
    Serve,
    Feed(usize),
    Progress,
    Deliver,
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    let client = 1_u64..4;
    prop_oneof![
        5 => (b'a'..b'd', any::<bool>()).prop_map(|(key, delete)| Step::Write(key, delete)),
        3 => (client.clone(), b'a'..b'd', any::<bool>(), 0_i64..12, 0_u8..3)
            .prop_map(|(client, key, open, start, filter)| Step::Watch(client, key, open, start, filter)),
        1 => (client.clone(), 0_i64..4).prop_map(|(client, id)| Step::Cancel(client, id)),
        1 => client.clone().prop_map(Step::Leave),
        1 => (client, any::<bool>()).prop_map(|(client, slow)| Step::Slow(client, slow)),
        5 => Just(Step::Serve),
        3 => (1_usize..4).prop_map(Step::Feed),
        1 => Just(Step::Progress),
        8 => Just(Step::Deliver),
        1 => Just(Step::Lose),
    ]
}

/// A watcher as the twin has it: alone on a stream of its own.
#[derive(Debug)]
struct Alone {
    create: WatchCreateRequest,
    /// Only one that was never canceled and never left has to be shown all.
    ended: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn each_watcher_is_shown_what_it_would_be_shown_alone(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::default();
        let mut twins: BTreeMap<(Client, i64), Alone> = BTreeMap::new();
        let mut generation = 0;
        let mut names: BTreeMap<Client, Client> = BTreeMap::new();
        let mut next_id: BTreeMap<Client, i64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Write(key, delete) => world.write(key, delete),
                Step::Watch(client, key, open, start, filter) => {
                    // A client that left and came again is another one.
                    let client = *names.entry(client).or_insert_with(|| { generation += 1; generation });
                    let id = next_id.entry(client).or_insert(1);
                    let mut create = wish(key, start);
                    create.watch_id = *id;
                    if open {
                        create.range_end = Bytes::from_static(b"\0");
                    }
                    create.filters = match filter {
                        0 => vec![],
                        1 => vec![FilterType::Noput.into()],
                        _ => vec![FilterType::Nodelete.into()],
                    };
                    twins.insert((client, *id), Alone { create: create.clone(), ended: false });
                    *id += 1;
                    world.watch(client, create);
                }
                Step::Cancel(client, id) => {
                    if let Some(client) = names.get(&client) {
                        if let Some(twin) = twins.get_mut(&(*client, id)) {
                            twin.ended = true;
                        }
                        let cancel = WatchCancelRequest { watch_id: id };
                        world.ask(*client, RequestUnion::CancelRequest(cancel));
                    }
                }
                Step::Leave(client) => {
                    if let Some(client) = names.remove(&client) {
                        for ((of, _), twin) in &mut twins {
                            twin.ended |= *of == client;
                        }
                        world.coalescer.client_left(client);
                        world.settle();
                    }
                }
                Step::Slow(client, slow) => {
                    if let Some(client) = names.get(&client) {
                        if slow {
                            world.coalescer.client_is_slow(*client);
                        } else {
                            world.coalescer.client_is_fast(*client);
                        }
                        world.settle();
                    }
                }
                Step::Serve => world.serve(),
                Step::Feed(most) => world.feed(most),
                Step::Progress => world.tell_progress(),
                Step::Deliver => world.deliver(),
                Step::Lose => world.lose(),
            }
        }
        for client in names.values() {
            world.coalescer.client_is_fast(*client);
            world.settle();
        }
        world.rest();
        for ((client, id), twin) in &twins {
            let shown = world.revisions(*client, *id);
            let created = world.of(*client, *id).into_iter().find(|response| response.created);
            let Some(created) = created else {
                prop_assert!(twin.ended, "{client}/{id} was never created");
                prop_assert!(shown.is_empty());
                continue;
            };
            let from = match twin.create.start_revision {
                0 => created.header.unwrap().revision + 1,
                start => start,
            };
            let wanted = world.log.iter().filter(|event| {
                let pair = event.kv.as_ref().unwrap();
                let kind = match event.r#type() {
                    EventType::Put => FilterType::Noput,
                    EventType::Delete => FilterType::Nodelete,
                };
                pair.mod_revision >= from
                    && in_range(&twin.create, &pair.key)
                    && !twin.create.filters().any(|filter| filter == kind)
            });
            let wanted: Vec<i64> = wanted.map(|event| event.kv.as_ref().unwrap().mod_revision).collect();
            if twin.ended {
                prop_assert!(wanted.starts_with(&shown), "{client}/{id}: {shown:?} of {wanted:?}");
            } else {
                prop_assert_eq!(shown, wanted, "{}/{} from {}", client, id, from);
            }
        }
        // And all that is left upstream is needed.
        prop_assert_eq!(world.upstream.len(), world.coalescer.feeds());
    }
}
