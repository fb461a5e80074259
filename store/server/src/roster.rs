//! Members in the wire's message for them, which clients and members that are to join both read.

use store_member::answer::MemberInfo;
use store_proto::etcdserverpb as pb;

/// A member as the wire has it.
pub(crate) fn entry(info: impl Into<MemberInfo>) -> pb::Member {
    let info = info.into();
    pb::Member {
        id: info.id,
        name: info.name,
        peer_ur_ls: info.peer_urls,
        client_ur_ls: info.client_urls,
        is_learner: info.learner,
    }
}

/// The member an entry stands for.
pub(crate) fn info(entry: pb::Member) -> MemberInfo {
    MemberInfo {
        id: entry.id,
        name: entry.name,
        peer_urls: entry.peer_ur_ls,
        client_urls: entry.client_ur_ls,
        learner: entry.is_learner,
    }
}
