//! Raised alarms: facts about a member that every member must know.

use std::collections::BTreeSet;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// The quota is used up.
    NoSpace,
    /// The member's data differs from the others'.
    Corrupt,
}

/// An alarm raised for one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alarm {
    /// The member it concerns.
    pub member: u64,
    /// What is wrong.
    pub kind: AlarmKind,
}

/// All raised alarms, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Alarms {
    raised: BTreeSet<Alarm>,
}

impl Alarms {
    /// Raises it; raising twice is once.
    pub(crate) fn raise(&mut self, alarm: Alarm) {
        self.raised.insert(alarm);
    }

    /// Takes it back; false when it was not raised.
    pub(crate) fn clear(&mut self, alarm: Alarm) -> bool {
        self.raised.remove(&alarm)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Alarm> {
        self.raised.iter()
    }

    /// Whether any member has an alarm of this kind.
    pub(crate) fn any(&self, kind: AlarmKind) -> bool {
        self.of(kind).next().is_some()
    }

    /// The members with an alarm of this kind, ascending.
    pub(crate) fn of(&self, kind: AlarmKind) -> impl Iterator<Item = u64> {
        let raised = self.raised.iter().filter(move |alarm| alarm.kind == kind);
        raised.map(|alarm| alarm.member)
    }

    /// A member is one no more: nothing is wrong with it now.
    pub(crate) fn forget(&mut self, member: u64) {
        self.raised.retain(|alarm| alarm.member != member);
    }
}
