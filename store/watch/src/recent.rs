//! The last revisions published, still shared: who falls behind for a moment costs no reading and no second encoding.

use std::collections::VecDeque;
use std::sync::Arc;

use store_machine::revision::Revision;

use crate::batch::SharedEvent;
use crate::window::Window;

/// Revisions kept. 1024: half a second at 2,000 writes a second, and a burst of writes into streams of little credit.
const REVISIONS_MAX: usize = 1024;
/// Keys and values kept alive by it, at most.
const BYTES_MAX: usize = 4 << 20;

/// A row of revisions without a gap, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    revisions: VecDeque<(Revision, Vec<Arc<SharedEvent>>)>,
    bytes: usize,
}

impl Recent {
    pub(crate) fn clear(&mut self) {
        self.revisions.clear();
        self.bytes = 0;
    }

    /// Adds the revision after the last one.
    pub(crate) fn push(&mut self, revision: Revision, events: Vec<Arc<SharedEvent>>) {
        debug_assert!(
            self.revisions
                .back()
                .is_none_or(|(last, _)| last.next() == revision)
        );
        self.bytes += bytes(&events);
        self.revisions.push_back((revision, events));
        while self.revisions.len() > REVISIONS_MAX || self.bytes > BYTES_MAX {
            let Some((_, events)) = self.revisions.pop_front() else {
                break;
            };
            self.bytes -= bytes(&events);
        }
    }

    /// The stretch `from..=to`, if all of it is here.
    pub(crate) fn window(&self, from: Revision, to: Revision) -> Option<Window> {
        let (first, last) = (self.revisions.front()?.0, self.revisions.back()?.0);
        if from < first || to != last || from > to {
            return None;
        }
        let skip = usize::try_from(from.0 - first.0).ok()?;
        let events = self
            .revisions
            .iter()
            .skip(skip)
            .flat_map(|(_, events)| events.iter().cloned())
            .collect();
        Some(Window::of(from, to, events))
    }
}

fn bytes(events: &[Arc<SharedEvent>]) -> usize {
    events.iter().map(|shared| shared.bytes()).sum()
}
