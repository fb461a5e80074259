//! The mirror as a value: what to ask the store next, and what the consumer may see.
//!
//! Knows no sockets and no clock; `feed.rs` performs the effects. One stream carries one watcher per range (ranges are
//! disjoint, see `ranges.rs`), so events of one key are ordered, while events of different ranges interleave freely.
//!
//! When is revision R complete?
//! ```text
//!   watcher 0   ── 7 ── 9 ─────────────►   complete up to 9 (its own last event)
//!   watcher 1   ── 8 ──────────────────►   complete up to 8, or up to the last fence
//!                        fence 9 ──────►   the store said: everything up to 9 has been sent
//!   shown       ── 7,8 ────── 9 ───────►   min over the watchers
//! ```
//! With one range an event is its own proof. With several, a progress request is the fence: the answer (etcd API
//! guarantees, watch: "bookmarkable") covers all watchers of the stream. Servers before 3.4.25 and 3.5.8 may let that
//! answer overtake events (etcd issue 15220). An event that arrives behind its fence is applied when it comes, and a
//! fence never moves the revision from which a watch is resumed: such a server costs atomicity for a moment, no event.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::effect::{Cause, Change, Effect, Event};
use super::input::{Header, Input, KeyEvent};
use super::ranges::KeyRange;
use super::snapshot::{Entry, Snapshot};

/// Keys per page of a listing. 1,000: a page of small values stays far below gRPC's default limit of 4 MiB.
const PAGE_KEYS: i64 = 1_000;
/// A fence that was not answered is asked for again after this time: the server is silent while a watcher catches up
/// (it looks every 100 ms), and says nothing when it is done.
const FENCE_RETRY: Duration = Duration::from_millis(50);
/// Without an answer for this long, events are shown without their fence: fresh and perhaps half a transaction beats
/// whole and stale. Ten rounds of the server's catch-up loop.
const FENCE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Counters for metrics; they only grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Listings completed, by cause.
    pub listings: BTreeMap<Cause, u64>,
    /// Streams resumed from the last complete revision without reading again.
    pub resumes: u64,
    /// Events that came behind a fence that should have covered them (a server with etcd issue 15220).
    pub late_events: u64,
    /// Times events were shown without a fence because the server did not answer.
    pub fences_missed: u64,
}

/// Keeps a copy of some key ranges; see the module text.
#[derive(Debug)]
pub struct Mirror {
    ranges: Vec<KeyRange>,
    state: State,
    /// What the consumer was told last; `None` before the first listing.
    shown: Option<Snapshot>,
    /// Cluster that `shown` came from.
    cluster: Option<u64>,
    stats: Stats,
}

#[derive(Debug)]
enum State {
    /// No connection; what to do when there is one.
    Offline(Next),
    Listing(Listing),
    Watching(Watching),
}

#[derive(Debug)]
enum Next {
    List(Cause),
    /// Per range, the revision up to which everything has arrived.
    Resume(Vec<i64>),
}

#[derive(Debug)]
struct Listing {
    cause: Cause,
    /// Cluster and revision of the first page; all later pages are read at this revision.
    pinned: Option<Header>,
    /// Index of the range being read.
    range: usize,
    staged: Vec<(Bytes, Entry)>,
}

#[derive(Debug)]
struct Watching {
    watchers: Vec<Watcher>,
    /// Revision up to which the store said that all watchers were served. Moves with `Progress { watch: None }`.
    fence: i64,
    /// Events not shown yet, by revision.
    pending: BTreeMap<i64, Vec<KeyEvent>>,
    /// When a fence was asked for: (first time, last time). `None` when none is due.
    asked: Option<(Duration, Duration)>,
    /// True if this connection has read a listing: a watch header behind it is then a lagging member, not a lost store.
    listed_here: bool,
}

#[derive(Debug)]
struct Watcher {
    created: bool,
    /// Everything up to here has arrived on this watcher. Moves with its events and its own progress notices only,
    /// never with a fence; the watch is resumed behind it.
    complete: i64,
}

impl Mirror {
    /// A mirror of `ranges` that knows nothing yet.
    pub fn new(ranges: Vec<KeyRange>) -> Self {
        Self {
            ranges: KeyRange::normalise(ranges),
            state: State::Offline(Next::List(Cause::First)),
            shown: None,
            cluster: None,
            stats: Stats::default(),
        }
    }

    /// The ranges in normal form; the index is the `watch` of inputs and effects.
    pub fn ranges(&self) -> &[KeyRange] {
        &self.ranges
    }

