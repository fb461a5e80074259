//! The values of etcd's buckets that are JSON: members, and who of them votes.

use serde::Serialize;
use store_machine::MemberRecord;

/// `membership.Member`.
#[derive(Serialize)]
pub(super) struct Member<'a> {
    id: u64,
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    learner: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(rename = "clientURLs", skip_serializing_if = "<[String]>::is_empty")]
    client_urls: &'a [String],
}

impl<'a> From<&'a MemberRecord> for Member<'a> {
    fn from(member: &'a MemberRecord) -> Self {
        Self {
            id: member.id,
            peer_urls: &member.peer_urls,
            learner: member.learner,
            name: &member.name,
            client_urls: &member.client_urls,
        }
    }
}

/// `raftpb.ConfState`.
#[derive(Serialize)]
pub(super) struct Voters {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    voters: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learners: Vec<u64>,
    auto_leave: bool,
}

impl Voters {
    pub(super) fn of(members: &[MemberRecord]) -> Self {
        let ids = |learner| {
            let those = members.iter().filter(|member| member.learner == learner);
            those.map(|member| member.id).collect()
        };
        Self {
            voters: ids(false),
            learners: ids(true),
            auto_leave: false,
        }
    }
}

/// Key of a member in its bucket.
pub(super) fn member_key(id: u64) -> Vec<u8> {
    format!("{id:x}").into_bytes()
}

/// As JSON; none of these can fail to be.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
