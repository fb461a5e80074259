//! Room to write: the quota of the state (alarm NOSPACE, replicated) and of the disk (this member
//! alone). Decides when to raise and take back the alarm; admission asks here first.

use store_machine::alarm::{Alarm, AlarmKind};
use store_machine::auth::Actor;
use store_machine::command::Command;

use crate::limits::SPACE_FREE_PERCENT;

/// What is known about room.
#[derive(Debug, Default)]
pub(crate) struct Space {
    /// The shell says the disk has no room for more log.
    pub(crate) disk_full: bool,
    /// Members with a raised NOSPACE alarm, ascending.
    raised: Vec<u64>,
    /// The machine refused something for its quota since the alarm was last looked at.
    refused: bool,
    /// An alarm command of this member is on its way.
    proposing: bool,
}

impl Space {
    /// The alarms have changed.
    pub(crate) fn note_alarms(&mut self, alarms: &[Alarm]) {
        self.refused = false;
        self.raised = alarms
            .iter()
            .filter(|alarm| alarm.kind == AlarmKind::NoSpace)
            .map(|alarm| alarm.member)
            .collect();
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
    pub(crate) fn is_due(&self, size_bytes: u64, quota_bytes: u64) -> bool {
        !self.proposing
            && if self.raised.is_empty() {
                self.refused
            } else {
                // Enough of the quota is free.
                size_bytes <= quota_bytes - quota_bytes / 100 * SPACE_FREE_PERCENT
            }
    }

    /// What the leader should propose now: the alarm when the quota was hit, its end when enough
    /// of it is free again.
    pub(crate) fn wants(
        &mut self,
        member: u64,
        size_bytes: u64,
        quota_bytes: u64,
    ) -> Option<Command> {
        if !self.is_due(size_bytes, quota_bytes) {
            return None;
        }
        self.proposing = true;
        self.refused = false;
        let kind = AlarmKind::NoSpace;
        let command = match self.raised.first() {
            Some(&member) => Command::AlarmClear { member, kind },
            None => Command::AlarmRaise { member, kind },
        };
        Some(command.by(Some(Actor::Store)))
    }
}
