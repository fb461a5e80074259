//! From a container's start to its key in the store: the registrator on top of a store.
//!
//! The start is the engine's own time stamp of its `start` event, the end is when a watcher of the
//! store has the key in hand; both by this machine's clock.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use end_to_end::docker::Engine;
use prost::Message;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use store_proto::mvccpb::Event;
use store_proto::mvccpb::event::EventType;

use super::{Bout, Case, CaseError, Figures, WATCH};
use crate::contender::{Contender, Running};
use crate::cores::Mode;
use crate::lines::Lines;
use crate::sample::{Meter, Sample};
use crate::wire::Heard;

/// Containers started and removed per run, one after the other; an engine takes a third of a
/// second for one, so this is about ten seconds.
const CONTAINERS: usize = 25;

/// Longest wait for a key to come or go.
const KEY_WAIT_MAX: Duration = Duration::from_secs(20);

/// Where the registrator's native layout keeps services, and the end of that range.
const SERVICES: (&[u8], &[u8]) = (b"/services/", b"/services0");

/// The image: the static busybox that `make deps` installs, and nothing else.
const IMAGE: &str = "muster-bench:latest";

/// One container after the other.
pub(crate) const START_TO_KEY: Case = Case {
    name: "start-to-key",
    about: "container's start event to its key, put by `muster registrator`, received by a watcher; \
            the row names the store below, CPU and memory are the registrator's",
    modes: &[Mode::Free],
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout),
};

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let engine = Engine::at(String::new());
    let mut containers = Containers::create(engine, bout)?;
    let starts = Starts::watch()?;
    let mut keys = Keys::watch(bout)?;
    // No service of anybody else's containers matters: only the keys of these come and go here.
    let agent = bout.agent(
        "registrator",
        &["--internal", "--ttl", "60", "--node", "bench"],
    )?;
    let mut meter = Meter::of_part(agent.id(), bout.server);
    for number in 0..CONTAINERS + 1 {
        let id = containers.start(number)?;
        let name = containers.names[number].clone();
        let arrived = keys.wait(&name, EventType::Put, &agent)?;
        let started = starts.of(&id)?;
        // The first one only shows that everybody is ready.
        if number == 0 {
            meter.begin()?;
        } else {
            meter.count(arrived.saturating_sub(started));
        }
        containers.remove(number)?;
        keys.wait(&name, EventType::Delete, &agent)?;
    }
    Ok(meter.finish()?)
}

/// Containers of a run, created beforehand; neither they nor their image are left behind.
struct Containers {
    engine: Engine,
    ids: Vec<String>,
    /// Names of their services, each one's own, so that a key tells whose it is.
    names: Vec<String>,
}

impl Containers {
    fn create(engine: Engine, bout: &Bout<'_>) -> Result<Containers, CaseError> {
        let archive = bout.server.folder().join("image.tar");
        let packed = Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .args(["-C", "/bin", "busybox"])
            .status();
        if !packed.is_ok_and(|status| status.success()) {
            let reason =
                "no image without tar and the static /bin/busybox (`make deps` installs it)"
                    .to_owned();
            return Err(CaseError::Docker { reason });
        }
        let mut containers = Containers {
            engine,
            ids: Vec::new(),
            names: Vec::new(),
        };
        containers.docker(&["import", &archive.display().to_string(), IMAGE])?;
        for number in 0..CONTAINERS + 1 {
            let name = format!("bench-{}-{number}", std::process::id());
            let label = format!("SERVICE_NAME={name}");
            let create = [
                "create", "--label", &label, "--expose", "80", IMAGE, "/busybox", "sleep", "600",
            ];
            let id = containers.docker(&create)?;
            containers.ids.push(id);
            containers.names.push(name);
        }
        Ok(containers)
    }

    fn start(&self, number: usize) -> Result<String, CaseError> {
        self.docker(&["start", &self.ids[number]])?;
        Ok(self.ids[number].clone())
    }

    fn remove(&mut self, number: usize) -> Result<(), CaseError> {
        let id = std::mem::take(&mut self.ids[number]);
        self.docker(&["rm", "--force", &id]).map(|_| ())
    }

    fn docker(&self, arguments: &[&str]) -> Result<String, CaseError> {
        self.engine
            .run(arguments)
            .map_err(|reason| CaseError::Docker { reason })
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for id in self.ids.iter().filter(|id| !id.is_empty()) {
            let _ = self.docker(&["rm", "--force", id]);
        }
        let _ = self.docker(&["rmi", IMAGE]);
    }
}

