//! [pure] Many watchers of clients on few watchers of the cluster. A **feed** is a watcher upstream; the watchers of clients ride
//! on feeds. For each range there is one main feed; a new watcher that cannot be sure to miss nothing on it starts on a
//! feed of its own (a scout), and moves over once that has come as far.
//!
//! What a client sees is what it would see of a stream of its own: each revision once, in order, from where it asked, with
//! its filters. The position of a feed (`next`) and of a watcher (`from`) is the next revision it is to be shown.
//!
//! All feeds here share one stream upstream, so its answers are in one order: created in the order of the requests, and a
//! progress answer behind every event it speaks of.

mod range;
mod rider;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{
    ResponseHeader, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};

pub(crate) use self::range::Range;
use self::rider::Rider;

/// A client's stream.
pub(crate) type Client = u64;

/// What etcd's servers say of an id that is taken.
const DUPLICATE: &str = "mvcc: duplicate watch ID provided on the WatchStream";
/// Whose answer it is when it is nobody's.
const NOBODY: i64 = -1;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Send upstream.
    Upstream(WatchRequest),
    /// Send to a client.
    Client(Client, WatchResponse),
}

/// A watcher upstream.
#[derive(Debug)]
struct Feed {
    range: Range,
    /// The next revision it will show; 0 until that is known.
    next: i64,
    /// It was asked for with this start, and is asked for again with it until it is confirmed.
    start: i64,
    /// It was created upstream.
    confirmed: bool,
    riders: BTreeSet<(Client, i64)>,
}

/// A client's stream and its watchers.
#[derive(Debug, Default)]
struct Stream {
    riders: BTreeMap<i64, Rider>,
    /// It waits for an answer about progress.
    asks: bool,
    /// It takes nothing for now.
    slow: bool,
    next_id: i64,
}

/// The watchers of one identity.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    feeds: BTreeMap<i64, Feed>,
    /// The main feed of each range.
    mains: BTreeMap<Range, i64>,
    /// Feeds that were asked for and not confirmed, in the order of asking.
    asked: VecDeque<i64>,
    streams: BTreeMap<Client, Stream>,
    /// The newest header, for answers of our own.
    header: ResponseHeader,
    next_feed: i64,
    effects: Vec<Effect>,
    /// Riders that joined a feed of others.
    coalesced: u64,
}

impl Coalescer {
    /// What is to be done since the last call.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Nothing is wanted of upstream.
    pub(crate) fn is_idle(&self) -> bool {
        self.feeds.is_empty() && !self.streams.values().any(|stream| stream.asks)
    }

    /// Watchers upstream.
    pub(crate) fn feeds(&self) -> usize {
        self.feeds.len()
    }

    /// Watchers of clients.
    pub(crate) fn riders(&self) -> usize {
        self.streams
            .values()
            .map(|stream| stream.riders.len())
            .sum()
    }

    /// How often a watcher joined a feed that was there.
    pub(crate) fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// A client's message.
    pub(crate) fn client_said(&mut self, client: Client, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(client, &create),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(client, cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => {
                self.streams.entry(client).or_default().asks = true;
                self.upstream(RequestUnion::ProgressRequest(WatchProgressRequest {}));
            }
            None => {}
        }
    }

    /// A client's stream has ended.
    pub(crate) fn client_left(&mut self, client: Client) {
        let Some(stream) = self.streams.remove(&client) else {
            return;
        };
        for (id, rider) in stream.riders {
            self.get_off(client, id, rider.feed);
        }
    }

    /// A client takes nothing for now: its watchers get off, and on again from where they are once it takes more.
    pub(crate) fn client_is_slow(&mut self, client: Client) {
        let Some(stream) = self.streams.get_mut(&client) else {
            return;
        };
        stream.slow = true;
        // One that is not created yet has nothing to wait with.
        let parked = stream.riders.iter_mut().filter(|(_, rider)| rider.created);
        let parked: Vec<(i64, Option<i64>)> =
            parked.map(|(id, rider)| (*id, rider.feed.take())).collect();
        for (id, feed) in parked {
            self.get_off(client, id, feed);
        }
    }

