//! How the request handlers talk to the driver: cheap to clone, every call answers or fails by its
//! deadline. Knows no wire types; `grpc/` and `http/` translate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store_machine::auth::{Actor, Auth};
use store_machine::command::Command;
use store_machine::reply::{RangeReply, Reply, TxnReply};
use store_machine::request::{RangeRequest, TxnRequest};
use store_machine::revision::{LeaseId, Revision};
use store_machine::snapshot::SnapshotCursor;
use store_member::answer::Body;
use store_member::command_bytes;
use store_member::input::{Read, StreamEvent};
use store_watch::batch::{Batch, StreamId, WatchId};
use store_watch::watcher::WatchSpec;
use tokio::sync::{mpsc, oneshot};

pub use store_member::answer::{Consistency, Failure, Header, LeaseLife, MemberInfo, StatusReport};

use crate::auth::View;
use crate::counters::Counters;
use crate::driver::inbox::{Ask, Inbox, Knock, Outcome};
use crate::driver::seat::Seat;

/// Responses a watch stream may hold that have not been taken: enough that a stream under load is
/// refilled before it runs dry, few enough that a client that does not read costs little.
const STREAM_CREDIT: usize = 32;

/// Responses taken before the credit for them is given back: half, so that the driver is told once
/// per so many instead of each time.
const CREDIT_STEP: usize = STREAM_CREDIT / 2;

/// A body with its header.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// See [`Header`].
    pub header: Header,
    /// The body.
    pub body: T,
}

/// The way in.
#[derive(Clone)]
pub struct Handle {
    inbox: Arc<Inbox>,
    seat: Arc<Seat>,
    counters: Arc<Counters>,
    /// Last stream number given out.
    streams: Arc<AtomicU64>,
    /// Cluster and member, as in every header.
    ids: (u64, u64),
    /// Users and roles, as far as this member knows.
    auth: Arc<View>,
    /// On whose behalf; `None` = nobody's.
    actor: Option<Actor>,
}

impl Handle {
    pub(crate) fn new(
        inbox: Arc<Inbox>,
        seat: Arc<Seat>,
        counters: Arc<Counters>,
        ids: (u64, u64),
        auth: Arc<View>,
    ) -> Self {
        Self {
            inbox,
            seat,
            counters,
            streams: Arc::default(),
            ids,
            auth,
            actor: None,
        }
    }

