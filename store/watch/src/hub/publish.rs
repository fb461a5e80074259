//! What happens now: each revision goes to the synced watchers that want it, or makes them lag.

use std::collections::BTreeSet;
use std::sync::Arc;

use store_machine::reply::Event;
use store_machine::revision::Revision;

use super::{Hub, batch, mark_dirty};
use crate::batch::SharedEvent;
use crate::index::as_u32;
use crate::watcher::Position;

impl Hub {
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
    pub(super) fn observe(&mut self, revision: Revision) {
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
}
