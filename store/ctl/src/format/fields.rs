//! The format for scripts that read line by line: `"Name" : value`, numbers in decimal, bytes in quotes.

use std::fmt::Display;

use store_proto::etcdserverpb::{
    AlarmType, MemberListResponse, ResponseHeader, ResponseOp, StatusResponse, TxnResponse,
    response_op::Response,
};
use store_proto::mvccpb::KeyValue;

use super::quote::quoted;
use super::{Answer, RangeStyle};

/// What is printed, or nothing for what etcdctl has no fields for.
pub(crate) fn told(answer: &Answer) -> Option<String> {
    let mut out = Lines(String::new());
    match answer {
        Answer::Range(range, _) => {
            out.header(range.header.as_ref());
            range.kvs.iter().for_each(|kv| out.pair("", kv));
            out.field("More", range.more);
            out.field("Count", range.count);
        }
        Answer::Put(put) => {
            out.header(put.header.as_ref());
            put.prev_kv.iter().for_each(|kv| out.pair("Prev", kv));
        }
        Answer::Delete(deleted) => {
            out.header(deleted.header.as_ref());
            out.field("Deleted", deleted.deleted);
            deleted.prev_kvs.iter().for_each(|kv| out.pair("Prev", kv));
        }
        Answer::Txn(txn) => out.transaction(txn),
        Answer::Compaction(done, _) => out.header(done.header.as_ref()),
        Answer::Grant(lease) => {
            out.header(lease.header.as_ref());
            out.field("ID", lease.id);
            out.field("TTL", lease.ttl);
        }
        Answer::Revoke(done, _) => out.header(done.header.as_ref()),
        Answer::TimeToLive(lease, _) => {
            out.header(lease.header.as_ref());
            out.field("ID", lease.id);
            out.field("TTL", lease.ttl);
            out.field("GrantedTTL", lease.granted_ttl);
            lease
                .keys
                .iter()
                .for_each(|key| out.field("Key", quoted(key)));
        }
        Answer::KeepAlive(lease) => {
            out.header(lease.header.as_ref());
            out.field("ID", lease.id);
            out.field("TTL", lease.ttl);
        }
        Answer::Leases(leases) => {
            out.header(leases.header.as_ref());
            leases
                .leases
                .iter()
                .for_each(|lease| out.field("ID", lease.id));
        }
        Answer::Members(list) => out.members(list),
        Answer::MemberAdd(..)
        | Answer::MemberRemove(..)
        | Answer::MemberUpdate(..)
        | Answer::MemberPromote(..) => return None,
        Answer::Alarms(alarms) => {
            out.header(alarms.header.as_ref());
            for alarm in &alarms.alarms {
                out.field("MemberID", alarm.member_id);
                let name = AlarmType::try_from(alarm.alarm).map_or("", |alarm| alarm.as_str_name());
                out.field("AlarmType", name);
                out.blank();
            }
        }
        Answer::Watch(watch) => {
            out.header(watch.header.as_ref());
            for event in &watch.events {
                out.field("Type", event.r#type().as_str_name());
                event.prev_kv.iter().for_each(|kv| out.pair("Prev", kv));
                event.kv.iter().for_each(|kv| out.pair("", kv));
            }
        }
        Answer::AuthStatus(_) | Answer::User(..) | Answer::Users(_) => return None,
        Answer::Role(_, role) => {
            out.header(role.header.as_ref());
            for permission in &role.perm {
                // Two blanks, as etcdctl has it.
                let kind = permission.perm_type().as_str_name();
                out.field("PermType", format_args!(" {kind}"));
                out.field("Key", quoted(&permission.key));
                out.field("RangeEnd", quoted(&permission.range_end));
            }
        }
        Answer::Roles(list) => {
            out.header(list.header.as_ref());
            if !list.roles.is_empty() {
                let roles: Vec<_> = list
                    .roles
                    .iter()
                    .map(|role| quoted(role.as_bytes()))
                    .collect();
                out.field("Roles", roles.join(" "));
            }
        }
        Answer::Done(done) => out.header(done.header.as_ref()),
        Answer::Health(all) => {
            for health in all {
                out.field("Endpoint", quoted(health.endpoint.as_bytes()));
                out.field("Health", health.error.is_none());
                out.field("Took", &health.took);
                out.field("Error", health.error.as_deref().unwrap_or_default());
                out.blank();
            }
        }
        Answer::Status(all) => all
            .iter()
            .for_each(|(endpoint, status)| out.status(endpoint, status)),
        Answer::Hash(all) => {
            for (endpoint, hash) in all {
                out.header(hash.header.as_ref());
                out.field("Endpoint", quoted(endpoint.as_bytes()));
                out.field("Hash", hash.hash);
                out.blank();
            }
        }
    }
    Some(out.0)
}

struct Lines(String);

impl Lines {
    fn field(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("\"{name}\" : {value}\n"));
    }

    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn header(&mut self, header: Option<&ResponseHeader>) {
        let header = header.copied().unwrap_or_default();
        self.field("ClusterID", header.cluster_id);
        self.field("MemberID", header.member_id);
        self.field("Revision", header.revision);
        self.field("RaftTerm", header.raft_term);
    }

    fn pair(&mut self, which: &str, kv: &KeyValue) {
        self.field(&format!("{which}Key"), quoted(&kv.key));
        self.field(&format!("{which}CreateRevision"), kv.create_revision);
        self.field(&format!("{which}ModRevision"), kv.mod_revision);
        self.field(&format!("{which}Version"), kv.version);
        self.field(&format!("{which}Value"), quoted(&kv.value));
        self.field(&format!("{which}Lease"), kv.lease);
    }

    fn transaction(&mut self, txn: &TxnResponse) {
        self.header(txn.header.as_ref());
        self.field("Succeeded", txn.succeeded);
        for ResponseOp { response } in &txn.responses {
            let text = match response {
                Some(Response::ResponseRange(range)) => {
                    told(&Answer::Range(range.clone(), RangeStyle::default()))
                }
                Some(Response::ResponsePut(put)) => told(&Answer::Put(put.clone())),
                Some(Response::ResponseDeleteRange(deleted)) => {
                    told(&Answer::Delete(deleted.clone()))
                }
                Some(Response::ResponseTxn(txn)) => told(&Answer::Txn(txn.clone())),
                None => continue,
            };
            self.0.push_str(&text.unwrap_or_default());
        }
    }

    fn members(&mut self, list: &MemberListResponse) {
        self.header(list.header.as_ref());
        for member in &list.members {
            self.field("ID", member.id);
            self.field("Name", quoted(member.name.as_bytes()));
            member
                .peer_ur_ls
                .iter()
                .for_each(|url| self.field("PeerURL", quoted(url.as_bytes())));
            member
                .client_ur_ls
                .iter()
                .for_each(|url| self.field("ClientURL", quoted(url.as_bytes())));
            self.field("IsLearner", member.is_learner);
            self.blank();
        }
    }

    fn status(&mut self, endpoint: &str, status: &StatusResponse) {
        self.header(status.header.as_ref());
        self.field("Version", quoted(status.version.as_bytes()));
        self.field("DBSize", status.db_size);
        self.field("Leader", status.leader);
        self.field("IsLearner", status.is_learner);
        self.field("RaftIndex", status.raft_index);
        self.field("RaftTerm", status.raft_term);
        self.field("RaftAppliedIndex", status.raft_applied_index);
        self.field("Errors", format!("[{}]", status.errors.join(" ")));
        self.field("Endpoint", quoted(endpoint.as_bytes()));
        self.blank();
    }
}
