//! Room to write: the quota of the state (alarm NOSPACE, replicated) and of the disk (this member
//! alone). Decides when to raise and take back the alarm; admission asks here first.
//!
//! A full disk stops what makes the state grow. What makes it smaller goes on for a while, into the
//! room that the log has set aside, so that a snapshot fits and the log behind it can go.

use store_machine::Machine;
use store_machine::alarm::AlarmKind;
use store_machine::command::{Command, SpaceChange};
use store_machine::request::{TxnOp, TxnRequest};

use crate::effects::Notice;
use crate::limits::{RESCUE_BYTES_MAX, SPACE_FREE_PERCENT, SPACE_WARN_PERCENT};
use crate::proposals::command_bytes;

/// What is known about room.
#[derive(Debug, Default)]
pub(crate) struct Space {
    /// The shell says the disk has no room for more log.
    disk_full: bool,
    /// Bytes of log that may yet be taken while that lasts.
    rescue_left: u64,
    /// The machine refused something for its quota since the alarm was last looked at.
    refused: bool,
    /// A command of this member about room is on its way.
    proposing: bool,
    /// Share of the quota, in percent, that has been said to be used; 0 = none of the warnings.
    warned: u64,
}

impl Space {
    /// Whether the disk has no room for more log.
    pub(crate) const fn disk_full(&self) -> bool {
        self.disk_full
    }

    /// The shell says whether it has.
    pub(crate) const fn note_disk(&mut self, full: bool) {
        if full && !self.disk_full {
            self.rescue_left = RESCUE_BYTES_MAX;
        }
        self.disk_full = full;
    }

    /// Whether the disk has room for this command: any while it is not full, and some of those that give
    /// room back while it is.
    pub(crate) fn takes(&mut self, command: &Command) -> bool {
        if !self.disk_full {
            return true;
        }
        let bytes = command_bytes(command);
        let taken = gives_room(command) && bytes <= self.rescue_left;
        if taken {
            self.rescue_left -= bytes;
        }
        taken
    }

    /// Whether the leader may put into the log what it wants itself.
    pub(crate) const fn has_room(&self) -> bool {
        !self.disk_full || self.rescue_left > 0
    }

    /// It has done so with these bytes.
    pub(crate) const fn spend(&mut self, bytes: u64) {
        if self.disk_full {
            self.rescue_left = self.rescue_left.saturating_sub(bytes);
        }
    }

    /// The alarms, or the quota, have changed.
    pub(crate) const fn note_alarms(&mut self) {
        self.refused = false;
        self.proposing = false;
    }

    /// The machine refused a command for its quota.
    pub(crate) const fn note_refusal(&mut self) {
        self.refused = true;
    }

    /// Commands under way are lost with the leadership.
    pub(crate) const fn forget(&mut self) {
        self.proposing = false;
        self.refused = false;
    }

    /// Whether [`Space::wants`] has something to propose.
    pub(crate) fn is_due(&self, machine: &Machine, quota_bytes: u64) -> bool {
        self.wanted(0, machine, quota_bytes).is_some()
    }

    /// What the leader should propose now: its quota where another is in force, the alarm when the quota
    /// was hit, its end when enough of it is free again.
    pub(crate) fn wants(
        &mut self,
        member: u64,
        machine: &Machine,
        quota_bytes: u64,
    ) -> Option<Command> {
        let change = self.wanted(member, machine, quota_bytes)?;
        self.proposing = true;
        self.refused = false;
        Some(Command::Space(change))
    }

    fn wanted(&self, member: u64, machine: &Machine, quota_bytes: u64) -> Option<SpaceChange> {
        if self.proposing {
            return None;
        }
        if machine.quota_bytes() != quota_bytes {
            return Some(SpaceChange::Quota { bytes: quota_bytes });
        }
        if machine.is_full() {
            let enough = quota_bytes - quota_bytes / 100 * SPACE_FREE_PERCENT;
            return (machine.size_bytes() <= enough).then_some(SpaceChange::Free);
        }
        let no_space = AlarmKind::NoSpace;
        let raised = machine.alarms().iter().any(|it| it.kind == no_space);
        (self.refused && !raised).then_some(SpaceChange::Full { member })
    }

