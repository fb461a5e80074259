//! The shell that asks for what `muster status` shows: the list of members, each of them, alarms, leases, and how far back
//! history goes. A thing that cannot be asked for leaves its reason in its place.

use std::time::Duration;

use bytes::Bytes;
use store_proto::etcdserverpb::alarm_request::AlarmAction;
use store_proto::etcdserverpb::cluster_client::ClusterClient;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::lease_client::LeaseClient;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{
    AlarmRequest, AlarmType, LeaseLeasesRequest, LeaseTimeToLiveRequest, Member as Listed,
    MemberListRequest, RangeRequest, StatusRequest, StatusResponse, WatchCreateRequest,
    WatchRequest,
};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use super::status::{Lease, Leases, Member, Picture, Said};
use crate::command::in_time;
use crate::connect::{ANSWER_BYTES_MAX, Connection, connect, to};
use crate::failure::Failure;
use crate::flags::Globals;

/// 1,000 leases: a question each, a second or so; that of a large cluster is one in ten, said as such.
const LEASES_MAX: usize = 1_000;
/// 16 questions under way: they cost the store nothing, and one after the other they would take a person's time.
const ASKED_AT_ONCE: usize = 16;
/// A key that nobody has: what is asked for is whether history reaches back so far.
const NOBODYS: Bytes = Bytes::from_static(b"\0muster status");
/// 2 s for a member that does not answer: the others are shown by then.
const MEMBER_PATIENCE: Duration = Duration::from_secs(2);

/// Asks for all of it.
///
/// # Errors
/// No member answers, or the list of members is refused.
pub(super) async fn picture(globals: &Globals) -> Result<Picture, Failure> {
    let connection = connect(globals).await?;
    let mut client = ClusterClient::new(connection.clone());
    // Without a leader the list of the member that was reached still says whom to look for.
    let linearizable = client.member_list(MemberListRequest { linearizable: true });
    let list = match in_time(globals, linearizable).await {
        Ok(list) => list,
        Err(_) => {
            let local = MemberListRequest {
                linearizable: false,
            };
            in_time(globals, client.member_list(local)).await?
        }
    };
    let (members, statuses) = members(list.members, globals).await;
    let freshest = statuses
        .iter()
        .max_by_key(|status| (status.raft_term, status.header.unwrap_or_default().revision));
    let header = freshest
        .and_then(|status| status.header)
        .unwrap_or_default();
    let leader = freshest.map_or(0, |status| status.leader);
    Ok(Picture {
        cluster: list.header.unwrap_or_default().cluster_id,
        revision: header.revision,
        term: freshest.map_or(0, |status| status.raft_term),
        leader,
        compacted: compacted(&connection, globals).await,
        members,
        alarms: alarms(&connection, globals)
            .await
            .map_err(|failure| failure.to_string()),
        leases: match leader {
            0 => Err("no leader".to_owned()),
            _ => leases(&connection, globals)
                .await
                .map_err(|failure| failure.to_string()),
        },
    })
}

/// Asks each member how it is.
pub(crate) async fn members(
    list: Vec<Listed>,
    globals: &Globals,
) -> (Vec<Member>, Vec<StatusResponse>) {
    let mut asked = JoinSet::new();
    for member in list {
        let mut globals = globals.clone();
        globals.command_timeout = globals.command_timeout.min(MEMBER_PATIENCE);
        asked.spawn(async move {
            let said = said(&member, &globals).await;
            (member, said)
        });
    }
    let mut members = Vec::new();
    let mut statuses = Vec::new();
    for (member, said) in asked.join_all().await {
        if let Ok(status) = &said {
            statuses.push(status.clone());
        }
        members.push(Member {
            id: member.id,
            name: member.name,
            endpoint: member.client_ur_ls.join(","),
            learner: member.is_learner,
            said: said.map(|status| Said {
                version: status.version,
                size: u64::try_from(status.db_size).unwrap_or(0),
                quota: u64::try_from(status.db_size_quota).unwrap_or(0),
                applied: status.raft_applied_index,
                errors: status.errors,
            }),
        });
    }
    members.sort_by(|a, b| {
        (a.name.is_empty(), &a.name, a.id).cmp(&(b.name.is_empty(), &b.name, b.id))
    });
    (members, statuses)
}

