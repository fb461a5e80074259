//! A container engine: containers come and go, events are told over a stream that breaks, forgets and is
//! late, and it restarts, with its containers or without. What it is asked it answers as things are just
//! then.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use registrator::agent::{Action, Event, Input, Inspected, Summary};
use registrator::container::{Container, Health, Network, NetworkMode, Port, Run};
use registrator::desired::{Rules, evaluate};

use super::Happening;
use super::desk::Desk;
use super::registrar::{Fact, Question};
use crate::clock::Time;

/// Events an engine remembers for those who connect later: a small ring, so that it is too small at times.
const RING_EVENTS: usize = 12;
/// Containers at a time.
const CONTAINERS_MAX: usize = 6;
/// Deaths within a minute that make a crash loop, and how long such a container must run to be believed: the
/// registrator's rule, which takes keys away on purpose.
const LOOP_DEATHS: usize = 5;
const LOOP_NANOS: i64 = 60_000_000_000;
const STABLE_NANOS: i64 = 15_000_000_000;
/// What all clocks of machines show when a world begins, nanoseconds since 1970.
const EPOCH_NANOS: i64 = 1_700_000_000_000_000_000;

/// Nanoseconds since 1970 on every machine's wall.
pub(crate) fn wall_nanos(now: Time) -> i64 {
    EPOCH_NANOS + i64::try_from(now).unwrap_or(i64::MAX / 2_000) * 1_000
}

/// A container and what is behind it.
struct Living {
    container: Container,
    /// It was told to stop.
    leaving: bool,
    /// When it died of itself.
    deaths: VecDeque<i64>,
}

/// Events on their way to who listens.
struct Stream {
    number: u64,
    life: u64,
    /// When the last one arrives.
    arrives: Time,
}

/// See the module.
pub(crate) struct Engine {
    site: usize,
    pub(crate) up: bool,
    containers: BTreeMap<String, Living>,
    made: u16,
    ring: VecDeque<Event>,
    last_nanos: i64,
    stream: Option<Stream>,
    streams: u64,
}

impl Engine {
    pub(crate) fn new(site: usize) -> Self {
        Self {
            site,
            up: true,
            containers: BTreeMap::new(),
            made: 0,
            ring: VecDeque::new(),
            last_nanos: 0,
            stream: None,
            streams: 0,
        }
    }

    /// The keys and values that what runs demands, each by every container that does.
    pub(crate) fn demanded(&self, rules: &Rules) -> BTreeMap<String, Vec<String>> {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for living in self.containers.values() {
            for (key, value) in wanted(&living.container, rules, self.last_nanos) {
                all.entry(key).or_default().push(value);
            }
        }
        all
    }

    // ---- what happens to containers ---------------------------------------------------------

    /// Something happens to one of them.
    pub(crate) fn churn(&mut self, desk: &mut Desk<'_>, rules: &Rules) {
        if !self.up {
            return;
        }
        let place = desk.chance.place(CONTAINERS_MAX);
        let Some(id) = self.containers.keys().nth(place).cloned() else {
            self.create(desk, rules);
            return;
        };
        let Some(living) = self.containers.get_mut(&id) else {
            return;
        };
        let run = living.container.run;
        let started = living.container.started_nanos.unwrap_or(0);
        match (desk.chance.below(9), run) {
            (0, Run::Stopped) => {
                self.containers.remove(&id);
                self.publish(desk, &id, Action::Destroy);
            }
            (_, Run::Stopped) => self.starts(desk, rules, &id),
            (0 | 1, _) => {
                living.leaving = true;
                self.publish(desk, &id, Action::Kill { signal: 15 });
                self.demand(desk, rules, &id);
                let grace = desk.chance.skewed(1_000, 9_000_000);
                let site = self.site;
                desk.after(grace, Happening::Dies { site, id, started });
            }
            (2, _) => {
                self.dies(desk, rules, &id, started);
                let pause = desk.chance.skewed(100, 3_000_000);
                let site = self.site;
                desk.after(pause, Happening::Starts { site, id });
            }
            (3, _) => self.dies(desk, rules, &id, started),
            (4, Run::Running) => {
                living.container.run = Run::Paused;
                self.publish(desk, &id, Action::Pause);
                self.demand(desk, rules, &id);
            }
            (_, Run::Paused) => {
                living.container.run = Run::Running;
                self.publish(desk, &id, Action::Unpause);
                self.demand(desk, rules, &id);
            }
            (5, _) => {
                living.container.name = format!("n{}", desk.chance.below(1_000));
                self.publish(desk, &id, Action::Rename);
                self.demand(desk, rules, &id);
            }
            (6, _) => self.publish(desk, &id, Action::Kill { signal: 1 }),
            _ => {
                if let Some(health) = &mut living.container.health {
                    *health = match health {
                        Health::Healthy => Health::Unhealthy,
                        Health::Starting | Health::Unhealthy => Health::Healthy,
                    };
                    self.publish(desk, &id, Action::Health);
                    self.demand(desk, rules, &id);
                }
            }
        }
    }

