//! A world of random misfortune around the agent: containers that come and go, an engine that loses
//! its stream and answers late, a store that refuses, forgets its answers and loses the lease, a
//! second writer. When the misfortune ends, the store must say exactly what runs.

use proptest::prelude::*;
use registrator_catalog::layout::Kind;

use super::*;
use crate::desired::evaluate;
use crate::plan::Txn;

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

struct World {
    agent: Agent,
    random: u64,
    now_ms: u64,
    /// What runs, with the time it started; paused ones negative.
    running: BTreeMap<&'static str, i64>,
    paused: Vec<&'static str>,
    /// Whose health check fails.
    sick: Vec<&'static str>,
    /// Orders nobody has answered yet, in any order.
    open: Vec<Effect>,
    engine_up: bool,
    store_up: bool,
    lease_lives: bool,
    keys: BTreeMap<String, Held>,
    revision: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            agent: Agent::new(rules(Kind::Registrator), SETTINGS),
            random: seed,
            now_ms: 1_000,
            running: BTreeMap::new(),
            paused: Vec::new(),
            sick: Vec::new(),
            open: Vec::new(),
            engine_up: false,
            store_up: false,
            lease_lives: false,
            keys: BTreeMap::new(),
            revision: 1,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) % sides
    }

    fn nanos(&self) -> i64 {
        i64::try_from(self.now_ms).unwrap() * 1_000_000
    }

    fn tell(&mut self, input: Input) {
        let now = Now {
            mono_ms: self.now_ms,
            wall_nanos: self.nanos(),
        };
        let mut effects = Vec::new();
        self.agent.step(now, input, &mut effects);
        self.agent.check();
        self.open.extend(
            effects
                .into_iter()
                .filter(|effect| !matches!(effect, Effect::Note(_))),
        );
    }

    fn event(&mut self, id: &str, action: Action) {
        self.now_ms += 1;
        if self.engine_up {
            let time_nanos = self.nanos();
            self.tell(Input::Happened(Event {
                time_nanos,
                id: id.to_owned(),
                action,
            }));
        }
    }

    /// Something happens to a container.
    fn live(&mut self) {
        let id = IDS[usize::try_from(self.roll(IDS.len() as u64)).unwrap()];
        let runs = self.running.contains_key(id);
        match self.roll(7) {
            0 | 1 if !runs => {
                self.now_ms += 1;
                let started = i64::try_from(self.now_ms).unwrap();
                self.running.insert(id, started);
                self.event(id, Action::Start);
            }
            2 if runs => {
                self.paused.retain(|other| *other != id);
                self.event(id, Action::Kill { signal: 15 });
                self.running.remove(id);
                self.event(id, Action::Die);
            }
            3 if runs => {
                self.paused.retain(|other| *other != id);
                self.running.remove(id);
                self.event(id, Action::Die);
                self.now_ms += 1;
                self.running.insert(id, i64::try_from(self.now_ms).unwrap());
                self.event(id, Action::Start);
            }
            4 if runs && !self.paused.contains(&id) => {
                self.paused.push(id);
                self.event(id, Action::Pause);
            }
            4 if runs => {
                self.paused.retain(|other| *other != id);
                self.event(id, Action::Unpause);
            }
            5 if runs => self.event(id, Action::Kill { signal: 1 }),
            6 if runs => {
                match self.sick.iter().position(|other| *other == id) {
                    Some(at) => {
                        self.sick.swap_remove(at);
                    }
                    None => self.sick.push(id),
                }
                self.event(id, Action::Health);
            }
            _ => {}
        }
    }

    /// One of the open orders is carried out, or fails.
    fn answer(&mut self, fail: bool) {
        if self.open.is_empty() {
            return;
        }
        let at = usize::try_from(self.roll(self.open.len() as u64)).unwrap();
        match self.open.swap_remove(at) {
            Effect::List { token } => {
                let running = self.running.clone();
                let summary = |id: &str| Summary {
                    id: id.to_owned(),
                    name: id.to_owned(),
                    running: !self.paused.contains(&id),
                    shape: String::new(),
                };
                let containers = running.keys().map(|id| summary(id)).collect();
                self.tell(if fail || !self.engine_up {
                    Input::ListFailed {
                        token,
                        why: "no".into(),
                    }
                } else {
                    Input::Listed { token, containers }
                });
            }
            Effect::Inspect { token, id } => {
                let answer = match self.running.get(id.as_str()) {
                    _ if fail || !self.engine_up => Inspected::Failed("no".into()),
                    Some(started) => Inspected::Found(Box::new(self.container(&id, *started))),
                    None => Inspected::Gone,
                };
                self.tell(Input::Inspected { token, id, answer });
            }
            Effect::Commit { token, txn } => self.commit(token, &txn, fail),
            Effect::Check => {
                if self.store_up {
                    let leased = self.keys.iter().filter(|(_, held)| held.leased);
                    let keys = leased.map(|(key, _)| key.clone()).collect();
                    self.tell(Input::OnLease(keys));
                }
            }
            Effect::Reload => self.lease(),
            Effect::Note(_) | Effect::Probe { .. } => {}
        }
    }

    fn container(&self, id: &str, started: i64) -> Container {
        let mut container = web(id, started);
        if self.paused.contains(&id) {
            container.run = Run::Paused;
        }
        if self.sick.contains(&id) {
            container.health = Some(Health::Unhealthy);
        }
        // Two containers want one key.
        if id == "d" || id == "e" {
            container.labels.insert("SERVICE_ID".into(), "twin".into());
        }
        container
    }

    fn commit(&mut self, token: Token, txn: &Txn, fail: bool) {
        if !self.store_up || !self.lease_lives {
            return;
        }
        if fail && self.roll(2) == 0 {
            return self.tell(Input::CommitFailed {
                token,
                why: "busy".into(),
            });
        }
        let actual = |world: &Self, key: &String| world.keys.get(key).cloned();
        let holds = txn.writes.iter().all(|write| {
            actual(self, &write.key).map_or(0, |held| held.mod_revision) == write.guard
        });
        if !holds {
            let actual = txn
                .writes
                .iter()
                .map(|w| (w.key.clone(), actual(self, &w.key)))
                .collect();
            return self.tell(Input::Conflicted { token, actual });
        }
        self.revision += 1;
        for write in &txn.writes {
            match &write.value {
                Some(value) => {
                    let held = Held {
                        value: value.clone().into_bytes(),
                        mod_revision: self.revision,
                        leased: true,
                    };
                    self.keys.insert(write.key.clone(), held);
                }
                None => drop(self.keys.remove(&write.key)),
            }
        }
        if fail {
            // It happened, and nobody will know.
            return self.tell(Input::CommitFailed {
                token,
                why: "no answer".into(),
            });
        }
        self.tell(Input::Committed {
            token,
            revision: self.revision,
        });
    }

    /// A session begins, or the lease is read again.
    fn lease(&mut self) {
        if !self.store_up {
            return;
        }
        let adopted = self.lease_lives;
        self.lease_lives = true;
        let held = self
            .keys
            .iter()
            .filter(|(_, held)| held.leased)
            .map(|(key, held)| (key.clone(), held.clone()))
            .collect();
        self.tell(Input::Leased {
            lease: 7,
            adopted,
            held,
        });
    }

    fn store_goes(&mut self) {
        if self.store_up {
            self.store_up = false;
            self.open.retain(|effect| {
                !matches!(
                    effect,
                    Effect::Commit { .. } | Effect::Check | Effect::Reload
                )
            });
            self.tell(Input::StoreAway { why: "gone".into() });
            if self.roll(2) == 0 {
                self.lease_lives = false;
                self.keys.retain(|_, held| !held.leased);
            }
        }
    }

    /// The process dies and another one takes its place; the lease may or may not outlive the gap.
    fn agent_restarts(&mut self) {
        self.store_goes();
        self.engine_up = false;
        self.open.clear();
        self.agent = Agent::new(rules(Kind::Registrator), SETTINGS);
    }

    fn misfortune(&mut self) {
        match self.roll(41) {
            0..=9 => self.live(),
            10..=29 => self.answer(false),
            30 | 31 => self.answer(true),
            32 if self.engine_up => {
                self.engine_up = false;
                self.tell(Input::EngineDown { why: "gone".into() });
            }
            33 | 34 if !self.engine_up => {
                self.engine_up = true;
                self.tell(Input::EngineUp);
            }
            35 => self.store_goes(),
            36 | 37 if !self.store_up => {
                self.store_up = true;
                self.lease();
            }
            38 => {
                self.now_ms += self.roll(3_000);
                self.tell(Input::Tick);
            }
            40 if self.roll(4) == 0 => self.agent_restarts(),
            // A second writer deletes what is ours, or puts its own value where ours could stand.
            39 => {
                self.revision += 1;
                let id = IDS[usize::try_from(self.roll(3)).unwrap()];
                if self.roll(2) == 0 {
                    self.keys.remove(&format!("/s/web/n:{id}:80"));
                    return;
                }
                let held = Held {
                    value: b"foreign".to_vec(),
                    mod_revision: self.revision,
                    leased: false,
                };
                self.keys.insert(format!("/s/web/n:{id}:80"), held);
            }
            _ => {}
        }
    }

    /// Fair weather until nothing moves any more.
    fn calm(&mut self) {
        if !self.engine_up {
            self.engine_up = true;
            self.tell(Input::EngineUp);
        }
        if !self.store_up {
            self.store_up = true;
            self.lease();
        }
        // Two full lists and every retry fit into this.
        let until = self.now_ms + 200_000;
        while self.now_ms < until {
            while !self.open.is_empty() {
                self.answer(false);
            }
            self.now_ms = self.agent.next_deadline().unwrap_or(until).max(self.now_ms);
            self.tell(Input::Tick);
        }
        while !self.open.is_empty() {
            self.answer(false);
        }
    }

    fn expected(&self) -> BTreeMap<String, String> {
        let mut expected = BTreeMap::new();
        let healthy = |id: &str| !self.sick.contains(&id);
        for (id, started) in self.running.iter().filter(|(id, _)| healthy(id)) {
            let container = self.container(id, *started);
            expected.extend(evaluate(&container, &rules(Kind::Registrator), State::Up, "").wanted);
        }
        expected
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn after_any_misfortune_the_store_says_what_runs(seed: u64, steps in 1_usize..400) {
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.misfortune();
        }
        world.calm();
        let expected = world.expected();
        let ours: BTreeMap<String, String> = world
            .keys
            .iter()
            .filter(|(_, held)| held.leased)
            .map(|(key, held)| (key.clone(), String::from_utf8(held.value.clone()).unwrap()))
            .collect();
        for (key, value) in &expected {
            // The twins have two values for one key; either is right.
            let twin = key.ends_with("/twin");
            prop_assert!(
                ours.get(key).is_some_and(|found| twin || found == value),
                "{key} should be {value}: {ours:?}"
            );
        }
        for key in ours.keys() {
            prop_assert!(expected.contains_key(key), "{key} is left over");
        }
        prop_assert!(world.agent.status().is_ready(), "{:?}", world.agent.status());
        // And then nothing is written any more.
        let revision = world.revision;
        world.calm();
        prop_assert_eq!(world.revision, revision);
    }
}

