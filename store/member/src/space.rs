//! Room to write: the quota of the state (alarm NOSPACE, replicated) and of the disk (this member
//! alone). Decides when to raise and take back the alarm; admission asks here first.

use store_machine::alarm::{Alarm, AlarmKind};
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

    /// What the leader should propose now: the alarm when the quota was hit, its end when enough
    /// of it is free again.
    pub(crate) fn wants(
        &mut self,
        member: u64,
        size_bytes: u64,
        quota_bytes: u64,
    ) -> Option<Command> {
        if self.proposing {
            return None;
        }
        let refused = std::mem::take(&mut self.refused);
        let kind = AlarmKind::NoSpace;
        if let Some(&raised) = self.raised.first() {
            let enough = quota_bytes - quota_bytes / 100 * SPACE_FREE_PERCENT;
            if size_bytes > enough {
                return None;
            }
            self.proposing = true;
            return Some(Command::AlarmClear {
                member: raised,
                kind,
            });
        }
        if !refused {
            return None;
        }
        self.proposing = true;
        Some(Command::AlarmRaise { member, kind })
    }
}
