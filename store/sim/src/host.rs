//! The shell around one member, as `store/server` has it, with simulated time in place of threads:
//! what has arrived is told in one turn, what the member orders is handed back to the world.
//!
//! Owns what a process owns and what outlives it: the disk. The part of the disk thread is in
//! `host/log.rs`, opening a folder in `host/open.rs`. Knows nothing of promises.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use store_member::effects::Effects;
use store_member::record::{EntryKind, Vote};
use store_member::{Config, Input, Member, Moment};
use store_wal::sim::SimDisk;

use crate::bugs::Bug;
use crate::clock::{Clock, Time};
use crate::host::log::Log;
use crate::queue::Event;

pub(crate) mod log;
pub(crate) mod open;

/// An entry as a member has it in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) term: u64,
    pub(crate) kind: EntryKind,
    pub(crate) body: Bytes,
}

/// What a member's log holds, seen from outside: from its snapshot on, durable or not.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    /// Index and term of the entry before the first.
    pub(crate) start: (u64, u64),
    pub(crate) slots: VecDeque<Slot>,
}

impl Shadow {
    /// Index of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.start.0 + self.slots.len() as u64
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.start.0 + 1)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// Term at an index; `None` where the log does not reach.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == self.start.0 {
            return Some(self.start.1);
        }
        self.get(index).map(|slot| slot.term)
    }

    /// The log is replaced by a snapshot of this position.
    pub(crate) fn restart(&mut self, index: u64, term: u64) {
        self.slots.clear();
        self.start = (index, term);
    }

    /// An entry is added, in place of all from its index on.
    pub(crate) fn push(&mut self, index: u64, slot: Slot) {
        let keep = index.saturating_sub(self.start.0 + 1);
        self.slots
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.slots.push_back(slot);
    }
}

/// What a disk holds for certain, as its host was told.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Term by index.
    pub(crate) terms: BTreeMap<u64, u64>,
    pub(crate) vote: Vote,
    /// Index of the newest snapshot.
    pub(crate) snapshot: u64,
}

impl Durable {
    pub(crate) fn push(&mut self, index: u64, term: u64) {
        if self
            .terms
            .last_key_value()
            .is_some_and(|(last, _)| *last >= index)
        {
            self.terms.split_off(&index);
        }
        self.terms.insert(index, term);
    }

    /// A snapshot is durable. It replaces a log that does not lead up to it.
    pub(crate) fn snapshot(&mut self, index: u64, term: u64) {
        if index <= self.snapshot {
            return;
        }
        self.snapshot = index;
        if self.terms.get(&index) == Some(&term) {
            self.terms = self.terms.split_off(&(index + 1));
        } else {
            self.terms.clear();
        }
    }

    /// Whether an entry, or a snapshot that covers it, is there.
    pub(crate) fn has(&self, index: u64, term: u64) -> bool {
        index <= self.snapshot || self.terms.get(&index) == Some(&term)
    }
}

/// A running process.
pub(crate) struct Life {
    pub(crate) member: Member,
    pub(crate) clock: Clock,
    /// Arrived and not told yet.
    pub(crate) inbox: Vec<Input>,
    /// A turn is on its way.
    pub(crate) turn_due: bool,
    /// The earliest wake that is on its way.
    pub(crate) wake_at: Time,
    pub(crate) log: Log,
    pub(crate) shadow: Shadow,
    /// Applied entries the promises have seen.
    pub(crate) applied: u64,
    /// Index and term of a snapshot it has received from another member and ordered to be written.
    pub(crate) received: Option<(u64, u64)>,
    /// Context of the last round of reads it has sent out.
    pub(crate) round: Bytes,
    /// Revision and term of its last answer.
    pub(crate) told: (i64, u64),
    /// Turns in a row that had nothing to do.
    pub(crate) idle_turns: u64,
    /// Since when it has been stopped by a signal.
    pub(crate) paused: Option<Time>,
    /// Happened to it while paused.
    pub(crate) deferred: Vec<Event>,
}

/// What becomes of a host in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its process runs, or starts again when it has ended.
    Runs,
    /// It is not needed any more: its member was removed, or never came to be one.
    Retired,
    /// It is gone with its disk, and nobody can bring it back.
    Lost,
}

/// A place where a member lives: a disk, and mostly a process.
pub(crate) struct Host {
    pub(crate) id: u64,
    pub(crate) fate: Fate,
    pub(crate) config: Config,
    pub(crate) disk: SimDisk,
    pub(crate) segment_bytes: u64,
    /// Do not compare what is found at a start with what was durable.
    pub(crate) blind: bool,
    pub(crate) durable: Durable,
    /// Number of the present or last process.
    pub(crate) life: u64,
    pub(crate) up: Option<Life>,
    pub(crate) bug: Option<Bug>,
    /// The power goes in the middle of one of the next operations of its disk.
    pub(crate) power_going: bool,
    /// Largest time of a sync now.
    pub(crate) sync_max: Time,
}

impl Host {
    /// Tells the member what has arrived and ends the turn.
    pub(crate) fn turn(&mut self, now: Time, effects: &mut Effects) {
        let Some(life) = &mut self.up else { return };
        let moment = life.clock.moment(now);
        let told = !life.inbox.is_empty();
        for input in life.inbox.drain(..) {
            life.member.step(moment, input, effects);
        }
        life.member.settle(moment, effects);
        let idle = !told && effects.is_empty() && life.member.next_deadline(moment) <= moment;
        life.idle_turns = if idle { life.idle_turns + 1 } else { 0 };
    }

    /// When the member wants its next turn.
    pub(crate) fn next_wake(&self, now: Time) -> Option<Time> {
        let life = self.up.as_ref()?;
        let deadline = life.member.next_deadline(life.clock.moment(now));
        if deadline == Moment::NEVER {
            return None;
        }
        life.clock.time(deadline).map(|at| at.max(now))
    }

    pub(crate) fn member(&self) -> Option<&Member> {
        self.up.as_ref().map(|life| &life.member)
    }
}
