//! A server under comparison: the process, the tokens its users hold, and its open watch streams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use end_to_end::http;
use end_to_end::store::{Maker, Store};
use prost::Message;
use serde::Serialize;
use store_proto::etcdserverpb as pb;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::answer::Answer;
use crate::operation::{self, Act, Operation};
use crate::watches::Stream;

/// Longest that one request may take: many times what either server grants itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// The watcher every stream begins with: an event of its key comes after all that was written before.
pub(crate) const GUARD: &[u8] = b"~guard";
/// More than any message here; what may be received is the servers' to limit.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// A lease granted for less is waited for.
const SHORT_SECONDS: i64 = 10;
/// How often a state is looked at that is waited for.
const POLL: Duration = Duration::from_millis(2);

/// A connection, and on whose behalf.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    address: SocketAddr,
    token: Option<String>,
}

impl Caller {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = self
            .token
            .as_deref()
            .and_then(|token| MetadataValue::try_from(token).ok())
        {
            request.metadata_mut().insert("token", token);
        }
        request
    }

    async fn raw<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        client
            .ready()
            .await
            .map_err(|cause| Status::internal(format!("connection: {cause}")))?;
        let codec = tonic_prost::ProstCodec::<Q, A>::default();
        let call = client.unary(
            self.request(message),
            PathAndQuery::from_static(path),
            codec,
        );
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(answer) => answer.map(tonic::Response::into_inner),
            Err(_) => panic!("{path}: no answer within {PATIENCE:?}"),
        }
    }

    /// One request, one answer.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, message: Q) -> Answer
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Serialize + Send + Sync + 'static,
    {
        Answer::of(self.raw::<Q, A>(path, message).await)
    }

    /// The same over the JSON gateway.
    pub(crate) async fn post(&self, path: &'static str, body: String) -> Answer {
        let address = self.address;
        let token = self.token.as_deref();
        let token = token.map(|token| format!("Authorization: {token}\r\n"));
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
            token.unwrap_or_default(),
            body.len()
        );
        let asked = tokio::task::spawn_blocking(move || http::request(address, &request));
        match asked.await.unwrap_or_else(|cause| panic!("{cause}")) {
            Ok(response) => Answer::of_json(&response),
            Err(cause) => panic!("{path}: {cause}"),
        }
    }
}

/// One of the two.
pub(crate) struct Peer {
    store: Store,
    channel: Channel,
    tokens: BTreeMap<&'static str, String>,
    streams: BTreeMap<usize, Stream>,
}

impl Peer {
    /// A server on new data.
    pub(crate) async fn start(maker: Maker) -> Self {
        let mut store = Store::prepare(maker.clone()).with_option("--bcrypt-cost=4");
        if let Maker::Muster(_) = maker {
            // Where nothing is said, history is bounded here and is not there.
            store = store.with_option("--auto-compaction-retention=0");
        }
        store.restart();
        let channel = Channel::from_shared(store.endpoint())
            .unwrap_or_else(|cause| panic!("{cause}"))
            .connect()
            .await
            .unwrap_or_else(|cause| panic!("connect to {}: {cause}", store.endpoint()));
        Self {
            store,
            channel,
            tokens: BTreeMap::new(),
            streams: BTreeMap::new(),
        }
    }

    fn caller(&self, user: Option<&str>) -> Caller {
        Caller {
            channel: self.channel.clone(),
            address: ([127, 0, 0, 1], self.store.port()).into(),
            token: user.and_then(|user| self.tokens.get(user).cloned()),
        }
    }

    /// Takes one step and says what came of it.
    pub(crate) async fn take(&mut self, operation: Operation) -> Answer {
        let caller = self.caller(operation.user);
        if (operation.over_json || matches!(operation.act, Act::Json { .. }))
            && let Some(answer) = operation::over_json(&caller, &operation.act).await
        {
            return answer;
        }
        match operation.act {
            Act::Login { name, password } => self.login(name, password).await,
            Act::KeepAlive(lease) => keep_alive(&caller, lease).await,
            Act::Watch { stream, request } => {
                self.watch(&caller, stream, request).await;
                Answer::Said(serde_json::Value::Null)
            }
            Act::Expire(lease) => expired(&caller, lease).await,
            act => operation::unary(&caller, act)
                .await
                .unwrap_or_else(|| panic!("a step without a way to take it")),
        }
    }

    async fn login(&mut self, name: &'static str, password: &str) -> Answer {
        let request = pb::AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let result: Result<pb::AuthenticateResponse, Status> = self
            .caller(None)
            .raw("/etcdserverpb.Auth/Authenticate", request)
            .await;
        if let Ok(response) = &result {
            self.tokens.insert(name, response.token.clone());
        }
        Answer::of(result)
    }

