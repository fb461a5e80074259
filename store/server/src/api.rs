//! What every request handler, gRPC or HTTP, can reach.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use store_transport::tls::Keeper;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::absence::Absence;
use crate::auth::Guard;
use crate::connection::Doormen;
use crate::grpc::account::Accounts;
use crate::grpc::large::Budget;
use crate::grpc::reflection::Reflection;
use crate::handle::Handle;
use crate::http::access::Access;
use crate::http::v2::Books;
use crate::intake::Intake;

/// Shared by all connections of a server.
pub(crate) struct Api {
    /// The way to the driver.
    pub(crate) handle: Handle,
    /// Who calls.
    pub(crate) guard: Guard,
    /// See [`Limits`].
    pub(crate) limits: Limits,
    /// What has been served.
    pub(crate) accounts: Arc<Accounts>,
    /// Cancelled when the server begins to stop: streams end then, requests are still finished.
    pub(crate) closing: CancellationToken,
    /// Other members could reach this one.
    pub(crate) peer_port: bool,
    /// How bodies of requests come in.
    pub(crate) intake: Intake,
    /// Memory for answers to large ranges.
    pub(crate) ranges: Budget,
    /// Places for snapshots on their way out.
    pub(crate) snapshots: Arc<Semaphore>,
    /// For streams that want a leader.
    pub(crate) absence: Absence,
    /// Who may use plain HTTP.
    pub(crate) access: Access,
    /// The protos on request, if that is allowed.
    pub(crate) reflection: Option<Reflection>,
    /// Calls that take longer are logged; zero = none.
    pub(crate) slow_call: Duration,
    /// TLS on the ports, as far as there is any.
    pub(crate) keepers: Vec<Arc<Keeper>>,
    /// Who came to the ports for clients.
    pub(crate) doormen: Arc<Doormen>,
    /// What was asked in the words of etcd 2.
    pub(crate) v2: Books,
    /// When the server started.
    pub(crate) started: SystemTime,
}

/// Bounds on what clients may ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Largest request that is proposed, in bytes: `--max-request-bytes`.
    pub(crate) request_bytes_max: usize,
    /// Largest message that is read at all. Above `request_bytes_max` by
    /// [`crate::config::RECEIVE_OVERHEAD_BYTES`].
    pub(crate) receive_bytes_max: usize,
    /// Operations per level of a transaction: `--max-txn-ops`.
    pub(crate) txn_ops_max: usize,
    /// Refuse changes of the members that would cost the cluster its quorum:
    /// `--strict-reconfig-check`.
    pub(crate) strict_reconfig: bool,
}
