//! What an operator does with one member.

use std::sync::Arc;
use std::time::Instant;

use prost::Message as _;
use store_machine::alarm::{Alarm, AlarmKind};
use store_machine::auth::Need;
use store_machine::command::Command;
use store_machine::reply::Reply;
use store_machine::revision::Revision;
use store_proto::etcdserverpb as pb;
use tonic::Status;

use super::errors::{ApiError, status};
use super::{kv, translate};
use crate::api::Api;
use crate::call::Call;
use crate::version;

pub(crate) async fn alarm(
    call: Call,
    request: pb::AlarmRequest,
) -> Result<pb::AlarmResponse, Status> {
    use pb::alarm_request::AlarmAction;
    let bytes = request.encoded_len();
    let member = request.member_id;
    // A kind of a later version counts as none: nothing of that kind can be raised here.
    let kind = match pb::AlarmType::try_from(request.alarm) {
        Ok(pb::AlarmType::Nospace) => Some(AlarmKind::NoSpace),
        Ok(pb::AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
        Ok(pb::AlarmType::None) | Err(_) => None,
    };
    let action = AlarmAction::try_from(request.action).unwrap_or(AlarmAction::Get);
    if action != AlarmAction::Get {
        call.require(&Need::Root)?;
    }
    let command = match (action, kind) {
        (AlarmAction::Activate, Some(kind)) => Command::AlarmRaise { member, kind },
        (AlarmAction::Deactivate, Some(kind)) => Command::AlarmClear { member, kind },
        (AlarmAction::Get, _) => return raised(&call, member, kind).await,
        // Raising or clearing nothing names no alarm in its answer either.
        (AlarmAction::Activate | AlarmAction::Deactivate, None) => {
            let mut response = raised(&call, member, kind).await?;
            response.alarms.clear();
            return Ok(response);
        }
    };
    let answer = kv::propose(&call, bytes, command).await?;
    match answer.body {
        Reply::Alarm(alarms) => Ok(pb::AlarmResponse {
            header: Some(translate::header(answer.header)),
            alarms: alarms.into_iter().map(alarm_member).collect(),
        }),
        other => Err(kv::mismatch("alarm", &other)),
    }
}

/// The raised alarms, of one member or all (0), of one kind or all.
async fn raised(
    api: &Api,
    member: u64,
    kind: Option<AlarmKind>,
) -> Result<pb::AlarmResponse, Status> {
    let answer = api.handle.status().await.map_err(status)?;
    let wanted = |alarm: &Alarm| {
        (member == 0 || alarm.member == member) && kind.is_none_or(|kind| alarm.kind == kind)
    };
    let alarms = answer.body.alarms.into_iter().filter(wanted);
    Ok(pb::AlarmResponse {
        header: Some(translate::header(answer.header)),
        alarms: alarms.map(alarm_member).collect(),
    })
}

fn alarm_member(alarm: Alarm) -> pb::AlarmMember {
    pb::AlarmMember {
        member_id: alarm.member,
        alarm: match alarm.kind {
            AlarmKind::NoSpace => pb::AlarmType::Nospace,
            AlarmKind::Corrupt => pb::AlarmType::Corrupt,
        }
        .into(),
    }
}

/// An alarm as etcd names it to people.
pub(crate) const fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

pub(crate) async fn member_status(
    api: Arc<Api>,
    _request: pb::StatusRequest,
) -> Result<pb::StatusResponse, Status> {
    let answer = api.handle.status().await.map_err(status)?;
    let report = answer.body;
    let mut errors = Vec::new();
    if report.leader == 0 {
        errors.push(ApiError::NoLeader.text().to_owned());
    }
    for alarm in &report.alarms {
        let kind = alarm_name(alarm.kind);
        errors.push(format!("memberID:{} alarm:{kind} ", alarm.member));
    }
    Ok(pb::StatusResponse {
        header: Some(translate::header(answer.header)),
        version: version::ETCD_VERSION.to_owned(),
        db_size: bytes(report.size_bytes),
        leader: report.leader,
        raft_index: report.raft_index,
        raft_term: answer.header.term,
        raft_applied_index: report.applied_index,
        errors,
        db_size_in_use: bytes(report.size_in_use_bytes),
        is_learner: report.learner,
        storage_version: version::STORAGE_VERSION.to_owned(),
        db_size_quota: bytes(report.quota_bytes),
        downgrade_info: Some(pb::DowngradeInfo::default()),
    })
}

/// A size as the wire has it; a quota that is off is the largest there is.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Makes another member the leader; without a header, as in etcd.
pub(crate) async fn move_leader(
    api: Arc<Api>,
    request: pb::MoveLeaderRequest,
) -> Result<pb::MoveLeaderResponse, Status> {
    let moved = api.handle.transfer_leadership(Some(request.target_id));
    moved.await.map_err(status)?;
    Ok(pb::MoveLeaderResponse { header: None })
}

/// There is nothing to defragment: the state is in memory and the log is purged by segment. Tools
/// that call this on a schedule get their yes at once, without a header as in etcd.
pub(crate) async fn defragment(
    _api: Arc<Api>,
    _request: pb::DefragmentRequest,
) -> Result<pb::DefragmentResponse, Status> {
    Ok(pb::DefragmentResponse { header: None })
}

/// The checksum of all there is: here, of all the pairs.
pub(crate) async fn hash(
    api: Arc<Api>,
    _request: pb::HashRequest,
) -> Result<pb::HashResponse, Status> {
    let began = Instant::now();
    let answer = api.handle.hash_kv(Revision(0)).await.map_err(status)?;
    api.accounts.hash.observe(began.elapsed());
    let (hash, _, _) = answer.body;
    Ok(pb::HashResponse {
        header: Some(translate::header(answer.header)),
        hash,
    })
}

pub(crate) async fn hash_kv(
    api: Arc<Api>,
    request: pb::HashKvRequest,
) -> Result<pb::HashKvResponse, Status> {
    let revision = Revision(request.revision);
    let began = Instant::now();
    let answer = api.handle.hash_kv(revision).await.map_err(status)?;
    api.accounts.hash_kv.observe(began.elapsed());
    let (hash, compacted, hashed) = answer.body;
    Ok(pb::HashKvResponse {
        header: Some(translate::header(answer.header)),
        hash,
        // etcd says -1 before the first compaction.
        compact_revision: if compacted.0 == 0 { -1 } else { compacted.0 },
        hash_revision: hashed.0,
    })
}