/// The engine's start events, as `docker events` prints them.
struct Starts {
    events: Child,
    lines: Receiver<String>,
}

impl Starts {
    fn watch() -> Result<Starts, CaseError> {
        let docker = |source: std::io::Error| CaseError::Docker {
            reason: format!("run docker events: {source}"),
        };
        let filters = ["--filter", "type=container", "--filter", "event=start"];
        let mut events = Command::new("docker")
            .arg("events")
            .args(filters)
            .args(["--format", "{{.TimeNano}} {{.Actor.ID}}"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(docker)?;
        let (send, lines) = channel();
        if let Some(output) = events.stdout.take() {
            // Ends with the process it reads from.
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Starts { events, lines })
    }

    /// When the container `id` was started, since the epoch.
    fn of(&self, id: &str) -> Result<Duration, CaseError> {
        while let Ok(line) = self.lines.recv_timeout(KEY_WAIT_MAX) {
            let nanos = line
                .split_once(' ')
                .filter(|(_, whose)| *whose == id)
                .and_then(|(nanos, _)| nanos.parse().ok());
            if let Some(nanos) = nanos {
                return Ok(Duration::from_nanos(nanos));
            }
        }
        Err(CaseError::Docker {
            reason: format!("no start event of container {id}"),
        })
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        let _ = self.events.kill();
        let _ = self.events.wait();
    }
}

/// A watcher of all services.
pub(super) struct Keys {
    lines: Lines,
    ready: Vec<usize>,
    heard: Vec<Heard>,
}

impl Keys {
    pub(super) fn watch(bout: &Bout<'_>) -> Result<Keys, CaseError> {
        let create = WatchCreateRequest {
            key: Bytes::from_static(SERVICES.0),
            range_end: Bytes::from_static(SERVICES.1),
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let mut lines = Lines::connect(&bout.addresses(), 1)?;
        lines.get(0).open(0, WATCH, &request.encode_to_vec())?;
        lines.flush(0)?;
        Ok(Keys {
            lines,
            ready: Vec::new(),
            heard: Vec::new(),
        })
    }

    /// When an event of this kind on a key of `service` arrived, since the epoch.
    fn wait(
        &mut self,
        service: &str,
        kind: EventType,
        agent: &Running,
    ) -> Result<Duration, CaseError> {
        let deadline = Instant::now() + KEY_WAIT_MAX;
        let prefix = [SERVICES.0, service.as_bytes(), b"/"].concat();
        while Instant::now() < deadline {
            let events = self.heard()?;
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let of_service = |key: &[u8]| key.starts_with(&prefix);
            if events.iter().any(|event| {
                event.r#type() == kind
                    && event.kv.as_ref().is_some_and(|pair| of_service(&pair.key))
            }) {
                return Ok(now);
            }
        }
        Err(idle(agent))
    }

    /// Hands the key of every put to `seen`, until it has had enough.
    pub(super) fn puts(
        &mut self,
        agent: &Running,
        mut seen: impl FnMut(Bytes) -> bool,
    ) -> Result<(), CaseError> {
        let deadline = Instant::now() + KEY_WAIT_MAX;
        while Instant::now() < deadline {
            for event in self.heard()? {
                if event.r#type() == EventType::Put && event.kv.is_some_and(|pair| seen(pair.key)) {
                    return Ok(());
                }
            }
        }
        Err(idle(agent))
    }

    /// What arrives within a tenth of a second.
    fn heard(&mut self) -> Result<Vec<Event>, CaseError> {
        self.lines.flush(0)?;
        self.lines
            .wait(Duration::from_millis(100), &mut self.ready)?;
        self.heard.clear();
        self.lines.get(0).receive(&mut self.heard)?;
        let mut events = Vec::new();
        for said in &self.heard {
            let Heard::Message { bytes, .. } = said else {
                return Err(CaseError::Unexpected {
                    what: "ended the watch stream".to_owned(),
                });
            };
            let response = WatchResponse::decode(&bytes[..]).unwrap_or_default();
            events.extend(response.events);
        }
        Ok(events)
    }
}

fn idle(agent: &Running) -> CaseError {
    CaseError::Idle {
        what: "wait for a container's key to come or go",
        log: agent.last_words(),
    }
}
