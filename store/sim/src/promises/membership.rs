//! Members change one at a time (Raft thesis, chapter 4.1), no leader before an entry of its own term is
//! committed (Ongaro's correction of July 2015); what a change is answered with is what became of it;
//! only who was removed ends as removed.
//!
//! Changes are few, so all configurations there ever were are kept and looked through.

use store_machine::MemberRecord;
use store_machine::command::MemberChange;
use store_machine::error::Refusal;
use store_machine::reply::Reply;
use store_member::answer::{Body, Failure, MemberInfo};
use store_member::record::{EntryKind, Mark};

use crate::host::Shadow;
use crate::model::Members;
use crate::promises::{Check, broken};

/// Members from an index on.
#[derive(Debug)]
struct State {
    index: u64,
    members: Members,
    made_by: Option<MemberChange>,
}

impl State {
    /// Whether a change of voters or learners made it: one of those that are made one at a time.
    fn is_for_raft(&self) -> bool {
        match &self.made_by {
            Some(
                MemberChange::Add(_) | MemberChange::Remove { .. } | MemberChange::Promote { .. },
            ) => true,
            Some(MemberChange::Update { .. }) | None => false,
        }
    }
}

/// What an operator asks for.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Change(MemberChange),
    HandOver(Option<u64>),
    List,
}

/// What became of it, as far as its operator can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Done,
    /// It never came into the log.
    Absent,
}

#[derive(Debug)]
struct Order {
    wish: Wish,
    /// Changes in force when it was asked for, by the number of the state.
    floor: usize,
    /// Process it arrived at, by host and life.
    asked_of: Option<(usize, u64)>,
    answered: bool,
    fate: Fate,
}

/// All configurations there were, and all that operators asked for.
#[derive(Debug)]
pub(crate) struct Memberships {
    states: Vec<State>,
    orders: Vec<Order>,
    /// The latest state an operator knows of.
    floor: usize,
}

impl Memberships {
    pub(crate) fn new(founders: Members) -> Self {
        Self {
            states: vec![State {
                index: 1,
                members: founders,
                made_by: None,
            }],
            orders: Vec::new(),
            floor: 0,
        }
    }

    /// Changes that operators made.
    pub(crate) fn changes(&self) -> usize {
        let made = self.states.iter().filter(|state| state.made_by.is_some());
        made.count()
    }

    /// Index of the last change that an operator made; 1 = the founding.
    pub(crate) fn last_change(&self) -> u64 {
        let made = |state: &&State| state.made_by.is_some();
        let last = self.states.iter().rfind(made);
        last.map_or(1, |state| state.index)
    }

    /// The members after an index.
    pub(crate) fn at(&self, index: u64) -> &Members {
        let above = self.states.partition_point(|state| state.index <= index);
        &self.states[above.max(1) - 1].members
    }

    /// Whether members changed, or what is known of them, in `from + 1..=to`.
    pub(crate) fn changed_within(&self, from: u64, to: u64) -> bool {
        let after = self.states.partition_point(|state| state.index <= from);
        self.states
            .get(after)
            .is_some_and(|state| state.index <= to)
    }

    /// The voter sets that may decide on the entry at `index`: those after all that is before it, or those before
    /// the last change that raft knows of.
    ///
    /// A leader counts by what it has applied, and may decide on a change and on what follows it at once. It is
    /// safe while one change at most is not applied (Raft thesis, chapter 4.1): majorities before and after one
    /// change of one voter have a member in common, so that whoever is elected by either has the entry, and the next
    /// change is decided by the voters after this one, behind all of it. A new address is a command like any
    /// other, which waits for no change and none waits for it: it says nothing of which changes are applied.
    pub(crate) fn may_decide(&self, index: u64) -> [Vec<u64>; 2] {
        let before = self.states.partition_point(|state| state.index < index);
        let last = before.max(1) - 1;
        let changed = self.states[1..=last].iter().rposition(State::is_for_raft);
        let voters = |at: usize| self.states[at].members.voters();
        [voters(last), voters(changed.unwrap_or(last))]
    }

    pub(crate) fn ask(&mut self, wish: Wish) -> usize {
        self.orders.push(Order {
            wish,
            floor: self.floor,
            asked_of: None,
            answered: false,
            fate: Fate::Open,
        });
        self.orders.len() - 1
    }

    /// It arrives at a process.
    pub(crate) fn arrives(&mut self, order: usize, host: usize, life: u64) -> Wish {
        let order = &mut self.orders[order];
        order.asked_of = Some((host, life));
        order.wish.clone()
    }

    /// Changes that may happen yet, for all anybody knows.
    pub(crate) fn open(&self) -> impl Iterator<Item = &MemberChange> {
        let now = &self.states[self.states.len() - 1].members;
        self.orders
            .iter()
            .filter_map(move |order| match &order.wish {
                Wish::Change(change) if order.fate == Fate::Open => {
                    now.refusal(change).is_none().then_some(change)
                }
                _ => None,
            })
    }

    /// The members have become these by the entry at `index`.
    pub(crate) fn changed(
        &mut self,
        index: u64,
        members: &Members,
        made_by: Option<&MemberChange>,
    ) -> Check {
        let before = &self.states[self.states.len() - 1].members;
        let differ = before
            .voters()
            .iter()
            .filter(|id| !members.voters().contains(id))
            .count()
            + members
                .voters()
                .iter()
                .filter(|id| !before.voters().contains(id))
                .count();
        if differ > 1 {
            return broken(
                "members change one at a time",
                format!("entry {index} changes {differ} voters"),
            );
        }
        // The id of an addition is new each time, so it can be told whose it is.
        let absent = |order: &&Order| {
            let Wish::Change(MemberChange::Add(added)) = &order.wish else {
                return false;
            };
            let this = matches!(made_by, Some(MemberChange::Add(made)) if made.id == added.id);
            order.fate == Fate::Absent && this
        };
        if let Some(order) = self.orders.iter().find(absent) {
            return broken(
                "unknown is not absent",
                format!(
                    "{:?} was answered as not proposed and made by entry {index}",
                    order.wish
                ),
            );
        }
        self.states.push(State {
            index,
            members: members.clone(),
            made_by: made_by.cloned(),
        });
        Ok(())
    }