    async fn watch(
        &mut self,
        caller: &Caller,
        number: usize,
        request: pb::watch_request::RequestUnion,
    ) {
        use pb::watch_request::RequestUnion;
        let stream = self.streams.entry(number).or_insert_with(|| {
            let caller = caller.clone();
            let stream = Stream::open(async move |requests| {
                let mut client = pb::watch_client::WatchClient::new(caller.channel.clone())
                    .max_decoding_message_size(MESSAGE_BYTES_MAX);
                client.watch(caller.request(requests)).await
            });
            stream.send(RequestUnion::CreateRequest(pb::WatchCreateRequest {
                key: GUARD.into(),
                ..Default::default()
            }));
            stream
        });
        let creates = matches!(request, RequestUnion::CreateRequest(_));
        let settled = async |count: usize| {
            tokio::time::timeout(PATIENCE, async {
                while stream.created().is_some_and(|created| created < count) {
                    tokio::time::sleep(POLL).await;
                }
            })
            .await
            .unwrap_or_else(|_| panic!("no answer on watch stream {number}"));
        };
        settled(1).await;
        let before = stream.created();
        // Whether it hears of the next write or not is a matter of luck until the cancel is answered.
        let ends = match &request {
            RequestUnion::CancelRequest(cancel) if stream.has(cancel.watch_id) => {
                Some(cancel.watch_id)
            }
            _ => None,
        };
        stream.send(request);
        if let Some(id) = ends {
            tokio::time::timeout(PATIENCE, async {
                while stream.has(id) {
                    tokio::time::sleep(POLL).await;
                }
            })
            .await
            .unwrap_or_else(|_| panic!("no answer to a cancel on watch stream {number}"));
        }
        if let (true, Some(before)) = (creates, before) {
            settled(before + 1).await;
        }
    }

    /// The open streams.
    pub(crate) fn streams(&self) -> &BTreeMap<usize, Stream> {
        &self.streams
    }

    /// Takes away all that a sequence may have left. True when nothing is.
    pub(crate) async fn clear(&mut self, root_password: &'static str) -> Result<i64, Status> {
        self.streams.clear();
        let _ = self.login("root", root_password).await;
        let root = self.caller(Some("root"));
        let _ = root
            .raw::<_, pb::AuthDisableResponse>(
                "/etcdserverpb.Auth/AuthDisable",
                pb::AuthDisableRequest {},
            )
            .await;
        self.tokens.clear();
        let anybody = self.caller(None);
        let users: pb::AuthUserListResponse = anybody
            .raw("/etcdserverpb.Auth/UserList", pb::AuthUserListRequest {})
            .await?;
        for name in users.users {
            let delete = pb::AuthUserDeleteRequest { name };
            let _: pb::AuthUserDeleteResponse =
                anybody.raw("/etcdserverpb.Auth/UserDelete", delete).await?;
        }
        let roles: pb::AuthRoleListResponse = anybody
            .raw("/etcdserverpb.Auth/RoleList", pb::AuthRoleListRequest {})
            .await?;
        for role in roles.roles {
            let delete = pb::AuthRoleDeleteRequest { role };
            let _: pb::AuthRoleDeleteResponse =
                anybody.raw("/etcdserverpb.Auth/RoleDelete", delete).await?;
        }
        let everything = pb::DeleteRangeRequest {
            key: (&[0u8][..]).into(),
            range_end: (&[0u8][..]).into(),
            ..Default::default()
        };
        let deleted: pb::DeleteRangeResponse = anybody
            .raw("/etcdserverpb.KV/DeleteRange", everything)
            .await?;
        let leases: pb::LeaseLeasesResponse = anybody
            .raw("/etcdserverpb.Lease/LeaseLeases", pb::LeaseLeasesRequest {})
            .await?;
        for lease in leases.leases {
            let revoke = pb::LeaseRevokeRequest { id: lease.id };
            let _: pb::LeaseRevokeResponse = anybody
                .raw("/etcdserverpb.Lease/LeaseRevoke", revoke)
                .await?;
        }
        Ok(deleted.header.map_or(0, |header| header.revision))
    }
}

async fn keep_alive(caller: &Caller, lease: i64) -> Answer {
    let mut client = pb::lease_client::LeaseClient::new(caller.channel.clone());
    let once = tokio_stream::iter([pb::LeaseKeepAliveRequest { id: lease }]);
    let result = async {
        let mut answers = client
            .lease_keep_alive(caller.request(once))
            .await?
            .into_inner();
        answers
            .message()
            .await?
            .ok_or_else(|| Status::ok("closed without an answer"))
    };
    Answer::of(result.await)
}

async fn expired(caller: &Caller, lease: i64) -> Answer {
    let look = async {
        loop {
            let request = pb::LeaseTimeToLiveRequest {
                id: lease,
                ..Default::default()
            };
            let result: Result<pb::LeaseTimeToLiveResponse, Status> = caller
                .raw("/etcdserverpb.Lease/LeaseTimeToLive", request)
                .await;
            match result {
                // One granted for long was there before, and stays.
                Ok(response) if response.ttl >= 0 && response.granted_ttl < SHORT_SECONDS => {
                    tokio::time::sleep(POLL * 10).await;
                }
                result => return Answer::of(result),
            }
        }
    };
    tokio::time::timeout(PATIENCE, look)
        .await
        .unwrap_or_else(|_| panic!("lease {lease} does not end"))
}
