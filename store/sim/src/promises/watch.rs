//! What a watcher is shown: ordered, unique, reliable, atomic, resumable, bookmarkable (etcd API
//! guarantees, "watch"), each with its own name, checked event by event against the log.

use store_machine::reply::{Event, EventKind};
use store_machine::request::KeyRange;
use store_machine::revision::Revision;
use store_watch::batch::{Batch, SharedEvent};
use store_watch::watcher::WatchSpec;

use crate::promises::{Canon, Check, broken};

/// What one watcher, over all its connections, has been shown.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) spec: WatchSpec,
    /// Everything below has been shown, or will never be. `None` until the first creation says from
    /// where on.
    pub(crate) next: Option<i64>,
    /// Events seen.
    pub(crate) events: u64,
}

impl Shown {
    pub(crate) const fn new(spec: WatchSpec) -> Self {
        Self {
            spec,
            next: None,
            events: 0,
        }
    }

    fn wants(&self, event: &Event) -> bool {
        wants(&self.spec.keys, event)
            && match event.kind {
                EventKind::Put => !self.spec.no_put,
                EventKind::Delete => !self.spec.no_delete,
            }
    }

    /// Whether an event is shown as the log has it. Whoever does not ask for the former pair need not see it.
    fn same(&self, expected: &Event, found: &Event, canon: &Canon) -> bool {
        if self.spec.prev_kv || found.prev.is_some() {
            same_event(expected, found, canon.model.compacted())
        } else {
            expected.kind == found.kind && expected.kv == found.kv
        }
    }

    /// What is left to be shown up to a revision.
    fn left<'a>(&'a self, canon: &'a Canon, to: i64) -> impl Iterator<Item = &'a Event> {
        let from = self.next.unwrap_or(i64::MAX);
        (from..=to)
            .flat_map(|revision| canon.model.events(revision))
            .filter(|event| self.wants(event))
    }

    /// A batch of the watcher arrives.
    pub(crate) fn take(&mut self, canon: &Canon, batch: &Batch) -> Check {
        match batch {
            Batch::Created { revision, .. } => {
                // Later ones resume where the last one was.
                self.next.get_or_insert(revision.0 + 1);
                Ok(())
            }
            Batch::Events {
                events, revision, ..
            } => self.events(canon, events, *revision),
            Batch::Progress { revision, .. } => self.progress(canon, *revision),
            Batch::Compacted { compacted, .. } => self.compacted(canon, compacted.0),
            Batch::Refused { .. } | Batch::Canceled { .. } => Ok(()),
        }
    }

    fn events(
        &mut self,
        canon: &Canon,
        batch: &[std::sync::Arc<SharedEvent>],
        header: Revision,
    ) -> Check {
        let next = self.next.unwrap_or(i64::MAX);
        let mut last = 0;
        for shared in batch {
            let revision = shared.event.kv.mod_revision.0;
            if revision < last {
                return self.fault("watch is ordered", revision, "after a later one");
            }
            last = revision;
            if revision < next {
                return self.fault("watch is unique", revision, "again");
            }
        }
        if header.0 < last || last > canon.model.revision() {
            return self.fault("watch is ordered", last, "before it was made");
        }
        let expected: Vec<&Event> = self.left(canon, last).collect();
        let same = expected.len() == batch.len()
            && expected
                .iter()
                .zip(batch)
                .all(|(expected, shared)| self.same(expected, &shared.event, canon));
        if same {
            self.events += batch.len() as u64;
            self.next = Some(last + 1);
            return Ok(());
        }
        let missing = expected
            .iter()
            .zip(batch)
            .find(|(expected, shared)| !self.same(expected, &shared.event, canon));
        let missing = missing.map_or_else(|| expected.get(batch.len()), |(first, _)| Some(first));
        let at = missing.map_or(last, |event| event.kv.mod_revision.0);
        let split = at == last
            || batch
                .iter()
                .any(|shared| shared.event.kv.mod_revision.0 == at);
        let promise = if split {
            "watch is atomic"
        } else {
            "watch is reliable"
        };
        self.fault(promise, at, "not as the log has it")
    }

    fn progress(&mut self, canon: &Canon, revision: Revision) -> Check {
        if revision.0 > canon.model.revision() {
            return self.fault("watch is bookmarkable", revision.0, "ahead of the store");
        }
        if let Some(first) = self.left(canon, revision.0).next() {
            let at = first.kv.mod_revision.0;
            return self.fault("watch is bookmarkable", at, "left out by progress above it");
        }
        if let Some(next) = &mut self.next {
            *next = (*next).max(revision.0 + 1);
        }
        Ok(())
    }

    fn compacted(&mut self, canon: &Canon, compacted: i64) -> Check {
        let next = self.next.unwrap_or(0);
        if compacted > canon.model.compacted() || next >= compacted {
            return self.fault("watch is resumable", compacted, "refused as compacted");
        }
        // Whoever reads the state there and goes on has missed nothing.
        self.next = Some(compacted);
        Ok(())
    }

    /// All is quiet: nothing may be left to be shown.
    pub(crate) fn finished(&self, canon: &Canon) -> Check {
        match self.left(canon, canon.model.revision()).next() {
            None => Ok(()),
            Some(event) => {
                let at = event.kv.mod_revision.0;
                self.fault("watch is reliable", at, "never shown")
            }
        }
    }

    fn fault(&self, promise: &'static str, revision: i64, what: &str) -> Check {
        broken(
            promise,
            format!(
                "an event at revision {revision} {what}; the watcher of {:?} is at {:?}",
                self.spec.keys, self.next
            ),
        )
    }
}

fn wants(keys: &KeyRange, event: &Event) -> bool {
    keys.contains(&event.kv.key)
}

/// The former pair may be missing where it is compacted.
pub(crate) fn same_event(expected: &Event, found: &Event, compacted: i64) -> bool {
    let prev = found.prev == expected.prev
        || (found.prev.is_none() && expected.kv.mod_revision.0 <= compacted + 1)
        || (found.prev.is_none()
            && expected
                .prev
                .as_ref()
                .is_some_and(|prev| prev.mod_revision.0 < compacted));
    expected.kind == found.kind && expected.kv == found.kv && prev
}

#[cfg(test)]
mod tests;
