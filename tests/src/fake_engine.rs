//! An engine that says what it is told to: a server on a socket file that answers the calls of an agent as Docker's does,
//! for what no real one on this machine can say or do: other versions, other programs, a thousand containers at once.
//!
//! Of the event stream it keeps the rules that agents have to live with: the filter is applied before an event is queued,
//! a queue takes 1024 events and loses what comes then, and the last 256 events of all kinds can be asked for again.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// 1024 events wait for each listener, as in Docker's engine.
const QUEUE: usize = 1024;
/// 256 events can be asked for again, as in Docker's engine.
const RING: usize = 256;

/// The engine. Ends with the value.
pub struct FakeEngine {
    socket: PathBuf,
    state: Arc<State>,
    _folder: tempfile::TempDir,
    _runtime: Runtime,
}

/// What was asked and said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lists of all containers.
    pub lists: usize,
    /// Inspections.
    pub inspections: usize,
    /// Times the event stream was opened.
    pub streams: usize,
    /// Pings.
    pub pings: usize,
    /// Anything else.
    pub others: usize,
    /// Events that happened.
    pub events: usize,
    /// Events queued for listeners.
    pub queued: usize,
    /// Events that found a full queue.
    pub lost: usize,
}

#[derive(Default)]
struct State {
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// What inspections say, by id.
    containers: BTreeMap<String, Value>,
    listeners: Vec<Listener>,
    ring: VecDeque<Value>,
    counts: Counts,
}

/// Somebody who reads events.
struct Listener {
    filter: Filter,
    queue: mpsc::Sender<Bytes>,
}

/// Which events somebody wants; empty lists want all.
#[derive(Default)]
struct Filter {
    types: Vec<String>,
    actions: Vec<String>,
}

impl Filter {
    /// Of the query of a request: `filters={"type":[…],"event":[…]}`.
    fn of(query: &str) -> Self {
        let found = parameter(query, "filters").unwrap_or_default();
        let found: Value = serde_json::from_str(&found).unwrap_or_default();
        let list = |name: &str| {
            let list = found[name].as_array().into_iter().flatten();
            list.filter_map(|entry| entry.as_str().map(str::to_owned))
                .collect()
        };
        Self {
            types: list("type"),
            actions: list("event"),
        }
    }

    fn lets_through(&self, event: &Value) -> bool {
        let kind = event["Type"].as_str().unwrap_or_default();
        let action = event["Action"].as_str().unwrap_or_default();
        // Naming `health_status` makes the engine compare beginnings.
        let begins = self.actions.iter().any(|wanted| wanted == "health_status");
        let wanted = |wanted: &String| wanted == action || (begins && action.starts_with(wanted));
        (self.types.is_empty() || self.types.iter().any(|wanted| wanted == kind))
            && (self.actions.is_empty() || self.actions.iter().any(wanted))
    }
}

/// The value of a parameter, decoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let all = query.split('&').filter_map(|part| part.split_once('='));
    let (_, value) = all.into_iter().find(|(found, _)| *found == name)?;
    let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
    decoded.ok().map(std::borrow::Cow::into_owned)
}

impl FakeEngine {
    /// Starts one without containers.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let socket = folder.path().join("engine.sock");
        let state = Arc::new(State::default());
        let runtime = Runtime::new().expect("a runtime");
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&socket).expect("listen on a socket file")
        };
        let served = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let answer = state.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer),
                );
            }
        });
        Self {
            socket,
            state,
            _folder: folder,
            _runtime: runtime,
        }
    }

    /// Where agents reach it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// A container runs as this inspection says, without any event.
    ///
    /// # Panics
    /// When the inspection has no `Id`.
    pub fn put(&self, inspection: Value) {
        let id = inspection["Id"].as_str().expect("an id").to_owned();
        self.state.lock().containers.insert(id, inspection);
    }

    /// A container is not there any more, without any event.
    pub fn remove(&self, id: &str) {
        self.state.lock().containers.remove(id);
    }

    /// Something happened: all who listen hear of it, as far as their filters and queues let it through.
    pub fn say(&self, event: Value) {
        let mut now = self.state.lock();
        let Now {
            listeners,
            ring,
            counts,
            ..
        } = &mut *now;
        counts.events += 1;
        let mut line = None;
        listeners.retain(|listener| {
            if !listener.filter.lets_through(&event) {
                return true;
            }
            let line = line.get_or_insert_with(|| Bytes::from(format!("{event}\n")));
            match listener.queue.try_send(line.clone()) {
                Ok(()) => counts.queued += 1,
                Err(mpsc::error::TrySendError::Full(_)) => counts.lost += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => return false,
            }
            true
        });
        if ring.len() == RING {
            ring.pop_front();
        }
        ring.push_back(event);
    }

    /// A container happens to something: see [`event`].
    pub fn says(&self, action: &str, id: &str) {
        self.say(event(action, id, wall_nanos()));
    }

    /// What was asked and said so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }
}

/// One line of the event stream about a container, as engine 29 writes it.
#[must_use]
pub fn event(action: &str, id: &str, nanos: i64) -> Value {
    json!({
        "Type": "container", "Action": action, "scope": "local",
        "Actor": {"ID": id, "Attributes": {"image": "web:1"}},
        "time": nanos / 1_000_000_000, "timeNano": nanos
    })
}

