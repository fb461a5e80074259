//! Connections and leases against a real etcd: failover past dead members, a lease that a second
//! process finds alive, and what its holder is told when it is lost.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::time::Duration;

use end_to_end::store::{Maker, Store};
use store_client::connect::{ConnectError, Connector, Options};
use store_client::endpoint::Endpoint;
use store_client::failure::{Class, classify};
use store_client::lease::{Ended, Lease, lease_id};

/// Nothing listens on the discard port.
const DEAD: &str = "http://127.0.0.1:9";

fn connector(endpoints: &[&str]) -> Connector {
    let endpoints = endpoints
        .iter()
        .map(|text| Endpoint::parse(text).unwrap())
        .collect();
    Connector::new(Options::new(endpoints))
}

#[tokio::test]
async fn dead_members_are_passed_over_and_the_live_one_is_kept() {
    let store = Store::start(Maker::Etcd);
    let mut connector = connector(&[DEAD, &store.endpoint(), DEAD]);
    for _ in 0..2 {
        let connection = connector.connect().await.unwrap();
        assert_eq!(connection.endpoint.to_string(), store.endpoint());
    }
    connector.failed();
    let connection = connector.connect().await.unwrap();
    assert_eq!(connection.endpoint.to_string(), store.endpoint());
}

#[tokio::test]
async fn a_store_that_is_not_there_is_named() {
    let error = connector(&[DEAD]).connect().await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Failed {
                class: Class::Unreachable,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("connect to store {DEAD}: ")),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_lease_is_granted_once_and_adopted_after() {
    let store = Store::start(Maker::Etcd);
    let client = connector(&[&store.endpoint()])
        .connect()
        .await
        .unwrap()
        .client;
    let id = lease_id("test", 60);
    let granted = Lease::take(&client, id, 60).await.unwrap();
    assert!(!granted.adopted && granted.keys.is_empty());
    assert_eq!(
        (granted.lease.id, granted.lease.ttl),
        (id, Duration::from_secs(60))
    );
    let options = etcd_client::PutOptions::new().with_lease(id);
    client
        .kv_client()
        .put("a", "b", Some(options))
        .await
        .unwrap();
    let adopted = Lease::take(&client, id, 60).await.unwrap();
    assert!(adopted.adopted);
    assert_eq!(
        (adopted.lease, adopted.keys),
        (granted.lease, vec![b"a".to_vec()])
    );
    assert_eq!(
        adopted.lease.keys(&client).await.unwrap(),
        Some(vec![b"a".to_vec()])
    );
    // Revoked, its keys are gone; revoking again is no error.
    adopted.lease.revoke(&client).await.unwrap();
    adopted.lease.revoke(&client).await.unwrap();
    assert!(
        client
            .kv_client()
            .get("a", None)
            .await
            .unwrap()
            .kvs()
            .is_empty()
    );
    assert_eq!(granted.lease.keys(&client).await.unwrap(), None);
    assert!(!Lease::take(&client, id, 60).await.unwrap().adopted);
}

#[tokio::test]
async fn a_holder_beats_and_learns_of_the_loss() {
    let store = Store::start(Maker::Etcd);
    let client = connector(&[&store.endpoint()])
        .connect()
        .await
        .unwrap()
        .client;
    let lease = Lease::take(&client, 77, 1).await.unwrap().lease;
    // etcd's shortest lease is longer than what was asked for; it says so.
    assert_eq!(lease.ttl, Duration::from_secs(2));
    let (beats, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let holder = client.clone();
    let held = tokio::spawn(async move {
        lease
            .hold(&holder, |left| {
                let _ = beats.send(left);
            })
            .await
    });
    // Twice the lease's time in beats: it lives because it is kept.
    for _ in 0..6 {
        heard.recv().await.unwrap();
    }
    lease.revoke(&client).await.unwrap();
    assert!(matches!(held.await.unwrap(), Ended::Lost));
    assert!(matches!(lease.hold(&client, |_| {}).await, Ended::Lost));
    let options = etcd_client::PutOptions::new().with_lease(77);
    let error = client
        .kv_client()
        .put("a", "b", Some(options))
        .await
        .unwrap_err();
    assert_eq!(classify(&error), Class::LeaseGone);
}

#[tokio::test]
async fn a_holder_learns_that_the_store_is_gone() {
    let mut store = Store::start(Maker::Etcd);
    let client = connector(&[&store.endpoint()])
        .connect()
        .await
        .unwrap()
        .client;
    let lease = Lease::take(&client, 78, 3).await.unwrap().lease;
    let (beats, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let holder = client.clone();
    let held = tokio::spawn(async move {
        lease
            .hold(&holder, |left| {
                let _ = beats.send(left);
            })
            .await
    });
    heard.recv().await.unwrap();
    store.kill();
    assert!(matches!(held.await.unwrap(), Ended::Broken(_)));
}

#[tokio::test]
async fn wrong_credentials_are_told_from_a_dead_store() {
    let store = Store::start(Maker::Etcd);
    let client = connector(&[&store.endpoint()])
        .connect()
        .await
        .unwrap()
        .client;
    let mut auth = client.auth_client();
    auth.user_add("root", "secret", None).await.unwrap();
    auth.user_grant_role("root", "root").await.unwrap();
    auth.auth_enable().await.unwrap();
    let mut options = Options::new(vec![Endpoint::parse(&store.endpoint()).unwrap()]);
    for (user, right) in [
        (None, false),
        (Some("wrong"), false),
        (Some("secret"), true),
    ] {
        options.user = user.map(|password| ("root".to_owned(), password.to_owned()));
        match Connector::new(options.clone()).connect().await {
            Ok(_) => assert!(right, "{user:?}"),
            Err(error) => {
                assert!(!right, "{error}");
                let forbidden = matches!(
                    error,
                    ConnectError::Failed {
                        class: Class::Forbidden,
                        ..
                    }
                );
                assert!(forbidden, "{error:?}");
                assert!(error.hint().unwrap().contains("--password"), "{error}");
            }
        }
    }
}