    /// The same way, on somebody's behalf.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self {
            actor: Some(actor),
            ..self.clone()
        }
    }

    /// On whose behalf it asks.
    pub(crate) const fn actor(&self) -> Option<&Actor> {
        self.actor.as_ref()
    }

    /// Users and roles, as far as this member knows.
    pub(crate) fn auth_view(&self) -> &View {
        &self.auth
    }

    /// Cluster id.
    #[must_use]
    pub const fn cluster_id(&self) -> u64 {
        self.ids.0
    }

    /// This member's id.
    #[must_use]
    pub const fn member_id(&self) -> u64 {
        self.ids.1
    }

    /// Whether this member does not vote; most of what clients ask is not for it then.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.counters.learner.get() == 1
    }

    /// Running numbers, for metrics.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Replicates a command and waits until it is applied.
    ///
    /// # Errors
    /// See [`Failure`]; after `LeaderChanged` and `TimedOut` it may yet be applied.
    pub async fn propose(&self, command: Command) -> Result<Answer<Reply>, Failure> {
        let bytes = command_bytes(&command);
        let command = command.by(self.actor.clone());
        self.ask(Ask::Propose(command), bytes, reply).await
    }

    /// Reads.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn range(
        &self,
        request: RangeRequest,
        consistency: Consistency,
    ) -> Result<Answer<RangeReply>, Failure> {
        self.read(Read::Range(request), consistency, |body| match body {
            Body::Range(reply) => Some(reply),
            _ => None,
        })
        .await
    }

    /// Runs a transaction without writes.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn read_txn(
        &self,
        request: TxnRequest,
        consistency: Consistency,
    ) -> Result<Answer<TxnReply>, Failure> {
        self.read(Read::Txn(request), consistency, |body| match body {
            Body::Txn(reply) => Some(reply),
            _ => None,
        })
        .await
    }

    /// What the pairs in the answer to a transaction would weigh in bytes, as this member sees it now; looks no further
    /// than to `enough`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn weigh(&self, txn: TxnRequest, enough: u64) -> Result<u64, Failure> {
        let read = Read::Weigh { txn, enough };
        let weighed = self.read(read, Consistency::Serializable, |body| match body {
            Body::Weight(bytes) => Some(bytes),
            _ => None,
        });
        weighed.await.map(|answer| answer.body)
    }

    /// Opens a watch stream.
    #[must_use]
    pub fn watch(&self) -> WatchStream {
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed) + 1);
        let (sender, batches) = mpsc::unbounded_channel();
        self.inbox.tell(Knock::OpenStream {
            stream,
            credit: STREAM_CREDIT,
            batches: sender,
        });
        WatchStream {
            inbox: Arc::clone(&self.inbox),
            stream,
            batches,
            taken: 0,
        }
    }

    /// Grants a lease: picks an id if 0, raises the TTL to the minimum, proposes.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn lease_grant(
        &self,
        id: LeaseId,
        ttl_seconds: i64,
    ) -> Result<Answer<Reply>, Failure> {
        let actor = self.actor.clone();
        let grant = Ask::LeaseGrant {
            id,
            ttl_seconds,
            actor,
        };
        self.ask(grant, 0, reply).await
    }

    /// Renews; the body is the TTL in seconds, 0 when there is no such lease.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn lease_keep_alive(&self, id: LeaseId) -> Result<Answer<i64>, Failure> {
        self.read(
            Read::KeepAlive(id),
            Consistency::Linearizable,
            |body| match body {
                Body::KeepAlive(seconds) => Some(seconds),
                _ => None,
            },
        )
        .await
    }

    /// `None` when there is no such lease.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn lease_time_to_live(
        &self,
        id: LeaseId,
        keys: bool,
    ) -> Result<Answer<Option<LeaseLife>>, Failure> {
        let read = Read::LeaseLife { id, keys };
        self.read(read, Consistency::Linearizable, |body| match body {
            Body::LeaseLife(life) => Some(life),
            _ => None,
        })
        .await
    }

    /// All leases, the one with the least time left first.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn leases(&self) -> Result<Answer<Vec<LeaseId>>, Failure> {
        self.read(Read::Leases, Consistency::Linearizable, |body| match body {
            Body::Leases(leases) => Some(leases),
            _ => None,
        })
        .await
    }

    /// All members.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn members(
        &self,
        consistency: Consistency,
    ) -> Result<Answer<Vec<MemberInfo>>, Failure> {
        self.read(Read::Members, consistency, |body| match body {
            Body::Members(members) => Some(members),
            _ => None,
        })
        .await
    }

    /// Users, roles and permissions.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn auth(&self, consistency: Consistency) -> Result<Answer<Arc<Auth>>, Failure> {
        self.read(Read::Auth, consistency, |body| match body {
            Body::Auth(auth) => Some(auth),
            _ => None,
        })
        .await
    }

    /// This member's state; never waits for the cluster.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn status(&self) -> Result<Answer<StatusReport>, Failure> {
        self.read(Read::Status, Consistency::Serializable, |body| match body {
            Body::Status(status) => Some(*status),
            _ => None,
        })
        .await
    }

    /// `HashKV`: (hash, compacted, hashed revision).
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn hash_kv(
        &self,
        revision: Revision,
    ) -> Result<Answer<(u32, Revision, Revision)>, Failure> {
        let read = Read::HashKv(revision);
        self.read(read, Consistency::Serializable, |body| match body {
            Body::HashKv(hash, compacted, hashed) => Some((hash, compacted, hashed)),
            _ => None,
        })
        .await
    }

    /// All there is, as this member has it now; never waits for the cluster.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn snapshot(&self) -> Result<Answer<SnapshotCursor>, Failure> {
        let local = Consistency::Serializable;
        self.read(Read::Snapshot, local, |body| match body {
            Body::Snapshot(content) => Some(*content),
            _ => None,
        })
        .await
    }

    /// Hands the lead to this member, or to the voter that has most of the log; the body is who leads
    /// then.
    ///
    /// # Errors
    /// See [`Failure`]; `Forbidden` when this member does not lead or that one cannot.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<Answer<u64>, Failure> {
        self.ask(Ask::TransferLeadership(to), 0, |body| match body {
            Body::Transferred(leader) => Some(leader),
            _ => None,
        })
        .await
    }

    /// Waits until linearizable requests are served.
    ///
    /// # Errors
    /// See [`Failure`]; after `TimedOut` it may be tried again.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.members(Consistency::Linearizable).await.map(|_| ())
    }

    async fn read<T>(
        &self,
        read: Read,
        consistency: Consistency,
        pick: impl FnOnce(Body) -> Option<T>,
    ) -> Result<Answer<T>, Failure> {
        let read = read.by(self.actor.clone());
        self.ask(Ask::Read(read, consistency), 0, pick).await
    }

    /// The one way to the driver. Dropping the future gives up the answer, seldom the request too.
    async fn ask<T>(
        &self,
        ask: Ask,
        bytes: u64,
        pick: impl FnOnce(Body) -> Option<T>,
    ) -> Result<Answer<T>, Failure> {
        let (sender, receiver) = oneshot::channel::<Outcome>();
        if let Err(failure) = self.seat.ask(ask, bytes, sender).await {
            if failure == Failure::TooManyRequests {
                self.counters.refused_busy.add(1);
            }
            return Err(failure);
        }
        let (header, outcome) = receiver.await.map_err(|_| Failure::Stopped)?;
        let body = pick(outcome?);
        debug_assert!(body.is_some(), "an answer of another kind than asked for");
        let body = body.ok_or(Failure::Stopped)?;
        Ok(Answer { header, body })
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}

