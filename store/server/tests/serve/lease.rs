//! Leases over gRPC.

use store_proto::etcdserverpb as pb;

use crate::running::{bytes, refusal, start};

#[tokio::test]
async fn a_lease_lives_and_ends_with_its_keys() {
    let store = start().await;
    let mut lease = store.lease();
    let grant = pb::LeaseGrantRequest { ttl: 1, id: 0 };
    let granted = lease.lease_grant(grant).await.unwrap().into_inner();
    assert!(granted.id > 0);
    assert_eq!(granted.ttl, 2, "raised to one and a half elections");
    let put = pb::PutRequest {
        key: bytes("a"),
        lease: granted.id,
        ..Default::default()
    };
    store.kv().put(put).await.unwrap();
    let question = pb::LeaseTimeToLiveRequest {
        id: granted.id,
        keys: true,
    };
    let life = lease.lease_time_to_live(question).await.unwrap();
    let life = life.into_inner();
    assert_eq!((life.id, life.granted_ttl), (granted.id, 2));
    assert!((0..=2).contains(&life.ttl));
    assert_eq!(life.keys, ["a"]);
    let all = lease.lease_leases(pb::LeaseLeasesRequest {}).await.unwrap();
    assert_eq!(all.into_inner().leases[0].id, granted.id);

    let revoke = pb::LeaseRevokeRequest { id: granted.id };
    lease.lease_revoke(revoke).await.unwrap();
    assert!(store.get("a").await.kvs.is_empty());
    assert_eq!(
        refusal(lease.lease_revoke(revoke).await),
        "NotFound: etcdserver: requested lease not found"
    );
    let gone = lease.lease_time_to_live(question).await.unwrap();
    let gone = gone.into_inner();
    assert_eq!((gone.ttl, gone.granted_ttl), (-1, 0));
}

#[tokio::test]
async fn ids_and_times_at_their_bounds() {
    let store = start().await;
    let mut lease = store.lease();
    let grant = |ttl, id| pb::LeaseGrantRequest { ttl, id };
    let lowest = lease.lease_grant(grant(60, i64::MIN)).await.unwrap();
    assert_eq!(lowest.into_inner().id, i64::MIN);
    assert_eq!(
        refusal(lease.lease_grant(grant(60, i64::MIN)).await),
        "FailedPrecondition: etcdserver: lease already exists"
    );
    lease.lease_grant(grant(9_000_000_000, 5)).await.unwrap();
    assert_eq!(
        refusal(lease.lease_grant(grant(9_000_000_001, 6)).await),
        "OutOfRange: etcdserver: too large lease TTL"
    );
}

#[tokio::test]
async fn renewals_are_answered_one_by_one_in_order() {
    let store = start().await;
    let mut lease = store.lease();
    for id in 1..=3 {
        let grant = pb::LeaseGrantRequest { ttl: 60 + id, id };
        lease.lease_grant(grant).await.unwrap();
    }
    let asked = [2, 99, 1, 3, 2];
    let requests = futures::stream::iter(asked.map(|id| pb::LeaseKeepAliveRequest { id }));
    let mut answers = lease.lease_keep_alive(requests).await.unwrap().into_inner();
    for id in asked {
        let answer = answers.message().await.unwrap().unwrap();
        let ttl = if id == 99 { 0 } else { 60 + id };
        assert_eq!((answer.id, answer.ttl), (id, ttl));
    }
    assert!(answers.message().await.unwrap().is_none());
}