    /// What the consumer was told last.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.shown.as_ref()
    }

    /// Counters since the start.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// When [`Input::Tick`] is due, if at all.
    pub fn next_deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Watching(watching) => watching.asked.map(|(_, last)| last + FENCE_RETRY),
            _ => None,
        }
    }

    /// Takes one input; `now` is the time since any fixed instant.
    pub fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Connected => self.connected(effects),
            Input::Lost => self.state = State::Offline(self.next()),
            Input::Page {
                header,
                entries,
                more,
            } => self.page(header, entries, more, effects),
            Input::PageCompacted => self.page_compacted(effects),
            Input::Created { watch, header } => self.created(watch, header, effects),
            Input::Events {
                watch,
                may_continue,
                events,
            } => self.events(now, watch, may_continue, events, effects),
            Input::Progress { watch, revision } => self.progress(now, watch, revision, effects),
            Input::WatchCompacted => self.read_again(Cause::Compacted, effects),
            Input::Tick => self.tick(now, effects),
        }
    }

    fn connected(&mut self, effects: &mut Vec<Effect>) {
        match self.next() {
            Next::List(cause) => self.list(cause, effects),
            Next::Resume(complete) => {
                self.stats.resumes += 1;
                self.watch(complete, false, effects);
            }
        }
    }

    /// Where to go on when the connection is new.
    fn next(&self) -> Next {
        let shown = self.shown.as_ref().map_or(0, Snapshot::revision);
        match &self.state {
            State::Offline(Next::List(cause)) => Next::List(*cause),
            State::Offline(Next::Resume(complete)) => Next::Resume(complete.clone()),
            State::Listing(listing) => Next::List(listing.cause),
            // What arrived but was not shown is dropped with the stream, so it must come again.
            State::Watching(watching) => Next::Resume(
                watching
                    .watchers
                    .iter()
                    .map(|watcher| watcher.complete.min(shown))
                    .collect(),
            ),
        }
    }

    fn list(&mut self, cause: Cause, effects: &mut Vec<Effect>) {
        self.state = State::Listing(Listing {
            cause,
            pinned: None,
            range: 0,
            staged: Vec::new(),
        });
        match self.ranges.first() {
            Some(range) => effects.push(Effect::Read {
                range: range.clone(),
                at: None,
                limit: PAGE_KEYS,
            }),
            // Nothing to mirror is complete at once.
            None => self.listed(
                Header {
                    cluster: 0,
                    revision: 0,
                },
                effects,
            ),
        }
    }

    /// Gives up the stream and reads everything again.
    fn read_again(&mut self, cause: Cause, effects: &mut Vec<Effect>) {
        if matches!(self.state, State::Watching(_)) {
            effects.push(Effect::CloseStream);
            self.list(cause, effects);
        }
    }

    fn page(
        &mut self,
        header: Header,
        entries: Vec<(Bytes, Entry)>,
        more: bool,
        effects: &mut Vec<Effect>,
    ) {
        let State::Listing(listing) = &mut self.state else {
            return;
        };
        let pinned = *listing.pinned.get_or_insert(header);
        if pinned.cluster != header.cluster {
            let cause = listing.cause;
            self.list(cause, effects);
            return;
        }
        let last = entries.last().map(|(key, _)| key.clone());
        listing.staged.extend(entries);
        let next = match last.filter(|_| more) {
            // Go on behind the last key: the smallest greater one has a zero byte appended.
            Some(last) => {
                let mut start = last.to_vec();
                start.push(0);
                Some(KeyRange {
                    start: start.into(),
                    end: self.ranges[listing.range].end.clone(),
                })
            }
            None => {
                listing.range += 1;
                self.ranges.get(listing.range).cloned()
            }
        };
        match next {
            Some(range) => effects.push(Effect::Read {
                range,
                at: Some(pinned.revision),
                limit: PAGE_KEYS,
            }),
            None => self.listed(pinned, effects),
        }
    }

    fn page_compacted(&mut self, effects: &mut Vec<Effect>) {
        if let State::Listing(listing) = &self.state {
            let cause = listing.cause;
            self.list(cause, effects);
        }
    }

    fn listed(&mut self, header: Header, effects: &mut Vec<Effect>) {
        let State::Listing(listing) = &mut self.state else {
            return;
        };
        let cause = listing.cause;
        let snapshot = Snapshot::from_entries(header.revision, std::mem::take(&mut listing.staged));
        let changes = difference(self.shown.as_ref(), &snapshot);
        self.cluster = Some(header.cluster);
        *self.stats.listings.entry(cause).or_default() += 1;
        self.shown = Some(snapshot.clone());
        effects.push(Effect::Tell(Event::Listed {
            snapshot,
            changes,
            cause,
        }));
        self.watch(vec![header.revision; self.ranges.len()], true, effects);
    }

    fn watch(&mut self, complete: Vec<i64>, listed_here: bool, effects: &mut Vec<Effect>) {
        for (watch, (range, complete)) in self.ranges.iter().zip(&complete).enumerate() {
            effects.push(Effect::Watch {
                watch,
                range: range.clone(),
                from: complete + 1,
            });
        }
        let watchers = complete
            .into_iter()
            .map(|complete| Watcher {
                created: false,
                complete,
            })
            .collect();
        self.state = State::Watching(Watching {
            watchers,
            fence: 0,
            pending: BTreeMap::new(),
            asked: None,
            listed_here,
        });
    }

    fn created(&mut self, watch: usize, header: Header, effects: &mut Vec<Effect>) {
        if self
            .cluster
            .is_some_and(|cluster| cluster != header.cluster)
        {
            self.read_again(Cause::OtherCluster, effects);
            return;
        }
        let State::Watching(watching) = &mut self.state else {
            return;
        };
        let Some(watcher) = watching.watchers.get_mut(watch) else {
            return;
        };
        watcher.created = true;
        // A watch that starts in the future stays silent until the store gets there, and after a restore from a backup
        // the store gets there with other content. A linearizable read decides what is true.
        if header.revision < watcher.complete && !watching.listed_here {
            self.read_again(Cause::StoreBehind, effects);
        }
    }

    fn events(
        &mut self,
        now: Duration,
        watch: usize,
        may_continue: bool,
        events: Vec<KeyEvent>,
        effects: &mut Vec<Effect>,
    ) {
        let State::Watching(watching) = &mut self.state else {
            return;
        };
        let Some(watcher) = watching.watchers.get_mut(watch) else {
            return;
        };
        let Some(last) = events.last().map(|event| event.revision) else {
            return;
        };
        let before = watcher.complete;
        let (fence, range) = (watching.fence, &self.ranges[watch]);
        for event in events {
            // Seen before, or not asked for.
            if event.revision <= before || !range.contains(&event.key) {
                continue;
            }
            if event.revision <= fence {
                self.stats.late_events += 1;
            }
            watching
                .pending
                .entry(event.revision)
                .or_default()
                .push(event);
        }
        watcher.complete = before.max(if may_continue { last - 1 } else { last });
        self.advance(now, effects);
    }

    fn progress(
        &mut self,
        now: Duration,
        watch: Option<usize>,
        revision: i64,
        effects: &mut Vec<Effect>,
    ) {
        let State::Watching(watching) = &mut self.state else {
            return;
        };
        match watch {
            None => {
                watching.fence = watching.fence.max(revision);
                watching.asked = None;
            }
            Some(watch) => {
                let Some(watcher) = watching.watchers.get_mut(watch) else {
                    return;
                };
                watcher.complete = watcher.complete.max(revision);
            }
        }
        self.advance(now, effects);
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let State::Watching(watching) = &mut self.state else {
            return;
        };
        let Some((first, last)) = watching.asked else {
            return;
        };
        if now >= first + FENCE_WAIT_MAX {
            let newest = watching
                .pending
                .keys()
                .next_back()
                .copied()
                .unwrap_or_default();
            watching.fence = watching.fence.max(newest);
            watching.asked = None;
            self.stats.fences_missed += 1;
            self.advance(now, effects);
        } else if now >= last + FENCE_RETRY {
            watching.asked = Some((first, now));
            effects.push(Effect::AskProgress);
        }
    }

    /// Shows all revisions that are complete on every watcher, and asks for a fence if some are not.
    fn advance(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let State::Watching(watching) = &mut self.state else {
            return;
        };
        let Some(shown) = &mut self.shown else { return };
        let complete = watching
            .watchers
            .iter()
            .map(|watcher| watcher.complete.max(watching.fence))
            .min()
            .unwrap_or_default();
        // Late events lie at or below the shown revision; they go out with whatever is complete.
        let revision = complete.max(shown.revision());
        let held_back = watching.pending.split_off(&(revision + 1));
        let ready = std::mem::replace(&mut watching.pending, held_back);
        if !watching.pending.is_empty()
            && watching.asked.is_none()
            && watching.watchers.iter().all(|watcher| watcher.created)
        {
            watching.asked = Some((now, now));
            effects.push(Effect::AskProgress);
        }
        if ready.is_empty() && revision == shown.revision() {
            return;
        }
        let changes = apply(shown, ready.into_values().flatten());
        shown.set_revision(revision);
        effects.push(Effect::Tell(Event::Advanced {
            snapshot: shown.clone(),
            changes,
        }));
    }
}

