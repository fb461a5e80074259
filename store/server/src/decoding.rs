//! From the bytes of a request to what it asks of the machine, without a server behind it: the steps every call takes
//! before anybody waits for it. For whoever wants to look at these alone, such as a fuzzer.
//!
//! Methods are named by their path behind `/v3/`, whichever form the message has.

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store_machine::command::Command;
use store_machine::request::{RangeRequest, TxnRequest};
use store_machine::revision::Revision;
use store_proto::etcdserverpb as pb;
use store_proto::{v3electionpb, v3lockpb};
use tonic::Status;

use crate::grpc::errors::ApiError;
use crate::grpc::method::Method;
use crate::grpc::txn::crowd;
use crate::grpc::{translate, txn};
use crate::http::gateway;

/// A request that was understood.
#[derive(Debug)]
pub struct Decoded {
    /// The message as it was understood, in the form of gRPC.
    pub protobuf: Vec<u8>,
    /// The same in the form of the gateway.
    pub json: String,
    /// What it asks, if that is about pairs.
    pub asked: Option<Asked>,
}

/// What a request about pairs asks of the machine.
#[derive(Debug)]
pub enum Asked {
    /// To read a range.
    Range(RangeRequest),
    /// To run a transaction that writes nothing.
    Read(TxnRequest),
    /// To have a command applied.
    Command(Command),
    /// Nothing: it is refused, with these words.
    Refused(String),
}

/// Reads the body of a request to the gateway; `ops_max` is `--max-txn-ops`.
///
/// # Errors
/// There is no such method, or what is sent is none of its requests: with these words.
pub fn of_json(path: &str, body: &[u8], ops_max: usize) -> Result<Decoded, String> {
    of(path, &Json(body), ops_max)
}

/// Reads the message of a gRPC request, without its prefix.
///
/// # Errors
/// As [`of_json`].
pub fn of_protobuf(path: &str, message: &[u8], ops_max: usize) -> Result<Decoded, String> {
    of(path, &Protobuf(message), ops_max)
}

/// A message in one of its forms.
trait Form {
    fn message<M: Message + Default + DeserializeOwned>(&self) -> Result<M, String>;

    /// Refuses a transaction that holds too much.
    fn crowd(&self, ops_max: usize) -> Result<(), String>;
}

struct Json<'b>(&'b [u8]);

impl Form for Json<'_> {
    fn message<M: Message + Default + DeserializeOwned>(&self) -> Result<M, String> {
        serde_json::from_slice(self.0).map_err(|error| error.to_string())
    }

    fn crowd(&self, ops_max: usize) -> Result<(), String> {
        crowd::check_json(self.0, ops_max).map_err(words)
    }
}

struct Protobuf<'b>(&'b [u8]);

impl Form for Protobuf<'_> {
    fn message<M: Message + Default + DeserializeOwned>(&self) -> Result<M, String> {
        M::decode(self.0).map_err(|error| error.to_string())
    }

    fn crowd(&self, ops_max: usize) -> Result<(), String> {
        crowd::check(self.0, ops_max).map_err(words)
    }
}

