//! What happened before: lagging watchers are brought up from history, a batch at a time, as their streams can take it.

use store_machine::revision::Revision;

use super::{History, Hub, batch, mark_dirty};
use crate::batch::{Batch, StreamId};
use crate::watcher::Position;
use crate::window::Window;

/// Work on lagging watchers in one drain, so that one turn of the driver stays short. The unit is one event handed to
/// one watcher, about 20 ns; so much is one or two milliseconds.
const DRAIN_WORK_MAX: usize = 65_536;
/// Work of looking at one lagging watcher, whether or not anything matches.
const WATCHER_WORK: usize = 12;
/// Work of reading one event of history into a window.
const READ_WORK: usize = 8;
/// While the hungry are spread over no more than this, there are no turns: the foremost do not wait long, and nothing is
/// read twice. Four windows.
const NEAR_REVISIONS: i64 = 32_768;
/// Windows kept: one where the hindmost are, one where the turn of the others is.
const WINDOWS_MAX: usize = 2;

impl Hub {
    /// Moves what streams with credit can be shown into `out`; true when some watcher still lags
    /// and its stream has credit, so that draining again (another turn) would move it further.
    pub fn drain(&mut self, history: &dyn History, out: &mut Vec<(StreamId, Batch)>) -> bool {
        self.observe(history.revision());
        // First what is queued, so that credit is known exactly when history is read for the rest.
        self.flush(out);
        self.drop_compacted(history.compacted());
        let mut work = 0;
        while work < DRAIN_WORK_MAX {
            let Some((from, by_turn)) = self.choose() else {
                break;
            };
            let Some(read) = self.read_window(history, from) else {
                break;
            };
            work += read * READ_WORK;
            self.feed(from, by_turn, &mut work);
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
                    stream.ended.insert(id);
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

    /// Where to read next, and whether that is by turn. Every other time the hindmost, so that those further on are
    /// joined on the way and history is read once for all. Else, if they are
    /// far apart, the next in turn, so that one that is nearly there does
    /// not wait for one that is far behind; turns go from the front to the back, as who was fed moves forward.
    fn choose(&mut self) -> Option<(Revision, bool)> {
        let hindmost = self.hungry.first()?.0;
        let foremost = self.hungry.last()?.0;
        self.by_turn = !self.by_turn;
        if self.by_turn || foremost.0 - hindmost.0 <= NEAR_REVISIONS {
            return Some((hindmost, false));
        }
        let next = self.hungry.range(..(self.turn, 0)).next_back();
        self.turn = next.map_or(foremost, |(next, _)| *next);
        Some((self.turn, true))
    }

    /// Has a window that begins at `from` or before ready at the front, and says how many events it had to read for
    /// that; `None` when history refuses.
    fn read_window(&mut self, history: &dyn History, from: Revision) -> Option<usize> {
        if let Some(at) = self.windows.iter().position(|window| window.contains(from)) {
            self.windows.swap(0, at);
            return Some(0);
        }
        let window = match self.recent.window(from, self.revision) {
            Some(window) => window,
            // Refused only below the compaction, which was looked at before.
            None => Window::read(history, from, self.revision).ok()?,
        };
        let read = window.len();
        self.windows.truncate(WINDOWS_MAX - 1);
        self.windows.push_front(window);
        Some(read)
    }

    /// Gives every hungry stream its part of the front window, from `from` on, until it has no room. At least one watcher
    /// is fed, so that reading the window was not in vain.
    fn feed(&mut self, from: Revision, by_turn: bool, work: &mut usize) {
        let Some(window) = self.windows.pop_front() else {
            return;
        };
        loop {
            let next = self
                .hungry
                .range((from, 0)..=(window.to, u32::MAX))
                .next()
                .copied();
            let Some((next, place)) = next else { break };
            if by_turn && let Some(stream) = &mut self.streams[place as usize] {
                stream.turn = next;
            }
            self.feed_stream(place, &window, work);
            if *work >= DRAIN_WORK_MAX {
                break;
            }
        }
        self.windows.push_front(window);
    }

    fn feed_stream(&mut self, place: u32, window: &Window, work: &mut usize) {
        let revision = self.revision;
        let Some(stream) = &mut self.streams[place as usize] else {
            return;
        };
        while stream.has_room() {
            // Below the window there may be others; they are not fed now.
            let range = (window.from, 0)..=(window.to, u32::MAX);
            let Some((next, at)) = stream.lagging.range(range).next().copied() else {
                break;
            };
            let Some(watcher) = &mut self.watchers[at as usize] else {
                break;
            };
            stream.lagging.remove(&(next, at));
            let portion = window.portion(watcher, next);
            *work += WATCHER_WORK + portion.events.len();
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
            if *work >= DRAIN_WORK_MAX {
                break;
            }
        }
        mark_dirty(&mut self.dirty, place, stream);
        self.set_hungry(place);
    }
}
