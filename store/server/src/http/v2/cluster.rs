//! `/v2/members`, `/v2/machines` and `/v2/stats`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use store_machine::auth::Need;
use store_proto::etcdserverpb as pb;
use store_v2::Term;
use tonic::Status;

use super::{Guest, failed, is_read, not_allowed, refused};
use crate::api::Api;
use crate::body::Body;
use crate::grpc::cluster;
use crate::handle::{Consistency, MemberInfo};
use crate::http::{JSON, response, text};

/// What adds or changes a member.
#[derive(Deserialize)]
struct PeerUrls {
    #[serde(rename = "peerURLs", default)]
    urls: Vec<String>,
}

/// Answers what stands behind `/v2`, apart from keys and `/v2/auth`.
pub(super) async fn serve(
    api: &Arc<Api>,
    rest: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let guest = match Guest::of(api, &request).await {
        Ok(guest) => guest,
        Err(error) => return refused(&error),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if let Some(id) = rest.strip_prefix("/members") {
        return members(api, &guest, id.trim_start_matches('/'), request).await;
    }
    let reads = is_read(request.method());
    match rest {
        "/machines" if !reads => not_allowed("GET,HEAD"),
        "/stats/self" | "/stats/store" | "/stats/leader" if request.method() != Method::GET => {
            not_allowed("GET")
        }
        "/machines" => machines(api).await,
        "/stats/store" => {
            let expired = api.handle.counters().leases_expired.get();
            value(StatusCode::OK, &api.v2.json(expired))
        }
        "/stats/self" => about_self(api).await,
        "/stats/leader" => about_followers(api),
        _ => unknown(),
    }
}

pub(super) fn unknown() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

async fn all(api: &Api) -> Result<Vec<MemberInfo>, Response<Body>> {
    let members = api.handle.members(Consistency::Serializable).await;
    members
        .map(|answer| answer.body)
        .map_err(|failure| refused(&failed(failure)))
}

async fn machines(api: &Api) -> Response<Body> {
    match all(api).await {
        Ok(members) => {
            let urls = members.into_iter().flat_map(|member| member.client_urls);
            text(StatusCode::OK, urls.collect::<Vec<_>>().join(", "))
        }
        Err(refused) => refused,
    }
}

async fn members(
    api: &Arc<Api>,
    guest: &Guest,
    id: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let method = request.method().clone();
    // Told alike whether or not a member is named, as etcd does.
    let allowed = "GET,POST,DELETE,PUT";
    let fits = match id {
        "" => method != Method::PUT && method != Method::DELETE,
        _ => method != Method::POST,
    };
    if !fits || !allowed.split(',').any(|one| one == method.as_str()) {
        return not_allowed(allowed);
    }
    if is_read(&method) {
        return show(api, id).await;
    }
    if let Err(error) = guest.require(api, &Need::Root) {
        return refused(&error);
    }
    let member = u64::from_str_radix(id, 16).unwrap_or(0);
    let changed = if method == Method::DELETE {
        let request = pb::MemberRemoveRequest { id: member };
        let done = cluster::remove(Arc::clone(api), request).await;
        done.map(|_| (StatusCode::NO_CONTENT, None))
    } else {
        let peer_ur_ls = match peer_urls(api, request).await {
            Ok(urls) => urls,
            Err(refused) => return refused,
        };
        change(api, method, member, peer_ur_ls).await
    };
    match changed {
        Ok((status, Some(member))) => value(status, &entry(&crate::roster::info(member))),
        Ok((status, None)) => {
            let mut empty = Response::new(Body::Empty);
            *empty.status_mut() = status;
            empty
        }
        Err(status) => unchanged(&status, id),
    }
}

async fn change(
    api: &Arc<Api>,
    method: Method,
    id: u64,
    peer_ur_ls: Vec<String>,
) -> Result<(StatusCode, Option<pb::Member>), Status> {
    if method == Method::PUT {
        let request = pb::MemberUpdateRequest { id, peer_ur_ls };
        let done = cluster::update(Arc::clone(api), request).await;
        return done.map(|_| (StatusCode::NO_CONTENT, None));
    }
    let request = pb::MemberAddRequest {
        peer_ur_ls,
        is_learner: false,
    };
    let done = cluster::add(Arc::clone(api), request).await;
    done.map(|added| (StatusCode::CREATED, added.member))
}

fn unchanged(status: &Status, id: &str) -> Response<Body> {
    let text = status.message();
    if text.ends_with("member not found") {
        return message(StatusCode::NOT_FOUND, &format!("No such member: {id}"));
    }
    let code = match text {
        text if text.ends_with("Peer URLs already exists") => StatusCode::CONFLICT,
        _ => crate::http::gateway::http_status(status.code()),
    };
    message(code, text)
}

async fn peer_urls(api: &Api, request: Request<Incoming>) -> Result<Vec<String>, Response<Body>> {
    let kind = request.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/json") {
        let line = format!("Bad Content-Type {kind}, accept application/json");
        return Err(message(StatusCode::UNSUPPORTED_MEDIA_TYPE, &line));
    }
    let unread =
        |cause: &dyn std::fmt::Display| message(StatusCode::BAD_REQUEST, &cause.to_string());
    let bytes_max = api.limits.receive_bytes_max;
    let body = api.intake.whole(request.into_body(), bytes_max).await;
    let parsed = serde_json::from_slice::<PeerUrls>(&body.map_err(|cause| unread(&cause))?);
    Ok(parsed.map_err(|cause| unread(&cause))?.urls)
}

