//! The format for people and pipes: keys and values as they are, one per line.

use store_proto::authpb::{Permission, permission::Type};
use store_proto::etcdserverpb::{
    AlarmType, MemberAddResponse, ResponseHeader, ResponseOp, TxnResponse, response_op::Response,
};
use store_proto::mvccpb::KeyValue;

use crate::command::after_prefix;

use super::{Answer, Health, quoted};

/// What is printed. Keys and values are bytes, so this is too.
pub(crate) fn told(answer: &Answer, hex: bool) -> Vec<u8> {
    let mut out = Vec::new();
    match answer {
        Answer::Range(range, style) => {
            for kv in &range.kvs {
                pair(&mut out, kv, style.values_only, hex);
            }
        }
        Answer::Put(put) => {
            line(&mut out, "OK");
            prior(&mut out, put.prev_kv.as_slice(), hex);
        }
        Answer::Delete(deleted) => {
            line(&mut out, &deleted.deleted.to_string());
            prior(&mut out, &deleted.prev_kvs, hex);
        }
        Answer::Txn(txn) => transaction(&mut out, txn, hex),
        Answer::Compaction(_, revision) => {
            line(&mut out, &format!("compacted revision {revision}"));
        }
        Answer::Grant(lease) => {
            line(
                &mut out,
                &format!("lease {:016x} granted with TTL({}s)", lease.id, lease.ttl),
            );
        }
        Answer::Revoke(_, id) => line(&mut out, &format!("lease {id:016x} revoked")),
        Answer::TimeToLive(lease, keys) => {
            if lease.granted_ttl == 0 && lease.ttl == -1 {
                line(
                    &mut out,
                    &format!("lease {:016x} already expired", lease.id),
                );
                return out;
            }
            out.extend(
                format!(
                    "lease {:016x} granted with TTL({}s), remaining({}s)",
                    lease.id, lease.granted_ttl, lease.ttl
                )
                .bytes(),
            );
            if *keys {
                out.extend(b", attached keys([");
                out.extend(lease.keys.join(&b' '));
                out.extend(b"])");
            }
            out.push(b'\n');
        }
        Answer::KeepAlive(lease) if lease.ttl == 0 => {
            line(
                &mut out,
                &format!("lease {:016x} expired or revoked.", lease.id),
            );
        }
        Answer::KeepAlive(lease) => {
            line(
                &mut out,
                &format!("lease {:016x} keepalived with TTL({})", lease.id, lease.ttl),
            );
        }
        Answer::Leases(leases) => {
            line(&mut out, &format!("found {} leases", leases.leases.len()));
            for lease in &leases.leases {
                line(&mut out, &format!("{:016x}", lease.id));
            }
        }
        Answer::Members(_) | Answer::Status(_) | Answer::Hash(_) => {
            for row in super::table::rows(answer) {
                line(&mut out, &row.join(", "));
            }
        }
        Answer::MemberAdd(added, name, urls) => member_added(&mut out, added, name, urls),
        Answer::MemberRemove(done, id) => {
            line(&mut out, &member_text(*id, "removed from", done.header));
        }
        Answer::MemberUpdate(done, id) => {
            line(&mut out, &member_text(*id, "updated in", done.header));
        }
        Answer::MemberPromote(done, id) => {
            line(&mut out, &member_text(*id, "promoted in", done.header));
        }
        Answer::Alarms(alarms) => {
            for alarm in &alarms.alarms {
                line(&mut out, &alarm_text(alarm.member_id, alarm.alarm));
            }
        }
        Answer::Watch(watch) => {
            for event in &watch.events {
                line(&mut out, event.r#type().as_str_name());
                prior(&mut out, event.prev_kv.as_slice(), hex);
                prior(&mut out, event.kv.as_slice(), hex);
            }
        }
        Answer::AuthStatus(status) => {
            line(
                &mut out,
                &format!("Authentication Status: {}", status.enabled),
            );
            line(&mut out, &format!("AuthRevision: {}", status.auth_revision));
        }
        Answer::Role(name, role) => permissions(&mut out, name, &role.perm),
        Answer::Roles(list) => list.roles.iter().for_each(|role| line(&mut out, role)),
        Answer::User(name, user) => {
            line(&mut out, &format!("User: {name}"));
            let roles: String = user.roles.iter().map(|role| format!(" {role}")).collect();
            line(&mut out, &format!("Roles:{roles}"));
        }
        Answer::Users(list) => list.users.iter().for_each(|user| line(&mut out, user)),
        Answer::Done(done) => line(&mut out, &done.line),
        Answer::Health(all) => all
            .iter()
            .for_each(|health| line(&mut out, &health_text(health))),
    }
    out
}

fn member_text(id: u64, what: &str, header: Option<ResponseHeader>) -> String {
    let cluster = header.unwrap_or_default().cluster_id;
    format!("Member {id:16x} {what} cluster {cluster:16x}")
}

/// With the settings to start it with.
fn member_added(out: &mut Vec<u8>, added: &MemberAddResponse, name: &str, urls: &str) {
    let id = added.member.as_ref().map_or(0, |member| member.id);
    line(out, &member_text(id, "added to", added.header));
    let entries = added.members.iter().flat_map(|member| {
        let name = if member.id == id { name } else { &member.name };
        let urls = member.peer_ur_ls.iter();
        urls.map(move |url| format!("{name}={url}"))
    });
    let cluster = entries.collect::<Vec<_>>().join(",");
    line(out, "");
    for (setting, value) in [
        ("ETCD_NAME", name),
        ("ETCD_INITIAL_CLUSTER", &cluster),
        ("ETCD_INITIAL_ADVERTISE_PEER_URLS", urls),
        ("ETCD_INITIAL_CLUSTER_STATE", "existing"),
    ] {
        line(out, &format!("{setting}={}", quoted(value.as_bytes())));
    }
}

fn permissions(out: &mut Vec<u8>, role: &str, permissions: &[Permission]) {
    line(out, &format!("Role {role}"));
    for (kind, head) in [(Type::Read, "KV Read:"), (Type::Write, "KV Write:")] {
        line(out, head);
        for permission in permissions {
            if [kind, Type::Readwrite].contains(&permission.perm_type()) {
                line(out, &reach(&permission.key, &permission.range_end));
            }
        }
    }
}

fn reach(key: &[u8], end: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    let mut line = match end {
        b"" => return format!("\t{text}"),
        b"\0" => format!("\t[{text}, <open ended>"),
        end => format!("\t[{text}, {})", String::from_utf8_lossy(end)),
    };
    if !key.is_empty() && after_prefix(key) == end {
        line.push_str(&format!(" (prefix {text})"));
    }
    line
}

fn alarm_text(member: u64, alarm: i32) -> String {
    let name = AlarmType::try_from(alarm).map_or("", |alarm| alarm.as_str_name());
    format!("memberID:{member} alarm:{name} ")
}

fn health_text(health: &Health) -> String {
    let Health {
        endpoint,
        took,
        error,
    } = health;
    match error {
        None => format!("{endpoint} is healthy: successfully committed proposal: took = {took}"),
        Some(error) => format!("{endpoint} is unhealthy: failed to commit proposal: {error}"),
    }
}

fn transaction(out: &mut Vec<u8>, txn: &TxnResponse, hex: bool) {
    line(out, if txn.succeeded { "SUCCESS" } else { "FAILURE" });
    for ResponseOp { response } in &txn.responses {
        line(out, "");
        let answer = match response {
            Some(Response::ResponseRange(range)) => {
                Answer::Range(range.clone(), super::RangeStyle::default())
            }
            Some(Response::ResponsePut(put)) => Answer::Put(put.clone()),
            Some(Response::ResponseDeleteRange(deleted)) => Answer::Delete(deleted.clone()),
            Some(Response::ResponseTxn(txn)) => Answer::Txn(txn.clone()),
            None => continue,
        };
        out.extend(told(&answer, hex));
    }
}

fn prior(out: &mut Vec<u8>, kvs: &[KeyValue], hex: bool) {
    for kv in kvs {
        pair(out, kv, false, hex);
    }
}

fn pair(out: &mut Vec<u8>, kv: &KeyValue, values_only: bool, hex: bool) {
    for bytes in [&kv.key, &kv.value]
        .into_iter()
        .skip(usize::from(values_only))
    {
        if hex {
            out.extend(
                bytes
                    .iter()
                    .flat_map(|byte| format!("\\x{byte:02x}").into_bytes()),
            );
        } else {
            out.extend(bytes);
        }
        out.push(b'\n');
    }
}

fn line(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes());
    out.push(b'\n');
}
