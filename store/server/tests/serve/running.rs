//! A server on a free port and a fresh folder, and clients of it.

use std::net::SocketAddr;

use bytes::Bytes;
use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::cluster_client::ClusterClient;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::lease_client::LeaseClient;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_server::config::Config;
use store_server::config::address::Address;
use store_server::server::Server;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

/// A server that serves.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) channel: Channel,
    _folder: TempDir,
}

/// Starts one with a change to the default settings.
pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = Address::http(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut config = Config::embedded(folder.path().join("data"), &anywhere).unwrap();
    // What these tests are about does not depend on it, and they are many.
    config.sync = false;
    config.segment_bytes = 8 << 20;
    change(&mut config);
    let server = Server::start(config).await.unwrap();
    server.ready().await.unwrap();
    let url = format!("http://{}", server.client_addrs()[0]);
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    Running {
        server,
        channel,
        _folder: folder,
    }
}

pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.client_addrs()[0]
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone())
    }

    pub(crate) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone())
    }

    pub(crate) fn cluster(&self) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel.clone())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::new(self.channel.clone())
    }

    /// Puts and returns the revision.
    pub(crate) async fn put(&self, key: &str, value: &str) -> i64 {
        let request = pb::PutRequest {
            key: bytes(key),
            value: bytes(value),
            ..Default::default()
        };
        let response = self.kv().put(request).await.unwrap().into_inner();
        response.header.unwrap().revision
    }

    /// Reads one key.
    pub(crate) async fn get(&self, key: &str) -> pb::RangeResponse {
        let request = pb::RangeRequest {
            key: bytes(key),
            ..Default::default()
        };
        self.kv().range(request).await.unwrap().into_inner()
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Code and text of a refusal.
#[track_caller]
pub(crate) fn refusal<R: std::fmt::Debug>(outcome: Result<tonic::Response<R>, Status>) -> String {
    let status = outcome.expect_err("it should have been refused");
    format!("{:?}: {}", status.code(), status.message())
}
