//! A small HTTP server: `/livez`, `/readyz`, `/status` (JSON) and `/metrics` (Prometheus). Shows, never changes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::status::Status;

/// Connections at once. 64: a few scrapers and probes; more is an accident and waits.
const CONNECTIONS_MAX: usize = 64;
/// A request head that is not complete by then is given up.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until dropped.
pub(crate) async fn serve(listener: std::net::TcpListener, status: watch::Receiver<Status>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "status cannot be served");
            return;
        }
    };
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, mostly: accepting again at once would spin.
                tracing::warn!(%error, "status connection refused");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let status = status.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = answer(request.method(), request.uri().path(), &status.borrow());
                async { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "status connection ended");
            }
            drop(place);
        });
    }
}

/// Binds the address, so that a port in use is known before anything starts.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn answer(method: &Method, path: &str, status: &Status) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
    if method != Method::GET && method != Method::HEAD {
        return respond(
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET is answered here\n".to_owned(),
        );
    }
    match path {
        "/livez" => respond(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" if status.ready => respond(StatusCode::OK, TEXT, "ok\n".to_owned()),
        "/readyz" => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, unready(status)),
        "/status" => respond(StatusCode::OK, "application/json", status.to_json()),
        "/metrics" => respond(StatusCode::OK, METRICS, status.to_metrics()),
        _ => respond(
            StatusCode::NOT_FOUND,
            TEXT,
            "known: /livez /readyz /status /metrics\n".to_owned(),
        ),
    }
}

/// Why the agent is not ready, one line each.
fn unready(status: &Status) -> String {
    let mut lines = vec!["not ready".to_owned()];
    if status.source.revision == 0 {
        let reason = status
            .source
            .error
            .as_deref()
            .unwrap_or("no keys have been read yet");
        lines.push(format!("source: {reason}"));
    }
    for resource in status
        .resources
        .iter()
        .filter(|resource| resource.succeeded_unix_ms.is_none())
    {
        let problem = resource
            .stale
            .as_ref()
            .map(|stale| &stale.problem)
            .or(resource.load_fault.as_ref());
        let reason = problem.map_or(resource.state, |problem| &problem.message);
        lines.push(format!("resource {}: {reason}", resource.name));
    }
    lines.join("\n") + "\n"
}

fn respond(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn each_path_has_its_answer() {
        let (tell, status) = watch::channel(Status::default());
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, status));
        let get = |line: &'static str| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        assert!(get("GET /livez").await.starts_with("HTTP/1.1 200"));
        let unready = get("GET /readyz").await;
        assert!(
            unready.starts_with("HTTP/1.1 503") && unready.contains("no keys have been read yet"),
            "{unready}"
        );
        tell.send_modify(|status| status.ready = true);
        assert!(get("GET /readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get("GET /status").await.contains("\"ready\": true"));
        assert!(get("GET /metrics").await.contains("\nconfd_ready 1\n"));
        assert!(get("GET /other").await.starts_with("HTTP/1.1 404"));
        assert!(get("POST /status").await.starts_with("HTTP/1.1 405"));
        server.abort();
    }
}
