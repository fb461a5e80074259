//! A snapshot over gRPC: one revision, counted down, with its checksum behind it.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use store_bolt::Tree;
use store_bolt::etcd::import;
use store_machine::request::{KeyRange, RangeEnd, RangeRequest};
use store_machine::revision::Revision;
use store_machine::{Limits, Machine};
use store_proto::etcdserverpb as pb;

use crate::running::{Running, bytes, refusal, start};

const DIGEST_BYTES: usize = 32;

async fn ask(store: &Running) -> tonic::Streaming<pb::SnapshotResponse> {
    let asked = store.maintenance().snapshot(pb::SnapshotRequest {}).await;
    asked.unwrap().into_inner()
}

/// Takes all messages, and checks all that they say of each other.
async fn whole(mut stream: tonic::Streaming<pb::SnapshotResponse>) -> Vec<u8> {
    let mut file = Vec::new();
    let mut left = None;
    while let Some(message) = stream.message().await.unwrap() {
        assert_eq!(message.version, "3.5.0");
        if let Some(left) = left {
            // The digest does not count.
            let blob = message.blob.len() as u64;
            assert!(left == message.remaining_bytes + blob || (left, blob) == (0, 32));
        }
        left = Some(message.remaining_bytes);
        file.extend_from_slice(&message.blob);
    }
    assert_eq!(left, Some(0));
    let content = file.len() - DIGEST_BYTES;
    assert_eq!(content % 512, 0);
    assert_eq!(Sha256::digest(&file[..content])[..], file[content..]);
    file
}

fn machine(file: &[u8]) -> Machine {
    let limits = Limits {
        quota_bytes: u64::MAX,
    };
    let imported = import(&Tree::open(file).unwrap(), limits, |_| {});
    imported.unwrap().machine
}

#[tokio::test]
async fn a_snapshot_is_a_file_of_etcd() {
    let store = start().await;
    let lease = pb::LeaseGrantRequest { ttl: 60, id: 7 };
    store.lease().lease_grant(lease).await.unwrap();
    for number in 0..300 {
        store.put(&format!("key-{number}"), &"v".repeat(1000)).await;
    }
    let put = pb::PutRequest {
        key: bytes("leased"),
        lease: 7,
        ..Default::default()
    };
    let revision = store.kv().put(put).await.unwrap().into_inner();
    let revision = revision.header.unwrap().revision;
    let machine = machine(&whole(ask(&store).await).await);
    assert_eq!(machine.revision(), Revision(revision));
    assert_eq!(machine.keys(), 301);
    assert_eq!(machine.leases()[0].ttl_seconds, 60);
    let range = RangeRequest {
        revision: Revision(200),
        ..RangeRequest::latest(KeyRange {
            start: Bytes::from_static(b"key-"),
            end: RangeEnd::Open,
        })
    };
    assert_eq!(machine.range(&range).unwrap().count, 199);
}

#[tokio::test]
async fn what_is_written_later_is_not_in_it() {
    let store = start().await;
    for number in 0..100 {
        store
            .put(&format!("before-{number}"), &"v".repeat(10_000))
            .await;
    }
    let mut stream = ask(&store).await;
    let mut first = stream.message().await.unwrap().unwrap().blob.to_vec();
    for number in 0..100 {
        store.put(&format!("before-{number}"), "later").await;
    }
    let compact = pb::CompactionRequest {
        revision: 201,
        physical: true,
    };
    store.kv().compact(compact).await.unwrap();
    while let Some(message) = stream.message().await.unwrap() {
        first.extend_from_slice(&message.blob);
    }
    let machine = machine(&first);
    assert_eq!(machine.revision(), Revision(101));
    assert_eq!(machine.keys(), 100);
}

#[tokio::test]
async fn there_are_only_so_many_at_a_time() {
    let store = start().await;
    // More than fits between server and client unread.
    for number in 0..20 {
        store
            .put(&format!("key-{number}"), &"v".repeat(500_000))
            .await;
    }
    let mut streams = Vec::new();
    for _ in 0..4 {
        // Left unread: they share a connection, and one alone fills what that takes.
        streams.push(ask(&store).await);
    }
    let refused = store.maintenance().snapshot(pb::SnapshotRequest {}).await;
    assert_eq!(
        refusal(refused),
        "ResourceExhausted: etcdserver: too many requests"
    );
    // A place is free again once the server has seen that a client has gone.
    drop(streams);
    let stream = loop {
        let asked = store.maintenance().snapshot(pb::SnapshotRequest {}).await;
        if let Ok(stream) = asked {
            break stream;
        }
    };
    whole(stream.into_inner()).await;
}
