//! The agent's side towards the store: which container answers for which key, one guarded
//! transaction per container at a time, and what the answers mean. The lease's keys as last known
//! (`held`) are corrected by every refused guard, so a wrong belief costs a round trip, never a key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decided::Decided;
use super::effect::{Effect, Level};
use super::input::{Now, Token};
use super::stored::Stored;
use super::timers::Timer;
use super::tracked::Look;
use super::{Agent, COMMITS_MAX, millis, note};
use crate::container::Run;
use crate::plan::{Held, Txn, plan};

/// The stand-in that answers for keys on our lease which no container wants: left over from an
/// earlier process. No container has an empty id.
const LEFT_OVER: &str = "";

/// 20 s: longer than a store lets a proposal wait (etcd: 5 s plus two election timeouts), so what
/// such a transaction did can be seen by then.
const RECHECK_MS: u64 = 20_000;

/// A transaction under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    container: String,
    txn: Txn,
    /// Why keys are deleted, if some are.
    why: String,
}

impl Agent {
    pub(super) fn leased(
        &mut self,
        now: Now,
        lease: i64,
        adopted: bool,
        held: Vec<(String, Held)>,
        effects: &mut Vec<Effect>,
    ) {
        if !std::mem::take(&mut self.reloading) {
            self.counts.sessions += 1;
            let how = if adopted { "adopted" } else { "granted" };
            let keys = held.len();
            note(
                effects,
                Level::Info,
                "store",
                format!("lease {lease:x} {how}, {keys} keys on it"),
            );
        }
        self.reload_due = false;
        self.lease = Some(lease);
        let held = held.into_iter();
        self.held = held.map(|(key, held)| (key.into(), held.into())).collect();
        self.forget_flights();
        let owners = std::mem::take(&mut self.owners);
        for (key, id) in owners {
            let wanted = |id: &Arc<str>| {
                self.containers
                    .get(id)
                    .is_some_and(|tracked| tracked.decided.wanted.contains_key(&key))
            };
            if wanted(&id) || self.held.contains_key(&key) {
                self.owners.insert(key, id);
            } else if let Some(tracked) = self.containers.get_mut(&id) {
                tracked.claims.remove(&key);
            }
        }
        if self.synced {
            self.claim_left_over();
        }
        self.adopt_findings(now, effects);
        let ids: Vec<Arc<str>> = self.containers.keys().cloned().collect();
        for id in ids {
            self.queue_write(&id);
        }
        if std::mem::take(&mut self.unsure) {
            self.timers
                .set(Timer::Recheck, now.mono_ms.saturating_add(RECHECK_MS));
        }
    }

    pub(super) fn store_away(&mut self, why: String, effects: &mut Vec<Effect>) {
        if self.lease.take().is_some() || self.store_down != why {
            note(
                effects,
                Level::Warn,
                "store",
                format!("not reachable, trying again: {why}"),
            );
        }
        self.store_down = why;
        self.checking = None;
        self.reloading = false;
        self.unsure |= !self.flights.is_empty();
        self.forget_flights();
    }

    fn forget_flights(&mut self) {
        for flight in std::mem::take(&mut self.flights).into_values() {
            if let Some(tracked) = self.containers.get_mut(flight.container.as_str()) {
                tracked.commit = None;
            }
            self.queue_write(&flight.container);
        }
    }

    pub(super) fn queue_write(&mut self, id: &str) {
        if let Some(tracked) = self.containers.get_mut(id)
            && !tracked.queued
        {
            tracked.queued = true;
            self.to_write.push_back(Arc::clone(&tracked.id));
        }
    }

    /// Takes every wanted key that is free, or whose owner does not want it any more; waits for the others.
    pub(super) fn claim(&mut self, id: &str) {
        let Some(tracked) = self.containers.get(id) else {
            return;
        };
        #[cfg(test)]
        {
            self.claims_tried += 1;
        }
        let own = Arc::clone(&tracked.id);
        let keys: Vec<Arc<str>> = tracked.decided.wanted.keys().cloned().collect();
        let mut contested = BTreeSet::new();
        for key in keys {
            let taken = match self.owners.get(&key) {
                Some(owner) if *owner == own => continue,
                None => false,
                Some(owner) => self.containers.get(owner).is_some_and(|other| {
                    other.commit.is_some() || other.decided.wanted.contains_key(&key)
                }),
            };
            if taken {
                contested.insert(key);
                continue;
            }
            if let Some(former) = self.owners.insert(Arc::clone(&key), Arc::clone(&own))
                && let Some(other) = self.containers.get_mut(&former)
            {
                other.claims.remove(&key);
            }
            if let Some(tracked) = self.containers.get_mut(id) {
                tracked.claims.insert(key, ());
            }
        }
        self.wait_for(id, &contested);
    }

