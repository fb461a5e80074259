//! The plain HTTP side of the client port: health, version, metrics and the JSON gateway.

pub(crate) mod access;
mod exposition;
pub(crate) mod gateway;
mod health;
mod metrics;
mod query;
pub(crate) mod v2;
mod vars;

use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use self::query::Query;
use crate::api::Api;
use crate::body::Body;
use crate::config::Serves;
use crate::connection::Way;
use crate::grpc::large::{Part, held};
use crate::version;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What most answers fit into.
const JSON_BYTES_MIN: usize = 128;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers one plain HTTP request.
pub(crate) async fn serve(api: Arc<Api>, way: Way, request: Request<Incoming>) -> Response<Body> {
    if let Some(refused) = api.access.foreign_host(way, &request) {
        return refused;
    }
    let origin = api.access.origin(&request);
    let mut response = if request.method() == Method::OPTIONS {
        Response::new(Body::Empty)
    } else if !is_served(&api, way, request.uri().path()) {
        not_found()
    } else {
        answer(api, request).await
    };
    if let Some(origin) = origin {
        access::let_scripts_read(response.headers_mut(), origin);
    }
    response
}

/// Whether anything is to be had at that path by that way.
fn is_served(api: &Api, way: Way, path: &str) -> bool {
    let watches_over =
        path == "/metrics" || path == "/health" || health::Probe::of_path(path).is_some();
    match way.serves {
        Serves::Metrics => watches_over,
        // Whoever looks after the store finds it at any port of it.
        Serves::Grpc => watches_over || path == "/version",
        Serves::All | Serves::Http => {
            let of_gateway = path.starts_with("/v3/") || path.starts_with("/v3beta/");
            (api.access.gateway || !of_gateway) && (api.access.v2 || !path.starts_with("/v2/"))
        }
    }
}

async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if let Some(rpc) = path.strip_prefix("/v3/") {
        let rpc = rpc.to_owned();
        return gateway::serve(api, &rpc, request).await;
    }
    // The gateway of 3.2 to 3.3 was a beta under its own path.
    if let Some(rpc) = path.strip_prefix("/v3beta/") {
        let rpc = rpc.to_owned();
        return gateway::serve(api, &rpc, request).await;
    }
    if path.starts_with("/v2/") {
        return v2::serve(api, request).await;
    }
    let known = matches!(path, "/health" | "/version" | "/metrics" | "/debug/vars")
        || health::Probe::of_path(path).is_some();
    if !known {
        return not_found();
    }
    if request.method() != Method::GET {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        let headers = response.headers_mut();
        headers.insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let query = Query::parse(request.uri().query().unwrap_or_default());
    match path {
        "/health" => health::health(&api, &query).await,
        "/version" => json(StatusCode::OK, &Versions::new()),
        "/metrics" => metrics::metrics(&api).await,
        "/debug/vars" => vars::vars(&api),
        path => match health::Probe::of_path(path) {
            Some(probe) => health::probe(&api, probe, &query).await,
            None => not_found(),
        },
    }
}

/// What `/version` tells.
#[derive(Serialize)]
struct Versions {
    etcdserver: &'static str,
    etcdcluster: &'static str,
    storage: &'static str,
}

impl Versions {
    const fn new() -> Self {
        Self {
            etcdserver: version::ETCD_VERSION,
            etcdcluster: version::CLUSTER_VERSION,
            storage: version::STORAGE_VERSION,
        }
    }
}

/// An error as the gateway words it: a gRPC code, a text, and details, of which there are none.
///
/// etcd up to 3.5 had the text under `error` as well, and clients of that time (Patroni of Debian 12, etcd3-py) read it
/// nowhere else.
#[derive(Serialize)]
struct Problem<'t> {
    code: i32,
    message: &'t str,
    details: [(); 0],
    error: &'t str,
}

impl<'t> Problem<'t> {
    const fn new(code: tonic::Code, message: &'t str) -> Self {
        Self {
            code: code as i32,
            message,
            details: [],
            error: message,
        }
    }
}

fn problem(status: StatusCode, code: tonic::Code, message: &str) -> Response<Body> {
    json(status, &Problem::new(code, message))
}

fn not_found() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, tonic::Code::NotFound, "Not Found")
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    json_held(status, body, 0, None)
}

/// The same of so many bytes, about, which hold a part of the budget until they have been taken.
fn json_held(
    status: StatusCode,
    body: &impl Serialize,
    bytes: usize,
    part: Option<Part>,
) -> Response<Body> {
    let mut out = Vec::with_capacity(bytes.max(JSON_BYTES_MIN));
    match serde_json::to_writer(&mut out, body) {
        Ok(()) => response(status, JSON, held(out.into(), part)),
        Err(error) => {
            // Only a map with keys that are no strings could do this; there is none.
            tracing::error!(%error, "an answer could not be written as JSON");
            text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error\n")
        }
    }
}

fn text(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    response(status, TEXT, body)
}

fn response(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
