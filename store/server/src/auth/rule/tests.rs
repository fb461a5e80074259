//! Every method of the protocol × everybody: nobody asks, nobody calls, a token of nobody's, a user
//! without roles, one who may read, one who may write, root.

use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use store_machine::auth::{Actor, AuthChange, Permission, PermissionKind};
use store_machine::command::Command;
use store_machine::request::{KeyRange, PutRequest, RangeEnd};
use store_machine::revision::LeaseId;
use store_proto::{authpb, etcdserverpb as pb, health, v3electionpb as election, v3lockpb as lock};
use tokio::net::TcpStream;

use super::*;
use crate::config::Config;
use crate::config::address::Address;
use crate::handle::Handle;
use crate::server::Server;

/// The lease every request about leases is about; `k/leased` is on it.
const LEASE: i64 = 7;

const PASSWORD: &str = "secret";

/// What a caller hears from the judge; `None` = was let pass, whatever came then.
type Heard = Option<String>;

/// A request of the method, about keys below `k/` where it is about keys.
fn request(method: Method) -> Vec<u8> {
    use Method as M;
    let key = Bytes::from_static(b"k/a");
    let name = String::from("none");
    match method {
        M::Range | M::RangeStream => pb::RangeRequest {
            key,
            ..Default::default()
        }
        .encode_to_vec(),
        M::Put => pb::PutRequest {
            key,
            ..Default::default()
        }
        .encode_to_vec(),
        M::DeleteRange => pb::DeleteRangeRequest {
            key,
            ..Default::default()
        }
        .encode_to_vec(),
        M::Txn => pb::TxnRequest {
            success: vec![pb::RequestOp {
                request: Some(pb::request_op::Request::RequestRange(pb::RangeRequest {
                    key,
                    ..Default::default()
                })),
            }],
            ..Default::default()
        }
        .encode_to_vec(),
        M::Compact => pb::CompactionRequest {
            revision: 1,
            physical: false,
        }
        .encode_to_vec(),
        M::Watch => pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::CreateRequest(
                pb::WatchCreateRequest {
                    key,
                    ..Default::default()
                },
            )),
        }
        .encode_to_vec(),
        M::LeaseGrant => pb::LeaseGrantRequest { ttl: 10, id: 0 }.encode_to_vec(),
        M::LeaseRevoke => pb::LeaseRevokeRequest { id: LEASE }.encode_to_vec(),
        M::LeaseKeepAlive => pb::LeaseKeepAliveRequest { id: LEASE }.encode_to_vec(),
        M::LeaseTimeToLive => pb::LeaseTimeToLiveRequest {
            id: LEASE,
            keys: true,
        }
        .encode_to_vec(),
        M::Alarm => pb::AlarmRequest {
            action: pb::alarm_request::AlarmAction::Deactivate.into(),
            member_id: 1,
            alarm: pb::AlarmType::Nospace.into(),
        }
        .encode_to_vec(),
        M::UserAdd => pb::AuthUserAddRequest {
            name: String::from("root"),
            options: Some(authpb::UserAddOptions { no_password: true }),
            ..Default::default()
        }
        .encode_to_vec(),
        M::UserGet => pb::AuthUserGetRequest {
            name: String::from("reader"),
        }
        .encode_to_vec(),
        M::RoleGet => pb::AuthRoleGetRequest {
            role: String::from("w"),
        }
        .encode_to_vec(),
        M::RoleAdd => pb::AuthRoleAddRequest {
            name: String::from("r"),
        }
        .encode_to_vec(),
        M::RoleGrantPermission => pb::AuthRoleGrantPermissionRequest {
            name,
            perm: Some(authpb::Permission {
                key,
                ..Default::default()
            }),
        }
        .encode_to_vec(),
        M::Lock => lock::LockRequest {
            name: Bytes::from_static(b"k/lock"),
            lease: LEASE,
        }
        .encode_to_vec(),
        M::Unlock => lock::UnlockRequest { key }.encode_to_vec(),
        M::Campaign => election::CampaignRequest {
            name: Bytes::from_static(b"k/election"),
            lease: LEASE,
            value: Bytes::from_static(b"v"),
        }
        .encode_to_vec(),
        M::Proclaim => election::ProclaimRequest {
            leader: Some(leader()),
            value: Bytes::from_static(b"v"),
        }
        .encode_to_vec(),
        M::Leader | M::Observe => election::LeaderRequest {
            name: Bytes::from_static(b"k"),
        }
        .encode_to_vec(),
        M::Resign => election::ResignRequest {
            leader: Some(leader()),
        }
        .encode_to_vec(),
        M::HealthCheck | M::HealthWatch => health::HealthCheckRequest::default().encode_to_vec(),
        // An empty message names nothing that exists.
        M::LeaseLeases
        | M::MemberAdd
        | M::MemberRemove
        | M::MemberUpdate
        | M::MemberList
        | M::MemberPromote
        | M::Status
        | M::Defragment
        | M::Hash
        | M::HashKv
        | M::Snapshot
        | M::MoveLeader
        | M::Downgrade
        | M::AuthEnable
        | M::AuthDisable
        | M::AuthStatus
        | M::Authenticate
        | M::UserList
        | M::UserDelete
        | M::UserChangePassword
        | M::UserGrantRole
        | M::UserRevokeRole
        | M::RoleList
        | M::RoleDelete
        | M::RoleRevokePermission => Vec::new(),
    }
}