async fn show(api: &Api, id: &str) -> Response<Body> {
    let members = match all(api).await {
        Ok(members) => members,
        Err(refused) => return refused,
    };
    if id.is_empty() {
        let members: Vec<_> = members.iter().map(entry).collect();
        return value(StatusCode::OK, &json!({ "members": members }));
    }
    let leader = api.handle.counters().leader.get();
    let wanted = if id == "leader" {
        leader
    } else {
        u64::from_str_radix(id, 16).unwrap_or(0)
    };
    match members.iter().find(|member| member.id == wanted) {
        Some(member) => value(StatusCode::OK, &entry(member)),
        None if id == "leader" => message(StatusCode::SERVICE_UNAVAILABLE, "During election"),
        None => message(StatusCode::NOT_FOUND, "Not found"),
    }
}

fn entry(member: &MemberInfo) -> Value {
    json!({
        "id": format!("{:x}", member.id),
        "name": member.name,
        "peerURLs": member.peer_urls,
        "clientURLs": member.client_urls,
    })
}

async fn about_self(api: &Api) -> Response<Body> {
    let members = match all(api).await {
        Ok(members) => members,
        Err(refused) => return refused,
    };
    let (own, leader) = (api.handle.member_id(), api.handle.counters().leader.get());
    let name = members.iter().find(|member| member.id == own);
    let state = if own == leader {
        "StateLeader"
    } else {
        "StateFollower"
    };
    let since = api.handle.counters().leader_since_ms.get();
    let since = UNIX_EPOCH + Duration::from_millis(since);
    let led_for = since.elapsed().unwrap_or_default();
    value(
        StatusCode::OK,
        &json!({
            "name": name.map_or("", |member| member.name.as_str()),
            "id": format!("{own:x}"),
            "state": state,
            "startTime": moment(api.started),
            "leaderInfo": {
                "leader": format!("{leader:x}"),
                "uptime": format!("{}.{:03}s", led_for.as_secs(), led_for.subsec_millis()),
                "startTime": moment(since),
            },
        }),
    )
}

/// How fast the others answer. The last, the longest, the shortest and the spread are not kept, so they are not shown.
fn about_followers(api: &Api) -> Response<Body> {
    let (own, counters) = (api.handle.member_id(), api.handle.counters());
    if counters.leader.get() != own {
        return message(StatusCode::FORBIDDEN, "not current leader");
    }
    let followers = counters.peers().into_iter().map(|(id, peer)| {
        let count = peer.round_trip.count();
        let average = peer.round_trip.sum_us() as f64 / 1000.0 / count.max(1) as f64;
        let latency = json!({ "average": average });
        let counts = json!({ "fail": peer.sent_failures.get(), "success": count });
        (
            format!("{id:x}"),
            json!({ "latency": latency, "counts": counts }),
        )
    });
    let followers: serde_json::Map<_, _> = followers.collect();
    let leader = format!("{own:x}");
    value(
        StatusCode::OK,
        &json!({ "leader": leader, "followers": followers }),
    )
}

fn moment(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let ends_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let refresh = false;
    Term { ends_ms, refresh }.moment()
}

pub(super) fn value(status: StatusCode, value: &Value) -> Response<Body> {
    response(status, JSON, Bytes::from(value.to_string()))
}

pub(super) fn message(status: StatusCode, line: &str) -> Response<Body> {
    value(status, &json!({ "message": line }))
}
