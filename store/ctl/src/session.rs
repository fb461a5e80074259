//! A lease that is kept for as long as the program runs: what locks, elections and registrations hang on. It goes on over
//! whichever member answers, and says when it is lost.

use std::time::Duration;

use store_proto::etcdserverpb::lease_client::LeaseClient;
use store_proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::Status;

use crate::connect::Connection;
use crate::failure::Failure;
use crate::recipe::link::{Link, Patience, backoff};

/// A lease and what keeps it.
#[derive(Debug)]
pub(crate) struct Session {
    link: Link,
    lease: i64,
    /// Ends when the lease is lost, and only then.
    keeper: JoinHandle<()>,
}

impl Session {
    /// A lease of so many seconds. It is given up for lost `grace` (half the time to live at most) before it may be over, so
    /// that there is time to act.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn open(
        link: &Link,
        ttl_seconds: i64,
        grace: Duration,
    ) -> Result<Self, Failure> {
        let asked = Instant::now();
        let request = LeaseGrantRequest {
            ttl: ttl_seconds,
            id: 0,
        };
        // One that was granted without our hearing of it ends by itself.
        let granting = link.ask(Patience::Short, |connection| async move {
            LeaseClient::new(connection).lease_grant(request).await
        });
        let lease = granting.await?;
        let ttl = Duration::from_secs(lease.ttl.unsigned_abs());
        Ok(Self {
            keeper: tokio::spawn(keep(link.clone(), lease.id, asked, ttl, grace.min(ttl / 2))),
            link: link.clone(),
            lease: lease.id,
        })
    }

    /// The lease.
    pub(crate) const fn lease(&self) -> i64 {
        self.lease
    }

    /// Waits until the lease is lost, or must be believed to be soon. Safe to cancel.
    pub(crate) async fn lost(&mut self) {
        // Asked again after it has ended it has nothing more to say.
        if !self.keeper.is_finished() {
            // A keeper that broke keeps nothing either.
            let _ = (&mut self.keeper).await;
        }
    }

    /// Ends the lease, and with it all keys it holds.
    pub(crate) async fn close(self) {
        self.keeper.abort();
        let (connection, _) = self.link.connection();
        let request = LeaseRevokeRequest { id: self.lease };
        // A store that does not hear it ends the lease when its time is up.
        let limit = self.link.globals().command_timeout;
        let _ = timeout(limit, LeaseClient::new(connection).lease_revoke(request)).await;
    }
}

/// Renews at a third of the time to live; comes back when the store says it is gone, or must believe so.
///
/// The store counts from when it hears of a renewal, which is later than when that was asked for: so this end of it comes
/// first, as far as both clocks go at one rate.
async fn keep(link: Link, id: i64, granted: Instant, ttl: Duration, grace: Duration) {
    let mut renewed = granted;
    let mut backoff = backoff();
    loop {
        // With a long grace the renewals come earlier, so that one may fail.
        sleep(((ttl - grace) / 2).min(ttl / 3)).await;
        loop {
            let (connection, number) = link.connection();
            let (asked, end) = (Instant::now(), renewed + ttl - grace);
            // A member without a leader may never answer: another one gets its chance.
            let limit = end.min(asked + ttl / 3);
            // Safe to cancel: a renewal that was sent does no harm.
            match timeout_at(limit, renew(connection, id)).await {
                Ok(Ok(0)) => return,
                Ok(Ok(_)) => {
                    renewed = asked;
                    backoff.reset();
                    break;
                }
                Ok(Err(_)) | Err(_) if Instant::now() >= end => return,
                Ok(Err(_)) | Err(_) => {}
            }
            let again = async {
                sleep(backoff.delay()).await;
                link.replace(number).await;
            };
            if timeout_at(end, again).await.is_err() {
                return;
            }
        }
    }
}

/// One renewal: the seconds it has from now on, 0 when there is no such lease.
async fn renew(connection: Connection, id: i64) -> Result<i64, Status> {
    let request = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut client = LeaseClient::new(connection);
    let mut answers = client.lease_keep_alive(request).await?.into_inner();
    let answer = answers.message().await?;
    answer
        .map(|answer| answer.ttl)
        .ok_or_else(|| Status::unavailable("the stream ended without an answer"))
}
