//! What the agent is told: facts from the engine, from the store, and that time passed.

use std::net::IpAddr;

use registrator_catalog::overrides::Overrides;

use crate::container::Container;
use crate::plan::Held;

/// Both clocks of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never steps; for waiting.
    pub mono_ms: u64,
    /// Nanoseconds since 1970 on the wall; for records and for ages of the engine's events.
    pub wall_nanos: i64,
}

/// Ties an answer to its question; an answer to a question nobody asks any more is thrown away.
pub type Token = u64;

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The engine's event stream is open; its events are being collected.
    EngineUp,
    /// The event stream ended or could not be opened.
    EngineDown {
        /// Why, in one line.
        why: String,
    },
    /// Containers that run, are paused or wait to be restarted, as the engine listed them.
    Listed {
        /// Of [`super::Effect::List`].
        token: Token,
        /// One entry per container.
        containers: Vec<Summary>,
    },
    /// The list could not be had.
    ListFailed {
        /// Of [`super::Effect::List`].
        token: Token,
        /// Why, in one line.
        why: String,
    },
    /// The answer about one container.
    Inspected {
        /// Of [`super::Effect::Inspect`].
        token: Token,
        /// Full id of the container.
        id: String,
        /// What the engine said.
        answer: Inspected,
    },
    /// The engine said that something happened.
    Happened(Event),
    /// What people said over the heads of all rules, as the store has it. Replaces what was said before.
    Overrides(Overrides),
    /// The host's own addresses, where they were found by looking at its routes.
    HostAddresses(Vec<IpAddr>),
    /// The lease is held, and this is all that hangs on it. Replaces everything known of the store.
    Leased {
        /// Its id.
        lease: i64,
        /// Whether it was alive before this session.
        adopted: bool,
        /// Every key on the lease with its value, in key order.
        held: Vec<(String, Held)>,
    },
    /// The keys that hang on the lease right now, in any order.
    OnLease(Vec<String>),
    /// The store cannot be reached or the lease is gone; a [`Input::Leased`] will follow some day.
    StoreAway {
        /// Why, in one line.
        why: String,
    },
    /// The transaction happened.
    Committed {
        /// Of [`super::Effect::Commit`].
        token: Token,
        /// The store's revision of it.
        revision: i64,
    },
    /// A guard of the transaction did not hold; nothing happened.
    Conflicted {
        /// Of [`super::Effect::Commit`].
        token: Token,
        /// Its keys as they are; absent keys are `None`.
        actual: Vec<(String, Option<Held>)>,
    },
    /// The transaction failed, perhaps after it happened.
    CommitFailed {
        /// Of [`super::Effect::Commit`].
        token: Token,
        /// Why, in one line.
        why: String,
    },
    /// An instance answered its check, or did not.
    Probed {
        /// Of [`super::Effect::Probe`].
        token: Token,
        /// Name of the instance.
        instance: String,
        /// A good answer, or what was wrong, in one line.
        answer: Result<(), String>,
    },
    /// The deadline of [`super::Agent::next_deadline`] passed.
    Tick,
}

/// What the list says about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Full id.
    pub id: String,
    /// Name without the leading slash.
    pub name: String,
    /// Whether its process runs and is not paused.
    pub running: bool,
    /// Ports and addresses as text: two summaries with the same shape register the same.
    pub shape: String,
}

/// An answer to an inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// The container.
    Found(Box<Container>),
    /// There is no such container.
    Gone,
    /// No answer.
    Failed(String),
}

/// One message of the engine's event stream about a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The engine's wall clock when it happened, nanoseconds since 1970.
    pub time_nanos: i64,
    /// Full id of the container.
    pub id: String,
    /// What happened.
    pub action: Action,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Its process started.
    Start,
    /// Its process ended.
    Die,
    /// Its process ended by itself with a status that says it failed.
    Fail,
    /// `docker stop` finished.
    Stop,
    /// A signal was delivered.
    Kill {
        /// Its number.
        signal: i32,
    },
    /// Frozen.
    Pause,
    /// Thawed.
    Unpause,
    /// Its name changed.
    Rename,
    /// Its resources or restart policy changed, or a network was attached or detached.
    Update,
    /// The result of its health check changed.
    Health,
    /// Removed.
    Destroy,
}

impl Action {
    /// The engine's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Die | Self::Fail => "die",
            Self::Stop => "stop",
            Self::Kill { .. } => "kill",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Rename => "rename",
            Self::Update => "update",
            Self::Health => "health_status",
            Self::Destroy => "destroy",
        }
    }
}