    /// A member answers what it was asked.
    pub(crate) fn answered(&mut self, order: usize, outcome: &Result<Body, Failure>) -> Check {
        let last = self.states.len() - 1;
        let Some(order) = self.orders.get_mut(order) else {
            return Ok(());
        };
        if std::mem::replace(&mut order.answered, true) {
            return broken(
                "every request is answered once",
                format!("{:?} is answered again: {outcome:?}", order.wish),
            );
        }
        let mut since = self.states[order.floor..].iter().enumerate();
        let found = match (&order.wish, outcome) {
            (Wish::Change(change), Ok(Body::Applied(Reply::Members(list)))) => {
                order.fate = Fate::Done;
                let mut made = since.filter(|(_, state)| state.made_by.as_ref() == Some(change));
                made.find(|(_, state)| state.members.list() == *list)
            }
            // A full disk refuses before it proposes.
            (Wish::Change(_), Err(Failure::Refused(Refusal::NoSpace))) => {
                order.fate = Fate::Absent;
                return Ok(());
            }
            (Wish::Change(change), Err(Failure::Refused(refusal))) => {
                order.fate = Fate::Absent;
                since.find(|(_, state)| state.members.refusal(change) == Some(*refusal))
            }
            (Wish::HandOver(_), Ok(Body::Transferred(to))) => {
                since.find(|(_, state)| state.members.voters().contains(to))
            }
            (Wish::List, Ok(Body::Members(list))) => {
                let mut since = since;
                since.find(|(_, state)| same(&state.members, list))
            }
            (_, Err(Failure::NoLeader | Failure::TooManyRequests | Failure::Forbidden(_))) => {
                order.fate = Fate::Absent;
                return Ok(());
            }
            (_, Err(Failure::LeaderChanged | Failure::TimedOut | Failure::Stopped)) => {
                return Ok(());
            }
            _ => None,
        };
        let Some((at, _)) = found else {
            return broken(
                "answers about members follow the log",
                format!(
                    "{:?} is answered with {outcome:?}, which no members since index {} explain; now {:?}",
                    order.wish, self.states[order.floor].index, self.states[last].members
                ),
            );
        };
        if !matches!(order.wish, Wish::HandOver(_)) && outcome.is_ok() {
            self.floor = self.floor.max(order.floor + at);
        }
        Ok(())
    }

    /// What is asked of a process that is still there must have been answered.
    pub(crate) fn finished(&self, there: impl Fn(usize, u64) -> bool) -> Check {
        let waits = |order: &&Order| {
            !order.answered && order.asked_of.is_some_and(|(host, life)| there(host, life))
        };
        match self.orders.iter().find(waits) {
            None => Ok(()),
            Some(order) => broken(
                "every request is answered once",
                format!("{:?} was never answered", order.wish),
            ),
        }
    }

    /// A snapshot carries the members of its index.
    pub(crate) fn marked(&self, member: u64, mark: &Mark) -> Check {
        let expected = self.at(mark.index);
        let voters = &mark.voters;
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        let same = sorted(&voters.voters) == expected.voters()
            && sorted(&voters.learners) == expected.learners()
            && voters.voters_outgoing.is_empty();
        if same {
            return Ok(());
        }
        broken(
            "a snapshot carries its members",
            format!(
                "member {member}'s at entry {} names {voters:?}, the log {expected:?}",
                mark.index
            ),
        )
    }

    /// A process ends because it is told that it is a member no more.
    pub(crate) fn ended_as_removed(&self, member: u64) -> Check {
        if self.states[self.states.len() - 1]
            .members
            .removed
            .contains(&member)
        {
            return Ok(());
        }
        broken(
            "only who was removed ends as removed",
            format!("member {member} ends as removed, and nobody has removed it"),
        )
    }
}

/// A leader that has applied so far takes a change into its log that it has made itself: nothing before it
/// may be undecided.
pub(crate) fn proposed(
    member: u64,
    log: &Shadow,
    applied: u64,
    (index, term): (u64, u64),
) -> Check {
    let undecided = (applied + 1..index).find(|at| {
        log.get(*at)
            .is_some_and(|slot| slot.kind == EntryKind::MembersJoint)
    });
    if let Some(undecided) = undecided {
        return broken(
            "members change one at a time",
            format!(
                "member {member} proposes a change at entry {index}, that at {undecided} is undecided; applied {applied}"
            ),
        );
    }
    if log.term(applied) == Some(term) {
        return Ok(());
    }
    broken(
        "members change after an entry of the term is committed",
        format!(
            "member {member} proposes a change at entry {index} of term {term} and has applied {applied} of {:?}",
            log.term(applied)
        ),
    )
}

/// What a member adds of itself is left out.
fn same(members: &Members, list: &[MemberInfo]) -> bool {
    let key = |it: &MemberRecord| (it.id, it.learner, it.peer_urls.clone());
    let told = list
        .iter()
        .map(|it| (it.id, it.learner, it.peer_urls.clone()));
    members.records.values().map(key).eq(told)
}

#[cfg(test)]
mod tests;
