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
    /// Members whose NOSPACE the store has raised, and takes back, by itself.
    full: BTreeSet<u64>,
}

impl Alarms {
    /// Raises it; raising twice is once.
    pub(crate) fn raise(&mut self, alarm: Alarm) {
        if alarm.kind == AlarmKind::NoSpace {
            self.full.remove(&alarm.member);
        }
        self.raised.insert(alarm);
    }

    /// The store itself is out of room. A person's alarm stays a person's.
    pub(crate) fn fill(&mut self, member: u64) {
        let kind = AlarmKind::NoSpace;
        if self.raised.insert(Alarm { member, kind }) {
            self.full.insert(member);
        }
    }

    /// Takes back what [`Alarms::fill`] raised.
    pub(crate) fn free(&mut self) {
        let kind = AlarmKind::NoSpace;
        for member in std::mem::take(&mut self.full) {
            self.raised.remove(&Alarm { member, kind });
        }
    }

    /// The members whose NOSPACE the store has raised by itself.
    pub(crate) const fn full(&self) -> &BTreeSet<u64> {
        &self.full
    }

    /// Takes it back; false when it was not raised.
    pub(crate) fn clear(&mut self, alarm: Alarm) -> bool {
        if alarm.kind == AlarmKind::NoSpace {
            self.full.remove(&alarm.member);
        }
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
        self.full.remove(&member);
    }
}
