//! Who came to the ports for clients: the numbers, and the log of those who were not let in.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use store_transport::Remote;
use store_transport::accept::{Opening, Rejected};

use crate::fatal::chain;
use crate::logging::pace::Pace;

/// The numbers of all doors for clients.
#[derive(Debug, Default)]
pub(crate) struct Doormen {
    /// Connections that were accepted.
    pub(crate) accepted: AtomicU64,
    /// Those of them that have ended.
    pub(crate) ended: AtomicU64,
    /// Those that were not served: a handshake that failed, TLS or none where it had to be the other.
    pub(crate) rejected: AtomicU64,
    /// How often a connection had to wait for another to end.
    pub(crate) waited: AtomicU64,
    /// Whoever knocks in a loop does not fill the disk.
    pace: Pace,
}

/// A connection that is open.
pub(super) struct Stay<'d>(&'d Doormen);

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Relaxed);
    }
}

impl Doormen {
    /// A connection opens; it ends with what is returned.
    pub(super) fn enter(&self) -> Stay<'_> {
        self.accepted.fetch_add(1, Relaxed);
        Stay(self)
    }

    /// There is no place for another connection.
    pub(super) fn full(&self) {
        self.waited.fetch_add(1, Relaxed);
        if let Some(quiet) = self.pace.speak() {
            tracing::warn!(
                quiet,
                "as many connections as there may be (--max-client-connections): more wait"
            );
        }
    }

    /// Somebody is not let in.
    pub(super) fn turn_away(&self, remote: Remote, why: &Rejected) {
        if matches!(why, Rejected::Gone) {
            return;
        }
        self.rejected.fetch_add(1, Relaxed);
        let error = match why {
            Rejected::Plain {
                opening: Opening::Tls,
                ..
            } => "it began a TLS handshake, and this port speaks in the clear".to_owned(),
            why => chain(why),
        };
        if let Some(quiet) = self.pace.speak() {
            tracing::warn!(%remote, error, quiet, "rejected connection on client endpoint");
        }
    }
}
