//! Transcripts: each file in `testdata/agent` is a story of inputs, each followed by `----` and what
//! the agent orders. `MUSTER_REWRITE=1 cargo test -p registrator transcripts` writes them anew.
//! The words of the inputs are those of [`Story::input`]; times are milliseconds on both clocks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use registrator_catalog::layout::{Kind, Layout};
use registrator_catalog::record::State;

use super::*;
use crate::container::{Container, Network, NetworkMode, Port, Run};
use crate::desired::evaluate;
use crate::plan::Held;

#[path = "agent_load.rs"]
mod load;
#[path = "agent_world.rs"]
mod world;

/// Container addresses, upstream's short keys: `/s/<service>/n:<container>:<port>`.
pub(super) fn rules(kind: Kind) -> Rules {
    Rules {
        internal: true,
        ..Rules::new("n", vec![Layout::new(kind, "s")])
    }
}

pub(super) const SETTINGS: Settings = Settings {
    resync_ms: 60_000,
    seed: 1,
};

/// A container that runs the image `web` and exposes port 80.
pub(crate) fn web(id: &str, started_ms: i64) -> Container {
    Container {
        id: id.to_owned(),
        name: id.to_owned(),
        image: "web".into(),
        labels: BTreeMap::new(),
        env: Vec::new(),
        run: Run::Running,
        health: None,
        started_at: format!("at {started_ms}"),
        started_nanos: Some(started_ms * 1_000_000),
        exposed: [Port::parse("80").unwrap()].into(),
        published: BTreeMap::new(),
        network_mode: NetworkMode::Own,
        listening: None,
        networks: vec![Network {
            name: "bridge".into(),
            v4: Some([10, 0, 0, id.as_bytes()[0]].into()),
            v6: None,
        }],
        stop_signal: 15,
        stop_timeout_seconds: 10,
    }
}

struct Story {
    agent: Agent,
    now_ms: u64,
    revision: i64,
    /// Questions without an answer: what is asked, by token.
    open: BTreeMap<Token, String>,
}

impl Story {
    fn new() -> Self {
        Self {
            agent: Agent::new(rules(Kind::Registrator), SETTINGS),
            now_ms: 0,
            revision: 100,
            open: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            wall_nanos: i64::try_from(self.now_ms).unwrap() * 1_000_000,
        }
    }

    /// The oldest open question of that kind.
    fn answer_to(&mut self, question: &str) -> Token {
        let found = self
            .open
            .iter()
            .find(|(_, asked)| asked.as_str() == question);
        let (token, _) =
            found.unwrap_or_else(|| panic!("nobody asked {question}: {:?}", self.open));
        let token = *token;
        self.open.remove(&token);
        token
    }

    fn run(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap();
        let rest: Vec<&str> = words.collect();
        if verb == "keep-failed" {
            self.agent.rules.keep_failed_ms = Some(rest[0].parse().unwrap());
            return String::new();
        }
        if verb == "at" {
            self.now_ms = rest[0].parse().unwrap();
            return String::new();
        }
        let mut out = String::new();
        if verb == "wait" {
            self.now_ms = self.agent.next_deadline().unwrap();
            writeln!(out, "(it is {} ms)", self.now_ms).unwrap();
        }
        let input = self.input(verb, &rest);
        let mut effects = Vec::new();
        self.agent.step(self.now(), input, &mut effects);
        self.agent.check();
        for effect in effects {
            match &effect {
                Effect::List { token } => drop(self.open.insert(*token, "list".into())),
                Effect::Inspect { token, id } => {
                    drop(self.open.insert(*token, format!("inspect {id}")));
                }
                Effect::Commit { token, .. } => drop(self.open.insert(*token, "commit".into())),
                Effect::Probe { token, check } => {
                    drop(
                        self.open
                            .insert(*token, format!("probe {}", check.instance)),
                    );
                }
                Effect::Check | Effect::Reload | Effect::Note(_) => {}
            }
            writeln!(out, "{effect}").unwrap();
        }
        out
    }