/// Applies events in order and returns the net differences.
fn apply(snapshot: &mut Snapshot, events: impl Iterator<Item = KeyEvent>) -> Vec<Change> {
    let mut touched: BTreeMap<Bytes, Option<Entry>> = BTreeMap::new();
    for event in events {
        // After a resume an event may come again; what is newer than it stays.
        if snapshot
            .get(&event.key)
            .is_some_and(|entry| entry.mod_revision >= event.revision)
        {
            continue;
        }
        let before = match event.entry {
            Some(entry) => snapshot.insert(event.key.clone(), entry),
            None => snapshot.remove(&event.key),
        };
        touched.entry(event.key).or_insert(before);
    }
    touched
        .into_iter()
        .filter_map(|(key, before)| {
            let after = snapshot.get(&key).cloned();
            (before != after).then_some(Change { key, before, after })
        })
        .collect()
}

/// The differences between two snapshots, in key order.
fn difference(old: Option<&Snapshot>, new: &Snapshot) -> Vec<Change> {
    let empty = Snapshot::default();
    let mut old = old.unwrap_or(&empty).iter().peekable();
    let mut new = new.iter().peekable();
    let mut changes = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        let Some((key, _)) = before.or(after) else {
            return changes;
        };
        let (before, after) = (
            before.map(|(_, entry)| entry),
            after.map(|(_, entry)| entry),
        );
        if before != after {
            changes.push(Change {
                key: key.clone(),
                before: before.cloned(),
                after: after.cloned(),
            });
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
