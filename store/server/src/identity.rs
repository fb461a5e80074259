//! Ids of members and clusters by etcd's rule, so that the same flags give the same
//! ids as there.

use std::time::Duration;

use sha1::{Digest, Sha1};
use store_wal::Identity;

/// Id of a member of a new cluster: the first eight bytes, big endian, of the SHA-1 over its sorted
/// peer URLs and the cluster's token.
#[must_use]
pub fn member_id(peer_urls: &[String], cluster_token: &str) -> u64 {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut hash = Sha1::new();
    for url in urls {
        hash.update(url);
    }
    hash.update(cluster_token);
    first_eight(hash)
}

/// Id of a member added at that time, since 1970: the time takes the token's place, so that one that was
/// removed and comes again is another. etcd takes whole seconds, and refuses who comes again within one.
#[must_use]
pub fn added_member_id(peer_urls: &[String], at: Duration) -> u64 {
    member_id(peer_urls, &at.as_nanos().to_string())
}

/// Id of a new cluster: the same over the sorted ids of its first members.
#[must_use]
pub fn cluster_id(members: &[u64]) -> u64 {
    let mut members = members.to_vec();
    members.sort_unstable();
    let mut hash = Sha1::new();
    for member in members {
        hash.update(member.to_be_bytes());
    }
    first_eight(hash)
}

/// Both, for the member at `own` of a new cluster whose members have these ids.
#[must_use]
pub fn of_member(members: &[u64], own: u64) -> Identity {
    Identity {
        cluster: cluster_id(members),
        member: own,
    }
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What etcd 3.5 says about itself when started without any flags.
    #[test]
    fn ids_are_etcds() {
        let member = member_id(&["http://localhost:2380".to_owned()], "etcd-cluster");
        let identity = of_member(&[member], member);
        assert_eq!(identity.member, 0x8e9e_05c5_2164_694d);
        assert_eq!(identity.cluster, 0xcdf8_1819_4e3a_8c32);
        let urls = ["http://localhost:2380".to_owned()];
        let added = |ms| added_member_id(&urls, Duration::from_millis(ms));
        assert_ne!(added(1), added(2));
    }
}
