//! Three servers, one of which holds something else: it is found, named and asked no more, and the
//! others go on.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use clap::Parser as _;
use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_server::config::Config;
use store_server::config::args::Args;
use store_server::server::Server;
use store_wal::{Entry, RealDisk, Record, Wal, WalConfig};
use tonic::transport::Channel;

use crate::http::get_at;
use crate::running::{bytes, refusal};

/// Settings of three members on free ports.
fn configs(folder: &Path) -> Vec<Config> {
    let taken: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let urls: Vec<String> = taken
        .iter()
        .map(|listener| format!("http://{}", listener.local_addr().unwrap()))
        .collect();
    let cluster = format!("a={},b={},c={}", urls[0], urls[1], urls[2]);
    let config = |(name, url): (&str, &String)| {
        let mut args = Args::parse_from([
            "store",
            "--listen-client-urls=http://127.0.0.1:0",
            "--unsafe-no-fsync",
            "--compact-hash-check-time=1s",
            "--corrupt-check-time=2s",
        ]);
        args.name = name.to_owned();
        args.data_dir = Some(folder.join(name));
        args.listen_peer_urls = Some(url.clone());
        args.initial_advertise_peer_urls.clone_from(url);
        args.initial_cluster = Some(cluster.clone());
        let mut config = Config::checked(args).unwrap();
        config.segment_bytes = 1 << 20;
        config
    };
    ["a", "b", "c"].into_iter().zip(&urls).map(config).collect()
}

async fn channel(server: &Server) -> Channel {
    let url = format!("http://{}", server.client_addrs()[0]);
    Channel::from_shared(url).unwrap().connect().await.unwrap()
}

async fn status(server: &Server) -> pb::StatusResponse {
    let mut client = MaintenanceClient::new(channel(server).await);
    let status = client.status(pb::StatusRequest {}).await;
    status.unwrap().into_inner()
}

async fn get(
    server: &Server,
    key: &str,
) -> Result<tonic::Response<pb::RangeResponse>, tonic::Status> {
    let request = pb::RangeRequest {
        key: bytes(key),
        serializable: true,
        ..Default::default()
    };
    KvClient::new(channel(server).await).range(request).await
}

/// Puts another value in the place of the last put in a member's log, under the same index and term and
/// with checksums that are right: what a fault of memory leaves behind that came before the log.
fn alter_log(data: &Path) {
    let identity = Wal::identity(&RealDisk, data).unwrap().unwrap();
    let mut config = WalConfig::new(data);
    config.segment_bytes = 1 << 20;
    let (mut wal, found) = Wal::open(RealDisk, config, identity).unwrap();
    let from = found
        .entries
        .iter()
        .position(|entry| entry.body.windows(8).any(|it| it == b"value-49"))
        .unwrap();
    let altered = found.entries[from..].iter().map(|entry| {
        let mut body = entry.body.to_vec();
        if let Some(at) = body.windows(8).position(|it| it == b"value-49") {
            body[at..at + 8].copy_from_slice(b"VALUE-49");
        }
        Record::Entry(Entry {
            body: body.into(),
            ..entry.clone()
        })
    });
    let altered: Vec<Record> = altered.collect();
    wal.append(&altered).unwrap();
    wal.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_differs_is_named_and_answers_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let configs = configs(folder.path());
    let starts = configs.iter().map(|config| Server::start(config.clone()));
    let mut servers = Vec::new();
    for start in starts {
        servers.push(start.await.unwrap());
    }
    for server in &servers {
        while server.ready().await.is_err() {}
    }
    let mut kv = KvClient::new(channel(&servers[0]).await);
    for i in 0..50 {
        let request = pb::PutRequest {
            key: bytes(&format!("k{i}")),
            value: bytes(&format!("value-{i:02}")),
            ..Default::default()
        };
        kv.put(request).await.unwrap();
    }
    let leader = status(&servers[0]).await.leader;
    let mut faulty = usize::MAX;
    for (place, server) in servers.iter().enumerate() {
        while get(server, "k49")
            .await
            .unwrap()
            .into_inner()
            .kvs
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if server.handle().member_id() != leader {
            faulty = place;
        }
    }
    let stopped = servers.remove(faulty);
    let id = stopped.handle().member_id();
    stopped.stop().await;
    alter_log(&configs[faulty].data_dir);
    let again = Server::start(configs[faulty].clone()).await.unwrap();

    // All know of it, and of nobody else.
    for server in servers.iter().chain([&again]) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let errors: BTreeSet<String> = status(server).await.errors.into_iter().collect();
            if errors.contains(&format!("memberID:{id} alarm:CORRUPT ")) {
                assert_eq!(errors.len(), 1, "{errors:?}");
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{errors:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let corrupt = "DataLoss: etcdserver: corrupt cluster";
    assert_eq!(refusal(get(&again, "k1").await), corrupt);
    let sick = get_at(again.client_addrs()[0], "/health").await;
    assert!(sick.contains("ALARM CORRUPT"), "{sick}");
    for server in &servers {
        let answer = get(server, "k49").await.unwrap().into_inner();
        assert_eq!(answer.kvs[0].value, "value-49");
        let well = get_at(server.client_addrs()[0], "/health").await;
        assert!(well.contains(r#""health":"true""#), "{well}");
    }
    for server in servers.into_iter().chain([again]) {
        server.stop().await;
    }
}
