//! Where messages to peers go. A cluster of one has no peers: what is left here is dropped, as a
//! network may.

use store_member::effects::Envelope;

/// The way to the peers; shared by driver and disk thread.
#[derive(Debug, Default)]
pub(crate) struct Outbox {}

impl Outbox {
    /// Hands the messages to the links of their members, in order. Never waits.
    pub(crate) fn send(&self, messages: Vec<Envelope>) {
        for envelope in messages {
            tracing::trace!(to = envelope.to, "no link to this member");
        }
    }
}
