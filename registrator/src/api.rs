//! A small HTTP API over the latest status: is it alive, is it in sync, what are its numbers, what is
//! registered. Reads the status and nothing else, so it answers while everything else is stuck.

use std::convert::Infallible;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::explain::Explanation;
use crate::journal::Journal;
use crate::metrics::metrics;
use crate::registry::Beats;
use crate::status::Status;

/// A question about one container, and where the answer goes.
pub(crate) type Ask = (String, oneshot::Sender<Option<Explanation>>);

/// What the API reads.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) journal: Journal,
    /// Of each engine's session.
    pub(crate) beats: Vec<Beats>,
    /// Each engine's loop.
    pub(crate) asks: Vec<mpsc::Sender<Ask>>,
}

/// Serves for ever. Safe to cancel at any time.
pub(crate) async fn serve(listener: TcpListener, sources: Sources) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of file descriptors: connections in progress will free some.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let sources = sources.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let sources = sources.clone();
                async move {
                    let (method, path) = (request.method(), request.uri().path());
                    Ok::<_, Infallible>(match path.strip_prefix("/explain/") {
                        Some(name) if method == Method::GET => explained(&sources, name).await,
                        _ => answer(method, path, &sources),
                    })
                }
            });
            // A client that breaks off is its own business.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        });
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What the agent says about a container.
async fn explained(sources: &Sources, name: &str) -> Response<Full<Bytes>> {
    let mut ready = true;
    for engine in &sources.asks {
        let (answer, said) = oneshot::channel();
        let asked = engine.send((name.to_owned(), answer)).await;
        match (asked, said.await) {
            (Ok(()), Ok(Some(explanation))) => {
                let body = serde_json::to_string_pretty(&explanation).unwrap_or_default();
                return response(StatusCode::OK, JSON, body);
            }
            (Ok(()), Ok(None)) => {}
            _ => ready = false,
        }
    }
    if ready {
        let why = format!("no container {name} runs here\n");
        response(StatusCode::NOT_FOUND, TEXT, why)
    } else {
        let why = "the agent is not ready yet\n".to_owned();
        response(StatusCode::SERVICE_UNAVAILABLE, TEXT, why)
    }
}

/// The shortest time left to a session; `None` when one is missing.
fn shortest(beats: &[Beats]) -> Option<std::time::Duration> {
    let left: Option<Vec<_>> = beats.iter().map(Beats::left).collect();
    left?.into_iter().min()
}

fn answer(method: &Method, path: &str, sources: &Sources) -> Response<Full<Bytes>> {
    let status = &*sources.status.borrow();
    let (code, kind, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match not_ready(status) {
            None => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4", metrics(status, shortest(&sources.beats)))
        }
        (&Method::GET | &Method::HEAD, "/status") => {
            let body = serde_json::to_string_pretty(status).unwrap_or_default();
            (StatusCode::OK, "application/json", body)
        }
        (&Method::GET | &Method::HEAD, "/journal") => (StatusCode::OK, JSON, sources.journal.to_json(None)),
        (&Method::GET | &Method::HEAD, path) if path.starts_with("/journal/") => {
            let subject = path.trim_start_matches("/journal/");
            (StatusCode::OK, JSON, sources.journal.to_json(Some(subject)))
        }
        // Prometheus keeps its old list when this fails, and an agent that has not seen everything
        // yet would empty it.
        (&Method::GET | &Method::HEAD, "/prometheus/targets") if !status.synced => (
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            "the first look at all containers is not finished\n".to_owned(),
        ),
        (&Method::GET | &Method::HEAD, "/prometheus/targets") => (StatusCode::OK, JSON, status.targets()),
        (&Method::GET | &Method::HEAD, _) => (
            StatusCode::NOT_FOUND,
            TEXT,
            "known paths: /livez /readyz /metrics /status /explain/<container> /journal /prometheus/targets\n".to_owned(),
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET\n".to_owned(),
        ),
    };
    response(code, kind, body)
}

fn response(code: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(kind),
    );
    response
}

fn not_ready(status: &Status) -> Option<String> {
    if !status.engine.up {
        Some(format!("engine: {}", status.engine.detail))
    } else if !status.store.up {
        Some(format!("store: {}", status.store.detail))
    } else if !status.synced {
        Some("the first look at all containers is not finished".to_owned())
    } else if status.pending > 0 {
        Some(format!("{} containers wait for the store", status.pending))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Link;

    fn get(path: &str, status: &Status) -> Response<Full<Bytes>> {
        ask(&Method::GET, path, status)
    }

    fn ask(method: &Method, path: &str, status: &Status) -> Response<Full<Bytes>> {
        let sources = Sources {
            status: watch::channel(status.clone()).1,
            journal: Journal::default(),
            beats: vec![Beats::default()],
            asks: vec![mpsc::channel(1).0],
        };
        answer(method, path, &sources)
    }

    #[test]
    fn readiness_says_what_is_missing() {
        let up = Link {
            up: true,
            detail: String::new(),
        };
        let mut status = Status::default();
        let code = |status: &Status, path| get(path, status).status().as_u16();
        assert_eq!(
            (code(&status, "/livez"), code(&status, "/readyz")),
            (200, 503)
        );
        status.engine = up.clone();
        assert!(not_ready(&status).unwrap().starts_with("store"));
        status.store = up;
        assert!(not_ready(&status).unwrap().starts_with("the first look"));
        status.synced = true;
        status.pending = 2;
        assert!(not_ready(&status).unwrap().starts_with("2 containers"));
        status.pending = 0;
        assert_eq!(code(&status, "/readyz"), 200);
        assert_eq!(
            (code(&status, "/else"), code(&status, "/status")),
            (404, 200)
        );
        assert_eq!(ask(&Method::POST, "/livez", &status).status().as_u16(), 405);
    }

    #[test]
    fn prometheus_gets_a_list_or_nothing() {
        let path = "/prometheus/targets";
        let mut status = Status::default();
        let early = get(path, &status);
        assert_eq!(early.status(), 503, "an empty list would end every scrape");
        status.synced = true;
        let none = get(path, &status);
        let kind = &none.headers()[hyper::header::CONTENT_TYPE];
        assert_eq!(
            (none.status().as_u16(), kind),
            (200, &"application/json".parse().unwrap())
        );
    }
}
