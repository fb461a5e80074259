//! Asking instances how they are: when, and what follows from the answers. One question per instance at a time; the
//! store hears of it only when the state changes.

use std::collections::BTreeMap;

use registrator_catalog::record::{Record, State};
use registrator_catalog::timestamp;

use super::Agent;
use super::effect::{Effect, Level};
use super::input::{Now, Token};
use super::timers::Timer;
use super::told::note;
use crate::check::{Check, Finding, Findings, Streak};

/// A check under way.
#[derive(Clone, Debug)]
pub(super) struct Monitor {
    check: Check,
    streak: Streak,
    since: String,
    why: String,
    /// The question that waits for its answer.
    asked: Option<Token>,
    /// Whether any answer came.
    answered: bool,
}

impl Agent {
    /// What the checks of one container say.
    pub(super) fn findings(&self, container: &str) -> Findings {
        let of = self
            .monitors
            .iter()
            .filter(|(_, monitor)| monitor.check.container == container);
        of.map(|(instance, monitor)| {
            let finding = Finding {
                state: monitor.streak.state(),
                since: monitor.since.clone(),
                why: monitor.why.clone(),
            };
            (instance.clone(), finding)
        })
        .collect()
    }

    /// Starts what is asked for and not yet under way, and ends what nobody asks for any more. Whether a check began
    /// with a result, so that the container has to be looked at anew.
    pub(super) fn monitor(&mut self, now: Now, container: &str, wanted: &[Check]) -> bool {
        let mut by_instance: BTreeMap<&str, &Check> = BTreeMap::new();
        for check in wanted {
            by_instance.insert(&check.instance, check);
        }
        let stale: Vec<String> = self
            .monitors
            .iter()
            .filter(|(instance, monitor)| {
                monitor.check.container == container
                    && by_instance.get(instance.as_str()) != Some(&&monitor.check)
            })
            .map(|(instance, _)| instance.clone())
            .collect();
        for instance in stale {
            self.monitors.remove(&instance);
            self.timers.clear(&Timer::Probe(instance));
        }
        let mut known = false;
        for (instance, check) in by_instance {
            if self.monitors.contains_key(instance) {
                continue;
            }
            let offered = self.offered_since(check);
            known |= offered.is_some();
            let wall_ms = u64::try_from(now.wall_nanos / 1_000_000).unwrap_or(0);
            let monitor = Monitor {
                check: check.clone(),
                streak: if offered.is_some() {
                    Streak::up()
                } else {
                    Streak::default()
                },
                since: offered
                    .filter(|since| !since.is_empty())
                    .unwrap_or_else(|| timestamp::format_millis(wall_ms)),
                why: String::new(),
                asked: None,
                answered: false,
            };
            self.monitors.insert(instance.to_owned(), monitor);
            self.timers
                .set(Timer::Probe(instance.to_owned()), now.mono_ms);
        }
        known
    }

    /// Since when the store offers the instance, if it does: an earlier process of the agent found it healthy. Empty when
    /// the layout does not say since when.
    fn offered_since(&self, check: &Check) -> Option<String> {
        let ends = |key: &str, name: &str| {
            key.strip_suffix(name)
                .is_some_and(|rest| rest.ends_with('/'))
        };
        let mut since = None;
        for (key, held) in self.held.iter().filter(|(_, held)| held.leased) {
            if !ends(key, &check.instance) && !ends(key, &check.id) {
                continue;
            }
            match Record::from_json(&held.value) {
                Ok(record) if record.state != State::Up => return None,
                Ok(record) => {
                    return Some(record.health.map(|health| health.since).unwrap_or_default());
                }
                Err(_) => since = Some(String::new()),
            }
        }
        since
    }

    /// The store's keys became known: checks without an answer yet start from what it holds.
    pub(super) fn adopt_findings(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let unknown: Vec<(String, Check)> = self
            .monitors
            .iter()
            .filter(|(_, monitor)| !monitor.answered && monitor.streak.state() == State::Starting)
            .map(|(instance, monitor)| (instance.clone(), monitor.check.clone()))
            .collect();
        for (instance, check) in unknown {
            if let Some(since) = self.offered_since(&check)
                && let Some(monitor) = self.monitors.get_mut(&instance)
            {
                monitor.streak = Streak::up();
                if !since.is_empty() {
                    monitor.since = since;
                }
                self.evaluate(now, &check.container, effects);
            }
        }
    }

    /// The time for a question has come.
    pub(super) fn probe(&mut self, now: Now, instance: &str, effects: &mut Vec<Effect>) {
        let token = self.token();
        let Some(monitor) = self.monitors.get_mut(instance) else {
            return;
        };
        monitor.asked = Some(token);
        effects.push(Effect::Probe {
            token,
            check: Box::new(monitor.check.clone()),
        });
        // The answer sets the next time; this one is for an answer that never comes.
        let terms = &monitor.check.terms;
        let at_ms = now
            .mono_ms
            .saturating_add(terms.interval_ms)
            .saturating_add(2 * terms.timeout_ms);
        self.timers.set(Timer::Probe(instance.to_owned()), at_ms);
    }

    /// An answer, or the reason why there is none.
    pub(super) fn probed(
        &mut self,
        now: Now,
        token: Token,
        instance: &str,
        answer: Result<(), String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(monitor) = self
            .monitors
            .get_mut(instance)
            .filter(|m| m.asked == Some(token))
        else {
            return;
        };
        monitor.asked = None;
        monitor.answered = true;
        let terms = &monitor.check.terms;
        let ran_nanos = now
            .wall_nanos
            .saturating_sub(monitor.check.started_nanos.unwrap_or(i64::MIN));
        let in_grace = u64::try_from(ran_nanos / 1_000_000).unwrap_or(0) < terms.grace_ms;
        let changed = monitor.streak.take(answer.is_ok(), terms, in_grace);
        monitor.why = answer.err().unwrap_or_default();
        // A tenth of the interval, spread by the token: checks that began together do not stay together.
        let spread = terms.interval_ms / 10;
        let jitter = token.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
        let wait_ms = terms.interval_ms - spread / 2 + jitter % (spread + 1);
        let container = monitor.check.container.clone();
        let name = terms.question.name();
        let (state, why) = (monitor.streak.state(), monitor.why.clone());
        if changed {
            monitor.since =
                timestamp::format_millis(u64::try_from(now.wall_nanos / 1_000_000).unwrap_or(0));
        }
        self.timers.set(
            Timer::Probe(instance.to_owned()),
            now.mono_ms.saturating_add(wait_ms),
        );
        if changed {
            let subject = self
                .containers
                .get(container.as_str())
                .map_or(instance, |tracked| tracked.name.as_str());
            let (level, text) = match state {
                State::Up => (Level::Info, format!("its {name} check passes")),
                _ => (Level::Warn, format!("its {name} check fails: {why}")),
            };
            note(effects, level, subject, text);
            self.evaluate(now, &container, effects);
        }
    }
}
