//! When leases end. Only the leader counts; the machine knows of time to live, never of time.
//!
//! A renewal costs one map entry: the schedule is corrected only when its moment comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use store_machine::LeaseRecord;
use store_machine::command::Command;
use store_machine::revision::LeaseId;

use crate::forwarding::Asker;
use crate::limits::{
    CHECKPOINT_AGE_MS, CHECKPOINT_LEASES_MAX, CHECKPOINT_PERIOD_MS, REVOKE_AGAIN_MS,
    REVOKES_IN_FLIGHT_MAX,
};
use crate::member::Member;
use crate::moment::Moment;

/// What is known of one lease.
#[derive(Debug)]
struct Life {
    ttl_seconds: i64,
    /// When it ends unless renewed. Moves only in `renew`.
    ends: Moment,
    /// Its entry in the schedule; at or before `ends`. `None` while its revoke is under way.
    scheduled: Option<Moment>,
    /// What is left, in milliseconds, by a checkpoint that the machine holds or is about to. A renewal makes it
    /// wrong: a leader to come would end the lease too early.
    checkpointed: Option<u64>,
    /// The checkpoint is being taken back.
    resetting: bool,
    /// Keep-alives that wait for the revoke, or for the checkpoint to be taken back.
    waiting: Vec<Asker>,
}

/// What a keep-alive comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Renewed; seconds to live.
    Renewed(i64),
    /// There is no such lease.
    Unknown,
    /// Answered later; see [`Expiry::revoked`] and [`Expiry::reset`].
    Waits,
    /// As `Waits`, and the checkpoint of this lease must be taken back first.
    WaitsForReset,
}

/// Deadlines of all leases, on the leader; empty elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    active: bool,
    leases: BTreeMap<LeaseId, Life>,
    schedule: BTreeSet<(Moment, LeaseId)>,
    revokes_in_flight: usize,
    next_checkpoint: Moment,
    /// Keep-alives that wait, or have waited, by deadline.
    patience: VecDeque<(Moment, LeaseId, Asker)>,
}

impl Expiry {
    /// Whether this member counts.
    pub(crate) const fn is_active(&self) -> bool {
        self.active
    }

    /// This member leads from now on: every lease gets what it had left when it was last
    /// recorded, and one election timeout for the time without a leader. To be called when all
    /// entries of earlier terms are applied.
    pub(crate) fn start(&mut self, now: Moment, leases: Vec<LeaseRecord>, election_ms: u64) {
        *self = Self {
            active: true,
            next_checkpoint: now.plus_ms(CHECKPOINT_PERIOD_MS),
            ..Self::default()
        };
        for lease in leases {
            let left = if lease.remaining_seconds > 0 {
                lease.remaining_seconds
            } else {
                lease.ttl_seconds
            };
            let ends = now.plus_ms(seconds_to_ms(left)).plus_ms(election_ms);
            let checkpointed = recorded_ms(lease.remaining_seconds);
            self.insert(lease.id, lease.ttl_seconds, ends, checkpointed);
        }
    }

    /// This member does not lead any more. Calls `lost` with keep-alives that still wait.
    pub(crate) fn stop(&mut self, mut lost: impl FnMut(Asker)) {
        for life in self.leases.values() {
            life.waiting.iter().copied().for_each(&mut lost);
        }
        *self = Self::default();
    }

    /// A lease has come into being.
    pub(crate) fn granted(&mut self, now: Moment, id: LeaseId, ttl_seconds: i64) {
        if self.active {
            self.insert(
                id,
                ttl_seconds,
                now.plus_ms(seconds_to_ms(ttl_seconds)),
                None,
            );
        }
    }

    fn insert(&mut self, id: LeaseId, ttl_seconds: i64, ends: Moment, checkpointed: Option<u64>) {
        let life = Life {
            ttl_seconds,
            ends,
            scheduled: Some(ends),
            checkpointed,
            resetting: false,
            waiting: Vec::new(),
        };
        if let Some(old) = self.leases.insert(id, life)
            && let Some(at) = old.scheduled
        {
            self.schedule.remove(&(at, id));
        }
        self.schedule.insert((ends, id));
    }