/// A running container on a network of its own choice, as engine 29 tells of it: port 80 is exposed and not published.
/// `health` is the state of its health check, if it has one.
#[must_use]
pub fn container(id: &str, name: &str, address: &str, health: Option<&str>) -> Value {
    let mut found = json!({
        "Id": id, "Created": "2020-01-01T00:00:00Z", "Name": format!("/{name}"), "RestartCount": 0,
        "Platform": "linux", "Image": "sha256:00", "Path": "/bin/web", "Args": [],
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "OOMKilled": false,
            "Dead": false, "Pid": 1, "ExitCode": 0, "Error": "",
            "StartedAt": "2020-01-01T00:00:00.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z"
        },
        "Config": {
            "Hostname": id.get(..12).unwrap_or(id), "Image": "web:1", "Env": ["PATH=/bin"], "Cmd": null,
            "Labels": {}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGTERM"
        },
        "HostConfig": {"NetworkMode": "front", "RestartPolicy": {"Name": "no"}, "PortBindings": {}},
        "NetworkSettings": {
            "SandboxID": "00", "SandboxKey": "/run/docker/netns/0", "Ports": {"80/tcp": null},
            "Networks": {"front": {"IPAddress": address, "GwPriority": 0, "DNSNames": [name], "NetworkID": "f"}}
        }
    });
    if let Some(health) = health {
        found["Config"]["Healthcheck"] = json!({"Test": ["CMD", "true"], "Interval": 200_000_000});
        found["State"]["Health"] = json!({"Status": health, "FailingStreak": 0, "Log": []});
    }
    found
}

/// Nanoseconds since 1970.
#[must_use]
pub fn wall_nanos() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

type Body = BoxBody<Bytes, Infallible>;

fn whole(value: &Value) -> Response<Body> {
    Response::new(Full::new(Bytes::from(value.to_string())).boxed())
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path();
        // With and without a version in front.
        let path = match path.strip_prefix("/v1.") {
            Some(rest) => &rest[rest.find('/').unwrap_or(0)..],
            None => path,
        };
        let mut now = self.lock();
        match path {
            "/_ping" => {
                now.counts.pings += 1;
                Response::new(Full::new(Bytes::from_static(b"OK")).boxed())
            }
            "/info" => whole(&json!({"Name": "fake"})),
            "/version" => whole(&json!({"Version": "29.0.0", "ApiVersion": "1.52"})),
            "/events" => {
                now.counts.streams += 1;
                now.listen(request.uri().query().unwrap_or_default())
            }
            "/containers/json" => {
                now.counts.lists += 1;
                let all: Vec<Value> = now.containers.values().map(summary).collect();
                whole(&Value::from(all))
            }
            _ => {
                let id = path.strip_prefix("/containers/");
                let id = id.and_then(|rest| rest.strip_suffix("/json"));
                match id.and_then(|id| now.containers.get(id)).map(whole) {
                    Some(answer) => {
                        now.counts.inspections += 1;
                        answer
                    }
                    None => {
                        now.counts.others += 1;
                        let mut missing = whole(&json!({"message": "no such container"}));
                        *missing.status_mut() = StatusCode::NOT_FOUND;
                        missing
                    }
                }
            }
        }
    }
}

impl Now {
    /// The event stream, which begins with what is remembered of the time since then.
    fn listen(&mut self, query: &str) -> Response<Body> {
        let filter = Filter::of(query);
        let (queue, lines) = mpsc::channel(QUEUE);
        if let Some(since) = parameter(query, "since").and_then(|text| nanos(&text)) {
            let again = self.ring.iter();
            let again = again.filter(|event| event["timeNano"].as_i64() >= Some(since));
            for event in again.filter(|event| filter.lets_through(event)) {
                // The queue is larger than what is remembered.
                let _ = queue.try_send(Bytes::from(format!("{event}\n")));
            }
        }
        self.listeners.push(Listener { filter, queue });
        let frames = ReceiverStream::new(lines).map(|line| Ok(Frame::data(line)));
        Response::new(BoxBody::new(StreamBody::new(frames)))
    }
}

/// `seconds.nanoseconds`.
fn nanos(text: &str) -> Option<i64> {
    let (seconds, rest) = text.split_once('.').unwrap_or((text, "0"));
    let seconds: i64 = seconds.parse().ok()?;
    seconds
        .checked_mul(1_000_000_000)?
        .checked_add(rest.parse().ok()?)
}

/// What a list says of a container.
fn summary(found: &Value) -> Value {
    json!({
        "Id": found["Id"], "Names": [found["Name"]], "Image": found["Config"]["Image"], "ImageID": "sha256:00",
        "State": "running", "Status": "Up 2 seconds", "Created": 1_577_836_800,
        "Labels": found["Config"]["Labels"], "Ports": [],
        "NetworkSettings": {"Networks": found["NetworkSettings"]["Networks"]}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_docker_s() {
        let query = "since=1.5&filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22health_status%22%5D%7D";
        assert_eq!(
            parameter(query, "since").and_then(|text| nanos(&text)),
            Some(1_000_000_005)
        );
        let filter = Filter::of(query);
        for (action, wanted) in [
            ("start", true),
            ("health_status: healthy", true),
            ("exec_start: true", false),
            ("die", false),
        ] {
            assert_eq!(
                filter.lets_through(&event(action, "a", 1)),
                wanted,
                "{action}"
            );
        }
        assert!(Filter::default().lets_through(&event("exec_die", "a", 1)));
    }
}