    /// Puts a container into the queues of those keys, and takes it out of all others.
    fn wait_for(&mut self, id: &str, contested: &BTreeSet<Arc<str>>) {
        let Some(tracked) = self.containers.get_mut(id) else {
            return;
        };
        let own = Arc::clone(&tracked.id);
        let before = std::mem::take(&mut tracked.contested);
        tracked.contested.clone_from(contested);
        for key in contested.difference(&before) {
            let waiting = self.contenders.entry(key.clone()).or_default();
            waiting.insert(Arc::clone(&own));
        }
        for key in before.difference(contested) {
            if let Some(waiting) = self.contenders.get_mut(key) {
                waiting.remove(id);
                if waiting.is_empty() {
                    self.contenders.remove(key);
                }
            }
            // It may have been this container's turn, and it has stepped back.
            self.wake(key);
        }
    }

    /// Puts keys of the lease that nobody answers for under the stand-in, which wants none.
    pub(super) fn claim_left_over(&mut self) {
        let free: Vec<Arc<str>> = self
            .held
            .keys()
            .filter(|key| !self.owners.contains_key(*key))
            .cloned()
            .collect();
        if free.is_empty() {
            return;
        }
        let tracked = self.track(LEFT_OVER);
        "left over".clone_into(&mut tracked.name);
        tracked.halted = Some("no container of this host has it any more");
        tracked.decided.skipped = tracked.halted.map(str::to_owned);
        let own = Arc::clone(&tracked.id);
        tracked
            .claims
            .extend(free.iter().cloned().map(|key| (key, ())));
        for key in free {
            self.owners.insert(key, Arc::clone(&own));
        }
        self.queue_write(LEFT_OVER);
    }

    /// Asks which keys hang on the lease: a key that somebody deleted or overwrote is not among them.
    /// One call to the lease's keeper, no read of the keyspace, once per list of all containers.
    pub(super) fn check_lease(&mut self, effects: &mut Vec<Effect>) {
        if self.lease.is_some() && self.flights.is_empty() && !self.reloading {
            self.checking = Some(self.ordered);
            effects.push(Effect::Check);
        }
    }

    pub(super) fn on_lease(&mut self, keys: &[String]) {
        let asked = self.checking.take();
        if asked != Some(self.ordered) || !self.flights.is_empty() {
            return; // Transactions came between; the next check will do.
        }
        let found: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
        let known = self.held.iter().filter(|(_, held)| held.leased);
        let known: BTreeSet<&str> = known.map(|(key, _)| &**key).collect();
        self.reload_due |= found != known;
    }

    pub(super) fn order_transactions(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.lease.is_none() {
            return;
        }
        if self.reload_due && self.flights.is_empty() && !self.reloading {
            self.reload_due = false;
            self.reloading = true;
            effects.push(Effect::Reload);
        }
        while !self.reloading && !self.reload_due && self.flights.len() < COMMITS_MAX {
            let Some(id) = self.to_write.pop_front() else {
                return;
            };
            self.write(now, &id, effects);
        }
    }

    /// Orders the next transaction of a container, or finds that there is none.
    fn write(&mut self, now: Now, id: &str, effects: &mut Vec<Effect>) {
        let Some(tracked) = self.containers.get_mut(id) else {
            return;
        };
        tracked.queued = false;
        if tracked.commit.is_some() {
            return; // Its outcome queues the container again.
        }
        if !tracked.contested.is_empty() {
            self.claim(id);
        }
        let Some(tracked) = self.containers.get(id) else {
            return;
        };
        let held: BTreeMap<String, Held> = tracked
            .claims
            .keys()
            .filter_map(|key| Some((key.to_string(), self.held.get(key)?.held())))
            .collect();
        let Some(txn) = plan(&tracked.wanted(), &held).into_iter().next() else {
            self.settle(now, id);
            return;
        };
        let why = tracked.decided.why_fewer();
        let token = self.token();
        self.ordered += 1;
        if let Some(tracked) = self.containers.get_mut(id) {
            tracked.commit = Some(token);
        }
        let flight = Flight {
            container: id.to_owned(),
            txn: txn.clone(),
            why,
        };
        self.flights.insert(token, flight);
        effects.push(Effect::Commit { token, txn });
    }

    /// The store holds what the container should have: lets go of keys it does not need any more,
    /// and of a container that ended.
    fn settle(&mut self, now: Now, id: &str) {
        let Some(tracked) = self.containers.get_mut(id) else {
            return;
        };
        share(&mut tracked.decided, &mut self.held);
        let wanted = &tracked.decided.wanted;
        let free: Vec<Arc<str>> = tracked
            .claims
            .keys()
            .filter(|key| {
                let ours = self.held.get(*key).is_some_and(|held| held.leased);
                !wanted.contains_key(*key) && !ours
            })
            .cloned()
            .collect();
        for key in &free {
            tracked.claims.remove(key);
            self.owners.remove(key);
            self.held.remove(key);
        }
        let at_rest = tracked.look == Look::Rested;
        if at_rest {
            tracked.started_nanos = None;
            let leaving = tracked
                .leaves_by_ms()
                .is_some_and(|by_ms| by_ms > now.mono_ms);
            let ended = tracked.kept_until_ms.is_none()
                && (tracked.halted == Some("it was removed")
                    || id == LEFT_OVER
                    || tracked
                        .seen
                        .as_ref()
                        .is_none_or(|seen| seen.run == Run::Stopped));
            if ended && !leaving && tracked.claims.is_empty() {
                self.containers.remove(id);
                self.timers.clear(&Timer::Drained(id.to_owned()));
                self.timers.clear(&Timer::Retry(id.to_owned()));
                self.timers.clear(&Timer::Reconsider(id.to_owned()));
                self.timers.clear(&Timer::Relook(id.to_owned()));
                self.followers.remove(id);
            }
        }
        for key in &free {
            self.wake(key);
        }
    }