fn leader() -> election::LeaderKey {
    election::LeaderKey {
        name: Bytes::from_static(b"k"),
        key: Bytes::from_static(b"k/leased"),
        rev: 1,
        lease: LEASE,
    }
}

/// Who of: a user without roles, a reader, a writer. Root may everything; the rest nothing, but for
/// what is open.
fn may(method: Method) -> [bool; 3] {
    use Method as M;
    let (none, all) = ([false; 3], [true; 3]);
    let (reader, writer) = ([false, true, false], [false, false, true]);
    match method {
        M::AuthStatus | M::Authenticate | M::HealthCheck | M::HealthWatch => all,
        M::MemberList | M::Status | M::LeaseGrant => all,
        M::Range | M::RangeStream | M::Txn | M::Watch => reader,
        M::LeaseTimeToLive | M::LeaseLeases | M::Leader | M::Observe => reader,
        M::Put | M::DeleteRange | M::LeaseRevoke | M::LeaseKeepAlive | M::Unlock => writer,
        // They look at who else is there, and write.
        M::Lock | M::Campaign | M::Proclaim | M::Resign => none,
        // Oneself, and a role of one's own.
        M::UserGet => reader,
        M::RoleGet => writer,
        M::Alarm
        | M::Compact
        | M::MemberAdd
        | M::MemberRemove
        | M::MemberUpdate
        | M::MemberPromote
        | M::Defragment
        | M::Hash
        | M::HashKv
        | M::Snapshot
        | M::MoveLeader
        | M::Downgrade
        | M::AuthEnable
        | M::AuthDisable
        | M::UserAdd
        | M::UserList
        | M::UserDelete
        | M::UserChangePassword
        | M::UserGrantRole
        | M::UserRevokeRole
        | M::RoleAdd
        | M::RoleList
        | M::RoleDelete
        | M::RoleGrantPermission
        | M::RoleRevokePermission => none,
    }
}

#[tokio::test]
async fn every_method_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = Address::http(SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut config = Config::embedded(folder.path().join("data"), &anywhere).unwrap();
    config.sync = false;
    config.segment_bytes = 8 << 20;
    config.auth.bcrypt_cost = 4;
    let server = Server::start(config).await.unwrap();
    server.ready().await.unwrap();
    let own = server.handle().by(Actor::Store);
    fill(&own).await;
    let stream = TcpStream::connect(server.client_addrs()[0]).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);

    for &method in Method::ALL {
        renew(&own).await;
        let heard = call(&mut sender, method, None).await;
        assert_eq!(heard, None, "{}, authentication off", method.name());
    }
    users(&own).await;
    enable(&own).await;
    let mut tokens = Vec::new();
    for name in ["nobody", "reader", "writer", "root"] {
        tokens.push(login(&mut sender, name).await);
    }
    for &method in Method::ALL {
        let open = Rule::of(method) == Rule::Open;
        let [without, reader, writer] = may(method);
        let say = |allowed: bool, text: &str| (!allowed).then(|| format!("etcdserver: {text}"));
        let denied = "permission denied";
        let wrong = String::from("no token");
        for (who, token, wanted) in [
            ("no token", None, say(open, "user name is empty")),
            (
                "a wrong token",
                Some(&wrong),
                say(open, "invalid auth token"),
            ),
            ("a user", Some(&tokens[0]), say(without, denied)),
            ("a reader", Some(&tokens[1]), say(reader, denied)),
            ("a writer", Some(&tokens[2]), say(writer, denied)),
            ("root", Some(&tokens[3]), None),
        ] {
            renew(&own).await;
            let heard = call(&mut sender, method, token.map(String::as_str)).await;
            assert_eq!(heard, wanted, "{} with {who}", method.name());
            // Root may even end it all. With the same key, tokens are good again.
            enable(&own).await;
        }
    }
    connection.abort();
    server.stop().await;
}