/// One watch stream: tell it what to watch, take what it is handed.
pub struct WatchStream {
    inbox: Arc<Inbox>,
    stream: StreamId,
    batches: mpsc::UnboundedReceiver<(Header, Batch)>,
    /// Responses taken whose credit has not been given back.
    taken: usize,
}

impl WatchStream {
    /// Asks for a watcher; the outcome arrives as a batch.
    pub fn create(&self, spec: WatchSpec) {
        self.tell(StreamEvent::Create(spec));
    }

    /// Cancels a watcher.
    pub fn cancel(&self, id: WatchId) {
        self.tell(StreamEvent::Cancel(id));
    }

    /// Asks for progress.
    pub fn progress(&self) {
        self.tell(StreamEvent::Progress);
    }

    /// Next batch with the header to send it under; `None` when the member goes down. Taking one
    /// gives the hub one credit. Safe to cancel: nothing is taken unless it is returned.
    pub async fn next(&mut self) -> Option<(Header, Batch)> {
        let batch = self.batches.recv().await?;
        self.took();
        Some(batch)
    }

    /// A batch that is there already; as [`WatchStream::next`] without waiting.
    pub fn try_next(&mut self) -> Option<(Header, Batch)> {
        let batch = self.batches.try_recv().ok()?;
        self.took();
        Some(batch)
    }

    fn took(&mut self) {
        self.taken += 1;
        if self.taken == CREDIT_STEP {
            self.taken = 0;
            self.tell(StreamEvent::Credit(CREDIT_STEP));
        }
    }

    fn tell(&self, event: StreamEvent) {
        self.inbox.tell(Knock::Stream {
            stream: self.stream,
            event,
        });
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.tell(StreamEvent::Closed);
    }
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WatchStream").field(&self.stream).finish()
    }
}

fn reply(body: Body) -> Option<Reply> {
    match body {
        Body::Applied(reply) => Some(reply),
        _ => None,
    }
}
