//! Looking at containers: who is to be inspected, how many at a time, and which answers count. An
//! answer that was asked for before the process changed is thrown away, and so is one that
//! contradicts a death the engine itself told of, unless it insists. A pause or a start from before the
//! answer was asked for is in it already and only asks for another look.

use std::sync::Arc;

use super::effect::{Effect, Level};
use super::input::{Inspected, Now, Token};
use super::seen::Seen;
use super::timers::Timer;
use super::tracked::{Look, Tracked};
use super::{Agent, millis, note};
use crate::container::Run;

/// 16: an inspection takes the engine about a millisecond of one core; more at once only queue there.
const INSPECTS_MAX: usize = 16;
/// 3: an engine whose clock stepped back may contradict its own events; after three answers that say
/// the same, the answer is believed.
const DOUBTS_MAX: u8 = 3;

/// What about a container may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Whether its process runs: answers from before must not count.
    Process,
    /// Anything else.
    Content,
}

impl Agent {
    pub(super) fn inspected(
        &mut self,
        now: Now,
        token: Token,
        id: &str,
        answer: Inspected,
        effects: &mut Vec<Effect>,
    ) {
        let Some(tracked) = self.containers.get_mut(id) else {
            return;
        };
        let (nanos, stale, again) = match tracked.look {
            Look::Asked {
                token: asked,
                nanos,
                stale,
                again,
            } if asked == token => (nanos, stale, again),
            _ => return,
        };
        self.asked -= 1;
        tracked.look = Look::Rested;
        match answer {
            Inspected::Failed(why) => {
                tracked.look = Look::Waiting;
                let wait = millis(tracked.backoff.delay());
                if tracked.fault.as_ref() != Some(&why) {
                    note(
                        effects,
                        Level::Warn,
                        &tracked.name,
                        format!("inspect: {why}"),
                    );
                    tracked.fault = Some(why);
                }
                self.retry_in(now, id, wait);
            }
            Inspected::Gone => {
                tracked.kept_until_ms = None;
                tracked.halted = Some("it was removed");
                tracked.seen = None;
                self.evaluate(now, id, effects);
                self.looked_at(id);
            }
            Inspected::Found(_) if stale => self.look_again(id, Change::Content),
            Inspected::Found(container) => {
                let contradicts = container.run == Run::Running
                    && container
                        .started_nanos
                        .zip(tracked.died_nanos)
                        .is_some_and(|(started, died)| started <= died);
                if contradicts && tracked.doubts < DOUBTS_MAX {
                    // The answer is from before the death we heard of.
                    tracked.doubts += 1;
                    tracked.look = Look::Waiting;
                    let wait = millis(tracked.backoff.delay());
                    self.retry_in(now, id, wait);
                    return;
                }
                tracked.doubts = 0;
                tracked.backoff.reset();
                tracked.fault = None;
                tracked.halted = None;
                tracked.name.clone_from(&container.name);
                tracked.seen = Some(Seen::new(&container));
                tracked.seen_nanos = nanos;
                if let Some(by_ms) = tracked.leaves_by_ms() {
                    self.timers.set(Timer::Drained(id.to_owned()), by_ms);
                }
                self.evaluate(now, id, effects);
                self.looked_at(id);
                if again {
                    self.look_again(id, Change::Content);
                }
            }
        }
    }

    pub(super) fn track(&mut self, id: &str) -> &mut Tracked {
        let seed = self.settings.seed;
        let count = self.containers.len() as u64;
        self.containers
            .entry(id.into())
            .or_insert_with_key(|id| Box::new(Tracked::new(id, seed.wrapping_add(count))))
    }

    /// Marks a container dirty.
    pub(super) fn look_again(&mut self, id: &str, change: Change) {
        let Some(tracked) = self.containers.get_mut(id) else {
            return;
        };
        match &mut tracked.look {
            Look::Queued => {}
            Look::Asked { stale, again, .. } => {
                *again = true;
                *stale |= change == Change::Process;
            }
            Look::Rested | Look::Waiting => {
                tracked.look = Look::Queued;
                self.to_inspect.push_back(Arc::clone(&tracked.id));
            }
        }
    }

    pub(super) fn order_inspections(&mut self, now: Now, effects: &mut Vec<Effect>) {
        while self.engine_down.is_none() && self.asked < INSPECTS_MAX {
            let Some(id) = self.to_inspect.pop_front() else {
                return;
            };
            let token = self.token();
            let Some(tracked) = self.containers.get_mut(&id) else {
                continue;
            };
            tracked.look = Look::Asked {
                token,
                nanos: now.wall_nanos,
                stale: false,
                again: false,
            };
            self.asked += 1;
            self.counts.inspects += 1;
            let id = id.to_string();
            effects.push(Effect::Inspect { token, id });
        }
    }

    /// A container of the first list has been looked at; when all have, the agent is in sync.
    pub(super) fn looked_at(&mut self, id: &str) {
        let Some(unseen) = &mut self.unseen else {
            return;
        };
        unseen.remove(id);
        if unseen.is_empty() && !self.synced {
            self.synced = true;
            self.claim_left_over();
        }
    }
}