async fn said(member: &Listed, globals: &Globals) -> Result<StatusResponse, String> {
    if member.client_ur_ls.is_empty() {
        return Err("it has never started".to_owned());
    }
    let asked = async {
        let connection = to(&member.client_ur_ls, globals).await?;
        let mut client = MaintenanceClient::new(connection);
        in_time(globals, client.status(StatusRequest {})).await
    };
    asked.await.map_err(|failure| failure.whole())
}

async fn alarms(connection: &Connection, globals: &Globals) -> Result<Vec<(String, u64)>, Failure> {
    let mut client = MaintenanceClient::new(connection.clone());
    let request = AlarmRequest {
        action: AlarmAction::Get.into(),
        ..AlarmRequest::default()
    };
    let answer = in_time(globals, client.alarm(request)).await?;
    let name = |kind| AlarmType::try_from(kind).map_or("UNKNOWN", |kind| kind.as_str_name());
    let alarms = answer.alarms.iter();
    Ok(alarms
        .map(|alarm| (name(alarm.alarm).to_owned(), alarm.member_id))
        .collect())
}

async fn leases(connection: &Connection, globals: &Globals) -> Result<Leases, Failure> {
    let mut client =
        LeaseClient::new(connection.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let all = in_time(globals, client.lease_leases(LeaseLeasesRequest {})).await?;
    let count = all.leases.len();
    let mut ids = all
        .leases
        .into_iter()
        .map(|lease| lease.id)
        .take(LEASES_MAX);
    let mut found = Leases {
        count,
        looked_at: count.min(LEASES_MAX),
        ending: Vec::new(),
    };
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < ASKED_AT_ONCE
            && let Some(id) = ids.next()
        {
            let (mut client, globals) = (client.clone(), globals.clone());
            asked.spawn(async move {
                let request = LeaseTimeToLiveRequest { id, keys: true };
                in_time(&globals, client.lease_time_to_live(request)).await
            });
        }
        let Some(answer) = asked.join_next().await else {
            break;
        };
        let lease = answer.map_err(|cause| Failure::error(cause.to_string()))??;
        // One that ended meanwhile has a time of -1.
        if lease.ttl >= 0 && lease.ttl < lease.granted_ttl / 2 {
            let key = lease.keys.first();
            found.ending.push(Lease {
                id: lease.id,
                left: lease.ttl,
                granted: lease.granted_ttl,
                keys: lease.keys.len(),
                key: key.map_or_else(String::new, |key| String::from_utf8_lossy(key).into_owned()),
            });
        }
    }
    found.ending.sort_by_key(|lease| (lease.left, lease.id));
    Ok(found)
}

/// The last revision that is forgotten. No call tells it; but where the first one cannot be read any more, a watch from
/// there on is refused with it.
async fn compacted(connection: &Connection, globals: &Globals) -> Result<i64, String> {
    let read = RangeRequest {
        key: NOBODYS,
        revision: 1,
        count_only: true,
        ..RangeRequest::default()
    };
    match in_time(globals, KvClient::new(connection.clone()).range(read)).await {
        Ok(_) => return Ok(0),
        Err(failure) if failure.to_string().contains("compacted") => {}
        // etcd answers so while nothing was ever written: there is no revision 1 then.
        Err(failure) if failure.to_string().contains("future revision") => return Ok(0),
        Err(failure) => return Err(failure.to_string()),
    }
    let create = WatchCreateRequest {
        key: NOBODYS,
        start_revision: 1,
        ..WatchCreateRequest::default()
    };
    let request = WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // The stream of requests must stay open: its end would be the end of the watch.
    let requests = tokio_stream::once(request).chain(tokio_stream::pending());
    let asked = async {
        let mut client = WatchClient::new(connection.clone());
        let mut answers = client.watch(requests).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if answer.canceled {
                return match answer.compact_revision {
                    0 => Err(Failure::error(answer.cancel_reason)),
                    revision => Ok(revision - 1),
                };
            }
        }
        Err(Failure::error("the store ended the question"))
    };
    // Safe to cancel: nothing but reading.
    match tokio::time::timeout(globals.command_timeout.min(MEMBER_PATIENCE), asked).await {
        Ok(answer) => answer.map_err(|failure| failure.to_string()),
        Err(_) => Err("not told".to_owned()),
    }
}
