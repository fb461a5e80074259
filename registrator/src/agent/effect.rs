//! What the agent orders: questions to the engine, transactions for the store, lines for the log.
//! Every order carries a token; its answer comes back as an input with the same one.

use std::fmt;

use super::input::Token;
use crate::check::Check;
use crate::plan::Txn;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// List the containers that run, are paused or wait to be restarted.
    List {
        /// Comes back with the answer.
        token: Token,
    },
    /// Inspect one container.
    Inspect {
        /// Comes back with the answer.
        token: Token,
        /// Full id of the container.
        id: String,
    },
    /// Commit one transaction, every put on the agent's lease.
    Commit {
        /// Comes back with the answer.
        token: Token,
        /// The writes.
        txn: Txn,
    },
    /// List the keys on the lease; answered by [`super::Input::OnLease`].
    Check,
    /// Read everything on the lease again; answered by [`super::Input::Leased`].
    Reload,
    /// Ask an instance how it is; answered by [`super::Input::Probed`].
    Probe {
        /// Comes back with the answer.
        token: Token,
        /// Whom and what.
        check: Box<Check>,
    },
    /// A change somebody may want to read about.
    Note(Note),
}

/// A change, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// Name of the container, or `engine`, `store`.
    pub subject: String,
    /// One line.
    pub text: String,
}

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// State change.
    Info,
    /// Went on differently than intended.
    Warn,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { token } => write!(f, "list #{token}"),
            Self::Inspect { token, id } => write!(f, "inspect #{token} {id}"),
            Self::Check => write!(f, "check"),
            Self::Probe { token, check } => {
                let name = check.terms.question.name();
                write!(
                    f,
                    "probe #{token} {} by {name} at {}",
                    check.instance, check.at
                )
            }
            Self::Reload => write!(f, "reload"),
            Self::Note(note) => {
                let level = if note.level == Level::Warn {
                    "warn"
                } else {
                    "info"
                };
                write!(f, "{level}: {}: {}", note.subject, note.text)
            }
            Self::Commit { token, txn } => {
                write!(f, "commit #{token}")?;
                for write in &txn.writes {
                    let guard = write.guard;
                    match &write.value {
                        Some(value) => write!(f, "\n  put {} = {value} if @{guard}", write.key)?,
                        None => write!(f, "\n  delete {} if @{guard}", write.key)?,
                    }
                }
                Ok(())
            }
        }
    }
}
