//! What `store/client/src/mirror/feed.rs` does, over the members: the mirror's reads and its watch stream, from
//! one member at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use store_client::backoff::Backoff;
use store_client::mirror::{
    Effect, Entry, Event as Told, Header, Input, KeyEvent, KeyRange, Mirror,
};
use store_machine::error::Refusal;
use store_machine::reply::{EventKind, KeyValue};
use store_machine::request::{KeyRange as Keys, RangeEnd, RangeRequest};
use store_machine::revision::Revision;
use store_member::Moment;
use store_member::answer::{Body, Failure};
use store_member::input::{Read, StreamEvent};
use store_watch::batch::{Batch, StreamId, WatchId};
use store_watch::watcher::WatchSpec;

use super::{Fact, Renderer, resources};
use crate::agents::desk::{Caller, Desk, Wish};
use crate::agents::registrar::micros;
use crate::bugs::Bug;
use crate::clock::{Clock, Time};
use crate::plan::SECOND;
use crate::queue::Event;

/// As the shell has them.
const RETRY_FLOOR: Duration = Duration::from_millis(50);
const RETRY_CEILING: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Time = 10 * SECOND;
/// Keys of a page: few, so that a listing takes several.
const PAGE_KEYS: i64 = 3;
/// Responses a stream can take at first.
const CREDIT: usize = 4;
/// The one cluster there is.
const CLUSTER: u64 = 7;

/// A connection.
struct Link {
    host: usize,
    life: u64,
    stream: Option<StreamId>,
    /// When the last message up arrives: a stream keeps its order.
    up: Time,
    /// Responses taken and not yet asked to be replaced.
    owed: usize,
}

/// See the module.
pub(super) struct Feed {
    mirror: Mirror,
    link: Option<Link>,
    reading: Option<usize>,
    wait: Backoff,
    wake_at: Time,
    /// The mirror shows what it could not know to be whole: no fence came in time, which it counts.
    doubtful: bool,
    /// Revisions it has shown so.
    pub(super) doubted: BTreeSet<i64>,
}

impl Feed {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            mirror: Mirror::new(resources::ranges().to_vec()),
            link: None,
            reading: None,
            wait: Backoff::new(RETRY_FLOOR, RETRY_CEILING, seed),
            wake_at: Time::MAX,
            doubtful: false,
            doubted: BTreeSet::new(),
        }
    }

    /// The stream is closed with its connection.
    pub(super) fn hang_up(&mut self, desk: &mut Desk<'_>) {
        self.say(desk, StreamEvent::Closed);
        self.link = None;
        self.reading = None;
    }

    /// Something is said on the stream.
    fn say(&mut self, desk: &mut Desk<'_>, event: StreamEvent) {
        let delay = desk.delay();
        let Some(link) = &mut self.link else { return };
        let Some(stream) = link.stream else { return };
        link.up = link.up.max(desk.now + delay);
        let (host, life) = (link.host, link.life);
        desk.queue.push((
            link.up,
            Event::Stream {
                host,
                life,
                stream,
                event,
            },
        ));
    }
}

impl Renderer {
    pub(super) fn connect(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        if life.feed.link.is_some() {
            return;
        }
        match desk.connect() {
            Some((host, number)) => {
                life.feed.link = Some(Link {
                    host,
                    life: number,
                    stream: None,
                    up: desk.now,
                    owed: 0,
                });
                self.feed(desk, Input::Connected);
            }
            None => self.lost(desk),
        }
    }

    /// The connection is given up; another one follows.
    fn lost(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        life.feed.hang_up(desk);
        let delay = micros(life.feed.wait.delay());
        self.later(desk, delay, Fact::Connect);
        self.feed(desk, Input::Lost);
    }

    /// A member's process is gone.
    pub(crate) fn gone(&mut self, desk: &mut Desk<'_>, host: usize, number: u64) {
        let link = self.up.as_ref().and_then(|life| life.feed.link.as_ref());
        if link.is_some_and(|link| (link.host, link.life) == (host, number)) {
            self.lost(desk);
        }
    }

    /// The connection breaks, or the member thinks that it is too slow.
    pub(crate) fn disconnect(&mut self, desk: &mut Desk<'_>) {
        if self
            .up
            .as_ref()
            .is_some_and(|life| life.feed.link.is_some())
        {
            self.lost(desk);
        }
    }

