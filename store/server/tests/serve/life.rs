//! Starting, stopping and starting again.

use std::net::SocketAddr;

use store_proto::etcdserverpb as pb;
use store_server::config::Config;
use store_server::config::address::Address;
use store_server::server::{Server, StartError};
use tonic::Code;

use crate::running::{bytes, start};

fn config(data_dir: &std::path::Path, port: u16) -> Config {
    let address = Address::http(SocketAddr::from(([127, 0, 0, 1], port)));
    let mut config = Config::embedded(data_dir.to_owned(), &address).unwrap();
    config.segment_bytes = 8 << 20;
    config
}

#[tokio::test]
async fn a_port_in_use_is_reported_with_its_owner_before_data_is_touched() {
    let store = start().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let outcome = Server::start(config(&data, store.address().port())).await;
    let error = outcome.err().unwrap();
    assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
    let id = format!("(process {})", std::process::id());
    assert!(error.to_string().contains(&id), "{error}");
    assert!(error.hint().unwrap().contains("--listen-client-urls"));
    assert!(!data.exists());
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), 0);
    config.listen_client = vec![Address::parse("test", "http://192.0.2.1:0").unwrap()];
    let error = Server::start(config).await.err().unwrap();
    assert!(matches!(error, StartError::Listen { .. }), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Server::start(config(&file.join("data"), 0)).await.err();
    let error = error.unwrap();
    assert!(matches!(error, StartError::Store(_)), "{error}");
}

#[tokio::test]
async fn several_addresses_are_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), 0);
    config.listen_client.push(config.listen_client[0].clone());
    let server = Server::start(config).await.unwrap();
    server.ready().await.unwrap();
    let [first, second] = *server.client_addrs() else {
        panic!("{:?}", server.client_addrs());
    };
    for (address, revision) in [(first, 2), (second, 3)] {
        let url = format!("http://{address}");
        let mut kv = pb::kv_client::KvClient::connect(url).await.unwrap();
        let put = pb::PutRequest {
            key: bytes("a"),
            ..Default::default()
        };
        let put = kv.put(put).await.unwrap().into_inner();
        assert_eq!(put.header.unwrap().revision, revision);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_stop_ends_streams_with_unavailable_and_keeps_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(config(folder.path(), 0)).await.unwrap();
    server.ready().await.unwrap();
    let url = format!("http://{}", server.client_addrs()[0]);
    let mut kv = pb::kv_client::KvClient::connect(url.clone()).await.unwrap();
    let put = pb::PutRequest {
        key: bytes("a"),
        value: bytes("1"),
        ..Default::default()
    };
    kv.put(put).await.unwrap();
    let mut watch = pb::watch_client::WatchClient::connect(url.clone())
        .await
        .unwrap();
    let forever = futures::stream::pending();
    let mut events = watch.watch(forever).await.unwrap().into_inner();
    let mut lease = pb::lease_client::LeaseClient::connect(url).await.unwrap();
    let forever = futures::stream::pending();
    let mut renewals = lease.lease_keep_alive(forever).await.unwrap().into_inner();
    let ((), watch_end, lease_end) =
        tokio::join!(server.stop(), events.message(), renewals.message());
    for end in [watch_end.unwrap_err(), lease_end.unwrap_err()] {
        assert_eq!(end.code(), Code::Unavailable);
        assert_eq!(end.message(), "etcdserver: server stopped");
    }

    let again = Server::start(config(folder.path(), 0)).await.unwrap();
    again.ready().await.unwrap();
    let url = format!("http://{}", again.client_addrs()[0]);
    let mut kv = pb::kv_client::KvClient::connect(url).await.unwrap();
    let range = pb::RangeRequest {
        key: bytes("a"),
        ..Default::default()
    };
    let range = kv.range(range).await.unwrap().into_inner();
    assert_eq!(range.kvs[0].value, "1");
    again.stop().await;
}