    /// A lease is gone, whoever wanted it; returns the keep-alives to be told so.
    pub(crate) fn revoked(&mut self, id: LeaseId) -> Vec<Asker> {
        let Some(life) = self.leases.remove(&id) else {
            return Vec::new();
        };
        match life.scheduled {
            Some(at) => {
                self.schedule.remove(&(at, id));
            }
            None => self.revokes_in_flight = self.revokes_in_flight.saturating_sub(1),
        }
        life.waiting
    }

    /// The revoke of a lease was refused, although its time was up: it is to be tried again. Nothing is done
    /// where a client wanted its end.
    pub(crate) fn refused(&mut self, now: Moment, id: LeaseId) {
        if let Some(life) = self.leases.get_mut(&id)
            && life.scheduled.is_none()
        {
            let again = life.ends.max(now.plus_ms(REVOKE_AGAIN_MS));
            life.scheduled = Some(again);
            self.schedule.insert((again, id));
            self.revokes_in_flight = self.revokes_in_flight.saturating_sub(1);
        }
    }

    /// A checkpoint of a lease is recorded; 0 seconds take an earlier one back, and renew: returns
    /// the keep-alives to be told the time to live.
    pub(crate) fn checkpointed(
        &mut self,
        now: Moment,
        id: LeaseId,
        remaining_seconds: i64,
    ) -> (Vec<Asker>, i64) {
        let Some(life) = self.leases.get_mut(&id) else {
            return (Vec::new(), 0);
        };
        life.checkpointed = recorded_ms(remaining_seconds);
        if life.checkpointed.is_some() || !life.resetting {
            return (Vec::new(), 0);
        }
        life.resetting = false;
        if life.scheduled.is_none() {
            // Its end came first; those who wait are told by the revoke.
            return (Vec::new(), 0);
        }
        life.ends = now.plus_ms(seconds_to_ms(life.ttl_seconds));
        (std::mem::take(&mut life.waiting), life.ttl_seconds)
    }

    /// A client keeps a lease alive; `deadline` is for the answer, and must not descend.
    pub(crate) fn renew(
        &mut self,
        now: Moment,
        id: LeaseId,
        asker: Asker,
        deadline: Moment,
    ) -> Renewal {
        let Some(life) = self.leases.get_mut(&id) else {
            return Renewal::Unknown;
        };
        if life.scheduled.is_none() || life.ends <= now {
            // Ended, its revoke is under way or about to be: it cannot come back.
            life.waiting.push(asker);
            self.patience.push_back((deadline, id, asker));
            return Renewal::Waits;
        }
        if life.checkpointed.is_some() {
            life.waiting.push(asker);
            self.patience.push_back((deadline, id, asker));
            if life.resetting {
                return Renewal::Waits;
            }
            life.resetting = true;
            return Renewal::WaitsForReset;
        }
        life.ends = now.plus_ms(seconds_to_ms(life.ttl_seconds));
        Renewal::Renewed(life.ttl_seconds)
    }

    /// Calls `late` with the keep-alives that have waited long enough.
    pub(crate) fn give_up(&mut self, now: Moment, mut late: impl FnMut(Asker)) {
        while let Some(&(deadline, id, asker)) = self.patience.front() {
            if deadline > now {
                break;
            }
            self.patience.pop_front();
            let waiting = self.leases.get_mut(&id).map(|life| &mut life.waiting);
            if let Some(waiting) = waiting
                && let Some(place) = waiting.iter().position(|&waiting| waiting == asker)
            {
                waiting.swap_remove(place);
                late(asker);
            }
        }
    }

    /// Milliseconds a lease has left; `None` when it is not known here.
    pub(crate) fn left_ms(&self, now: Moment, id: LeaseId) -> Option<u64> {
        self.leases.get(&id).map(|life| life.ends.ms_since(now))
    }

