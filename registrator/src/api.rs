//! A small HTTP API over the latest status: is it alive, is it in sync, what are its numbers, what is
//! registered. Reads the status and nothing else, so it answers while everything else is stuck.

use std::convert::Infallible;
use std::fmt::Write as _;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use registrator_catalog::prometheus::targets;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::latency::BOUNDS_MS;
use crate::status::Status;

/// Serves for ever. Safe to cancel at any time.
pub(crate) async fn serve(listener: TcpListener, status: watch::Receiver<Status>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of file descriptors: connections in progress will free some.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let status = status.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let answer = answer(request.method(), request.uri().path(), &status.borrow());
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that breaks off is its own business.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        });
    }
}

fn answer(method: &Method, path: &str, status: &Status) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    let (code, kind, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/livez") => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match not_ready(status) {
            None => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4", metrics(status))
        }
        (&Method::GET | &Method::HEAD, "/status") => {
            let body = serde_json::to_string_pretty(status).unwrap_or_default();
            (StatusCode::OK, "application/json", body)
        }
        // Prometheus keeps its old list when this fails, and an agent that has not seen everything
        // yet would empty it.
        (&Method::GET | &Method::HEAD, "/prometheus/targets") if !status.synced => (
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            "the first look at all containers is not finished\n".to_owned(),
        ),
        (&Method::GET | &Method::HEAD, "/prometheus/targets") => {
            let records = status.records.iter().map(AsRef::as_ref);
            (StatusCode::OK, "application/json", targets(records))
        }
        (&Method::GET | &Method::HEAD, _) => (
            StatusCode::NOT_FOUND,
            TEXT,
            "known paths: /livez /readyz /metrics /status /prometheus/targets\n".to_owned(),
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "only GET\n".to_owned(),
        ),
    };
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

/// Prometheus text format 0.0.4.
fn metrics(status: &Status) -> String {
    let mut text = String::with_capacity(4096);
    let mut gauge = |name: &str, help: &str, kind: &str, value: u64| {
        let _ = writeln!(
            text,
            "# HELP muster_registrator_{name} {help}\n# TYPE muster_registrator_{name} {kind}\n\
             muster_registrator_{name} {value}"
        );
    };
    let instances: usize = status.services.values().map(Vec::len).sum();
    let counts = &status.counts;
    for (name, help, kind, value) in [
        (
            "engine_up",
            "Whether the event stream is open.",
            "gauge",
            u64::from(status.engine.up),
        ),
        (
            "store_up",
            "Whether the lease is held.",
            "gauge",
            u64::from(status.store.up),
        ),
        (
            "ready",
            "Whether the registry is in sync.",
            "gauge",
            u64::from(status.is_ready()),
        ),
        (
            "instances",
            "Instances registered or about to be.",
            "gauge",
            instances as u64,
        ),
        (
            "services",
            "Services with an instance here.",
            "gauge",
            status.services.len() as u64,
        ),
        (
            "pending",
            "Containers that wait for the store.",
            "gauge",
            status.pending as u64,
        ),
        (
            "skipped",
            "Running containers and ports left out.",
            "gauge",
            status.skipped.len() as u64,
        ),
        (
            "faults",
            "Things that are wrong.",
            "gauge",
            status.faults.len() as u64,
        ),
        (
            "events_total",
            "Events received from the engine.",
            "counter",
            counts.events,
        ),
        (
            "streams_total",
            "Times the event stream was opened.",
            "counter",
            counts.streams,
        ),
        (
            "lists_total",
            "Lists of all containers.",
            "counter",
            counts.lists,
        ),
        (
            "inspects_total",
            "Containers inspected.",
            "counter",
            counts.inspects,
        ),
        (
            "commits_total",
            "Transactions the store accepted.",
            "counter",
            counts.commits,
        ),
        ("puts_total", "Keys put.", "counter", counts.puts),
        ("deletes_total", "Keys deleted.", "counter", counts.deletes),
        (
            "conflicts_total",
            "Transactions refused by a guard.",
            "counter",
            counts.conflicts,
        ),
        (
            "failures_total",
            "Transactions that failed.",
            "counter",
            counts.failures,
        ),
        (
            "sessions_total",
            "Sessions with the store.",
            "counter",
            counts.sessions,
        ),
    ] {
        gauge(name, help, kind, value);
    }
    let name = "muster_registrator_start_to_key_seconds";
    let _ = writeln!(
        text,
        "# HELP {name} From the engine's start event to the store's acknowledgement.\n\
         # TYPE {name} histogram"
    );
    let mut below = 0;
    for (bound, count) in BOUNDS_MS.iter().zip(status.latency.counts()) {
        below += count;
        let _ = writeln!(text, "{name}_bucket{{le=\"{}\"}} {below}", bound / 1e3);
    }
    let all: u64 = status.latency.counts().iter().sum();
    let sum = status.latency.sum_ms() / 1e3;
    let _ = writeln!(
        text,
        "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {sum}\n{name}_count {all}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Link;

    #[test]
    fn readiness_says_what_is_missing() {
        let up = Link {
            up: true,
            detail: String::new(),
        };
        let mut status = Status::default();
        let code = |status: &Status, path| answer(&Method::GET, path, status).status().as_u16();
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
        assert_eq!(
            answer(&Method::POST, "/livez", &status).status().as_u16(),
            405
        );
    }

    #[test]
    fn prometheus_gets_a_list_or_nothing() {
        let path = "/prometheus/targets";
        let mut status = Status::default();
        let early = answer(&Method::GET, path, &status);
        assert_eq!(early.status(), 503, "an empty list would end every scrape");
        status.synced = true;
        let none = answer(&Method::GET, path, &status);
        let kind = &none.headers()[hyper::header::CONTENT_TYPE];
        assert_eq!(
            (none.status().as_u16(), kind),
            (200, &"application/json".parse().unwrap())
        );
    }

    #[test]
    fn buckets_are_cumulative() {
        let mut status = Status::default();
        status.latency.record(3_500_000);
        status.latency.record(4_500_000);
        let text = metrics(&status);
        for line in [
            "muster_registrator_start_to_key_seconds_bucket{le=\"0.003\"} 0",
            "muster_registrator_start_to_key_seconds_bucket{le=\"0.004\"} 1",
            "muster_registrator_start_to_key_seconds_bucket{le=\"+Inf\"} 2",
            "muster_registrator_start_to_key_seconds_count 2",
            "muster_registrator_ready 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
