//! The hub: publishes each revision to synced watchers, feeds lagging ones from history.
//!
//! ```text
//!            publish: no room on the stream
//!   Synced ----------------------------------> Lagging { next }
//!     ^                                          |  drain: a batch from history, next moves up
//!     +------------------------------------------+
//!            drain: next is above the current revision
//! ```
//! The two arrows are the only places where a watcher changes sides, and both know exactly what it has been
//! handed: nothing is skipped and nothing comes twice. A stream is never sent more batches than it has
//! credit for, and holds at most that many; what does not fit is not kept but read again from history.
//!
//! Cost of one event for n watchers that match: one shared event, then per watcher a list of one pointer and a
//! batch of 72 bytes; nothing is copied or encoded per watcher. Lagging watchers that need
//! the same stretch of history share one reading of it ([`crate::window`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use store_machine::error::Refusal;
use store_machine::reply::Event;
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Revision;

use crate::batch::{Batch, CreateRefusal, SharedEvent, StreamId, WatchId};
use crate::index::{Index, as_u32};
use crate::recent::Recent;
use crate::stream::{Asked, Stream};
use crate::watcher::{Position, WatchSpec, Watcher};
use crate::window::Window;

/// Events handed to lagging watchers in one drain, so that one turn of the driver stays short: 32,768 pointers
/// take about a millisecond.
const DRAIN_EVENTS_MAX: usize = 32_768;
/// Lagging watchers looked at in one drain, for the same reason where few events match.
const DRAIN_WATCHERS_MAX: usize = 4096;
/// Windows kept: one where the hindmost are, one where the turn of the others is.
const WINDOWS_MAX: usize = 2;

/// Where lagging watchers catch up from; the machine is the one implementation outside tests.
pub trait History {
    /// Current store revision.
    fn revision(&self) -> Revision;
    /// Last compaction.
    fn compacted(&self) -> Revision;
    /// As `Machine::events`: calls `visit` with the events of each revision in `from..=to`, oldest first and
    /// each revision whole, until it returns false.
    ///
    /// # Errors
    /// `Compacted` when `from` is below the last compaction.
    fn events(
        &self,
        from: Revision,
        to: Revision,
        visit: &mut dyn FnMut(Revision, &[Event]) -> bool,
    ) -> Result<(), Refusal>;
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open streams.
    pub streams: usize,
    /// Watchers on all of them.
    pub watchers: usize,
    /// Those of them that lag.
    pub lagging: usize,
}

/// All watchers of one member.
#[derive(Debug, Default)]
pub struct Hub {
    /// Last revision published. Invariant: a synced watcher has been handed everything up to it.
    revision: Revision,
    streams: Vec<Option<Stream>>,
    streams_free: Vec<u32>,
    places: BTreeMap<StreamId, u32>,
    watchers: Vec<Option<Watcher>>,
    watchers_free: Vec<u32>,
    index: Index,
    /// Watchers that want periodic progress.
    notify: BTreeSet<u32>,
    /// Streams the next drain must look at, in order of becoming so.
    dirty: Vec<u32>,
    /// Streams with room and lagging watchers: each twice, by what its hindmost watcher needs and by what the one whose
    /// turn it is needs.
    hungry: BTreeSet<(Revision, u32)>,
    /// Streams that asked for progress and have a watcher that starts at this revision.
    waiting_for: BTreeSet<(Revision, u32)>,
    /// Where the round among the hungry goes on.
    round: Revision,
    /// The next window is chosen by the round, else the hindmost.
    round_next: bool,
    windows: VecDeque<Window>,
    /// Last revisions published.
    recent: Recent,
    watcher_count: usize,
    lagging_count: usize,
}

impl Hub {
    /// A hub without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client opened a stream; it starts with `credit` responses it can take. The number must not be in use.
    pub fn open(&mut self, stream: StreamId, credit: usize) {
        self.close(stream);
        let opened = Some(Stream::new(stream, credit));
        let place = match self.streams_free.pop() {
            Some(place) => {
                self.streams[place as usize] = opened;
                place
            }
            None => {
                self.streams.push(opened);
                as_u32(self.streams.len() - 1)
            }
        };
        self.places.insert(stream, place);
    }

