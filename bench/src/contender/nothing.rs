//! A gRPC server on the stack that the store uses, with nothing behind it.
//!
//! It decodes every request and encodes an answer of the size the store would send: what a store
//! on this stack could reach if storing were free.

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::kv_server::{Kv, KvServer};
use store_proto::mvccpb::KeyValue;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use super::plain::Plain;

/// The header every answer carries; fields as large as real ones, so that sizes are real.
fn header() -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        cluster_id: u64::MAX / 3,
        member_id: u64::MAX / 5,
        revision: 1_000_000,
        raft_term: 2,
    })
}

struct Nothing {
    value: Bytes,
}

#[tonic::async_trait]
impl Kv for Nothing {
    type RangeStreamStream = tokio_stream::Empty<Result<pb::RangeStreamResponse, Status>>;

    async fn put(&self, _: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        Ok(Response::new(pb::PutResponse {
            header: header(),
            ..pb::PutResponse::default()
        }))
    }

    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let pair = KeyValue {
            key: request.into_inner().key,
            value: self.value.clone(),
            create_revision: 1_000,
            mod_revision: 1_000,
            version: 1,
            ..KeyValue::default()
        };
        let answer = pb::RangeResponse {
            header: header(),
            kvs: vec![pair],
            count: 1,
            ..pb::RangeResponse::default()
        };
        Ok(Response::new(answer))
    }

    async fn delete_range(
        &self,
        _: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        Err(Status::unimplemented("no case asks for it"))
    }

    async fn txn(&self, _: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        Err(Status::unimplemented("no case asks for it"))
    }

    async fn compact(
        &self,
        _: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        Err(Status::unimplemented("no case asks for it"))
    }

    async fn range_stream(
        &self,
        _: Request<pb::RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(Status::unimplemented("no case asks for it"))
    }
}

/// Serves until the process is killed. Reads are answered with a value of `value_bytes`.
pub(crate) async fn serve(listen: SocketAddr, value_bytes: usize) -> Result<(), Box<dyn Error>> {
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let listener = TcpListener::bind(listen).await?;
    tonic::transport::Server::builder()
        .add_service(KvServer::new(Nothing { value }))
        .serve_with_incoming(Plain::accepted(listener))
        .await?;
    Ok(())
}
