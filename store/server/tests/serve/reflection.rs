//! The protos on request.

use store_server::config::Config;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ListServiceResponse, ServerReflectionRequest};

use super::running::{Running, refusal, start, start_with};

async fn services(store: &Running) -> ListServiceResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(store.channel.clone());
    let answers = client.server_reflection_info(tokio_stream::once(request));
    let mut answers = answers.await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(services)) => services,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn services_are_told_where_that_is_wanted() {
    let store = start_with(|config: &mut Config| config.reflection = true).await;
    let services = services(&store).await;
    let names: Vec<&str> = services.service.iter().map(|it| &*it.name).collect();
    for name in ["etcdserverpb.KV", "v3lockpb.Lock", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn and_nowhere_else() {
    let store = start().await;
    let mut client = ServerReflectionClient::new(store.channel.clone());
    let request = ServerReflectionRequest::default();
    let answer = client.server_reflection_info(tokio_stream::once(request));
    assert_eq!(
        refusal(answer.await),
        "Unimplemented: unknown method /grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
    );
}
