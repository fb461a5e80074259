//! The format for programs: the answer's own bytes.

use prost::Message as _;
use store_proto::etcdserverpb::AuthEnableResponse;

use super::Answer;

/// The bytes, or nothing for what is not one message.
pub(crate) fn told(answer: &Answer) -> Option<Vec<u8>> {
    // etcdctl prints the header alone for these: its own value of them is no message.
    let header = match answer {
        Answer::Grant(lease) => lease.header,
        Answer::TimeToLive(lease, _) => lease.header,
        Answer::KeepAlive(lease) => lease.header,
        Answer::Leases(leases) => leases.header,
        _ => None,
    };
    if let Some(header) = header {
        return Some(header.encode_to_vec());
    }
    Some(match answer {
        Answer::Range(range, _) => range.encode_to_vec(),
        Answer::Put(put) => put.encode_to_vec(),
        Answer::Delete(deleted) => deleted.encode_to_vec(),
        Answer::Txn(txn) => txn.encode_to_vec(),
        Answer::Compaction(done, _) => done.encode_to_vec(),
        Answer::Revoke(done, _) => done.encode_to_vec(),
        Answer::Members(members) => members.encode_to_vec(),
        Answer::MemberAdd(added, ..) => added.encode_to_vec(),
        Answer::MemberRemove(removed, _) => removed.encode_to_vec(),
        Answer::MemberUpdate(updated, _) => updated.encode_to_vec(),
        Answer::MemberPromote(promoted, _) => promoted.encode_to_vec(),
        Answer::Alarms(alarms) => alarms.encode_to_vec(),
        Answer::Grant(_) | Answer::TimeToLive(..) | Answer::KeepAlive(_) | Answer::Leases(_) => {
            Vec::new()
        }
        Answer::Watch(watch) => watch.encode_to_vec(),
        Answer::AuthStatus(status) => status.encode_to_vec(),
        Answer::Role(_, role) => role.encode_to_vec(),
        Answer::Roles(list) => list.encode_to_vec(),
        Answer::User(_, user) => user.encode_to_vec(),
        Answer::Users(list) => list.encode_to_vec(),
        // Every message with nothing but a header has the same bytes.
        Answer::Done(done) => AuthEnableResponse {
            header: done.header,
        }
        .encode_to_vec(),
        Answer::Health(_) | Answer::Status(_) | Answer::Hash(_) => return None,
    })
}