    /// The client is gone, with all its watchers.
    pub fn close(&mut self, stream: StreamId) {
        let Some(place) = self.places.remove(&stream) else {
            return;
        };
        let Some(stream) = self.streams[place as usize].take() else {
            return;
        };
        if let Some((hindmost, turn)) = stream.hungry {
            self.hungry.remove(&(hindmost, place));
            self.hungry.remove(&(turn, place));
        }
        for (start, _) in &stream.starts {
            self.waiting_for.remove(&(*start, place));
        }
        self.lagging_count -= stream.lagging.len();
        for watcher in stream.watchers.into_values() {
            self.forget(watcher);
        }
        // The place is in `dirty` if the stream was; a new stream there may find itself looked at once.
        if stream.dirty {
            self.dirty.retain(|dirty| *dirty != place);
        }
        self.streams_free.push(place);
    }

    /// The stream can take `responses` more.
    pub fn credit(&mut self, stream: StreamId, responses: usize) {
        let Some(place) = self.places.get(&stream).copied() else {
            return;
        };
        let Some(stream) = &mut self.streams[place as usize] else {
            return;
        };
        stream.credit = stream.credit.saturating_add(responses);
        if !stream.queue.is_empty() || stream.asked.is_some() {
            self.touch(place);
        }
        self.set_hungry(place);
    }

    /// Creates a watcher; the answer (`Created`, `Refused`, `Compacted`) comes out of `drain`.
    pub fn create(&mut self, stream: StreamId, spec: WatchSpec, history: &dyn History) {
        self.observe(history.revision());
        let Some(place) = self.places.get(&stream).copied() else {
            return;
        };
        let Some(stream) = &mut self.streams[place as usize] else {
            return;
        };
        let revision = self.revision;
        let refused = |reason| Batch::Refused { reason, revision };
        let id = if is_empty(&spec.keys) {
            Err(CreateRefusal::EmptyRange)
        } else if spec.start < Revision(0) {
            Err(CreateRefusal::Compacted)
        } else {
            stream.pick_id(spec.id).ok_or(CreateRefusal::DuplicateId)
        };
        match id {
            Err(reason) => stream.queue.push_back(refused(reason)),
            Ok(id) => {
                stream.queue.push_back(Batch::Created { id, revision });
                // At the compacted revision itself all events are still there (etcd issue 19179).
                let compacted = history.compacted();
                if spec.start != Revision(0) && spec.start < compacted {
                    stream.queue.push_back(Batch::Compacted { id, compacted });
                } else {
                    self.add(place, id, spec);
                }
            }
        }
        self.touch(place);
        self.set_hungry(place);
    }

    fn add(&mut self, place: u32, id: WatchId, spec: WatchSpec) {
        let at = self.watchers_free.pop().unwrap_or_else(|| {
            self.watchers.push(None);
            as_u32(self.watchers.len() - 1)
        });
        let spot = self.index.insert(&spec.keys, at);
        let lags = spec.start != Revision(0) && spec.start <= self.revision;
        let position = if lags {
            Position::Lagging { next: spec.start }
        } else {
            Position::Synced
        };
        if let Some(stream) = &mut self.streams[place as usize] {
            stream.watchers.insert(id, at);
            if lags {
                stream.lagging.insert((spec.start, at));
                self.lagging_count += 1;
            } else if spec.start != Revision(0) {
                self.waiting_for.insert((spec.start, place));
            }
            if spec.start != Revision(0) {
                stream.starts.insert((spec.start, at));
            }
        }
        if spec.progress_notify {
            self.notify.insert(at);
        }
        self.watcher_count += 1;
        self.watchers[at as usize] = Some(Watcher {
            id,
            stream: place,
            spot,
            keys: spec.keys,
            start: spec.start,
            position,
            no_put: spec.no_put,
            no_delete: spec.no_delete,
            prev_kv: spec.prev_kv,
            fragment: spec.fragment,
            progress_notify: spec.progress_notify,
            quiet: true,
            building: None,
        });
    }

    /// Cancels; an unknown id is ignored, as in etcd.
    pub fn cancel(&mut self, stream: StreamId, id: WatchId) {
        let Some(place) = self.places.get(&stream).copied() else {
            return;
        };
        if self.remove(place, id)
            && let Some(stream) = &mut self.streams[place as usize]
        {
            stream.queue.push_back(Batch::Canceled {
                id,
                revision: self.revision,
            });
            self.touch(place);
            self.set_hungry(place);
        }
    }

