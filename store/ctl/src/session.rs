//! A lease that is kept for as long as the program runs: what locks and elections hang on. It says when it is lost.

use std::time::Duration;

use store_proto::etcdserverpb::lease_client::LeaseClient;
use store_proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseRevokeRequest};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use crate::failure::Failure;
use crate::login::Connection;

/// A lease and what keeps it.
#[derive(Debug)]
pub(crate) struct Session {
    client: LeaseClient<Connection>,
    lease: i64,
    /// Ends when the lease is lost, and only then.
    keeper: JoinHandle<()>,
}

impl Session {
    /// # Errors
    /// What the store says.
    pub(crate) async fn open(connection: Connection, ttl_seconds: i64) -> Result<Self, Failure> {
        let mut client = LeaseClient::new(connection);
        let request = LeaseGrantRequest {
            ttl: ttl_seconds,
            id: 0,
        };
        let lease = client.lease_grant(request).await?.into_inner();
        let ttl = Duration::from_secs(lease.ttl.unsigned_abs());
        Ok(Self {
            keeper: tokio::spawn(keep(client.clone(), lease.id, ttl)),
            client,
            lease: lease.id,
        })
    }

    /// The lease.
    pub(crate) const fn lease(&self) -> i64 {
        self.lease
    }

    /// Waits until the lease is lost. Safe to cancel.
    pub(crate) async fn lost(&mut self) {
        // A keeper that broke keeps nothing either.
        let _ = (&mut self.keeper).await;
    }

    /// Ends the lease, and with it all keys it holds.
    pub(crate) async fn close(mut self) {
        self.keeper.abort();
        // A store that does not hear it ends the lease when its time is up.
        let request = LeaseRevokeRequest { id: self.lease };
        let _ = self.client.lease_revoke(request).await;
    }
}

/// Renews at a third of the time to live; comes back when the store says it is gone, or must believe so.
async fn keep(mut client: LeaseClient<Connection>, id: i64, ttl: Duration) {
    let mut renewed = Instant::now();
    loop {
        sleep(ttl / 3).await;
        let asked = Instant::now();
        match timeout_at(renewed + ttl, renew(&mut client, id)).await {
            Ok(Ok(0)) | Err(_) => return,
            Ok(Ok(_)) => renewed = asked,
            Ok(Err(_)) if renewed.elapsed() >= ttl => return,
            Ok(Err(_)) => {}
        }
    }
}

/// One renewal: the seconds it has from now on, 0 when there is no such lease.
async fn renew(client: &mut LeaseClient<Connection>, id: i64) -> Result<i64, Status> {
    let request = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = client.lease_keep_alive(request).await?.into_inner();
    let answer = answers.message().await?;
    answer
        .map(|answer| answer.ttl)
        .ok_or_else(|| Status::unavailable("the stream ended without an answer"))
}