/// Sends a request; what the judge has to say to it.
async fn call(sender: &mut SendRequest<Full<Bytes>>, method: Method, token: Option<&str>) -> Heard {
    let (messages, headers) = exchange(sender, method, token, request(method)).await;
    if method == Method::Watch
        && let Some(answer) = messages.first()
    {
        let answer = pb::WatchResponse::decode(answer.clone()).unwrap();
        let (_, text) = answer.cancel_reason.split_once("desc = ")?;
        return Some(text.to_owned());
    }
    let text = headers?
        .get("grpc-message")?
        .to_str()
        .unwrap()
        .replace("%20", " ");
    let judged = [
        "user name is empty",
        "invalid auth token",
        "permission denied",
    ];
    judged.iter().any(|it| text.ends_with(it)).then_some(text)
}

/// Sends a message and reads on to the first answer, or to the end if there is none.
async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    token: Option<&str>,
    message: Vec<u8>,
) -> (Vec<Bytes>, Option<HeaderMap>) {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap());
    body.put_slice(&message);
    let mut request = Request::builder()
        .method("POST")
        .uri(format!(
            "http://store/{}/{}",
            method.service(),
            method.name()
        ))
        .header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header("token", token);
    }
    sender.ready().await.unwrap();
    let request = request.body(Full::new(body.freeze())).unwrap();
    let response = sender.send_request(request).await.unwrap();
    if response.headers().contains_key("grpc-status") {
        return (Vec::new(), Some(response.headers().clone()));
    }
    let mut body = response.into_body();
    match body.frame().await.map(|frame| frame.unwrap().into_data()) {
        Some(Ok(data)) => (vec![data.slice(5..)], None),
        Some(Err(frame)) => (Vec::new(), frame.into_trailers().ok()),
        None => (Vec::new(), None),
    }
}

async fn login(sender: &mut SendRequest<Full<Bytes>>, name: &str) -> String {
    let request = pb::AuthenticateRequest {
        name: name.into(),
        password: PASSWORD.into(),
    };
    let (messages, _) = exchange(sender, Method::Authenticate, None, request.encode_to_vec()).await;
    pb::AuthenticateResponse::decode(messages[0].clone())
        .unwrap()
        .token
}

async fn fill(own: &Handle) {
    own.propose(Command::Compact {
        revision: store_machine::revision::Revision(0),
    })
    .await
    .unwrap();
}

/// Puts back what a call may have taken.
async fn renew(own: &Handle) {
    // It may be there still.
    let _ = own.lease_grant(LeaseId(LEASE), 60).await;
    let put = PutRequest {
        key: Bytes::from_static(b"k/leased"),
        value: Bytes::new(),
        lease: LeaseId(LEASE),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    };
    own.propose(Command::Put(put)).await.unwrap();
}

async fn enable(own: &Handle) {
    let enable = AuthChange::Enable { token_key: [1; 32] };
    own.propose(Command::Auth(enable)).await.unwrap();
}

async fn users(own: &Handle) {
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let keys = KeyRange {
        start: Bytes::from_static(b"k"),
        end: RangeEnd::Before(Bytes::from_static(b"l")),
    };
    let mut changes = Vec::new();
    for (name, role) in [
        ("nobody", None),
        ("reader", Some("r")),
        ("writer", Some("w")),
        ("root", Some("root")),
    ] {
        // What was done while nobody asked may have made one of them.
        changes.push(AuthChange::UserDelete { name: name.into() });
        changes.push(AuthChange::UserAdd {
            name: name.into(),
            password: Some(hash.clone()),
        });
        let Some(role) = role else { continue };
        changes.push(AuthChange::RoleAdd { name: role.into() });
        let permission = Permission {
            kind: if role == "r" {
                PermissionKind::Read
            } else {
                PermissionKind::Write
            },
            keys: keys.clone(),
        };
        let role = || role.to_owned();
        changes.push(AuthChange::RoleGrant {
            role: role(),
            permission,
        });
        changes.push(AuthChange::UserGrant {
            user: name.into(),
            role: role(),
        });
    }
    for change in changes {
        // Deleting what is not there is refused.
        let _ = own.propose(Command::Auth(change)).await;
    }
}