    /// Takes a watcher off its stream; false when there is none of that id.
    fn remove(&mut self, place: u32, id: WatchId) -> bool {
        let Some(stream) = &mut self.streams[place as usize] else {
            return false;
        };
        let Some(at) = stream.watchers.remove(&id) else {
            return false;
        };
        if let Some(watcher) = &self.watchers[at as usize] {
            let start = watcher.start;
            if let Position::Lagging { next } = watcher.position {
                stream.lagging.remove(&(next, at));
                self.lagging_count -= 1;
            }
            stream.starts.remove(&(start, at));
            if stream
                .starts
                .range((start, 0)..=(start, u32::MAX))
                .next()
                .is_none()
            {
                self.waiting_for.remove(&(start, place));
            }
        }
        self.forget(at);
        true
    }

    /// Drops a watcher that is on no stream any more.
    fn forget(&mut self, at: u32) {
        let Some(watcher) = self.watchers[at as usize].take() else {
            return;
        };
        if let Some((moved, spot)) = self.index.remove(watcher.spot)
            && let Some(moved) = &mut self.watchers[moved as usize]
        {
            moved.spot = spot;
        }
        if watcher.progress_notify {
            self.notify.remove(&at);
        }
        self.watcher_count -= 1;
        self.watchers_free.push(at);
    }

    /// A client asks how far its stream is. Answered as soon as all its watchers have been handed everything
    /// up to the revision that is current now.
    pub fn progress(&mut self, stream: StreamId) {
        let Some(place) = self.places.get(&stream).copied() else {
            return;
        };
        let Some(stream) = &mut self.streams[place as usize] else {
            return;
        };
        let oldest = stream.asked.map_or(self.revision, |asked| asked.oldest);
        stream.asked = Some(Asked {
            oldest,
            newest: self.revision,
        });
        self.touch(place);
    }

    /// The progress period has passed: watchers that asked for it and saw no events since get one, if
    /// they have been handed everything and their stream has room.
    pub fn progress_due(&mut self) {
        let revision = self.revision;
        for at in self.notify.iter().copied() {
            let Some(watcher) = &mut self.watchers[at as usize] else {
                continue;
            };
            let was_quiet = std::mem::replace(&mut watcher.quiet, true);
            let Some(stream) = &mut self.streams[watcher.stream as usize] else {
                continue;
            };
            let shown = watcher.position == Position::Synced && watcher.start <= revision;
            if was_quiet && shown && stream.has_room() {
                stream.queue.push_back(Batch::Progress {
                    id: watcher.id,
                    revision,
                });
                mark_dirty(&mut self.dirty, watcher.stream, stream);
            }
        }
    }

    /// The machine made these events; in the same step as the apply.
    pub fn publish(&mut self, revision: Revision, events: Vec<Event>) {
        if revision <= self.revision {
            // Seen already, by a look at the machine: whoever wants it has become lagging.
            return;
        }
        self.observe(Revision(revision.0 - 1));
        self.revision = revision;
        if self.watcher_count == 0 {
            self.recent.clear();
            return;
        }
        let events: Vec<_> = events
            .into_iter()
            .map(|event| Arc::new(SharedEvent::new(event)))
            .collect();
        let built = self.build(&events);
        for (at, events) in built {
            self.offer(at, events);
        }
        while let Some((_, place)) = self
            .waiting_for
            .first()
            .copied()
            .filter(|(start, _)| *start <= revision)
        {
            self.waiting_for.pop_first();
            self.touch(place);
        }
        self.recent.push(revision, events);
    }

    /// The events of one revision by synced watcher, each list in order.
    fn build(&mut self, events: &[Arc<SharedEvent>]) -> Vec<(u32, Vec<Arc<SharedEvent>>)> {
        let mut built: Vec<(u32, Vec<Arc<SharedEvent>>)> = Vec::new();
        let watchers = &mut self.watchers;
        let revision = self.revision;
        for shared in events {
            self.index.watchers(&shared.event.kv.key, |at| {
                let Some(watcher) = &mut watchers[at as usize] else {
                    return;
                };
                if watcher.position != Position::Synced
                    || watcher.start > revision
                    || !watcher.wants(&shared.event)
                {
                    return;
                }
                if let Some(place) = watcher.building {
                    built[place as usize].1.push(Arc::clone(shared));
                } else {
                    watcher.building = Some(as_u32(built.len()));
                    built.push((at, vec![Arc::clone(shared)]));
                }
            });
        }
        built
    }

