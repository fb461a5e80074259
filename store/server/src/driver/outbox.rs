//! Where messages to peers go: to the lanes of their members. One for a member without lanes is
//! dropped, as a network may.

use std::collections::BTreeSet;
use std::sync::Arc;

use store_member::answer::MemberInfo;
use store_member::effects::Envelope;

use crate::driver::inbox::{Inbox, Knock};
use crate::peers::directory::Directory;
use crate::peers::lanes::Put;

/// The way to the peers; shared by driver and disk thread.
#[derive(Debug)]
pub(crate) struct Outbox {
    directory: Arc<Directory>,
    inbox: Arc<Inbox>,
}

impl Outbox {
    pub(crate) const fn new(directory: Arc<Directory>, inbox: Arc<Inbox>) -> Self {
        Self { directory, inbox }
    }

    /// These are the members from now on, and those were.
    pub(crate) fn set_members(&self, members: &[MemberInfo], former: BTreeSet<u64>) {
        self.directory.set(members, former);
    }

    /// Hands the messages to the links of their members, in order, and wakes each link once. Never
    /// waits.
    pub(crate) fn send(&self, messages: impl IntoIterator<Item = Envelope>) {
        let others = self.directory.others();
        let mut sent = false;
        for Envelope { to, message } in messages {
            if let Some(peer) = others.get(&to) {
                sent = true;
                if peer.lanes.put(message) == Put::Dropped {
                    self.inbox.tell(Knock::PeerUnreachable(to));
                }
            }
        }
        if sent {
            for peer in others.values() {
                peer.lanes.wake();
            }
        }
    }
}