    /// It takes more.
    pub(crate) fn client_is_fast(&mut self, client: Client) {
        let Some(stream) = self.streams.get_mut(&client) else {
            return;
        };
        stream.slow = false;
        let waiting = stream
            .riders
            .iter()
            .filter(|(_, rider)| rider.feed.is_none());
        let waiting: Vec<i64> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            self.get_on(client, id);
        }
    }

    /// The stream upstream is gone.
    pub(crate) fn upstream_lost(&mut self) {
        self.asked.clear();
        for feed in self.feeds.values_mut() {
            feed.confirmed = false;
        }
    }

    /// There is a new one: everything is asked for again, from where it was.
    pub(crate) fn upstream_came(&mut self) {
        // What was asked for while there was none has gone nowhere.
        self.asked.clear();
        let all: Vec<i64> = self.feeds.keys().copied().collect();
        for feed in all {
            self.ask(feed);
        }
        if self.streams.values().any(|stream| stream.asks) {
            self.upstream(RequestUnion::ProgressRequest(WatchProgressRequest {}));
        }
    }

    /// A message from upstream.
    pub(crate) fn upstream_said(&mut self, response: &WatchResponse) {
        if let Some(header) = &response.header
            && header.revision >= self.header.revision
        {
            self.header = *header;
        }
        if response.created {
            self.created(response);
        } else if response.canceled {
            self.canceled(response.watch_id, response);
        } else if !response.events.is_empty() {
            self.happened(response);
        } else {
            self.progressed(response);
        }
    }

    fn create(&mut self, client: Client, create: &WatchCreateRequest) {
        let stream = self.streams.entry(client).or_default();
        let id = match create.watch_id {
            0 => {
                while stream.riders.contains_key(&stream.next_id) {
                    stream.next_id += 1;
                }
                stream.next_id
            }
            taken if stream.riders.contains_key(&taken) => {
                let refused = WatchResponse {
                    header: Some(self.header),
                    watch_id: NOBODY,
                    created: true,
                    canceled: true,
                    cancel_reason: DUPLICATE.to_owned(),
                    ..WatchResponse::default()
                };
                return self.effects.push(Effect::Client(client, refused));
            }
            given => given,
        };
        stream.riders.insert(id, Rider::new(create));
        self.get_on(client, id);
    }

    /// Puts a watcher on a feed: the main one if it will miss nothing there, else one of its own.
    fn get_on(&mut self, client: Client, id: i64) {
        let Some(rider) = self.rider(client, id) else {
            return;
        };
        let (range, from) = (rider.range.clone(), rider.from);
        let main = self.mains.get(&range).copied();
        let fits = main.filter(|main| {
            let feed = self.feeds.get(main);
            feed.is_some_and(|feed| feed.next > 0 && from >= feed.next)
        });
        if let Some(main) = fits {
            self.coalesced += 1;
            self.ride(client, id, main);
            self.tell_created(client, id, self.header);
            return;
        }
        self.next_feed += 1;
        let feed = self.next_feed;
        self.feeds.insert(
            feed,
            Feed {
                range,
                next: 0,
                start: from,
                confirmed: false,
                riders: BTreeSet::new(),
            },
        );
        self.ride(client, id, feed);
        self.ask(feed);
    }

    fn ride(&mut self, client: Client, id: i64, feed: i64) {
        if let Some(rider) = self.rider(client, id) {
            rider.feed = Some(feed);
        }
        if let Some(feed) = self.feeds.get_mut(&feed) {
            feed.riders.insert((client, id));
        }
    }

    fn tell_created(&mut self, client: Client, id: i64, header: ResponseHeader) {
        let Some(rider) = self.rider(client, id) else {
            return;
        };
        if std::mem::replace(&mut rider.created, true) {
            return;
        }
        let created = WatchResponse {
            header: Some(header),
            watch_id: id,
            created: true,
            ..WatchResponse::default()
        };
        self.effects.push(Effect::Client(client, created));
    }

    fn rider(&mut self, client: Client, id: i64) -> Option<&mut Rider> {
        self.streams.get_mut(&client)?.riders.get_mut(&id)
    }

    fn cancel(&mut self, client: Client, id: i64) {
        let Some(stream) = self.streams.get_mut(&client) else {
            return;
        };
        let Some(rider) = stream.riders.remove(&id) else {
            return;
        };
        let canceled = WatchResponse {
            header: Some(self.header),
            watch_id: id,
            canceled: true,
            ..WatchResponse::default()
        };
        self.effects.push(Effect::Client(client, canceled));
        self.get_off(client, id, rider.feed);
    }

    /// A watcher leaves a feed, which ends with its last one.
    fn get_off(&mut self, client: Client, id: i64, feed: Option<i64>) {
        let Some(feed) = feed else {
            return;
        };
        let Some(left) = self.feeds.get_mut(&feed) else {
            return;
        };
        left.riders.remove(&(client, id));
        if left.riders.is_empty() {
            let request = WatchCancelRequest { watch_id: feed };
            self.upstream(RequestUnion::CancelRequest(request));
            self.end(feed);
        }
    }

    /// A feed is no more; a scout of its range that is left becomes the main one.
    fn end(&mut self, feed: i64) -> Option<Feed> {
        let ended = self.feeds.remove(&feed)?;
        if self.mains.get(&ended.range) == Some(&feed) {
            self.mains.remove(&ended.range);
            let heir = self
                .feeds
                .iter()
                .filter(|(_, other)| other.range == ended.range && other.next > 0)
                .min_by_key(|(_, other)| other.next)
                .map(|(heir, _)| *heir);
            if let Some(heir) = heir {
                self.mains.insert(ended.range.clone(), heir);
                self.merge(&ended.range);
            }
        }
        Some(ended)
    }

    fn ask(&mut self, id: i64) {
        let Some(feed) = self.feeds.get(&id) else {
            return;
        };
        let start_revision = if feed.next > 0 { feed.next } else { feed.start };
        let create = feed.range.create(id, start_revision);
        self.asked.push_back(id);
        self.upstream(RequestUnion::CreateRequest(create));
    }

    fn upstream(&mut self, request: RequestUnion) {
        let request_union = Some(request);
        self.effects
            .push(Effect::Upstream(WatchRequest { request_union }));
    }

    /// The answer to the oldest request; refused if it is canceled, too.
    fn created(&mut self, response: &WatchResponse) {
        let Some(id) = self.asked.pop_front() else {
            return;
        };
        if response.canceled {
            return self.canceled(id, response);
        }
        let header = response.header.unwrap_or(self.header);
        let Some(feed) = self.feeds.get_mut(&id) else {
            // Its watcher left meanwhile, and the end of it is on its way.
            return;
        };
        feed.confirmed = true;
        if feed.next == 0 {
            feed.next = match feed.start {
                0 => header.revision + 1,
                start => start,
            };
        }
        let (range, next) = (feed.range.clone(), feed.next);
        for (client, rider) in feed.riders.clone() {
            if let Some(rider) = self.rider(client, rider) {
                rider.from = rider.from.max(next);
            }
            self.tell_created(client, rider, header);
        }
        self.mains.entry(range.clone()).or_insert(id);
        self.merge(&range);
    }

    /// Scouts that have come as far as the main feed, or farther, hand their watchers over.
    fn merge(&mut self, range: &Range) {
        let Some(main) = self.mains.get(range).copied() else {
            return;
        };
        let Some(main_next) = self.feeds.get(&main).map(|feed| feed.next) else {
            return;
        };
        let scouts = self.feeds.iter().filter(|(id, feed)| {
            **id != main && feed.range == *range && feed.confirmed && feed.next >= main_next
        });
        let scouts: Vec<i64> = scouts.map(|(id, _)| *id).collect();
        for scout in scouts {
            let Some(ended) = self.end(scout) else {
                continue;
            };
            for (client, id) in ended.riders {
                self.coalesced += 1;
                self.ride(client, id, main);
            }
            let request = WatchCancelRequest { watch_id: scout };
            self.upstream(RequestUnion::CancelRequest(request));
        }
    }

    /// A feed was ended upstream, and its watchers with it.
    fn canceled(&mut self, feed: i64, response: &WatchResponse) {
        let Some(ended) = self.end(feed) else {
            return;
        };
        for (client, id) in ended.riders {
            let Some(stream) = self.streams.get_mut(&client) else {
                continue;
            };
            let created = stream.riders.remove(&id).is_some_and(|rider| rider.created);
            let refused = response.created && !created;
            let canceled = WatchResponse {
                watch_id: if refused { NOBODY } else { id },
                created: refused,
                ..response.clone()
            };
            self.effects.push(Effect::Client(client, canceled));
        }
    }

    fn happened(&mut self, response: &WatchResponse) {
        let Some(feed) = self.feeds.get_mut(&response.watch_id) else {
            return;
        };
        let last = response.events.last().and_then(|event| event.kv.as_ref());
        let last = last.map_or(0, |pair| pair.mod_revision);
        feed.next = feed.next.max(last + 1);
        let (range, next) = (feed.range.clone(), feed.next);
        for (client, id) in feed.riders.clone() {
            let Some(rider) = self.rider(client, id) else {
                continue;
            };
            let shown = rider.show(response);
            rider.from = rider.from.max(next);
            if let Some(events) = shown {
                let shown = WatchResponse {
                    header: response.header,
                    watch_id: id,
                    events,
                    ..WatchResponse::default()
                };
                self.effects.push(Effect::Client(client, shown));
            }
        }
        self.merge(&range);
    }

    /// All up to a revision was shown: on one feed, or on all of them when a client asked.
    fn progressed(&mut self, response: &WatchResponse) {
        let revision = response.header.map_or(0, |header| header.revision);
        if response.watch_id == NOBODY {
            let all: Vec<i64> = self.feeds.keys().copied().collect();
            for id in all {
                self.advance(id, revision);
            }
            let asking = self
                .streams
                .iter_mut()
                .filter(|(_, stream)| stream.asks && !stream.slow);
            for (client, stream) in asking {
                stream.asks = false;
                self.effects.push(Effect::Client(*client, response.clone()));
            }
            return;
        }
        let riders = self
            .feeds
            .get(&response.watch_id)
            .map(|feed| feed.riders.clone());
        for (client, id) in riders.unwrap_or_default() {
            let told = self.rider(client, id);
            if told.is_some_and(|rider| rider.progress && rider.from <= revision + 1) {
                let progress = WatchResponse {
                    watch_id: id,
                    ..response.clone()
                };
                self.effects.push(Effect::Client(client, progress));
            }
        }
        self.advance(response.watch_id, revision);
    }

    fn advance(&mut self, id: i64, revision: i64) {
        let Some(feed) = self.feeds.get_mut(&id) else {
            return;
        };
        if !feed.confirmed {
            return;
        }
        feed.next = feed.next.max(revision + 1);
        let (range, next) = (feed.range.clone(), feed.next);
        for (client, id) in feed.riders.clone() {
            if let Some(rider) = self.rider(client, id) {
                rider.from = rider.from.max(next);
            }
        }
        self.merge(&range);
    }
}

#[cfg(test)]
mod tests;