    fn input(&mut self, verb: &str, rest: &[&str]) -> Input {
        let text = || rest.join(" ");
        match verb {
            "wait" | "tick" => Input::Tick,
            "engine-up" => Input::EngineUp,
            "engine-down" => Input::EngineDown { why: text() },
            // listed a b paused:c
            "listed" => Input::Listed {
                token: self.answer_to("list"),
                containers: rest
                    .iter()
                    .map(|word| {
                        let id = word.trim_start_matches("paused:");
                        Summary {
                            id: id.to_owned(),
                            name: id.to_owned(),
                            running: id == *word,
                            shape: String::new(),
                        }
                    })
                    .collect(),
            },
            "list-failed" => Input::ListFailed {
                token: self.answer_to("list"),
                why: text(),
            },
            // found a [on=b] [exposes=81] [host] [stopped|paused|restarting] [started=5] [name=x] [noport] [stop=3] [timeout=2]
            // [health=starting|healthy|unhealthy] [label=name=value]
            "found" => {
                let mut container = web(rest[0], 0);
                for word in &rest[1..] {
                    match word.split_once('=').unwrap_or((word, "")) {
                        ("on", owner) => {
                            container.network_mode = NetworkMode::Container(owner.into());
                            container.networks.clear();
                        }
                        ("exposes", port) => {
                            container.exposed = [Port::parse(port).unwrap()].into();
                        }
                        ("host", _) => {
                            container.network_mode = NetworkMode::Host;
                            container.listening = Some(BTreeSet::new());
                        }
                        ("stopped", _) => container.run = Run::Stopped,
                        ("health", "starting") => container.health = Some(Health::Starting),
                        ("health", "healthy") => container.health = Some(Health::Healthy),
                        ("health", "unhealthy") => container.health = Some(Health::Unhealthy),
                        ("label", label) => {
                            let (name, value) = label.split_once('=').unwrap();
                            container.labels.insert(name.into(), value.into());
                        }
                        ("paused", _) => container.run = Run::Paused,
                        ("restarting", _) => container.run = Run::Restarting,
                        ("noport", _) => container.exposed.clear(),
                        ("name", name) => container.name = name.to_owned(),
                        ("image", image) => container.image = image.to_owned(),
                        ("stop", signal) => container.stop_signal = signal.parse().unwrap(),
                        ("timeout", seconds) => {
                            container.stop_timeout_seconds = seconds.parse().unwrap();
                        }
                        ("started", ms) => {
                            container.started_nanos = Some(ms.parse::<i64>().unwrap() * 1_000_000);
                        }
                        ("id", id) => {
                            container.labels.insert("SERVICE_ID".into(), id.into());
                        }
                        other => panic!("{other:?}"),
                    }
                }
                self.inspected(rest[0], Inspected::Found(Box::new(container)))
            }
            "gone" => self.inspected(rest[0], Inspected::Gone),
            "inspect-failed" => self.inspected(rest[0], Inspected::Failed(rest[1..].join(" "))),
            // event a kill=15 [t=5]
            "event" => {
                let mut time_nanos = self.now().wall_nanos;
                if let Some(ms) = rest.get(2).and_then(|word| word.strip_prefix("t=")) {
                    time_nanos = ms.parse::<i64>().unwrap() * 1_000_000;
                }
                let action = match rest[1].split_once('=').unwrap_or((rest[1], "")) {
                    ("start", _) => Action::Start,
                    ("die", _) => Action::Die,
                    ("fail", _) => Action::Fail,
                    ("stop", _) => Action::Stop,
                    ("kill", signal) => Action::Kill {
                        signal: signal.parse().unwrap(),
                    },
                    ("pause", _) => Action::Pause,
                    ("unpause", _) => Action::Unpause,
                    ("rename", _) => Action::Rename,
                    ("update", _) => Action::Update,
                    ("health", _) => Action::Health,
                    ("destroy", _) => Action::Destroy,
                    other => panic!("{other:?}"),
                };
                Input::Happened(Event {
                    time_nanos,
                    id: rest[0].to_owned(),
                    action,
                })
            }
            // leased adopted key=value@revision
            "leased" => Input::Leased {
                lease: 7,
                adopted: rest[0] == "adopted",
                held: rest[1..]
                    .iter()
                    .filter_map(|word| held(word))
                    .map(|(key, held)| (key, held.unwrap()))
                    .collect(),
            },
            // said node/n={"state":"draining"} …, below the prefix of overrides
            "said" => {
                let split = |word: &&str| {
                    let (key, value) = word.split_once('=').unwrap();
                    (format!("/muster/overrides/{key}"), value.to_owned())
                };
                let said: Vec<(String, String)> = rest.iter().map(split).collect();
                let said = said
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_bytes()));
                Input::Overrides(registrator_catalog::overrides::Overrides::read(said))
            }
            // probed <instance> ok, probed <instance> <what was wrong>
            "probed" => Input::Probed {
                token: self.answer_to(&format!("probe {}", rest[0])),
                instance: rest[0].to_owned(),
                answer: match &rest[1..] {
                    ["ok"] => Ok(()),
                    why => Err(why.join(" ")),
                },
            },
            "on-lease" => Input::OnLease(rest.iter().map(|key| (*key).to_owned()).collect()),
            "store-away" => {
                self.open.retain(|_, asked| asked != "commit");
                Input::StoreAway { why: text() }
            }
            "committed" => {
                self.revision += 1;
                Input::Committed {
                    token: self.answer_to("commit"),
                    revision: self.revision,
                }
            }
            // conflicted key=value@revision other=value@revision!foreign absent=
            "conflicted" => Input::Conflicted {
                token: self.answer_to("commit"),
                actual: rest.iter().filter_map(|word| held(word)).collect(),
            },
            "commit-failed" => Input::CommitFailed {
                token: self.answer_to("commit"),
                why: text(),
            },
            other => panic!("unknown input {other:?}"),
        }
    }

    fn inspected(&mut self, id: &str, answer: Inspected) -> Input {
        Input::Inspected {
            token: self.answer_to(&format!("inspect {id}")),
            id: id.to_owned(),
            answer,
        }
    }
}