/// Anything anybody could say, true or not, with tokens near the ones in use.
fn any_input() -> impl Strategy<Value = Input> {
    let id = prop::sample::select(IDS.to_vec()).prop_map(str::to_owned);
    let token = 0_u64..40;
    let held = ("[xy]", 0_i64..9, any::<bool>()).prop_map(|(value, mod_revision, leased)| Held {
        value: value.into_bytes(),
        mod_revision,
        leased,
    });
    let key = prop::sample::select(vec![
        "/s/web/n:a:80",
        "/s/web/n:b:80",
        "/s/web/twin",
        "/x",
        "",
    ]);
    let entry = (key, held).prop_map(|(key, held)| (key.to_owned(), held));
    let action = prop::sample::select(vec![
        Action::Start,
        Action::Die,
        Action::Stop,
        Action::Kill { signal: 15 },
        Action::Kill { signal: -1 },
        Action::Pause,
        Action::Unpause,
        Action::Rename,
        Action::Update,
        Action::Health,
        Action::Destroy,
    ]);
    let summary = (id.clone(), any::<bool>(), "[xy]").prop_map(|(id, running, shape)| Summary {
        name: id.clone(),
        id,
        running,
        shape,
    });
    let run = prop::sample::select(vec![
        Run::Running,
        Run::Paused,
        Run::Restarting,
        Run::Stopped,
    ]);
    let answer = (id.clone(), any::<i64>(), run, 0_u8..4).prop_map(|(id, started, run, kind)| {
        let mut container = web(&id, started / 1_000_000);
        container.run = run;
        container.stop_timeout_seconds = started.unsigned_abs();
        match kind {
            0 => Inspected::Gone,
            1 => Inspected::Failed("no".into()),
            _ => Inspected::Found(Box::new(container)),
        }
    });
    let why = "[a-b]".boxed();
    prop_oneof![
        Just(Input::EngineUp),
        why.clone().prop_map(|why| Input::EngineDown { why }),
        (token.clone(), prop::collection::vec(summary, 0..6))
            .prop_map(|(token, containers)| Input::Listed { token, containers }),
        (token.clone(), why.clone()).prop_map(|(token, why)| Input::ListFailed { token, why }),
        (token.clone(), id.clone(), answer).prop_map(|(token, id, answer)| Input::Inspected {
            token,
            id,
            answer
        }),
        (any::<i64>(), id, action).prop_map(|(time_nanos, id, action)| Input::Happened(Event {
            time_nanos,
            id,
            action
        })),
        (any::<bool>(), prop::collection::vec(entry.clone(), 0..6)).prop_map(|(adopted, held)| {
            Input::Leased {
                lease: 7,
                adopted,
                held,
            }
        }),
        prop::collection::vec("/s/web/n:[ab]:80", 0..3).prop_map(Input::OnLease),
        why.clone().prop_map(|why| Input::StoreAway { why }),
        (token.clone(), any::<i64>())
            .prop_map(|(token, revision)| Input::Committed { token, revision }),
        (token.clone(), prop::collection::vec(entry, 0..4)).prop_map(|(token, actual)| {
            let actual = actual.into_iter();
            let actual = actual
                .map(|(key, held)| (key, Some(held).filter(|h| h.leased)))
                .collect();
            Input::Conflicted { token, actual }
        }),
        (token, why).prop_map(|(token, why)| Input::CommitFailed { token, why }),
        Just(Input::Tick),
    ]
}

proptest! {
    #[test]
    fn nothing_anybody_says_breaks_it(
        inputs in prop::collection::vec((any_input(), any::<u32>(), any::<i64>()), 0..120),
    ) {
        let mut agent = Agent::new(rules(Kind::Native), SETTINGS);
        let mut effects = Vec::new();
        for (input, mono_ms, wall_nanos) in inputs {
            let now = Now { mono_ms: u64::from(mono_ms), wall_nanos };
            agent.step(now, input, &mut effects);
            agent.check();
        }
        let _ = agent.status();
    }
}