    /// Calls `revoke` with each lease that has ended and is not being revoked, as far as the bound
    /// on revokes under way allows.
    pub(crate) fn due(&mut self, now: Moment, mut revoke: impl FnMut(LeaseId)) {
        while self.revokes_in_flight < REVOKES_IN_FLIGHT_MAX {
            let Some(&(at, id)) = self.schedule.first() else {
                return;
            };
            if at > now {
                return;
            }
            self.schedule.pop_first();
            let Some(life) = self.leases.get_mut(&id) else {
                continue;
            };
            if life.ends > now {
                life.scheduled = Some(life.ends);
                self.schedule.insert((life.ends, id));
                continue;
            }
            life.scheduled = None;
            self.revokes_in_flight += 1;
            revoke(id);
        }
    }

    /// Once per period: what leases have left that have not been renewed for a good part of their time,
    /// in whole seconds and in lists of bounded size. Those that are kept alive as usual cost nothing. After
    /// a change of leader a lease is late by at most half its time to live, or five minutes where that
    /// is less, a period and an election timeout.
    pub(crate) fn due_checkpoint(
        &mut self,
        now: Moment,
        mut record: impl FnMut(Vec<(LeaseId, i64)>),
    ) {
        if !self.active || now < self.next_checkpoint {
            return;
        }
        self.next_checkpoint = now.plus_ms(CHECKPOINT_PERIOD_MS);
        let mut remaining = Vec::new();
        for (&id, life) in &mut self.leases {
            let ttl_ms = seconds_to_ms(life.ttl_seconds);
            let left_ms = life.ends.ms_since(now);
            // Half: clients renew at a third of the time. Then each eighth, so that a lease is
            // recorded five times at most, or every five minutes.
            let due = match life.checkpointed {
                None => ttl_ms.saturating_sub(left_ms) >= (ttl_ms / 2).min(CHECKPOINT_AGE_MS),
                Some(recorded_ms) => {
                    let step_ms = (ttl_ms / 8).clamp(CHECKPOINT_PERIOD_MS, CHECKPOINT_AGE_MS);
                    recorded_ms.saturating_sub(left_ms) >= step_ms
                }
            };
            if !due || life.scheduled.is_none() || life.resetting || left_ms == 0 {
                continue;
            }
            // From now on, not from when it is recorded: a renewal in between must take it back.
            life.checkpointed = Some(left_ms);
            remaining.push((id, ms_to_seconds(left_ms)));
            if remaining.len() == CHECKPOINT_LEASES_MAX {
                record(std::mem::take(&mut remaining));
            }
        }
        if !remaining.is_empty() {
            record(remaining);
        }
    }

    /// When the next keep-alive has waited long enough.
    pub(crate) fn next_given_up(&self) -> Moment {
        self.patience.front().map_or(Moment::NEVER, |entry| entry.0)
    }

    /// When the next lease may end, or the next checkpoint is due.
    pub(crate) fn next_deadline(&self) -> Moment {
        if !self.active {
            return Moment::NEVER;
        }
        let ends = if self.revokes_in_flight < REVOKES_IN_FLIGHT_MAX {
            self.schedule.first().map_or(Moment::NEVER, |entry| entry.0)
        } else {
            Moment::NEVER
        };
        let patience = self.next_given_up();
        if self.leases.is_empty() {
            return ends.min(patience);
        }
        ends.min(patience).min(self.next_checkpoint)
    }
}

/// What a recorded remainder says; 0 seconds take one back.
fn recorded_ms(remaining_seconds: i64) -> Option<u64> {
    (remaining_seconds > 0).then(|| seconds_to_ms(remaining_seconds))
}

fn seconds_to_ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}

/// Rounded up, so that "less than a second" is not "nothing".
pub(crate) fn ms_to_seconds(ms: u64) -> i64 {
    i64::try_from(ms.div_ceil(1_000)).unwrap_or(i64::MAX)
}

impl Member {
    /// Completes what a client left open: the id, and the least time to live.
    pub(crate) fn lease_grant(&mut self, id: LeaseId, ttl_seconds: i64) -> Command {
        let mut id = id;
        while id == LeaseId::NONE {
            // Positive, as etcd's.
            let drawn = LeaseId(self.random.next().cast_signed() & i64::MAX);
            if self.machine.lease(drawn).is_none() {
                id = drawn;
            }
        }
        Command::LeaseGrant {
            id,
            ttl_seconds: ttl_seconds.max(self.config.lease_ttl_seconds_min()),
        }
    }
}

#[cfg(test)]
mod tests;
