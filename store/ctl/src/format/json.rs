//! The format for programs that know JSON: etcdctl's, which is that of its Go values. Numbers are numbers however large,
//! bytes are base64, and zeros are left out where the wire leaves them out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use store_proto::authpb::Permission;
use store_proto::etcdserverpb::{
    LeaseStatus, Member, RangeResponse, ResponseHeader, ResponseOp, StatusResponse, TxnResponse,
    response_op::Response,
};
use store_proto::mvccpb::KeyValue;

use super::Answer;

/// What is printed: one line.
pub(crate) fn told(answer: &Answer, hex: bool) -> String {
    let text = value(answer, hex).to_string();
    // Go escapes what HTML gives a meaning; these only stand inside strings.
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        + "\n"
}

fn value(answer: &Answer, hex: bool) -> Value {
    match answer {
        Answer::Range(range, _) => range_object(range),
        Answer::Put(put) => Object::of(put.header.as_ref())
            .maybe("prev_kv", put.prev_kv.as_ref().map(pair))
            .done(),
        Answer::Delete(deleted) => Object::of(deleted.header.as_ref())
            .set("deleted", deleted.deleted)
            .set("prev_kvs", pairs(&deleted.prev_kvs))
            .done(),
        Answer::Txn(txn) => transaction(txn),
        Answer::Compaction(done, _) => Object::of(done.header.as_ref()).done(),
        Answer::Revoke(done, _) => Object::of(done.header.as_ref()).done(),
        Answer::Grant(lease) => Object::flat(lease.header.as_ref())
            .always("ID", lease.id)
            .always("TTL", lease.ttl)
            .always("Error", lease.error.clone())
            .done(),
        Answer::TimeToLive(lease, _) => Object::flat(lease.header.as_ref())
            .always("id", lease.id)
            .always("ttl", lease.ttl)
            .always("granted-ttl", lease.granted_ttl)
            .always("keys", match lease.keys.as_slice() {
                [] => Value::Null,
                keys => keys.iter().map(|key| json!(base64(key))).collect(),
            })
            .done(),
        Answer::KeepAlive(lease) => Object::flat(lease.header.as_ref())
            .always("ID", lease.id)
            .always("TTL", lease.ttl)
            .done(),
        Answer::Leases(leases) => Object::flat(leases.header.as_ref())
            .always("leases", leases.leases.iter().map(|LeaseStatus { id }| json!({ "id": id })).collect::<Value>())
            .done(),
        Answer::Members(list) => {
            let mut object = Object::of(list.header.as_ref());
            if hex && let Some(header) = list.header {
                object = Object::default().set("header", Object::default()
                    .set("cluster_id", format!("{:x}", header.cluster_id))
                    .set("member_id", format!("{:x}", header.member_id))
                    .set("raft_term", header.raft_term)
                    .done());
            }
            object.set("members", list.members.iter().map(|one| member(one, hex)).collect::<Value>()).done()
        }
        Answer::MemberAdd(added, ..) => Object::of(added.header.as_ref())
            .maybe("member", added.member.as_ref().map(|one| member(one, false)))
            .set("members", members(&added.members))
            .done(),
        Answer::MemberRemove(done, _) => Object::of(done.header.as_ref()).set("members", members(&done.members)).done(),
        Answer::MemberUpdate(done, _) => Object::of(done.header.as_ref()).set("members", members(&done.members)).done(),
        Answer::MemberPromote(done, _) => Object::of(done.header.as_ref()).set("members", members(&done.members)).done(),
        Answer::Alarms(alarms) => {
            let list: Value = alarms.alarms.iter().map(|alarm| {
                Object::default().set("memberID", alarm.member_id).set("alarm", alarm.alarm).done()
            }).collect();
            Object::of(alarms.header.as_ref()).set("alarms", list).done()
        }
        Answer::Watch(watch) => json!({
            "Header": Object::flat(watch.header.as_ref()).done(),
            "Events": watch.events.iter().map(|event| {
                Object::default()
                    .set("type", event.r#type)
                    .maybe("kv", event.kv.as_ref().map(pair))
                    .maybe("prev_kv", event.prev_kv.as_ref().map(pair))
                    .done()
            }).collect::<Value>(),
            "CompactRevision": watch.compact_revision,
            "Canceled": watch.canceled,
            "Created": watch.created,
        }),
        Answer::AuthStatus(status) => Object::of(status.header.as_ref())
            .set("enabled", status.enabled)
            .set("authRevision", status.auth_revision)
            .done(),
        Answer::Role(_, role) => Object::of(role.header.as_ref())
            .set("perm", role.perm.iter().map(permission).collect::<Value>())
            .done(),
        Answer::Roles(list) => Object::of(list.header.as_ref()).set("roles", list.roles.clone()).done(),
        Answer::User(_, user) => Object::of(user.header.as_ref()).set("roles", user.roles.clone()).done(),
        Answer::Users(list) => Object::of(list.header.as_ref()).set("users", list.users.clone()).done(),
        Answer::Done(done) => Object::of(done.header.as_ref()).done(),
        Answer::Health(all) => all.iter().map(|health| {
            Object::default()
                .always("endpoint", health.endpoint.clone())
                .always("health", health.error.is_none())
                .always("took", health.took.clone())
                .set("error", health.error.clone().unwrap_or_default())
                .done()
        }).collect(),
        Answer::Status(all) => all.iter().map(|(endpoint, status)| {
            json!({ "Endpoint": endpoint, "Status": status_object(status) })
        }).collect(),
        Answer::Hash(all) => all.iter().map(|(endpoint, hash)| {
            let object = Object::of(hash.header.as_ref())
                .set("hash", hash.hash)
                .set("compact_revision", hash.compact_revision)
                .done();
            json!({ "Endpoint": endpoint, "HashKV": object })
        }).collect(),
    }
}

#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn of(header: Option<&ResponseHeader>) -> Self {
        Self::default().maybe(
            "header",
            header.map(|header| Self::flat(Some(header)).done()),
        )
    }

    /// The header's fields beside the others.
    fn flat(header: Option<&ResponseHeader>) -> Self {
        let header = header.copied().unwrap_or_default();
        Self::default()
            .set("cluster_id", header.cluster_id)
            .set("member_id", header.member_id)
            .set("revision", header.revision)
            .set("raft_term", header.raft_term)
    }

    fn always(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Unless it is zero, false or empty.
    fn set(self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let empty = match &value {
            Value::Null => true,
            Value::Bool(yes) => !yes,
            Value::Number(number) => number.as_i64() == Some(0),
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(_) => false,
        };
        if empty {
            self
        } else {
            self.always(name, value)
        }
    }

    fn maybe(self, name: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.always(name, value),
            None => self,
        }
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn pair(kv: &KeyValue) -> Value {
    Object::default()
        .set("key", base64(&kv.key))
        .set("create_revision", kv.create_revision)
        .set("mod_revision", kv.mod_revision)
        .set("version", kv.version)
        .set("value", base64(&kv.value))
        .set("lease", kv.lease)
        .done()
}

fn pairs(kvs: &[KeyValue]) -> Value {
    kvs.iter().map(pair).collect()
}

fn range_object(range: &RangeResponse) -> Value {
    Object::of(range.header.as_ref())
        .set("kvs", pairs(&range.kvs))
        .set("more", range.more)
        .set("count", range.count)
        .done()
}

fn transaction(txn: &TxnResponse) -> Value {
    let responses: Value = txn
        .responses
        .iter()
        .map(|ResponseOp { response }| {
            let response = match response {
                Some(Response::ResponseRange(range)) => json!({ "response_range": range_object(range) }),
                Some(Response::ResponsePut(put)) => json!({ "response_put": value(&Answer::Put(put.clone()), false) }),
                Some(Response::ResponseDeleteRange(deleted)) => {
                    json!({ "response_delete_range": value(&Answer::Delete(deleted.clone()), false) })
                }
                Some(Response::ResponseTxn(txn)) => json!({ "response_txn": transaction(txn) }),
                None => Value::Null,
            };
            json!({ "Response": response })
        })
        .collect();
    Object::of(txn.header.as_ref())
        .set("succeeded", txn.succeeded)
        .set("responses", responses)
        .done()
}

fn permission(permission: &Permission) -> Value {
    Object::default()
        .set("permType", permission.perm_type)
        .set("key", base64(&permission.key))
        .set("range_end", base64(&permission.range_end))
        .done()
}

fn members(members: &[Member]) -> Value {
    members.iter().map(|one| member(one, false)).collect()
}

fn member(member: &Member, hex: bool) -> Value {
    let object = if hex {
        Object::default().always("ID", format!("{:x}", member.id))
    } else {
        Object::default().set("ID", member.id)
    };
    // etcdctl spells this name differently in hex.
    let clients = if hex { "clientURLS" } else { "clientURLs" };
    object
        .set("name", member.name.clone())
        .set("peerURLs", member.peer_ur_ls.clone())
        .set(clients, member.client_ur_ls.clone())
        .set("isLearner", member.is_learner)
        .done()
}

fn status_object(status: &StatusResponse) -> Value {
    Object::of(status.header.as_ref())
        .set("version", status.version.clone())
        .set("dbSize", status.db_size)
        .set("leader", status.leader)
        .set("raftIndex", status.raft_index)
        .set("raftTerm", status.raft_term)
        .set("raftAppliedIndex", status.raft_applied_index)
        .set("errors", status.errors.clone())
        .set("dbSizeInUse", status.db_size_in_use)
        .set("isLearner", status.is_learner)
        .done()
}
