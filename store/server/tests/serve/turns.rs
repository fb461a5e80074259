//! Locks and elections over the wire.

use std::time::Duration;

use store_proto::etcdserverpb as pb;
use store_proto::v3electionpb::election_client::ElectionClient;
use store_proto::v3electionpb::{
    CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
};
use store_proto::v3lockpb::lock_client::LockClient;
use store_proto::v3lockpb::{LockRequest, UnlockRequest};

use crate::running::{Running, bytes, refusal, start};

async fn lease(store: &Running, id: i64) -> i64 {
    let request = pb::LeaseGrantRequest { ttl: 60, id };
    store
        .lease()
        .lease_grant(request)
        .await
        .unwrap()
        .into_inner()
        .id
}

fn claim(lease: i64) -> LockRequest {
    LockRequest {
        name: bytes("l"),
        lease,
    }
}

/// Waits until the store has so many keys with the prefix.
async fn until_keys(store: &Running, prefix: &str, count: i64) {
    loop {
        let request = pb::RangeRequest {
            key: bytes(prefix),
            range_end: bytes(&format!("{}0", &prefix[..prefix.len() - 1])),
            count_only: true,
            ..Default::default()
        };
        if store.kv().range(request).await.unwrap().into_inner().count == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_lock_is_held_by_one_after_the_other() {
    let store = start().await;
    let mut client = LockClient::new(store.channel.clone());
    let (first, second, third) = (
        lease(&store, 0xa).await,
        lease(&store, 0xb).await,
        lease(&store, 0xc).await,
    );
    let held = client.lock(claim(first)).await.unwrap().into_inner();
    assert_eq!(held.key, bytes("l/a"));
    // Who has it gets it again.
    let again = client.lock(claim(first)).await.unwrap().into_inner();
    assert_eq!(again.key, held.key);
    let channel = store.channel.clone();
    let wait = |lease| {
        let mut client = LockClient::new(channel.clone());
        tokio::spawn(async move { client.lock(claim(lease)).await })
    };
    let waiting = wait(second);
    until_keys(&store, "l/", 2).await;
    let leaving = wait(third);
    until_keys(&store, "l/", 3).await;
    // Who leaves the queue leaves no key.
    leaving.abort();
    until_keys(&store, "l/", 2).await;
    assert!(!waiting.is_finished());
    client
        .unlock(UnlockRequest { key: held.key })
        .await
        .unwrap();
    let next = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(next.key, bytes("l/b"));
    // A lease that ends passes the lock on; one that ends while waiting loses its place.
    let waiting = wait(third);
    until_keys(&store, "l/", 2).await;
    let fourth = lease(&store, 0xd).await;
    let lost = wait(fourth);
    until_keys(&store, "l/", 3).await;
    let revoke = |id| pb::LeaseRevokeRequest { id };
    store.lease().lease_revoke(revoke(fourth)).await.unwrap();
    store.lease().lease_revoke(revoke(second)).await.unwrap();
    assert_eq!(
        waiting.await.unwrap().unwrap().into_inner().key,
        bytes("l/c")
    );
    client
        .unlock(UnlockRequest { key: bytes("l/c") })
        .await
        .unwrap();
    assert_eq!(
        refusal(lost.await.unwrap()),
        "Unknown: mutex: session is expired"
    );
    assert_eq!(
        refusal(client.lock(claim(0x77)).await),
        "NotFound: etcdserver: requested lease not found"
    );
    // Without a lease there is one of a minute.
    let held = client.lock(claim(0)).await.unwrap().into_inner();
    assert!(held.key.starts_with(b"l/"));
}

#[tokio::test]
async fn one_leads_announces_and_resigns() {
    let store = start().await;
    let mut client = ElectionClient::new(store.channel.clone());
    let who = LeaderRequest { name: bytes("e") };
    assert_eq!(
        refusal(client.leader(who.clone()).await),
        "Unknown: election: no leader"
    );
    let mut seen = client.observe(who.clone()).await.unwrap().into_inner();
    let stand = |lease, value: &str| CampaignRequest {
        name: bytes("e"),
        lease,
        value: bytes(value),
    };
    let (first, second) = (lease(&store, 1).await, lease(&store, 2).await);
    let elected = client
        .campaign(stand(first, "one"))
        .await
        .unwrap()
        .into_inner();
    let leader = elected.leader.unwrap();
    assert_eq!((&leader.key, leader.lease), (&bytes("e/1"), 1));
    let mut value = async || seen.message().await.unwrap().unwrap().kv.unwrap().value;
    assert_eq!(value().await, bytes("one"));
    let waiting = {
        let mut client = client.clone();
        tokio::spawn(async move { client.campaign(stand(second, "two")).await })
    };
    until_keys(&store, "e/", 2).await;
    let say = |leader: &LeaderKey, value: &str| ProclaimRequest {
        leader: Some(leader.clone()),
        value: bytes(value),
    };
    client.proclaim(say(&leader, "one more")).await.unwrap();
    assert_eq!(value().await, bytes("one more"));
    let now = client.leader(who).await.unwrap().into_inner();
    assert_eq!(now.kv.unwrap().value, bytes("one more"));
    let resign = |leader: &LeaderKey| ResignRequest {
        leader: Some(leader.clone()),
    };
    client.resign(resign(&leader)).await.unwrap();
    let next = waiting.await.unwrap().unwrap().into_inner().leader.unwrap();
    assert_eq!(next.key, bytes("e/2"));
    assert_eq!(value().await, bytes("two"));
    assert_eq!(
        refusal(client.proclaim(say(&leader, "late")).await),
        "Unknown: election: not leader"
    );
    client.resign(resign(&leader)).await.unwrap();
    assert_eq!(
        refusal(client.resign(ResignRequest { leader: None }).await),
        "Unknown: \"leader\" field must be provided"
    );
}
