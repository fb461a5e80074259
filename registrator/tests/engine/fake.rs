//! What the machine's engine cannot say: a server on a socket file that answers as Docker 29 (API 1.52) and as Podman's
//! compatible service do, read by the agent's own client.

#![allow(clippy::unwrap_used, reason = "a test's own harness")]

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use end_to_end::wait;
use futures::StreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use registrator_catalog::record::Record;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

use crate::scene::{Running, Scene};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// An engine with one container at most.
struct Fake {
    socket: PathBuf,
    state: Arc<State>,
    _folder: tempfile::TempDir,
    /// Ends with the value.
    _runtime: Runtime,
}

struct State {
    /// What it says about its container, if it runs.
    inspection: Mutex<Option<Value>>,
    /// Lines of its event stream.
    events: broadcast::Sender<String>,
}

impl Fake {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine.sock");
        let state = Arc::new(State {
            inspection: Mutex::new(None),
            events: broadcast::channel(16).0,
        });
        let runtime = Runtime::new().unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        let served = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let answer = service_fn(move |request| {
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

    fn address(&self) -> String {
        format!("unix://{}", Path::display(&self.socket))
    }

    /// The container as it is now, and what the engine says happened to it.
    fn happens(&self, inspection: Option<Value>, event: &Value) {
        *self.state.inspection.lock().unwrap() = inspection;
        // Nobody listens as long as the agent is not connected; its list shows the container then.
        let _ = self.state.events.send(format!("{event}\n"));
    }
}

type Body = BoxBody<Bytes, Infallible>;

impl State {
    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path();
        // With and without a version in front.
        let path = match path.strip_prefix("/v1.") {
            Some(rest) => &rest[rest.find('/').unwrap_or(0)..],
            None => path,
        };
        let inspection = self.inspection.lock().unwrap().clone();
        let whole =
            |value: &Value| Response::new(Full::new(Bytes::from(value.to_string())).boxed());
        match (path, inspection) {
            ("/_ping", _) => Response::new(Full::new(Bytes::from_static(b"OK")).boxed()),
            ("/info", _) => whole(&json!({"Name": "fake"})),
            ("/events", _) => {
                let lines = BroadcastStream::new(self.events.subscribe());
                let frames = lines.filter_map(async |line| {
                    line.ok().map(|line| Ok(Frame::data(Bytes::from(line))))
                });
                Response::new(BoxBody::new(StreamBody::new(frames)))
            }
            ("/containers/json", Some(found)) => whole(&json!([{
                "Id": found["Id"], "Names": [found["Name"]], "State": "running", "Status": "Up 2 seconds",
                "Labels": found["Config"]["Labels"], "Ports": [],
                "NetworkSettings": {"Networks": found["NetworkSettings"]["Networks"]}
            }])),
            ("/containers/json", None) => whole(&json!([])),
            (_, Some(found)) if path == format!("/containers/{ID}/json") => whole(&found),
            _ => {
                let mut missing = whole(&json!({"message": "no such container"}));
                *missing.status_mut() = StatusCode::NOT_FOUND;
                missing
            }
        }
    }
}

/// What engine 29 says about a container: no legacy addresses, types of mounts and platforms it never said before.
fn by_docker_29(service: &str) -> Value {
    json!({
        "Id": ID, "Created": "2026-11-20T04:48:43.9Z", "Name": "/web", "RestartCount": 0, "Driver": "overlayfs",
        "Platform": "linux", "Image": "sha256:00", "Path": "/bin/web", "Args": [], "LogPath": "", "MountLabel": "",
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "OOMKilled": false,
            "Dead": false, "Pid": 1, "ExitCode": 0, "Error": "",
            "StartedAt": "2026-11-20T04:48:44.123456789Z", "FinishedAt": "0001-01-01T00:00:00Z"
        },
        "ImageManifestDescriptor": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:00", "size": 1},
        "Storage": {"RootFS": {"Snapshot": {"Name": "overlayfs"}}},
        "Config": {
            "Hostname": "0123456789ab", "Image": "web:1", "Env": ["PATH=/bin"], "Cmd": null,
            "Labels": {"SERVICE_NAME": service}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGTERM"
        },
        "HostConfig": {"NetworkMode": "front", "RestartPolicy": {"Name": "no"}, "PortBindings": {}},
        "NetworkSettings": {
            "SandboxID": "00", "SandboxKey": "/run/docker/netns/0", "Ports": {"80/tcp": null},
            "Networks": {
                "back": {"IPAddress": "10.0.2.2", "GwPriority": 0, "DNSNames": ["web"], "NetworkID": "b"},
                "front": {"IPAddress": "10.0.1.2", "GlobalIPv6Address": "fd00::2", "GwPriority": 5,
                          "DNSNames": ["web", "0123456789ab"], "NetworkID": "f"}
            }
        }
    })
}