    /// A key became free, or its owner is not busy any more: the first who waits for it may try. The others need not:
    /// the next one's turn comes when that one lets go of it.
    fn wake(&mut self, key: &str) {
        let first = self.contenders.get(key).and_then(|waiting| waiting.first());
        if let Some(first) = first.cloned() {
            self.queue_write(&first);
        }
    }

    pub(super) fn committed(
        &mut self,
        now: Now,
        token: Token,
        revision: i64,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.land(token) else {
            return;
        };
        self.counts.commits += 1;
        let mut put = Vec::new();
        let mut deleted = Vec::new();
        for write in flight.txn.writes {
            match write.value {
                Some(value) => {
                    let stored = Stored::written(value.into_bytes().into(), revision);
                    self.held.insert(write.key.as_str().into(), stored);
                    put.push(write.key);
                }
                None => {
                    self.held.remove(write.key.as_str());
                    deleted.push(write.key);
                }
            }
        }
        self.counts.puts += put.len() as u64;
        self.counts.deletes += deleted.len() as u64;
        if let Some(tracked) = self.containers.get_mut(flight.container.as_str()) {
            tracked.fault = None;
            tracked.backoff.reset();
            if !put.is_empty() {
                let mut text = format!("registered {}", put.join(" "));
                if let Some(started) = tracked.started_nanos.take() {
                    let took = now.wall_nanos.saturating_sub(started);
                    self.latency.record(took);
                    text = format!("{text}, {} ms after its start", took.max(0) / 1_000_000);
                }
                note(effects, Level::Info, &tracked.name, text);
            }
            if !deleted.is_empty() {
                let text = format!("deregistered {}: {}", deleted.join(" "), flight.why);
                note(effects, Level::Info, &tracked.name, text);
            }
        }
        self.queue_write(&flight.container);
    }

    pub(super) fn conflicted(
        &mut self,
        token: Token,
        actual: Vec<(String, Option<Held>)>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.land(token) else {
            return;
        };
        self.counts.conflicts += 1;
        let wanted = |key: &String| {
            self.containers
                .get(flight.container.as_str())
                .is_some_and(|tracked| tracked.decided.wanted.contains_key(key.as_str()))
        };
        for (key, found) in actual {
            match found {
                None => {
                    self.held.remove(key.as_str());
                }
                Some(held) if held.leased => {
                    self.held.insert(key.into(), held.into());
                }
                // Another writer's. It is replaced when a container of ours should have it, and
                // left alone when not.
                Some(held) if wanted(&key) => {
                    let text = format!("{key} was written by somebody else, taking it over");
                    note(effects, Level::Warn, &flight.container, text);
                    self.held.insert(key.into(), held.into());
                }
                Some(_) => {
                    self.held.remove(key.as_str());
                }
            }
        }
        self.queue_write(&flight.container);
    }

    pub(super) fn commit_failed(
        &mut self,
        now: Now,
        token: Token,
        why: String,
        effects: &mut Vec<Effect>,
    ) {
        let Some(flight) = self.land(token) else {
            return;
        };
        self.counts.failures += 1;
        // The transaction may have happened all the same; look at the lease once it cannot any more.
        self.timers
            .set(Timer::Recheck, now.mono_ms.saturating_add(RECHECK_MS));
        if let Some(tracked) = self.containers.get_mut(flight.container.as_str()) {
            let wait = millis(tracked.backoff.delay());
            if tracked.fault.as_ref() != Some(&why) {
                note(
                    effects,
                    Level::Warn,
                    &tracked.name,
                    format!("write to the store: {why}"),
                );
                tracked.fault = Some(why);
            }
            self.retry_in(now, &flight.container, wait);
        }
    }

    fn land(&mut self, token: Token) -> Option<Flight> {
        let flight = self.flights.remove(&token)?;
        if let Some(tracked) = self.containers.get_mut(flight.container.as_str()) {
            tracked.commit = None;
        }
        for write in &flight.txn.writes {
            self.wake(&write.key);
        }
        Some(flight)
    }
}

/// Lets what is wanted and what the store holds share their memory where they say the same, which is where a container
/// stays for most of its life.
fn share(decided: &mut Decided, held: &mut BTreeMap<Arc<str>, Stored>) {
    let keys: Vec<Arc<str>> = decided.wanted.keys().cloned().collect();
    for key in keys {
        let Some((_, stored)) = held.get_key_value(&key) else {
            continue;
        };
        let same = decided.same(&key, &stored.value);
        if same.is_none_or(|value| Arc::ptr_eq(value, &stored.value)) {
            continue;
        }
        decided.agree(&key, &stored.value);
        if let Some(stored) = held.remove(&key) {
            held.insert(key, stored);
        }
    }
}
