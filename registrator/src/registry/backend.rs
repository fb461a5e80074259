//! What sessions are made of, for every kind of registry: the seam between the runner, which knows when, and those who
//! speak to a registry, who know how. Keys, values and guards mean the same on both sides as in [`crate::plan`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedSender;

use super::{Beats, Words};
use crate::agent::{Input, Token};
use crate::plan::Txn;

/// One kind of registry, and the way to it.
pub(crate) trait Backend: Send + Sync {
    /// Opens a session: takes the right to speak for this node, and reads everything that hangs on it. Nothing is
    /// retried here.
    fn open(&mut self) -> BoxFuture<'_, Result<Opened, Over>>;

    /// What the registry holds of this node, by key, for somebody who only looks. `roots` are what keys begin with. Where
    /// it does not tell values in full, one that is as `wanted` is told as that.
    fn look<'a>(
        &'a mut self,
        roots: &'a [String],
        wanted: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, String>>;

    /// Where it keeps what people say over all rules.
    fn words(&mut self) -> BoxFuture<'_, Result<Box<dyn Words>, String>>;
}

/// A session that began.
pub(crate) struct Opened {
    /// The session.
    pub(crate) session: Arc<dyn Session>,
    /// [`Input::Overrides`], where the registry keeps some that this user may read.
    pub(crate) overrides: Option<Input>,
    /// [`Input::Leased`].
    pub(crate) held: Input,
}

/// A session with a registry. It is over when [`Session::hold`] returns or a task says so.
pub(crate) trait Session: Send + Sync {
    /// Commits one transaction, all of it or nothing as far as the registry can, and says how that ended.
    fn commit(self: Arc<Self>, token: Token, txn: Txn) -> BoxFuture<'static, Outcome>;

    /// Lists what hangs on the session: [`Input::OnLease`].
    fn check(self: Arc<Self>) -> BoxFuture<'static, Outcome>;

    /// Writes what the agent says about itself beside what hangs on the session, where the registry has a place for it.
    fn say(self: Arc<Self>, value: String) -> BoxFuture<'static, Outcome> {
        drop(value);
        std::future::ready(Outcome::Said).boxed()
    }

    /// Reads what hangs on the session with its values: [`Input::Leased`].
    fn reload(&self) -> BoxFuture<'_, Result<Input, String>>;

    /// Keeps the session alive and says for how long each time; tells of overrides that change. Returns why it is
    /// over.
    fn hold<'a>(
        &'a self,
        beats: &'a Beats,
        facts: &'a UnboundedSender<Input>,
    ) -> BoxFuture<'a, String>;

    /// Says good-bye; with `revoke`, what hangs on the session goes at once.
    fn leave(&self, revoke: bool) -> BoxFuture<'_, Result<(), String>>;
}

/// How a task ended.
pub(crate) enum Outcome {
    /// The agent is told.
    Done(Input),
    /// So badly that the session is over.
    Over(String),
    /// What the agent says about itself stands in the registry, or another agent speaks for the node.
    Said,
    /// It must not stand there.
    Unsaid(String),
}

/// Why a session ended, or did not begin.
pub(crate) struct Over {
    pub(crate) why: String,
    /// Time before the next try makes sense.
    pub(crate) wait: Duration,
}

impl From<String> for Over {
    fn from(why: String) -> Self {
        Self {
            why,
            wait: Duration::ZERO,
        }
    }
}