    fn create(&mut self, desk: &mut Desk<'_>, rules: &Rules) {
        self.made += 1;
        let id = format!("c{:02}{:04}", self.site, self.made);
        let mut container = blank(&id, self.site, self.made);
        if desk.chance.once_in(4) {
            container.health = Some(Health::Starting);
        }
        if desk.chance.once_in(5) {
            // Several that are offered under one name.
            let id = format!("twin{}", self.site);
            container.labels.insert("SERVICE_ID".into(), id);
        }
        let service = ["web", "api"][desk.chance.place(2)];
        container
            .labels
            .insert("SERVICE_NAME".into(), service.into());
        let living = Living {
            container,
            leaving: false,
            deaths: VecDeque::new(),
        };
        self.containers.insert(id.clone(), living);
        self.starts(desk, rules, &id);
    }

    /// A container starts, unless it runs.
    pub(crate) fn starts(&mut self, desk: &mut Desk<'_>, rules: &Rules, id: &str) {
        let nanos = self.tick(desk.now);
        let Some(living) = self.containers.get_mut(id) else {
            return;
        };
        let container = &mut living.container;
        if container.run != Run::Stopped || !self.up {
            return;
        }
        container.run = Run::Running;
        container.started_nanos = Some(nanos);
        container.started_at = format!("at {nanos}");
        if let Some(health) = &mut container.health {
            *health = Health::Starting;
        }
        living.leaving = false;
        self.tell(desk, id, Action::Start, nanos);
        self.demand(desk, rules, id);
    }

    /// The process of a container that started then ends.
    pub(crate) fn dies(&mut self, desk: &mut Desk<'_>, rules: &Rules, id: &str, started: i64) {
        let nanos = self.tick(desk.now);
        let Some(living) = self.containers.get_mut(id) else {
            return;
        };
        let container = &mut living.container;
        if container.run == Run::Stopped || container.started_nanos != Some(started) {
            return;
        }
        container.run = Run::Stopped;
        living.deaths.push_back(nanos);
        if living.deaths.len() > LOOP_DEATHS {
            living.deaths.pop_front();
        }
        let told = living.leaving;
        self.tell(desk, id, Action::Die, nanos);
        if told {
            self.publish(desk, id, Action::Stop);
        }
        self.demand(desk, rules, id);
    }

    /// The engine restarts: it forgets its events, and its containers may go down with it.
    pub(crate) fn restart(&mut self, desk: &mut Desk<'_>, rules: &Rules) {
        let all = desk.chance.once_in(2);
        let ids: Vec<(String, i64)> = self
            .containers
            .iter()
            .map(|(id, living)| (id.clone(), living.container.started_nanos.unwrap_or(0)))
            .collect();
        self.end_stream(desk);
        for (id, started) in ids {
            if all {
                self.dies(desk, rules, &id, started);
                if desk.chance.once_in(2) {
                    let site = self.site;
                    desk.after(6_000_000, Happening::Starts { site, id });
                }
            }
        }
        self.ring.clear();
        self.up = false;
    }

    /// What a container demands from now on.
    fn demand(&self, desk: &mut Desk<'_>, rules: &Rules, id: &str) {
        let living = self.containers.get(id);
        let demanded = living
            .filter(|living| !living.leaving && !living.loops())
            .map(|living| wanted(&living.container, rules, self.last_nanos));
        desk.kept
            .demanded(desk.now, id, &demanded.unwrap_or_default());
    }

    // ---- what it tells ----------------------------------------------------------------------

    /// The time of an event: no two have the same.
    fn tick(&mut self, now: Time) -> i64 {
        self.last_nanos = wall_nanos(now).max(self.last_nanos + 1);
        self.last_nanos
    }

    fn publish(&mut self, desk: &mut Desk<'_>, id: &str, action: Action) {
        let nanos = self.tick(desk.now);
        self.tell(desk, id, action, nanos);
    }

    fn tell(&mut self, desk: &mut Desk<'_>, id: &str, action: Action, time_nanos: i64) {
        let event = Event {
            time_nanos,
            id: id.to_owned(),
            action,
        };
        desk.world
            .say(|| format!("site {}: {id} {action:?}", self.site));
        self.ring.push_back(event.clone());
        if self.ring.len() > RING_EVENTS {
            self.ring.pop_front();
        }
        // Nothing but an event tells that a container has started again in no time.
        let may_be_lost = desk.plan.lossy && action != Action::Start;
        if may_be_lost && !desk.well() && desk.chance.once_in(20) {
            return;
        }
        self.send(desk, Input::Happened(event));
    }