    pub(super) fn impatient(&mut self, desk: &mut Desk<'_>, ask: usize) {
        if self
            .up
            .as_ref()
            .is_some_and(|life| life.feed.reading == Some(ask))
        {
            self.lost(desk);
        }
    }

    /// Tells the mirror a fact and performs what it orders.
    fn feed(&mut self, desk: &mut Desk<'_>, input: Input) {
        let Some(life) = &mut self.up else { return };
        let now = Duration::from_millis(life.clock.moment(desk.now).0);
        let mut effects = Vec::new();
        let missed = life.feed.mirror.stats().fences_missed;
        if matches!(input, Input::Progress { watch: None, .. }) {
            life.feed.doubtful = false;
        }
        life.feed.mirror.step(now, input, &mut effects);
        life.feed.doubtful |= life.feed.mirror.stats().fences_missed > missed;
        for effect in effects {
            self.perform_feed(desk, effect);
        }
        self.plan_feed_wake(desk);
    }

    fn perform_feed(&mut self, desk: &mut Desk<'_>, effect: Effect) {
        let (renderer, number) = (self.number, self.life);
        let Some(life) = &mut self.up else { return };
        let feed = &mut life.feed;
        match effect {
            Effect::Read { range, at, limit } => {
                let Some(link) = &feed.link else { return };
                let at = at.filter(|_| self.bug != Some(Bug::PagesOfManyRevisions));
                let read = RangeRequest {
                    revision: Revision(at.unwrap_or_default()),
                    limit: limit.min(PAGE_KEYS).unsigned_abs(),
                    ..RangeRequest::latest(keys_of(&range))
                };
                let from = Caller::Renderer {
                    renderer,
                    life: number,
                };
                let ask = desk.ask(link.host, from, Wish::Read(Read::Range(read)));
                feed.reading = Some(ask);
                self.later(desk, REQUEST_TIMEOUT, Fact::Patience { ask });
            }
            Effect::Watch { watch, range, from } => {
                let Some(link) = &mut feed.link else { return };
                if link.stream.is_none() {
                    let stream = desk.new_stream(renderer, number);
                    link.stream = Some(stream);
                    link.owed = 0;
                    feed.say(desk, StreamEvent::Opened { credit: CREDIT });
                }
                let start = match self.bug {
                    Some(Bug::WatchFromNow) => 0,
                    _ => from,
                };
                let spec = WatchSpec {
                    keys: keys_of(&range),
                    start: Revision(start),
                    id: WatchId(i64::try_from(watch).unwrap_or(0) + 1),
                    no_put: false,
                    no_delete: false,
                    prev_kv: false,
                    progress_notify: true,
                    fragment: true,
                };
                feed.say(desk, StreamEvent::Create(spec));
            }
            Effect::AskProgress => feed.say(desk, StreamEvent::Progress),
            Effect::CloseStream => {
                feed.say(desk, StreamEvent::Closed);
                if let Some(link) = &mut feed.link {
                    link.stream = None;
                }
            }
            Effect::Tell(event) => {
                feed.wait.reset();
                let (Told::Listed { snapshot, .. } | Told::Advanced { snapshot, .. }) = &event;
                feed.doubtful &= !matches!(event, Told::Listed { .. });
                if feed.doubtful {
                    feed.doubted.insert(snapshot.revision());
                }
                self.step(desk, confd::agent::Input::Store(event));
            }
        }
    }

    pub(super) fn answered(
        &mut self,
        desk: &mut Desk<'_>,
        ask: usize,
        revision: i64,
        outcome: Result<Body, Failure>,
    ) {
        let Some(life) = &mut self.up else { return };
        if life
            .feed
            .reading
            .take_if(|reading| *reading == ask)
            .is_none()
        {
            return;
        }
        match outcome {
            Ok(Body::Range(page)) => {
                let input = Input::Page {
                    header: Header {
                        cluster: CLUSTER,
                        revision,
                    },
                    entries: page
                        .kvs
                        .iter()
                        .map(|kv| (kv.key.clone(), entry(kv)))
                        .collect(),
                    more: page.more,
                };
                self.feed(desk, input);
            }
            Err(Failure::Refused(Refusal::Compacted)) => self.feed(desk, Input::PageCompacted),
            _ => self.lost(desk),
        }
    }

