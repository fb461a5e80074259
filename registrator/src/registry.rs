//! The shell around the registry: runs sessions one after the other, whatever is at the other end. A session is the right
//! to speak for this node together with what hangs on that right. Inside one, transactions run with deadlines; when
//! anything breaks, the agent is told, and the next session starts from what the registry really holds. Decides nothing.
//! `registry/backend.rs` is what it asks of each kind of registry.

mod announce;
mod backend;
pub mod consul;
mod etcd;
mod identity;
mod upstreams;
pub(crate) mod words;
pub mod zookeeper;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store_client::backoff::Backoff;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::{Input, Token};
use crate::docker::rand_seed;
use crate::plan::Txn;
pub(crate) use announce::Announce;
pub(crate) use backend::Backend;
use backend::{Opened, Outcome, Over, Session};
pub(crate) use etcd::{Etcd, Presence};
pub(crate) use upstreams::Upstreams;
pub(crate) use words::Words;

/// 5 s: a registry with a leader answers within milliseconds; etcd itself gives up after 7 s.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// 100 ms, 2 s: a registry that restarts is back within seconds, and what changed meanwhile waits for it.
const RETRY_FLOOR: Duration = Duration::from_millis(100);
const RETRY_CEILING: Duration = Duration::from_secs(2);

/// Something to do in the session it was ordered in.
#[derive(Debug)]
pub(crate) struct Order {
    /// How many [`Input::Leased`] the agent had seen: an order from before the session's first was
    /// made for another session, and its outcome is nobody's any more.
    pub(crate) seen: u64,
    /// What to do.
    pub(crate) task: Task,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Commit a transaction.
    Commit(Token, Txn),
    /// List the session's keys.
    Check,
    /// Read the session's keys with their values again.
    Reload,
}

/// Keeps sessions with a registry, one after the other.
pub(crate) struct Registry {
    backend: Box<dyn Backend>,
    announce: Announce,
    beats: Beats,
    facts: UnboundedSender<Input>,
    orders: UnboundedReceiver<Order>,
    /// How many [`Input::Leased`] were sent.
    told: u64,
    /// The last session, for a farewell.
    last: Option<Arc<dyn Session>>,
}

/// Until when the registry keeps the keys without hearing from us. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beats(Arc<Mutex<Option<Instant>>>);

impl Beats {
    /// Time left; `None` without a session.
    pub(crate) fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Heard of again: it keeps them for as long as this.
    fn hear(&self, left: Duration) {
        self.set(Some(Instant::now() + left));
    }
}

impl Registry {
    /// A registry that takes `orders` and tells `facts`.
    #[must_use]
    pub(crate) fn new(
        backend: Box<dyn Backend>,
        announce: Announce,
        beats: Beats,
        facts: UnboundedSender<Input>,
        orders: UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            backend,
            announce,
            beats,
            facts,
            orders,
            told: 0,
            last: None,
        }
    }

    /// Runs sessions for ever. Safe to cancel at any time: what was under way may or may not have
    /// happened, which the next session finds out.
    pub(crate) async fn run(&mut self) {
        let mut backoff = Backoff::new(RETRY_FLOOR, RETRY_CEILING, rand_seed());
        loop {
            let over = match self.backend.open().await {
                Ok(opened) => {
                    backoff.reset();
                    Over::from(self.session(opened).await)
                }
                Err(over) => over,
            };
            self.last = None;
            self.beats.set(None);
            self.tell(Input::StoreAway { why: over.why });
            tokio::time::sleep(backoff.delay().max(over.wait)).await;
        }
    }

    /// Says good-bye when a session is had. With `revoke` all keys go at once; without, they stay for their time to
    /// live, and the next agent finds that this one is gone.
    ///
    /// # Errors
    /// What the registry said.
    pub(crate) async fn leave(&self, revoke: bool) -> Result<(), String> {
        match &self.last {
            Some(session) => session.leave(revoke).await,
            None => Ok(()),
        }
    }

    /// One session; returns why it ended.
    async fn session(&mut self, opened: Opened) -> String {
        let session = opened.session;
        self.last = Some(Arc::clone(&session));
        if let Some(overrides) = opened.overrides {
            self.tell(overrides);
        }
        self.announce.begin(&opened.held);
        let began = self.tell_leased(opened.held);
        let (beats, facts) = (self.beats.clone(), self.facts.clone());
        let mut hold = session.hold(&beats, &facts);
        let mut tasks: JoinSet<Outcome> = JoinSet::new();
        loop {
            tokio::select! {
                // Safe to cancel: `recv` and `join_next` hand out an item or nothing.
                Some(order) = self.orders.recv() => {
                    if order.seen < began {
                        continue;
                    }
                    let session = Arc::clone(&session);
                    match order.task {
                        Task::Commit(token, txn) => {
                            tasks.spawn(session.commit(token, txn));
                        }
                        Task::Check => {
                            tasks.spawn(session.check());
                        }
                        Task::Reload => match session.reload().await {
                            Ok(fact) => {
                                self.tell_leased(fact);
                            }
                            Err(why) => return why,
                        },
                    }
                }
                Some(done) = tasks.join_next() => match done {
                    Ok(Outcome::Done(fact)) => {
                        self.announce.heard(&fact);
                        self.tell(fact);
                    }
                    Ok(Outcome::Said) => {}
                    Ok(Outcome::Unsaid(why)) => self.announce.refused(&why),
                    Ok(Outcome::Over(why)) => return why,
                    Err(error) => return error.to_string(),
                },
                // Safe to cancel: it only waits.
                value = self.announce.due() => {
                    tasks.spawn(Arc::clone(&session).say(value));
                }
                // Safe to cancel: it is polled to its end, or dropped with the session.
                why = &mut hold => return why,
            }
        }
    }

    fn tell_leased(&mut self, fact: Input) -> u64 {
        self.told += 1;
        self.tell(fact);
        self.told
    }

    fn tell(&self, fact: Input) {
        // Nobody listens any more only when the agent stops.
        let _ = self.facts.send(fact);
    }
}