    /// Hands a synced watcher the events of the current revision, or makes it lag.
    fn offer(&mut self, at: u32, events: Vec<Arc<SharedEvent>>) {
        let revision = self.revision;
        let Some(watcher) = &mut self.watchers[at as usize] else {
            return;
        };
        watcher.building = None;
        let place = watcher.stream;
        let Some(stream) = &mut self.streams[place as usize] else {
            return;
        };
        if stream.has_room() {
            watcher.quiet = false;
            stream.queue.push_back(batch(watcher, revision, events));
            mark_dirty(&mut self.dirty, place, stream);
        } else {
            watcher.position = Position::Lagging { next: revision };
            stream.lagging.insert((revision, at));
            self.lagging_count += 1;
        }
    }

    /// The store is at `revision` already. Normally no news; after a jump (a snapshot was installed) every
    /// synced watcher lags.
    fn observe(&mut self, revision: Revision) {
        if revision <= self.revision {
            return;
        }
        let before = self.revision;
        self.revision = revision;
        self.recent.clear();
        let mut places = BTreeSet::new();
        for (at, watcher) in self.watchers.iter_mut().enumerate() {
            let Some(watcher) = watcher else { continue };
            let next = watcher.start.max(before.next());
            let Some(stream) = &mut self.streams[watcher.stream as usize] else {
                continue;
            };
            if watcher.position == Position::Synced && next <= revision {
                watcher.position = Position::Lagging { next };
                stream.lagging.insert((next, as_u32(at)));
                self.lagging_count += 1;
                places.insert(watcher.stream);
            }
        }
        for place in places {
            self.touch(place);
            self.set_hungry(place);
        }
    }

    /// Moves what streams with credit can be shown into `out`; true when some watcher still lags
    /// and its stream has credit, so that draining again (another turn) would move it further.
    pub fn drain(&mut self, history: &dyn History, out: &mut Vec<(StreamId, Batch)>) -> bool {
        self.observe(history.revision());
        // First what is queued, so that credit is known exactly when history is read for the rest.
        self.flush(out);
        self.drop_compacted(history.compacted());
        let (mut events, mut watchers) = (0, 0);
        while events < DRAIN_EVENTS_MAX && watchers < DRAIN_WATCHERS_MAX {
            let Some(from) = self.choose() else { break };
            if !self.read_window(history, from) {
                break;
            }
            self.feed(from, &mut events, &mut watchers);
        }
        self.flush(out);
        if self.hungry.is_empty() {
            self.windows.clear();
        }
        !self.hungry.is_empty()
    }

