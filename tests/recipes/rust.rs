//! The Rust lines of `docs/recipes.md`: they stand here as they stand there, which is checked, and do what is said there.

use std::sync::OnceLock;

use ::etcd_client::{Client, Error, EventType};
use end_to_end::programs;
use end_to_end::store::{Maker, Store};

use super::MUSTER;

/// The document's store is at the usual port.
static ENDPOINT: OnceLock<String> = OnceLock::new();

/// The crate, but for where the store is.
mod etcd_client {
    pub(super) use ::etcd_client::{LockOptions, WatchOptions};

    pub(super) struct Client;

    impl Client {
        pub(super) async fn connect(
            [_]: [&str; 1],
            options: Option<::etcd_client::ConnectOptions>,
        ) -> Result<::etcd_client::Client, ::etcd_client::Error> {
            let endpoint = super::ENDPOINT.get().expect("a store");
            ::etcd_client::Client::connect([endpoint], options).await
        }
    }
}

#[rustfmt::skip]
async fn connected() -> Result<Client, Error> {
    let mut store = etcd_client::Client::connect(["127.0.0.1:2379"], None).await?;   // crates.io: etcd-client
    store.put("connected", "yes", None).await?;
    Ok(store)
}

#[rustfmt::skip]
async fn locks(mut store: Client) -> Result<(), Error> {
    let lease = store.lease_grant(10, None).await?.id();
    let lock = store.lock("jobs", Some(etcd_client::LockOptions::new().with_lease(lease))).await?;
    assert_eq!(lock.key(), format!("jobs/{lease:x}").as_bytes());
    Ok(())
}

#[rustfmt::skip]
async fn elections(mut store: Client) -> Result<(), Error> {
    let lease = store.lease_grant(60, None).await?.id();
    let led = store.campaign("jobs", "me", lease).await?;          // led.leader() is what resign wants; observe("jobs") tells who leads
    assert_eq!(led.leader().expect("a leader").name(), b"jobs");
    Ok(())
}

#[rustfmt::skip]
async fn publishing(mut store: Client) -> Result<(), Error> {
    store.put("/config/app", "1", None).await?;
    let mut other = store.clone();
    let read = store.get("/config/app", None).await?;
    let from = read.header().map_or(0, |header| header.revision() + 1);
    other.put("/config/app", "2", None).await?;
    let mut watch = store.watch("/config/app", Some(etcd_client::WatchOptions::new().with_start_revision(from))).await?;
    // canceled() with a compact_revision(): read again
    let told = loop {
        let answer = watch.message().await?.expect("an answer");
        if let Some(event) = answer.events().first() {
            let pair = event.kv().expect("a pair");
            break (event.event_type(), pair.value().to_vec(), pair.mod_revision());
        }
    };
    assert_eq!(told, (EventType::Put, b"2".to_vec(), from));
    Ok(())
}

#[rustfmt::skip]
async fn barriers(mut store: Client) -> Result<(), Error> {
    store.put("/barriers/deploy", "me", None).await?;
    if store.get("/barriers/deploy", None).await?.count() > 0 { /* watch it from the next revision until it is deleted */ }
    assert_eq!(store.get("/barriers/deploy", None).await?.count(), 1);
    Ok(())
}

#[test]
fn rust_lines_do_what_is_said() {
    let store = Store::start(Maker::Muster(MUSTER.into()));
    ENDPOINT.set(store.endpoint()).expect("once");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = connected().await.expect("connected");
        locks(client.clone()).await.expect("locks");
        elections(client.clone()).await.expect("elections");
        publishing(client.clone()).await.expect("publishing");
        barriers(client).await.expect("barriers");
    });
}

#[test]
fn rust_lines_are_those_of_the_document() {
    let document = std::fs::read_to_string(programs::source().join("docs/recipes.md"));
    let document = document.expect("the document");
    let source = include_str!("rust.rs");
    let blocks: Vec<&str> = document.split("\n```rust\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let (block, _) = block.split_once("\n```").expect("its end");
        for line in block.lines() {
            assert!(
                source.lines().any(|here| here.trim() == line),
                "not in rust.rs: {line}"
            );
        }
    }
}
