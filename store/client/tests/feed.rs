//! The mirror's task against a real etcd.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::time::Duration;

use end_to_end::store::{Maker, Store};
use store_client::connect::Options;
use store_client::endpoint::Endpoint;
use store_client::mirror::{Feed, FeedOptions};

/// Several times the first wait after a lost connection: a loop of reconnecting shows within it.
const LONG_ENOUGH: Duration = Duration::from_millis(500);

#[tokio::test]
async fn nothing_to_mirror_is_no_reason_to_reconnect() {
    let store = Store::start(Maker::Etcd);
    let mut feed = Feed::start(FeedOptions {
        connect: Options::new(vec![Endpoint::parse(&store.endpoint()).unwrap()]),
        ranges: Vec::new(),
        seed: 1,
    });
    feed.next().await.unwrap();
    let mut status = feed.status();
    let lost = status.wait_for(|status| status.error.is_some());
    let lost = tokio::time::timeout(LONG_ENOUGH, lost).await;
    assert!(lost.is_err(), "connection lost: {:?}", lost.unwrap());
}