/// `key=value@revision`, with `!foreign` when it hangs on another lease, or `key=` when absent.
fn held(word: &str) -> Option<(String, Option<Held>)> {
    let (key, rest) = word.split_once('=')?;
    if rest.is_empty() {
        return Some((key.to_owned(), None));
    }
    let (rest, leased) = match rest.strip_suffix("!foreign") {
        Some(rest) => (rest, false),
        None => (rest, true),
    };
    let (value, revision) = rest.rsplit_once('@')?;
    Some((
        key.to_owned(),
        Some(Held {
            value: value.as_bytes().to_vec(),
            mod_revision: revision.parse().unwrap(),
            leased,
        }),
    ))
}

/// Runs a story; gives it back with what really follows each input.
fn retell(text: &str) -> String {
    let mut story = Story::new();
    let mut out = String::new();
    let mut answering = false;
    for line in text.lines() {
        if line.is_empty() {
            answering = false;
        } else if answering {
            continue;
        }
        if line == "----" {
            answering = true;
            continue;
        }
        out.push_str(line);
        out.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            let effects = story.run(line);
            if !line.starts_with("at ") && !line.starts_with("keep-failed ") {
                out.push_str("----\n");
                out.push_str(&effects);
            }
        }
    }
    out
}

#[test]
fn transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/agent");
    let mut stories: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    stories.sort();
    assert!(stories.len() >= 10, "{stories:?}");
    let mut wrong = String::new();
    for path in stories {
        let text = std::fs::read_to_string(&path).unwrap();
        let told = retell(&text);
        if std::env::var_os("MUSTER_REWRITE").is_some() {
            std::fs::write(&path, &told).unwrap();
        } else if told != text {
            let at = told
                .lines()
                .zip(text.lines())
                .position(|(a, b)| a != b)
                .unwrap_or_default();
            write!(wrong, "\n{}:{}\n{told}", path.display(), at + 1).unwrap();
        }
    }
    assert!(
        wrong.is_empty(),
        "told differently (see the line, then the whole story):{wrong}"
    );
}

