//! Which function serves which method: one table for all ways by which calls come in.

use std::future::Future;

use futures::Stream;
use http::Response;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::Status;
use tonic::codec::Encoder;

use super::large::Weighed;
use super::method::Method;
use super::stream::{Answers, Messages};
use super::{
    auth, cluster, downgrade, election, health, kv, lease, lock, maintenance, range_stream,
    snapshot, watch,
};
use crate::body::Body;
use crate::call::Call;

/// A call as it came in, by one of the ways: knows how to read requests and write answers, and nothing of what
/// they mean.
pub(crate) trait Arrival: Sized + Send {
    /// One message each way.
    fn unary<C, M, R, F>(
        self,
        serve: impl FnOnce(C, M) -> F + Send,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        R: Message + Serialize,
        F: Future<Output = Result<R, Status>> + Send;

    /// One message each way, with an answer that may have a part of the budget.
    fn weighed<C, M, R, F>(
        self,
        serve: impl FnOnce(C, M) -> F + Send,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send,
        R: Message + Serialize,
        F: Future<Output = Result<Weighed<R>, Status>> + Send;

    /// A read of a range, whose answer may be large.
    fn range(self) -> impl Future<Output = Response<Body>> + Send;

    /// One request, many answers.
    fn server<C, M, A, S, F>(
        self,
        open: impl FnOnce(C, M) -> F + Send,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send + 'static,
        A: Answer,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = Result<S, Status>> + Send;

    /// Many each way.
    fn bidi<C, M, A, S, F>(
        self,
        open: impl FnOnce(C, Messages<M>) -> F + Send,
    ) -> impl Future<Output = Response<Body>> + Send
    where
        C: From<Call> + Send,
        M: Message + Default + DeserializeOwned + Send + 'static,
        A: Answer,
        S: Stream<Item = Result<A, Status>> + Send + 'static,
        F: Future<Output = S> + Send;
}

/// An answer of a stream, which each way writes in its own form.
pub(crate) trait Answer: Send + 'static {
    /// Writes it as gRPC has it.
    type Encoder: Encoder<Item = Self, Error = Status> + Default + Send + 'static;
    /// The whole message, as JSON has it.
    type Message: Message + Serialize;

    /// The message.
    fn into_message(self) -> Self::Message;
}

impl<R: Message + Serialize + 'static> Answer for R {
    type Encoder = Answers<R>;
    type Message = R;

    fn into_message(self) -> R {
        self
    }
}

/// Has a call served.
#[allow(
    clippy::cognitive_complexity,
    reason = "a table with a row for each method"
)]
pub(crate) async fn serve(arrival: impl Arrival, method: Method) -> Response<Body> {
    use Method as M;
    match method {
        M::Range => arrival.range().await,
        M::RangeStream => arrival.server(range_stream::range_stream).await,
        M::Put => arrival.unary(kv::put).await,
        M::DeleteRange => arrival.weighed(kv::delete_range).await,
        M::Txn => arrival.weighed(kv::txn).await,
        M::Compact => arrival.unary(kv::compact).await,
        M::Watch => arrival.bidi(watch::watch).await,
        M::LeaseGrant => arrival.unary(lease::grant).await,
        M::LeaseRevoke => arrival.unary(lease::revoke).await,
        M::LeaseKeepAlive => arrival.bidi(lease::keep_alive).await,
        M::LeaseTimeToLive => arrival.unary(lease::time_to_live).await,
        M::LeaseLeases => arrival.unary(lease::leases).await,
        M::MemberAdd => arrival.unary(cluster::add).await,
        M::MemberRemove => arrival.unary(cluster::remove).await,
        M::MemberUpdate => arrival.unary(cluster::update).await,
        M::MemberList => arrival.unary(cluster::list).await,
        M::MemberPromote => arrival.unary(cluster::promote).await,
        M::Alarm => arrival.unary(maintenance::alarm).await,
        M::Status => arrival.unary(maintenance::member_status).await,
        M::Defragment => arrival.unary(maintenance::defragment).await,
        M::Hash => arrival.unary(maintenance::hash).await,
        M::HashKv => arrival.unary(maintenance::hash_kv).await,
        M::Snapshot => arrival.server(snapshot::snapshot).await,
        M::MoveLeader => arrival.unary(maintenance::move_leader).await,
        M::Downgrade => arrival.unary(downgrade::downgrade).await,
        M::AuthEnable => arrival.unary(auth::enable).await,
        M::AuthDisable => arrival.unary(auth::disable).await,
        M::AuthStatus => arrival.unary(auth::status).await,
        M::Authenticate => arrival.unary(auth::authenticate).await,
        M::UserAdd => arrival.unary(auth::user_add).await,
        M::UserGet => arrival.unary(auth::user_get).await,
        M::UserList => arrival.unary(auth::user_list).await,
        M::UserDelete => arrival.unary(auth::user_delete).await,
        M::UserChangePassword => arrival.unary(auth::user_change_password).await,
        M::UserGrantRole => arrival.unary(auth::user_grant_role).await,
        M::UserRevokeRole => arrival.unary(auth::user_revoke_role).await,
        M::RoleAdd => arrival.unary(auth::role_add).await,
        M::RoleGet => arrival.unary(auth::role_get).await,
        M::RoleList => arrival.unary(auth::role_list).await,
        M::RoleDelete => arrival.unary(auth::role_delete).await,
        M::RoleGrantPermission => arrival.unary(auth::role_grant_permission).await,
        M::RoleRevokePermission => arrival.unary(auth::role_revoke_permission).await,
        M::Lock => arrival.unary(lock::lock).await,
        M::Unlock => arrival.unary(lock::unlock).await,
        M::Campaign => arrival.unary(election::campaign).await,
        M::Proclaim => arrival.unary(election::proclaim).await,
        M::Leader => arrival.unary(election::leader).await,
        M::Observe => arrival.server(election::observe).await,
        M::Resign => arrival.unary(election::resign).await,
        M::HealthCheck => arrival.unary(health::check).await,
        M::HealthWatch => arrival.server(health::watch).await,
    }
}
