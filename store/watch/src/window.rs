//! A stretch of history, read once and shared by all lagging watchers that need it.

use std::sync::Arc;

use store_machine::error::Refusal;
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Revision;

use crate::batch::SharedEvent;
use crate::hub::History;
use crate::watcher::Watcher;

/// Revisions read at once. More than a batch may hold, because most watchers want few of them: for 10,000
/// watchers of a key each, 1 M revisions are 123 windows, and a watcher without a match costs two
/// binary searches per window.
const WINDOW_REVISIONS_MAX: usize = 8192;
/// Keys and values a window refers to (they are shared with the store while it keeps them). 4 MiB: a few
/// milliseconds of encoding.
const WINDOW_BYTES_MAX: usize = 4 << 20;
/// Revisions in one batch, as in etcd (`watchBatchMaxRevs`).
const BATCH_REVISIONS_MAX: usize = 1000;
/// Keys and values in one batch, unless a single revision is larger. 1 MiB: many clients refuse messages
/// above 4 MiB, and encoding adds to it.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Whole revisions `from..=to`.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) from: Revision,
    pub(crate) to: Revision,
    /// In order of happening.
    events: Vec<Arc<SharedEvent>>,
    /// Positions in `events` by key, then by position: the matches of a range lie side by side.
    by_key: Vec<u32>,
}

/// What a window has for one watcher.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    pub(crate) events: Vec<Arc<SharedEvent>>,
    /// Everything up to here is in `events` or does not match.
    pub(crate) to: Revision,
}

impl Window {
    /// Reads from `from` on, at most to `to`.
    pub(crate) fn read(
        history: &dyn History,
        from: Revision,
        to: Revision,
    ) -> Result<Self, Refusal> {
        let mut events = Vec::new();
        let (mut revisions, mut bytes) = (0, 0);
        let mut end = to;
        history.events(from, to, &mut |revision, of_revision| {
            if revisions == WINDOW_REVISIONS_MAX || bytes >= WINDOW_BYTES_MAX {
                end = Revision(revision.0 - 1);
                return false;
            }
            revisions += 1;
            for event in of_revision {
                let event = SharedEvent::new(event.clone());
                bytes += event.bytes();
                events.push(Arc::new(event));
            }
            true
        })?;
        Ok(Self::of(from, end, events))
    }

    /// Of events that are shared already.
    pub(crate) fn of(from: Revision, to: Revision, events: Vec<Arc<SharedEvent>>) -> Self {
        let mut by_key: Vec<u32> = (0..crate::index::as_u32(events.len())).collect();
        // Stable, so equal keys stay in order of happening.
        by_key.sort_by(|a, b| {
            events[*a as usize]
                .event
                .kv
                .key
                .cmp(&events[*b as usize].event.kv.key)
        });
        Self {
            from,
            to,
            events,
            by_key,
        }
    }

    pub(crate) fn contains(&self, revision: Revision) -> bool {
        self.from <= revision && revision <= self.to
    }

    fn revision(&self, position: u32) -> Revision {
        self.events[position as usize].event.kv.mod_revision
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The next batch for a watcher that has everything below `next`.
    pub(crate) fn portion(&self, watcher: &Watcher, next: Revision) -> Portion {
        let matches = self.on(&watcher.keys);
        let mut batch = Filling {
            window: self,
            watcher,
            portion: Portion::default(),
            revisions: 0,
            bytes: 0,
        };
        // Where most events match, walk them in order and stop when the batch is full; else sort the few.
        if matches.len() >= self.events.len() / 4 {
            let first = self
                .events
                .partition_point(|shared| shared.event.kv.mod_revision < next);
            let range = &watcher.keys;
            for shared in &self.events[first..] {
                if covers(range, &shared.event.kv.key) && !batch.add(shared) {
                    return batch.portion;
                }
            }
        } else {
            let mut positions: Vec<u32> = matches
                .iter()
                .copied()
                .filter(|at| self.revision(*at) >= next)
                .collect();
            positions.sort_unstable();
            for at in positions {
                if !batch.add(&self.events[at as usize]) {
                    return batch.portion;
                }
            }
        }
        Portion {
            to: self.to,
            ..batch.portion
        }
    }

    /// Positions of the events on these keys, by key.
    fn on(&self, keys: &KeyRange) -> &[u32] {
        let key = |at: &u32| self.events[*at as usize].event.kv.key.as_ref();
        let first = self
            .by_key
            .partition_point(|at| key(at) < keys.start.as_ref());
        let rest = &self.by_key[first..];
        let count = match &keys.end {
            RangeEnd::Single => rest.partition_point(|at| key(at) <= keys.start.as_ref()),
            RangeEnd::Open => rest.len(),
            RangeEnd::Before(end) => rest.partition_point(|at| key(at) < end.as_ref()),
        };
        &rest[..count]
    }
}

/// A batch being filled.
struct Filling<'a> {
    window: &'a Window,
    watcher: &'a Watcher,
    portion: Portion,
    revisions: usize,
    bytes: usize,
}

impl Filling<'_> {
    /// Adds the next event if the watcher wants it; false when the batch was full before its revision.
    fn add(&mut self, shared: &Arc<SharedEvent>) -> bool {
        debug_assert!(self.window.contains(shared.event.kv.mod_revision));
        if !self.watcher.wants(&shared.event) {
            return true;
        }
        let revision = shared.event.kv.mod_revision;
        if revision != self.portion.to {
            if self.revisions == BATCH_REVISIONS_MAX || self.bytes >= BATCH_BYTES_MAX {
                return false;
            }
            self.revisions += 1;
            self.portion.to = revision;
        }
        self.bytes += shared.bytes();
        self.portion.events.push(Arc::clone(shared));
        true
    }
}

fn covers(keys: &KeyRange, key: &[u8]) -> bool {
    match &keys.end {
        RangeEnd::Single => keys.start == key,
        RangeEnd::Open => keys.start <= key,
        RangeEnd::Before(end) => keys.start <= key && key < end.as_ref(),
    }
}