#[test]
fn an_adopted_record_that_differs_only_in_its_time_is_not_written_again() {
    let mut agent = Agent::new(rules(Kind::Native), SETTINGS);
    let mut effects = Vec::new();
    let earlier = "2026-11-20T04:48:44.123Z";
    let (key, value) = evaluate(&web("a", 0), &rules(Kind::Native), State::Up, earlier)
        .wanted
        .pop_first()
        .unwrap();
    let lease = |value: String| Input::Leased {
        lease: 7,
        adopted: true,
        held: vec![(
            key.clone(),
            Held {
                value: value.into_bytes(),
                mod_revision: 5,
                leased: true,
            },
        )],
    };
    for input in [
        Input::EngineUp,
        Input::Listed {
            token: 1,
            containers: vec![Summary {
                id: "a".into(),
                name: "a".into(),
                running: true,
                shape: String::new(),
            }],
        },
        lease(value.clone()),
        Input::Inspected {
            token: 2,
            id: "a".into(),
            answer: Inspected::Found(Box::new(web("a", 0))),
        },
    ] {
        agent.step(Now::default(), input, &mut effects);
    }
    let commits = |effects: &[Effect]| {
        effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Commit { .. }))
            .count()
    };
    assert_eq!(commits(&effects), 0, "{effects:?}");
    assert!(agent.status().is_ready(), "{:?}", agent.status());
    // Any other difference is written.
    agent.step(
        Now::default(),
        lease(value.replace("\"weight\":100", "\"weight\":1")),
        &mut effects,
    );
    assert_eq!(commits(&effects), 1, "{effects:?}");
}

#[test]
fn gaps_are_counted_and_what_the_engine_forgot_in_them() {
    let mut agent = Agent::new(rules(Kind::Native), SETTINGS);
    let mut effects = Vec::new();
    let mut at = |mono_ms: u64, input: Input| {
        let wall_nanos = i64::try_from(mono_ms).unwrap() * 1_000_000;
        let now = Now {
            mono_ms,
            wall_nanos,
        };
        agent.step(now, input, &mut effects);
        let counts = agent.counts;
        (counts.gaps, counts.gap_ms, counts.overflows)
    };
    let start = |ms: i64| {
        Input::Happened(Event {
            time_nanos: ms * 1_000_000,
            id: "a".into(),
            action: Action::Start,
        })
    };
    let down = || Input::EngineDown { why: "gone".into() };
    // The wait for the first stream is no gap, and nothing was known that could be forgotten.
    assert_eq!(at(0, down()), (0, 0, 0));
    assert_eq!(at(100, Input::EngineUp), (0, 0, 0));
    assert_eq!(at(200, start(200)), (0, 0, 0));
    // A gap is as long as all tries together; its replay begins with what was known.
    assert_eq!(at(1_000, down()), (0, 0, 0));
    assert_eq!(at(1_500, down()), (0, 0, 0));
    assert_eq!(at(2_000, Input::EngineUp), (1, 1_000, 0));
    assert_eq!(at(2_001, start(200)), (1, 1_000, 0));
    assert_eq!(at(2_002, start(1_800)), (1, 1_000, 0));
    // An engine that starts with something newer has forgotten the rest. Once for each gap.
    assert_eq!(at(3_000, down()), (1, 1_000, 0));
    assert_eq!(at(3_250, Input::EngineUp), (2, 1_250, 0));
    assert_eq!(at(3_300, start(3_100)), (2, 1_250, 1));
    assert_eq!(at(3_400, start(3_400)), (2, 1_250, 1));
}

impl Agent {
    /// The invariants that the fields name.
    pub(super) fn check(&self) {
        let asked = self
            .containers
            .values()
            .filter(|tracked| matches!(tracked.look, Look::Asked { .. }))
            .count();
        assert_eq!(asked, self.asked, "inspections under way");
        for (key, id) in &self.owners {
            let owner = self.containers.get(id);
            assert!(
                owner.is_some_and(|owner| owner.claims.contains_key(key)),
                "{key} of {id}"
            );
        }
        for (key, ids) in &self.contenders {
            assert!(!ids.is_empty(), "nobody waits for {key}");
            for id in ids {
                let waits = self.containers.get(id);
                assert!(
                    waits.is_some_and(|tracked| tracked.contested.contains(key)),
                    "{key}: {id}"
                );
            }
        }
        for (id, tracked) in &self.containers {
            for key in tracked.claims.keys() {
                assert_eq!(self.owners.get(key), Some(id), "{key}");
            }
            for key in &tracked.contested {
                let waiting = self.contenders.get(key);
                assert!(waiting.is_some_and(|ids| ids.contains(id)), "{id}: {key}");
            }
            let waits = self.to_write.contains(id);
            assert_eq!(tracked.queued, waits, "{id} in the queue for writing");
            let waits = self.to_inspect.contains(id);
            assert_eq!(
                tracked.look == Look::Queued,
                waits,
                "{id} in the queue for looking"
            );
            if let Some(token) = tracked.commit {
                assert!(self.flights.contains_key(&token), "{id} waits for #{token}");
            }
        }
    }
}
