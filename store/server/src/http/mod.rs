//! The plain HTTP side of the client port: health, version, metrics and the JSON gateway
//! (reference B.1, B.2).

mod exposition;
mod gateway;
mod health;
mod metrics;
mod query;

use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    CONTENT_TYPE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use self::query::Query;
use crate::api::Api;
use crate::body::Body;
use crate::version;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers one plain HTTP request. Scripts of any page may read the answers, as with etcd's default
/// `--cors=*`.
pub(crate) async fn serve(api: Arc<Api>, request: Request<Incoming>) -> Response<Body> {
    let mut response = if request.method() == Method::OPTIONS {
        Response::new(Body::Empty)
    } else {
        answer(api, request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            "POST, GET, OPTIONS, PUT, DELETE",
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "accept, content-type, authorization",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
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
    let known = matches!(path, "/health" | "/version" | "/metrics")
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
#[derive(Serialize)]
struct Problem<'t> {
    code: i32,
    message: &'t str,
    details: [(); 0],
}

fn problem(status: StatusCode, code: tonic::Code, message: &str) -> Response<Body> {
    let code = code as i32;
    let details = [];
    json(
        status,
        &Problem {
            code,
            message,
            details,
        },
    )
}

fn not_found() -> Response<Body> {
    problem(StatusCode::NOT_FOUND, tonic::Code::NotFound, "Not Found")
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(body) {
        Ok(body) => response(status, JSON, body),
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
