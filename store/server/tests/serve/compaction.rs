//! History that is forgotten by itself.

use std::time::Duration;

use store_proto::etcdserverpb as pb;
use store_server::config::AutoCompaction;

use super::running::{bytes, refusal, start_with};

#[tokio::test]
async fn versions_older_than_the_retention_go() {
    let second = Duration::from_secs(1);
    let store =
        start_with(|config| config.auto_compaction = AutoCompaction::Periodic(second)).await;
    let first = store.put("k", "1").await;
    let last = store.put("k", "2").await;
    let forgotten = async {
        let handle = store.server.handle();
        while handle.counters().compacted_revision.get() < last.cast_unsigned() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), forgotten).await;
    waited.expect("history is forgotten");
    let former = pb::RangeRequest {
        key: bytes("k"),
        revision: first,
        ..Default::default()
    };
    assert_eq!(
        refusal(store.kv().range(former).await),
        "OutOfRange: etcdserver: mvcc: required revision has been compacted"
    );
    assert_eq!(store.get("k").await.kvs[0].value, "2");
}