    fn send(&mut self, desk: &mut Desk<'_>, input: Input) {
        let delay = engine_delay(desk);
        let site = self.site;
        if let Some(stream) = &mut self.stream {
            stream.arrives = stream.arrives.max(desk.now + delay);
            let fact = Fact::Streamed {
                stream: stream.number,
                input,
            };
            let life = stream.life;
            let delay = stream.arrives - desk.now;
            desk.after(delay, Happening::Registrar { site, life, fact });
        }
    }

    /// Opens a stream of events, those it remembers since then first.
    pub(crate) fn follow(&mut self, desk: &mut Desk<'_>, life: u64, since: i64) -> Option<u64> {
        if !self.up {
            return None;
        }
        self.streams += 1;
        self.stream = Some(Stream {
            number: self.streams,
            life,
            arrives: desk.now,
        });
        self.send(desk, Input::EngineUp);
        let replayed: Vec<Event> = self.ring.iter().cloned().collect();
        for mut event in replayed {
            if event.time_nanos >= since {
                if desk.bug == Some(crate::Bug::ReplaysLookNew) {
                    event.time_nanos = self.tick(desk.now);
                }
                self.send(desk, Input::Happened(event));
            }
        }
        Some(self.streams)
    }

    /// The stream ends, and who listens learns of it.
    pub(crate) fn end_stream(&mut self, desk: &mut Desk<'_>) {
        let why = "the stream ended".to_owned();
        self.send(desk, Input::EngineDown { why });
        self.stream = None;
    }

    /// Nobody listens any more.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    /// Answers as things are now.
    pub(crate) fn answer(&self, desk: &mut Desk<'_>, question: Question) -> Input {
        let failed = !self.up || (!desk.well() && desk.chance.per_mille(desk.plan.engine_faults));
        let why = || "the engine does not answer".to_owned();
        match question {
            Question::List(token) if failed => Input::ListFailed { token, why: why() },
            Question::List(token) => Input::Listed {
                token,
                containers: self.list(),
            },
            Question::Inspect(token, id) => {
                let found = self.containers.get(&id);
                let answer = match found {
                    _ if failed && desk.bug == Some(crate::Bug::SilenceIsAbsence) => {
                        Inspected::Gone
                    }
                    _ if failed => Inspected::Failed(why()),
                    None => Inspected::Gone,
                    Some(living) => Inspected::Found(Box::new(living.container.clone())),
                };
                Input::Inspected { token, id, answer }
            }
        }
    }

    fn list(&self) -> Vec<Summary> {
        let runs = self.containers.values().map(|living| &living.container);
        runs.filter(|container| container.run != Run::Stopped)
            .map(|container| Summary {
                id: container.id.clone(),
                name: container.name.clone(),
                running: container.run == Run::Running,
                // The engine's list tells of health.
                shape: format!("{:?}", container.health),
            })
            .collect()
    }
}

impl Living {
    /// Whether the registrator holds it back.
    fn loops(&self) -> bool {
        let last = self.container.started_nanos.unwrap_or(0);
        let within = self
            .deaths
            .front()
            .is_some_and(|first| last - first <= LOOP_NANOS + STABLE_NANOS);
        self.deaths.len() >= LOOP_DEATHS && within
    }
}

/// Delay of what an engine says.
pub(crate) fn engine_delay(desk: &mut Desk<'_>) -> Time {
    let longest = if desk.well() {
        1_000
    } else {
        desk.plan.engine_delay_max
    };
    desk.chance.skewed(100, longest)
}

/// What a container should have in the store, by the rules that the registrator goes by.
fn wanted(container: &Container, rules: &Rules, wall_nanos: i64) -> BTreeMap<String, String> {
    let passage = rules.gate.ask(container, wall_nanos);
    if passage.closed.is_some() {
        return BTreeMap::new();
    }
    evaluate(container, rules, passage.state, NO_TIME).wanted
}

/// A record's time, which decides nothing.
const NO_TIME: &str = "2020-01-01T00:00:00.000Z";

fn blank(id: &str, site: usize, number: u16) -> Container {
    let [high, low] = number.to_be_bytes();
    let site = u8::try_from(site).unwrap_or(0);
    Container {
        id: id.to_owned(),
        name: id.to_owned(),
        image: "web".into(),
        labels: BTreeMap::new(),
        env: Vec::new(),
        run: Run::Stopped,
        health: None,
        started_at: String::new(),
        started_nanos: None,
        exposed: Port::parse("80").into_iter().collect(),
        published: BTreeMap::new(),
        network_mode: NetworkMode::Own,
        listening: None,
        networks: vec![Network {
            name: "bridge".into(),
            v4: Some(Ipv4Addr::new(10, site, high, low)),
            v6: None,
        }],
        stop_signal: 15,
        stop_timeout_seconds: 10,
    }
}
