//! Large answers of transactions, of deletes and over version 2: they take of the same memory as large ranges, and who
//! gets none has changed nothing.

use http::Method;
use store_proto::etcdserverpb as pb;

use self::pb::request_op::Request as Op;
use super::http::ask_at;
use super::large::{KEYS, all, fill, unread};
use super::running::{Running, bytes, refusal, start_with};

const REFUSED: &str = "ResourceExhausted: etcdserver: too many requests";

fn range_op() -> Op {
    Op::RequestRange(all())
}

fn put_op() -> Op {
    Op::RequestPut(pb::PutRequest {
        key: bytes("written"),
        ..Default::default()
    })
}

fn delete() -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: bytes("k"),
        range_end: bytes("l"),
        prev_kv: true,
    }
}

fn txn(ops: impl IntoIterator<Item = Op>) -> pb::TxnRequest {
    let op = |op| pb::RequestOp { request: Some(op) };
    pb::TxnRequest {
        success: ops.into_iter().map(op).collect(),
        ..Default::default()
    }
}

/// Room for one answer with all pairs, which takes some 29 MB in a transaction and 15 in a range.
async fn filled() -> Running {
    let store = start_with(|config| config.range_bytes_max = 32 << 20).await;
    fill(&store, 1_200).await;
    store
}

#[tokio::test]
async fn who_has_no_room_for_the_answer_has_changed_nothing() {
    let store = filled().await;
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    let held = unread(&store, "Range", &all()).await;
    let before = store.get("k00000").await.header.unwrap().revision;
    let nested = txn([Op::RequestTxn(txn([range_op(), put_op()]))]);
    let (mut reads, mut writes, mut nests, mut deletes) = (
        client.clone(),
        client.clone(),
        client.clone(),
        client.clone(),
    );
    let listing = "/v2/keys/_v3";
    let (read, written, nested, deleted, listed) = tokio::join!(
        reads.txn(txn([range_op()])),
        writes.txn(txn([put_op(), range_op()])),
        nests.txn(nested),
        deletes.delete_range(delete()),
        ask_at(store.address(), Method::GET, listing, ""),
    );
    for answer in [read, written, nested] {
        assert_eq!(refusal(answer), REFUSED);
    }
    assert_eq!(refusal(deleted), REFUSED);
    let listed = listed.into_body();
    assert!(listed.contains("etcdserver: too many requests"), "{listed}");
    // What is small goes on, and nothing has been written until then.
    let small = [Op::RequestRange(pb::RangeRequest {
        key: bytes("k00007"),
        ..Default::default()
    })];
    let small = client.txn(txn(small)).await.unwrap().into_inner();
    assert_eq!(small.header.unwrap().revision, before);
    drop(held);
    let answer = client.txn(txn([put_op(), range_op()])).await.unwrap();
    assert_eq!(answer.into_inner().responses.len(), 2);
    let answer = client.delete_range(delete()).await.unwrap().into_inner();
    assert_eq!(answer.prev_kvs.len(), KEYS);
}

#[tokio::test]
async fn an_answer_holds_its_memory_until_it_is_read() {
    let store = filled().await;
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    let held = unread(&store, "Txn", &txn([put_op(), range_op()])).await;
    let mut other = client.clone();
    let (read, ranged) = tokio::join!(other.txn(txn([range_op()])), client.range(all()));
    assert_eq!(refusal(read), REFUSED);
    assert_eq!(refusal(ranged), REFUSED);
    drop(held);
    let read = client.txn(txn([range_op()])).await.unwrap().into_inner();
    assert_eq!(read.responses.len(), 1);
}

/// One answer that is larger than all there is has all of it; but an answer may say the same again and again.
#[tokio::test]
async fn no_answer_is_many_times_what_is_stored() {
    let store = start_with(|config| config.range_bytes_max = 4 << 20).await;
    fill(&store, 1_200).await;
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    let one = client.txn(txn([put_op(), range_op()])).await.unwrap();
    let revision = one.into_inner().header.unwrap().revision;
    let many = txn([put_op()].into_iter().chain(vec![range_op(); 100]));
    assert_eq!(refusal(client.txn(many).await), REFUSED);
    let now = store.get("k00000").await.header.unwrap().revision;
    assert_eq!(now, revision);
}

/// Who asks for the latest pairs gets them, however often they are compacted while they are read.
#[tokio::test]
async fn compactions_do_not_keep_ranges_from_their_end() {
    let store = filled().await;
    let (mut writes, mut compacts) = (store.kv(), store.kv());
    let compacting = tokio::spawn(async move {
        loop {
            let put = pb::PutRequest {
                key: bytes("other"),
                ..Default::default()
            };
            let header = writes.put(put).await.unwrap().into_inner().header;
            let compaction = pb::CompactionRequest {
                revision: header.unwrap().revision,
                ..Default::default()
            };
            compacts.compact(compaction).await.unwrap();
        }
    });
    let mut client = store.kv().max_decoding_message_size(usize::MAX);
    for _ in 0..3 {
        let answer = client.range(all()).await.unwrap().into_inner();
        assert_eq!((answer.kvs.len(), answer.more), (KEYS, false));
    }
    let listed = ask_at(store.address(), Method::GET, "/v2/keys/_v3/=6b00007", "").await;
    assert_eq!(listed.status(), 200);
    compacting.abort();
}
