//! Where messages to peers go: to the lanes of their members. One for a member without lanes is
//! dropped, as a network may.

use std::collections::BTreeMap;
use std::sync::Arc;

use store_member::effects::Envelope;

use crate::driver::inbox::{Inbox, Knock};
use crate::peers::lanes::{Lanes, Put};

/// The way to the peers; shared by driver and disk thread.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    lanes: BTreeMap<u64, Arc<Lanes>>,
    inbox: Arc<Inbox>,
}

impl Outbox {
    /// One that knows these members; this one is not among them.
    pub(crate) const fn new(lanes: BTreeMap<u64, Arc<Lanes>>, inbox: Arc<Inbox>) -> Self {
        Self { lanes, inbox }
    }

    /// Hands the messages to the links of their members, in order, and wakes each link once. Never
    /// waits.
    pub(crate) fn send(&self, messages: impl IntoIterator<Item = Envelope>) {
        let mut sent = false;
        for Envelope { to, message } in messages {
            if let Some(lanes) = self.lanes.get(&to) {
                sent = true;
                if lanes.put(message) == Put::Dropped {
                    self.inbox.tell(Knock::PeerUnreachable(to));
                }
            }
        }
        if sent {
            for lanes in self.lanes.values() {
                lanes.wake();
            }
        }
    }
}