    /// Something arrives on the stream.
    pub(super) fn shown(&mut self, desk: &mut Desk<'_>, stream: StreamId, batch: &Batch) {
        let Some(life) = &mut self.up else { return };
        let Some(link) = life
            .feed
            .link
            .as_mut()
            .filter(|link| link.stream == Some(stream))
        else {
            return;
        };
        link.owed += 1;
        if !desk.chance.once_in(4) {
            let owed = std::mem::take(&mut link.owed);
            life.feed.say(desk, StreamEvent::Credit(owed));
        }
        let watch = |id: &WatchId| usize::try_from(id.0 - 1).ok();
        match batch {
            Batch::Created { id, revision } => {
                let header = Header {
                    cluster: CLUSTER,
                    revision: revision.0,
                };
                if let Some(watch) = watch(id) {
                    self.feed(desk, Input::Created { watch, header });
                }
            }
            Batch::Events { id, events, .. } => {
                let events = events.iter().map(|shared| KeyEvent {
                    key: shared.event.kv.key.clone(),
                    revision: shared.event.kv.mod_revision.0,
                    entry: (shared.event.kind == EventKind::Put).then(|| entry(&shared.event.kv)),
                });
                let mut events: Vec<KeyEvent> = events.collect();
                let Some(watch) = watch(id) else { return };
                // A message may be cut, also within a revision.
                let rest = desk.chance.once_in(4).then(|| {
                    let at = desk.chance.place(events.len() + 1);
                    events.split_off(at)
                });
                let may_continue = rest.is_some() || desk.chance.once_in(8);
                for (events, may_continue) in [(events, may_continue)]
                    .into_iter()
                    .chain(rest.map(|rest| (rest, false)))
                    .filter(|(events, _)| !events.is_empty())
                {
                    let input = Input::Events {
                        watch,
                        may_continue,
                        events,
                    };
                    self.feed(desk, input);
                }
            }
            Batch::Progress { id, revision } => {
                let progress = Input::Progress {
                    watch: watch(id),
                    revision: revision.0,
                };
                self.feed(desk, progress);
            }
            Batch::Compacted { .. } => self.feed(desk, Input::WatchCompacted),
            Batch::Refused { .. } | Batch::Canceled { .. } => self.lost(desk),
        }
    }

    /// Gives a starved stream what it is owed, and leaves who is no member any more.
    pub(super) fn look(&mut self, desk: &mut Desk<'_>) {
        let again = desk.chance.between(50_000, 2_000_000);
        self.later(desk, again, Fact::Look);
        let Some(life) = &mut self.up else { return };
        let Some(link) = &mut life.feed.link else {
            return;
        };
        let host = link.host;
        let owed = std::mem::take(&mut link.owed);
        if owed > 0 {
            life.feed.say(desk, StreamEvent::Credit(owed));
        }
        if desk.well() && !desk.world.used_hosts().contains(&host) {
            self.lost(desk);
        }
    }

    fn plan_feed_wake(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        let due = life.feed.mirror.next_deadline();
        let Some(at) = due.and_then(|due| clock_time(life.clock, due)) else {
            return;
        };
        let at = at.max(desk.now + 1);
        if at < life.feed.wake_at {
            life.feed.wake_at = at;
            self.later(desk, at - desk.now, Fact::FeedWake);
        }
    }

    pub(super) fn feed_wake(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        if life.feed.wake_at > desk.now {
            return;
        }
        life.feed.wake_at = Time::MAX;
        let now = Duration::from_millis(life.clock.moment(desk.now).0);
        if life
            .feed
            .mirror
            .next_deadline()
            .is_some_and(|due| due <= now)
        {
            self.feed(desk, Input::Tick);
        } else {
            self.plan_feed_wake(desk);
        }
    }
}

/// When a process's clock will show a time; the clock counts whole milliseconds.
pub(super) fn clock_time(clock: Clock, due: Duration) -> Option<Time> {
    let ms = u64::try_from(due.as_micros().div_ceil(1_000)).ok()?;
    clock.time(Moment(ms))
}

/// A range as members take it.
fn keys_of(range: &KeyRange) -> Keys {
    let start = if range.start.is_empty() {
        Bytes::from_static(b"\0")
    } else {
        range.start.clone()
    };
    let end = match &range.end {
        None => RangeEnd::Open,
        Some(end) => RangeEnd::Before(end.clone()),
    };
    Keys { start, end }
}

/// A pair as a mirror holds it.
fn entry(kv: &KeyValue) -> Entry {
    Entry {
        value: kv.value.clone(),
        create_revision: kv.create_revision.0,
        mod_revision: kv.mod_revision.0,
    }
}