/// What Podman's compatible service says: legacy addresses, its own network, states in its own words.
fn by_podman(service: &str) -> Value {
    json!({
        "Id": ID, "Created": "2026-11-20T04:48:43.9+01:00", "Name": "/web", "RestartCount": 0, "Driver": "overlay",
        "State": {
            "Status": "running", "Running": true, "Paused": false, "Restarting": false, "Pid": 1, "ExitCode": 0,
            "StartedAt": "2026-11-20T04:48:44.123456789+01:00", "FinishedAt": "0001-01-01T00:00:00Z"
        },
        "Config": {
            "Hostname": "0123456789ab", "Image": "localhost/web:1", "Env": ["container=podman"],
            "Labels": {"SERVICE_NAME": service}, "ExposedPorts": {"80/tcp": {}}, "StopSignal": "15"
        },
        "HostConfig": {"NetworkMode": "bridge", "PortBindings": {}},
        "NetworkSettings": {
            "IPAddress": "10.88.0.5", "Ports": {},
            "Networks": {"podman": {"IPAddress": "10.88.0.5", "GlobalIPv6Address": "", "NetworkID": "podman"}}
        }
    })
}

/// One line of the event stream; Podman keeps the fields that engine 29 has dropped.
fn event(action: &str, nanos: i64, attributes: &Value, podman: bool) -> Value {
    let mut event = json!({
        "Type": "container", "Action": action, "scope": "local",
        "Actor": {"ID": ID, "Attributes": attributes},
        "time": nanos / 1_000_000_000, "timeNano": nanos
    });
    if podman {
        event["status"] = json!(action);
        event["id"] = json!(ID);
        event["from"] = json!("localhost/web:1");
    }
    event
}

#[test]
fn engines_that_speak_otherwise_are_understood() {
    for (podman, address, end) in [(false, "10.0.1.2", "die"), (true, "10.88.0.5", "died")] {
        let scene = Scene::new();
        let fake = Fake::start();
        let mut config = scene.config();
        config.docker_host = fake.address();
        let _agent = Running::start(config).ready();
        let container = |service: &str| {
            if podman {
                by_podman(service)
            } else {
                by_docker_29(service)
            }
        };
        // 2026-11-20T04:48:44.2Z, just after the start that the inspection tells of.
        let start = 1_795_150_124_200_000_000;
        let running = container(&scene.service);
        fake.happens(
            Some(running.clone()),
            &event("start", start, &json!({"name": "web"}), podman),
        );
        let address_is = |want: Option<&str>| {
            wait::until("the right address", wait::LONG, || {
                let found: Vec<String> = scene
                    .keys()
                    .iter()
                    .map(|(_, value)| {
                        Record::from_json(value.as_bytes())
                            .unwrap()
                            .address
                            .to_string()
                    })
                    .collect();
                if found == want.into_iter().collect::<Vec<_>>() {
                    Ok(())
                } else {
                    Err(format!("podman {podman}: {found:?}"))
                }
            });
        };
        address_is(Some(address));
        // Another address after a network was changed.
        let mut moved = running;
        for network in ["front", "podman"] {
            if moved["NetworkSettings"]["Networks"].get(network).is_some() {
                moved["NetworkSettings"]["Networks"][network]["IPAddress"] = json!("10.7.7.7");
            }
        }
        let connect = json!({
            "Type": "network", "Action": "connect", "scope": "local", "time": start / 1_000_000_000 + 1,
            "timeNano": start + 1_000_000_000_i64,
            "Actor": {"ID": "f", "Attributes": {"container": ID, "name": "front", "type": "bridge"}}
        });
        fake.happens(Some(moved), &connect);
        address_is(Some("10.7.7.7"));
        let status = if podman {
            "containerExitCode"
        } else {
            "exitCode"
        };
        fake.happens(
            None,
            &event(end, start + 2_000_000_000, &json!({status: "0"}), podman),
        );
        address_is(None);
    }
}
