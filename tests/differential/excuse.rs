//! Differences that are meant, each with its reason; `docs/compatibility.md` lists them for people.

use end_to_end::store::Maker;
use serde_json::Value;
use tonic::Code;

use crate::answer::Answer;
use crate::operation::Act;

/// Which etcd it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Series {
    /// The distribution's package.
    V3_4,
    V3_5,
}

impl Series {
    /// Who starts one.
    pub(crate) fn maker(self) -> Maker {
        match self {
            Self::V3_4 => Maker::EtcdOfDistribution,
            Self::V3_5 => Maker::Etcd,
        }
    }
}

/// Why these two answers may differ; `None` when they may not.
pub(crate) fn of(act: &Act, ours: &Answer, theirs: &Answer) -> Option<&'static str> {
    match act {
        Act::AuthStatus(_) if !theirs.granted() && ours.granted() => {
            Some("from 3.7 on everybody may ask whether authentication is on")
        }
        Act::Hash(_) | Act::HashKv(_) | Act::Defragment(_) | Act::MoveLeader(_) | Act::Alarm(_)
            if theirs.refusal().strip_prefix("auth: ")
                == ours.refusal().strip_prefix("etcdserver: ") =>
        {
            Some(
                "3.4 and 3.5.1 leave the errors of authentication untranslated in maintenance calls",
            )
        }
        _ if is_of_auth(ours)
            && !is_of_auth(theirs)
            && theirs.code() == Some(Code::InvalidArgument) =>
        {
            Some("who asks is looked at before what is asked")
        }
        Act::Txn(request)
            if is_of_auth(ours) && request.success.is_empty() && request.failure.is_empty() =>
        {
            Some("a transaction without operations takes an identity, too")
        }
        Act::KeepAlive(_) | Act::MemberList(_) | Act::Status(_) if is_of_auth(ours) => {
            Some("takes an identity; from 2026 on so in etcd")
        }
        Act::Alarm(_) if is_of_auth(ours) => {
            Some("alarms are root's to take back; from 2026 on so in etcd")
        }
        Act::Range(_) | Act::Txn(_) if same_but_for_ties(ours, theirs) => {
            Some("what is equal in a sort stays in key order, here; in etcd it has no order")
        }
        Act::UserGet(request) if request.name.is_empty() && is_of_auth(ours) => {
            Some("3.4 takes nobody for the user without a name")
        }
        Act::RoleGet(request) if request.role == "root" && ours.granted() && theirs.granted() => {
            Some("3.4 does not say what the role root may do")
        }
        Act::MoveLeader(_) if is_of_auth(ours) => {
            Some("moving the lead takes root; from 3.6 on so in etcd")
        }
        Act::TimeToLive(_) if is_of_auth(ours) => {
            Some("only who says who he is learns of leases; from 2026 on so in etcd")
        }
        Act::Revoke(_) if is_of_auth(ours) && theirs.code() == Some(Code::NotFound) => {
            Some("only who says who he is learns of leases; from 2026 on so in etcd")
        }
        Act::MemberUpdate(_)
            if ours.refusal() == "etcdserver: given member URLs are invalid"
                && theirs.refusal() == "etcdserver: member not found" =>
        {
            Some("etcd does not look at the addresses a member is to be given")
        }
        _ if theirs.refusal() == "Not Found\n" => {
            Some("the gateways of 3.4 and 3.5.1 lack some paths")
        }
        _ if ours.code() == Some(Code::FailedPrecondition)
            && ours.code() == theirs.code()
            && ours.refusal() == theirs.refusal() =>
        {
            Some("the gateway of 3.4 has another status for it")
        }
        Act::Lock(_)
        | Act::Unlock(_)
        | Act::Campaign(_)
        | Act::Proclaim(_)
        | Act::Leader(_)
        | Act::Resign(_)
            if theirs.code() == Some(Code::Unknown) && ours.refusal() == theirs.refusal() =>
        {
            Some("errors lose their code on etcd's way to its own locks and elections")
        }
        Act::Json { .. } if is_of_parser(ours) && is_of_parser(theirs) => {
            Some("what is no request is refused in each parser's own words")
        }
        _ => None,
    }
}

/// Is it the gateway's refusal of a text that is no request?
fn is_of_parser(answer: &Answer) -> bool {
    answer.code() == Some(Code::InvalidArgument) && !answer.refusal().starts_with("etcdserver: ")
}

/// Are they the same when pairs are put in key order?
fn same_but_for_ties(ours: &Answer, theirs: &Answer) -> bool {
    let (Answer::Said(ours), Answer::Said(theirs)) = (ours, theirs) else {
        return false;
    };
    let in_order = |answer: &Value| {
        let mut answer = answer.clone();
        put_pairs_in_order(&mut answer);
        answer
    };
    in_order(ours) == in_order(theirs)
}

fn put_pairs_in_order(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let ("kvs", Value::Array(pairs)) = (name.as_str(), &mut *field) {
                    pairs.sort_by_key(|pair| pair["key"].to_string());
                } else {
                    put_pairs_in_order(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(put_pairs_in_order),
        _ => {}
    }
}

/// Is it refused for who asked?
fn is_of_auth(answer: &Answer) -> bool {
    [
        "etcdserver: user name is empty",
        "etcdserver: invalid auth token",
        "etcdserver: permission denied",
        "etcdserver: revision of auth store is old",
    ]
    .contains(&answer.refusal())
}

/// Progress on demand: 3.4 and 3.5.1 answer whatever watchers still lack, later ones once all of the stream have what
/// there is and none begins in the future. So ours may answer less often, and with what came while it waited.
pub(crate) fn progress(ours: &[Value], theirs: &[Value]) -> bool {
    ours.len() <= theirs.len()
}

/// A watcher from the revision compacted last: what was deleted just there is missing in 3.4 and 3.5.1 (etcd issues 18089
/// and 19179).
pub(crate) fn deletes_at_compaction(ours: &[Value], theirs: &[Value]) -> bool {
    let revision = |told: &Value| {
        let event = told.get("event")?;
        let deleted = event.get("type")? == "DELETE";
        let revision = event.get("kv")?.get("mod_revision")?.clone();
        deleted.then_some(revision)
    };
    let common = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let more = ours.len().saturating_sub(theirs.len());
    let lacking = &ours[common..(common + more).min(ours.len())];
    // The first it was told after it was made.
    common == 1
        && lacking.iter().all(|told| revision(told).is_some())
        && lacking
            .windows(2)
            .all(|pair| revision(&pair[0]) == revision(&pair[1]))
        && ours[common + more..] == theirs[common..]
}

/// A watcher's row in the words both use.
///
/// A wish refused for want of permission: 3.4 and 3.5.1 say "permission denied" whatever the reason is.
pub(crate) fn told(row: &[Value]) -> Vec<Value> {
    let mut row = row.to_vec();
    for message in &mut row {
        if message.get("canceled").is_some() && message.get("compact_revision").is_none() {
            // A cancel is not waited for; what else is written meanwhile is a matter of time.
            message["header"]["revision"] = Value::Null;
        }
        if let Some(reason) = message.get_mut("cancel_reason")
            && reason
                .as_str()
                .is_some_and(|text| text.starts_with("rpc error: code = "))
        {
            *reason = "not permitted".into();
        }
    }
    row
}
