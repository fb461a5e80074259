//! Content that the service did not take is taken back. If it takes the old content, the new one is to blame and is not
//! tried again until it would be something else; if it takes neither, it is in trouble itself, and the new content
//! stays wanted.

use std::sync::Arc;
use std::time::Duration;

use super::{At, Next, Unit};
use crate::agent::{Effect, Fault, Step};
use crate::plan::{Book, ContentHash, Generation};

fn put_back_effect(good: Generation, book: Option<Arc<Book>>) -> Order {
    let content = good.hash;
    Box::new(move |name, pass| Effect::Restore {
        name,
        pass,
        content,
        book,
    })
}

/// An order that lacks the name and the pass.
pub(in crate::agent) type Order = Box<dyn FnOnce(String, u64) -> Effect>;

impl Unit {
    /// A person wants older content.
    pub(in crate::agent) fn go_back(
        &mut self,
        pass: u64,
        to: Option<u64>,
        book: &Book,
    ) -> Result<(Generation, Order), String> {
        if self.is_busy() {
            return Err("a pass is under way; ask again when it has ended".to_owned());
        }
        let dest = &self.resource.dest;
        let (bad, good) = book.way_back(dest, to)?;
        let mut doubted = book.clone();
        doubted.doubt(dest);
        let fault = Fault {
            message: "taken back by hand".to_owned(),
            hint: None,
        };
        self.refused = Some((Step::Restore, fault));
        self.by_hand = true;
        self.because = "a person asked".to_owned();
        self.pass = pass;
        self.retry_at = None;
        self.stale = None;
        self.at = At::Restore(bad, good);
        Ok((good, put_back_effect(good, Some(Arc::new(doubted)))))
    }

    /// The service did not take the content: back to what it ran on, if that is known and may help.
    pub(super) fn refused(
        &mut self,
        now: Duration,
        hash: ContentHash,
        step: Step,
        fault: Fault,
        book: &mut Book,
    ) -> Next {
        let good = book.last_good(&self.resource.dest, hash);
        match good.filter(|_| self.resource.rollback && !self.in_vain) {
            Some(good) => {
                self.refused = Some((step, fault));
                self.at = At::Restore(hash, good);
                Next::Do(put_back_effect(good, None))
            }
            None => self.failed(now, step, fault, book),
        }
    }

    /// The render gives what the service did not take. Now and then the old content is seen to: somebody may have edited it.
    pub(super) fn stays_back(&mut self, now: Duration, bad: ContentHash, book: &mut Book) -> Next {
        let dest = &self.resource.dest;
        let proven = book
            .record(dest)
            .is_some_and(|record| record.reloaded.is_some());
        let look = std::mem::take(&mut self.thorough) || !proven;
        match book.last_good(dest, bad).filter(|_| look) {
            Some(good) => {
                let mut doubted = book.clone();
                doubted.doubt(dest);
                self.at = At::Restore(bad, good);
                Next::Do(put_back_effect(good, Some(Arc::new(doubted))))
            }
            None => {
                self.still_refused(now, book);
                Next::Nothing
            }
        }
    }

    /// The old content is in place.
    pub(super) fn put_back(
        &mut self,
        now: Duration,
        bad: ContentHash,
        good: Generation,
        same: bool,
        book: &mut Book,
    ) -> Next {
        let dest = &self.resource.dest;
        let known = book.is_bad(dest, bad)
            && book
                .record(dest)
                .is_some_and(|record| record.reloaded == Some(good.hash));
        if same && known && self.refused.is_none() {
            self.still_refused(now, book);
            return Next::Nothing;
        }
        if !self.resource.is_told() {
            return self.restored(now, bad, good, Ok(()), book);
        }
        book.doubt(dest);
        self.at = At::ReloadRestored(bad, good);
        // Part of the refused content may be in force.
        Next::Do(Box::new(|name, pass| Effect::Reload {
            name,
            pass,
            running: None,
        }))
    }

    /// The old content is in place and the service was told.
    pub(super) fn restored(
        &mut self,
        now: Duration,
        bad: ContentHash,
        good: Generation,
        result: Result<(), Fault>,
        book: &mut Book,
    ) -> Next {
        // Without one it was taken back before, and only seen to now.
        let Some((step, mut fault)) = self.refused.take() else {
            if let Err(fault) = result {
                return self.failed(now, Step::Reload, fault, book);
            }
            // Nothing new was learned of it: what a person took back can still be gone back to.
            book.roll_back(&self.resource.dest, bad, good, true);
            self.still_refused(now, book);
            return Next::Save;
        };
        if let Err(second) = result {
            self.in_vain = true;
            let message = format!(
                "{}; with the old content: {}",
                fault.message, second.message
            );
            return self.failed(now, step, Fault { message, ..fault }, book);
        }
        fault
            .message
            .push_str(&format!("; rolled back to generation {}", good.number));
        fault.hint.get_or_insert_with(|| {
            "what was rendered is not tried again until keys, template or resource change"
                .to_owned()
        });
        self.counts.rolled_back += 1;
        book.roll_back(&self.resource.dest, bad, good, self.by_hand);
        let since = self.stale.as_ref().map_or(now, |(_, _, since)| *since);
        self.stale = Some((step, fault, since));
        self.still_refused(now, book);
        Next::Save
    }

    /// The render gives what the service did not take: nothing to do until something changes.
    pub(super) fn still_refused(&mut self, now: Duration, book: &mut Book) {
        self.end(now, book);
        self.counts.failed += 1;
        self.outcome = Some(false);
        self.settled = None;
        self.stale.get_or_insert_with(|| {
            let fault = Fault {
                message: "the service did not take this content before, it runs on an older one"
                    .to_owned(),
                hint: Some("it is tried again when keys, template or resource change".to_owned()),
            };
            (Step::Reload, fault, now)
        });
        self.plan_resync(now);
    }
}
