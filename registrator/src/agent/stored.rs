//! A key's value as the store was last known to hold it, in memory that is shared with whoever wants it so.

use std::sync::Arc;

use crate::plan::Held;

/// A [`Held`] that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) value: Arc<[u8]>,
    /// Revision of its last change.
    mod_revision: i64,
    /// Whether it hangs on our lease.
    pub(super) leased: bool,
}

impl Stored {
    /// What this agent wrote with the change of that revision.
    pub(super) fn written(value: Arc<[u8]>, mod_revision: i64) -> Self {
        Self {
            value,
            mod_revision,
            leased: true,
        }
    }

    /// For a plan.
    pub(super) fn held(&self) -> Held {
        Held {
            value: self.value.to_vec(),
            mod_revision: self.mod_revision,
            leased: self.leased,
        }
    }
}

impl From<Held> for Stored {
    fn from(held: Held) -> Self {
        Self {
            value: held.value.into(),
            mod_revision: held.mod_revision,
            leased: held.leased,
        }
    }
}