    /// Hands out the queues of dirty streams as far as their credit goes.
    fn flush(&mut self, out: &mut Vec<(StreamId, Batch)>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            let Some(stream) = &mut self.streams[place as usize] else {
                continue;
            };
            stream.dirty = false;
            stream.answer_progress(self.revision);
            let count = stream.queue.len().min(stream.credit);
            stream.credit -= count;
            let id = stream.id;
            out.extend(stream.queue.drain(..count).map(|batch| (id, batch)));
            self.set_hungry(place);
        }
        self.dirty = dirty;
    }

    /// Ends the watchers that need what is compacted. Those of streams without credit wait for it.
    fn drop_compacted(&mut self, compacted: Revision) {
        while let Some((next, place)) = self
            .hungry
            .first()
            .copied()
            .filter(|(next, _)| *next < compacted)
        {
            let Some(stream) = &mut self.streams[place as usize] else {
                return;
            };
            let lost = stream
                .lagging
                .range(..(compacted, 0))
                .map(|(_, at)| *at)
                .collect::<Vec<_>>();
            for at in lost {
                let Some(id) = self.watchers[at as usize]
                    .as_ref()
                    .map(|watcher| watcher.id)
                else {
                    continue;
                };
                self.remove(place, id);
                if let Some(stream) = &mut self.streams[place as usize] {
                    stream.queue.push_back(Batch::Compacted { id, compacted });
                }
            }
            self.touch(place);
            self.set_hungry(place);
            debug_assert!(
                !self.hungry.contains(&(next, place)),
                "stream {place} still needs {next}"
            );
        }
    }

    /// Where to read next. Every other time the hindmost, so that those further on are joined on the way and
    /// history is read once for all; else the next in turn, so that one that is nearly there does not wait for
    /// one that is far behind.
    fn choose(&mut self) -> Option<Revision> {
        let hindmost = self.hungry.first()?.0;
        self.round_next = !self.round_next;
        if !self.round_next {
            return Some(hindmost);
        }
        let from = self
            .hungry
            .range((self.round, 0)..)
            .next()
            .map_or(hindmost, |(next, _)| *next);
        Some(from)
    }

    /// Has a window that begins at `from` or before ready at the front; false when history refuses.
    fn read_window(&mut self, history: &dyn History, from: Revision) -> bool {
        if let Some(at) = self.windows.iter().position(|window| window.contains(from)) {
            self.windows.swap(0, at);
            return true;
        }
        let window = match self.recent.window(from, self.revision) {
            Some(window) => window,
            None => match Window::read(history, from, self.revision) {
                Ok(window) => window,
                // Only below the compaction, which was looked at before.
                Err(_) => return false,
            },
        };
        self.windows.truncate(WINDOWS_MAX - 1);
        self.windows.push_front(window);
        true
    }

    /// Gives every hungry stream its part of the front window, from `from` on, until it has no room.
    fn feed(&mut self, from: Revision, events: &mut usize, watchers: &mut usize) {
        let Some(window) = self.windows.pop_front() else {
            return;
        };
        while *events < DRAIN_EVENTS_MAX && *watchers < DRAIN_WATCHERS_MAX {
            let next = self
                .hungry
                .range((from, 0)..=(window.to, u32::MAX))
                .next()
                .copied();
            let Some((_, place)) = next else {
                self.round = window.to.next();
                break;
            };
            self.feed_stream(place, &window, events, watchers);
        }
        self.windows.push_front(window);
    }

    fn feed_stream(
        &mut self,
        place: u32,
        window: &Window,
        events: &mut usize,
        watchers: &mut usize,
    ) {
        let revision = self.revision;
        let Some(stream) = &mut self.streams[place as usize] else {
            return;
        };
        while stream.has_room() && *events < DRAIN_EVENTS_MAX && *watchers < DRAIN_WATCHERS_MAX {
            // Below the window there may be others; they are not fed now.
            let range = (window.from, 0)..=(window.to, u32::MAX);
            let Some((next, at)) = stream.lagging.range(range).next().copied() else {
                break;
            };
            let Some(watcher) = &mut self.watchers[at as usize] else {
                break;
            };
            stream.lagging.remove(&(next, at));
            *watchers += 1;
            let portion = window.portion(watcher, next);
            *events += portion.events.len();
            if !portion.events.is_empty() {
                watcher.quiet = false;
                stream
                    .queue
                    .push_back(batch(watcher, revision, portion.events));
            }
            let next = portion.to.next();
            if next > revision {
                watcher.position = Position::Synced;
                self.lagging_count -= 1;
            } else {
                watcher.position = Position::Lagging { next };
                stream.lagging.insert((next, at));
            }
        }
        stream.turn = window.to.next();
        mark_dirty(&mut self.dirty, place, stream);
        self.set_hungry(place);
    }

    /// Brings the stream's places in the hungry set up to date.
    fn set_hungry(&mut self, place: u32) {
        let Some(stream) = &mut self.streams[place as usize] else {
            return;
        };
        let wanted = stream.wanted();
        if wanted == stream.hungry {
            return;
        }
        if let Some((hindmost, turn)) = std::mem::replace(&mut stream.hungry, wanted) {
            self.hungry.remove(&(hindmost, place));
            self.hungry.remove(&(turn, place));
        }
        if let Some((hindmost, turn)) = wanted {
            self.hungry.insert((hindmost, place));
            self.hungry.insert((turn, place));
        }
    }

    /// The next drain looks at the stream.
    fn touch(&mut self, place: u32) {
        if let Some(stream) = &mut self.streams[place as usize] {
            mark_dirty(&mut self.dirty, place, stream);
        }
    }

    /// Responses the stream has not been handed for lack of credit: answers to its own requests. A shell that
    /// takes no further request from a client while this is high keeps it bounded.
    #[must_use]
    pub fn backlog(&self, stream: StreamId) -> usize {
        let place = self.places.get(&stream).copied();
        place
            .and_then(|place| self.streams[place as usize].as_ref())
            .map_or(0, |stream| stream.queue.len())
    }

    /// For metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            streams: self.places.len(),
            watchers: self.watcher_count,
            lagging: self.lagging_count,
        }
    }
}

fn batch(watcher: &Watcher, revision: Revision, events: Vec<Arc<SharedEvent>>) -> Batch {
    Batch::Events {
        id: watcher.id,
        revision,
        events,
        prev_kv: watcher.prev_kv,
        fragment: watcher.fragment,
    }
}

fn mark_dirty(dirty: &mut Vec<u32>, place: u32, stream: &mut Stream) {
    if !stream.dirty {
        stream.dirty = true;
        dirty.push(place);
    }
}

fn is_empty(keys: &KeyRange) -> bool {
    matches!(&keys.end, RangeEnd::Before(end) if *end <= keys.start)
}