    /// What a person should hear of how much of the quota is used: once per bound, and again only after
    /// it has been well below.
    pub(crate) fn warning(&mut self, machine: &Machine) -> Option<Notice> {
        let (bytes, quota_bytes) = (machine.size_bytes(), machine.quota_bytes());
        // Per mille, so that the hysteresis is not lost to rounding; a quota that is off is never reached.
        let used = u128::from(bytes) * 1_000 / u128::from(quota_bytes.max(1));
        let above = |percent: u64| used >= u128::from(percent) * 10;
        let reached = SPACE_WARN_PERCENT.into_iter().rev().find(|it| above(*it));
        let reached = reached.unwrap_or(0);
        if reached > self.warned {
            self.warned = reached;
            return Some(Notice::SpaceUsed {
                percent: reached,
                bytes,
                quota_bytes,
            });
        }
        while self.warned > reached && !above(self.warned - SPACE_FREE_PERCENT) {
            let below = SPACE_WARN_PERCENT.into_iter().rev();
            self.warned = below.into_iter().find(|it| *it < self.warned).unwrap_or(0);
        }
        None
    }

    /// See [`Space::warning`].
    pub(crate) const fn warned(&self) -> u64 {
        self.warned
    }
}

/// Whether a command makes the state smaller, or lets somebody do so.
pub(crate) fn gives_room(command: &Command) -> bool {
    match command.bare() {
        Command::Delete(_)
        | Command::Compact { .. }
        | Command::LeaseRevoke { .. }
        | Command::AlarmRaise { .. }
        | Command::AlarmClear { .. }
        | Command::Space(_)
        | Command::Members(_) => true,
        Command::Txn(txn) => !puts(txn),
        _ => false,
    }
}

fn puts(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.any(|op| match op {
        TxnOp::Put(_) => true,
        TxnOp::Txn(nested) => puts(nested),
        TxnOp::Range(_) | TxnOp::Delete(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use store_machine::Limits;
    use store_machine::request::PutRequest;
    use store_machine::revision::{Index, Revision};

    use super::*;

    /// A machine that has used so many bytes of a quota of 1,000.
    fn used(bytes: usize) -> Machine {
        let mut machine = Machine::new(Limits {
            quota_bytes: u64::MAX,
        });
        if bytes > 0 {
            let put = PutRequest {
                key: "k".into(),
                value: vec![0; bytes - 65].into(),
                lease: store_machine::revision::LeaseId::NONE,
                prev_kv: false,
                ignore_value: false,
                ignore_lease: false,
            };
            machine
                .apply(Index(1), Command::Put(put))
                .reply
                .expect("room");
        }
        let quota = Command::Space(SpaceChange::Quota { bytes: 1_000 });
        machine.apply(Index(2), quota).reply.expect("a quota");
        machine
    }

    #[test]
    fn each_bound_is_said_once_until_it_was_well_below() {
        let mut space = Space::default();
        for (bytes, said) in [
            (799, None),
            (800, Some(80)),
            (850, None),
            (799, None),
            (800, None),
            (749, None),
            (810, Some(80)),
            (905, Some(90)),
            (870, None),
            (905, None),
            (1_000, Some(100)),
            (100, None),
            (1_200, Some(100)),
        ] {
            let percent = space.warning(&used(bytes)).map(|notice| match notice {
                Notice::SpaceUsed { percent, .. } => percent,
                other => panic!("{other:?}"),
            });
            assert_eq!(percent, said, "{bytes}");
        }
    }

    #[test]
    fn a_full_disk_takes_what_gives_room_as_far_as_there_is_some() {
        let mut space = Space::default();
        let compact = Command::Compact {
            revision: Revision(1),
        };
        let grant = Command::LeaseGrant {
            id: store_machine::revision::LeaseId(1),
            ttl_seconds: 1,
        };
        assert!(space.takes(&grant));
        space.note_disk(true);
        assert!(!space.takes(&grant));
        let mut taken = 0;
        while space.takes(&compact) {
            taken += 1;
            // Said again, it is no other disk.
            space.note_disk(true);
        }
        assert_eq!(taken, RESCUE_BYTES_MAX / command_bytes(&compact));
        space.note_disk(false);
        assert!(space.takes(&grant));
    }
}