fn of(path: &str, form: &impl Form, ops_max: usize) -> Result<Decoded, String> {
    use Method as M;
    let method = gateway::method(path).ok_or_else(|| "no such method".to_owned())?;
    match method {
        M::Range => asking(form, |request| {
            translate::range_request(request).map(Asked::Range)
        }),
        M::Put => asking(form, |request| {
            let put = translate::put_request(request)?;
            Ok(Asked::Command(Command::Put(put)))
        }),
        M::DeleteRange => asking(form, |request| {
            let delete = translate::delete_request(request)?;
            Ok(Asked::Command(Command::Delete(delete)))
        }),
        M::Txn => {
            form.crowd(ops_max)?;
            asking(form, |request| {
                let route = txn::route(&request);
                let request = txn::txn_request(request, ops_max)?;
                Ok(match route {
                    txn::Route::Propose => Asked::Command(Command::Txn(request)),
                    txn::Route::ReadLinearizable | txn::Route::ReadSerializable => {
                        Asked::Read(request)
                    }
                })
            })
        }
        M::Compact => asking(form, |request: pb::CompactionRequest| {
            let revision = Revision(request.revision);
            Ok(Asked::Command(Command::Compact { revision }))
        }),
        M::Watch => plain::<pb::WatchRequest>(form),
        M::LeaseGrant => plain::<pb::LeaseGrantRequest>(form),
        M::LeaseRevoke => plain::<pb::LeaseRevokeRequest>(form),
        M::LeaseKeepAlive => plain::<pb::LeaseKeepAliveRequest>(form),
        M::LeaseTimeToLive => plain::<pb::LeaseTimeToLiveRequest>(form),
        M::MemberAdd => plain::<pb::MemberAddRequest>(form),
        M::MemberRemove => plain::<pb::MemberRemoveRequest>(form),
        M::MemberUpdate => plain::<pb::MemberUpdateRequest>(form),
        M::MemberList => plain::<pb::MemberListRequest>(form),
        M::MemberPromote => plain::<pb::MemberPromoteRequest>(form),
        M::Alarm => plain::<pb::AlarmRequest>(form),
        M::HashKv => plain::<pb::HashKvRequest>(form),
        M::MoveLeader => plain::<pb::MoveLeaderRequest>(form),
        M::Downgrade => plain::<pb::DowngradeRequest>(form),
        M::Authenticate => plain::<pb::AuthenticateRequest>(form),
        M::UserAdd => plain::<pb::AuthUserAddRequest>(form),
        M::UserGet => plain::<pb::AuthUserGetRequest>(form),
        M::UserDelete => plain::<pb::AuthUserDeleteRequest>(form),
        M::UserChangePassword => plain::<pb::AuthUserChangePasswordRequest>(form),
        M::UserGrantRole => plain::<pb::AuthUserGrantRoleRequest>(form),
        M::UserRevokeRole => plain::<pb::AuthUserRevokeRoleRequest>(form),
        M::RoleAdd => plain::<pb::AuthRoleAddRequest>(form),
        M::RoleGet => plain::<pb::AuthRoleGetRequest>(form),
        M::RoleDelete => plain::<pb::AuthRoleDeleteRequest>(form),
        M::RoleGrantPermission => plain::<pb::AuthRoleGrantPermissionRequest>(form),
        M::RoleRevokePermission => plain::<pb::AuthRoleRevokePermissionRequest>(form),
        M::Lock => plain::<v3lockpb::LockRequest>(form),
        M::Unlock => plain::<v3lockpb::UnlockRequest>(form),
        M::Campaign => plain::<v3electionpb::CampaignRequest>(form),
        M::Proclaim => plain::<v3electionpb::ProclaimRequest>(form),
        M::Leader | M::Observe => plain::<v3electionpb::LeaderRequest>(form),
        M::Resign => plain::<v3electionpb::ResignRequest>(form),
        // Nothing can be said to these, or they are not for the gateway.
        M::RangeStream
        | M::LeaseLeases
        | M::Status
        | M::Defragment
        | M::Hash
        | M::Snapshot
        | M::AuthEnable
        | M::AuthDisable
        | M::AuthStatus
        | M::UserList
        | M::RoleList
        | M::HealthCheck
        | M::HealthWatch => Err("a method with an empty request".to_owned()),
    }
}

fn asking<M: Message + Default + Serialize + DeserializeOwned + Clone>(
    form: &impl Form,
    ask: impl FnOnce(M) -> Result<Asked, ApiError>,
) -> Result<Decoded, String> {
    let message: M = form.message()?;
    let asked = ask(message.clone()).unwrap_or_else(|error| Asked::Refused(words(error)));
    Ok(Decoded {
        asked: Some(asked),
        ..written(&message)?
    })
}

fn plain<M: Message + Default + Serialize + DeserializeOwned>(
    form: &impl Form,
) -> Result<Decoded, String> {
    written(&form.message::<M>()?)
}

fn written(message: &(impl Message + Serialize)) -> Result<Decoded, String> {
    Ok(Decoded {
        protobuf: message.encode_to_vec(),
        json: serde_json::to_string(message).map_err(|error| error.to_string())?,
        asked: None,
    })
}

/// What a client is told.
fn words(error: ApiError) -> String {
    Status::from(error).message().to_owned()
}
