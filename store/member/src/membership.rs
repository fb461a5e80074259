//! Whether the members may change now: the rules that keep a majority able to decide, as etcd has them
//! (`--strict-reconfig-check`). Decides from the members as replicated and from what the leader has
//! heard of them; changes nothing.

use std::collections::BTreeSet;

use store_machine::MemberRecord;
use store_machine::command::MemberChange;

use crate::answer::Forbidden;
use crate::effects::Shortfall;

/// What the leader knows.
pub(crate) struct View {
    /// All members.
    pub(crate) members: Vec<MemberRecord>,
    /// Those heard of lately, this one among them.
    pub(crate) heard: BTreeSet<u64>,
    /// Last entry of the leader's log.
    pub(crate) last: u64,
    /// Last entry known to be in the log of the member to be promoted.
    pub(crate) matched: u64,
    /// How many may learn at a time.
    pub(crate) learners_max: usize,
    /// Look at who has started and who has been heard of.
    pub(crate) strict: bool,
}

/// Share of the leader's log, in percent, that a learner must have to be promoted. etcd's value.
const IN_SYNC_PERCENT: u64 = 90;

impl View {
    /// Whether a change that the machine would make is safe.
    pub(crate) fn check(&self, change: &MemberChange) -> Result<(), Forbidden> {
        match change {
            MemberChange::Update { .. } => Ok(()),
            MemberChange::Add(member) if member.learner => {
                let learners = self.members.iter().filter(|member| member.learner).count();
                if learners < self.learners_max {
                    Ok(())
                } else {
                    Err(Forbidden::TooManyLearners)
                }
            }
            MemberChange::Add(_) => {
                // One that has not started yet: it counts for the majority and not towards it.
                let (voters, started, active) = self.voters(None);
                if voters == 1 && started == 1 {
                    // The one way from one to more.
                    return Ok(());
                }
                self.majority(voters + 1, started, active)
            }
            MemberChange::Promote { id } => {
                let enough = u128::from(self.last) * u128::from(IN_SYNC_PERCENT);
                if u128::from(self.matched) * 100 < enough {
                    return Err(Forbidden::LearnerNotReady);
                }
                let (voters, started, active) = self.voters(None);
                let heard = usize::from(self.heard.contains(id));
                self.majority(voters + 1, started + 1, active + heard)
            }
            MemberChange::Remove { id } => {
                let votes = |member: &MemberRecord| member.id == *id && !member.learner;
                if !self.members.iter().any(votes) {
                    return Ok(());
                }
                let (voters, started, active) = self.voters(Some(*id));
                self.majority(voters, started, active)
            }
        }
    }

    /// What a change would leave of the voters, in numbers.
    pub(crate) fn shortfall(&self, change: &MemberChange) -> Shortfall {
        let without = match change {
            MemberChange::Remove { id } => Some(*id),
            _ => None,
        };
        let (mut voters, mut started, mut active) = self.voters(without);
        match change {
            MemberChange::Add(_) => voters += 1,
            MemberChange::Promote { id } => {
                voters += 1;
                started += 1;
                active += usize::from(self.heard.contains(id));
            }
            MemberChange::Remove { .. } | MemberChange::Update { .. } => {}
        }
        let here =
            |member: &MemberRecord| !member.name.is_empty() && self.heard.contains(&member.id);
        let counts = |member: &&MemberRecord| !member.learner && Some(member.id) != without;
        let away = self.members.iter().filter(counts);
        let mut away: Vec<u64> = away
            .filter(|member| !here(member))
            .map(|member| member.id)
            .collect();
        away.sort_unstable();
        Shortfall {
            voters,
            quorum: voters / 2 + 1,
            started,
            active,
            away,
        }
    }

    /// Whether enough of so many voters are there; of none there never are, asked strictly or not.
    fn majority(&self, voters: usize, started: usize, active: usize) -> Result<(), Forbidden> {
        let quorum = voters / 2 + 1;
        if voters == 0 || self.strict && started < quorum {
            Err(Forbidden::UnstartedMembers)
        } else if self.strict && active < quorum {
            Err(Forbidden::UnhealthyCluster)
        } else {
            Ok(())
        }
    }

    /// Voters but for one: all, started, heard of.
    fn voters(&self, without: Option<u64>) -> (usize, usize, usize) {
        let voters = self
            .members
            .iter()
            .filter(|member| !member.learner && Some(member.id) != without);
        voters.fold((0, 0, 0), |(all, started, active), member| {
            (
                all + 1,
                started + usize::from(!member.name.is_empty()),
                active + usize::from(self.heard.contains(&member.id)),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `v` votes, `l` learns; in upper case it is heard of; `.` before it says it never started.
    fn view(members: &str) -> View {
        let mut view = View {
            members: Vec::new(),
            heard: BTreeSet::new(),
            last: 1_000,
            matched: 900,
            learners_max: 1,
            strict: true,
        };
        let mut started = true;
        for letter in members.chars() {
            if letter == '.' {
                started = false;
                continue;
            }
            let id = view.members.len() as u64 + 1;
            view.members.push(MemberRecord {
                id,
                name: if started { "m".into() } else { String::new() },
                learner: letter.eq_ignore_ascii_case(&'l'),
                ..MemberRecord::default()
            });
            if letter.is_uppercase() {
                view.heard.insert(id);
            }
            started = true;
        }
        view
    }

    fn add(learner: bool) -> MemberChange {
        MemberChange::Add(MemberRecord {
            id: 99,
            learner,
            ..MemberRecord::default()
        })
    }

    #[test]
    fn rules() {
        use Forbidden::{TooManyLearners, UnhealthyCluster, UnstartedMembers};
        let remove = |id| MemberChange::Remove { id };
        let promote = |id| MemberChange::Promote { id };
        let table = [
            // Growing.
            ("V", add(false), Ok(())),
            ("V.v", add(false), Err(UnstartedMembers)),
            ("VV", add(false), Ok(())),
            ("Vv", add(false), Err(UnhealthyCluster)),
            ("VVv", add(false), Err(UnhealthyCluster)),
            ("VVV", add(false), Ok(())),
            ("VVV.v", add(false), Ok(())),
            ("VV.v", add(false), Err(UnstartedMembers)),
            ("VVVVv", add(false), Ok(())),
            // Learners.
            ("V", add(true), Ok(())),
            ("V.v", add(true), Ok(())),
            ("VL", add(true), Err(TooManyLearners)),
            ("V.l", add(true), Err(TooManyLearners)),
            // Promotion.
            ("VL", promote(2), Ok(())),
            ("Vl", promote(2), Err(UnhealthyCluster)),
            ("VVvL", promote(4), Ok(())),
            ("V.vL", promote(3), Ok(())),
            ("V.v.vL", promote(4), Err(UnstartedMembers)),
            // Shrinking.
            ("V", remove(1), Err(UnstartedMembers)),
            ("VL", remove(1), Err(UnstartedMembers)),
            ("VL", remove(2), Ok(())),
            ("VV", remove(2), Ok(())),
            ("Vv", remove(2), Ok(())),
            ("VVv", remove(3), Ok(())),
            ("VVv", remove(2), Err(UnhealthyCluster)),
            ("VVVvv", remove(4), Ok(())),
            ("VVVvv", remove(1), Err(UnhealthyCluster)),
            ("V.v", remove(2), Ok(())),
            ("V.v", remove(1), Err(UnstartedMembers)),
            ("VV.v.v", remove(1), Err(UnstartedMembers)),
        ];
        for (members, change, expected) in table {
            assert_eq!(
                view(members).check(&change),
                expected,
                "{members} {change:?}"
            );
        }
    }

    #[test]
    fn what_is_missing_is_told_in_numbers() {
        for (members, change, numbers, away) in [
            ("VVv", MemberChange::Remove { id: 2 }, (2, 2, 2, 1), vec![3]),
            (
                "VV.v.v",
                MemberChange::Remove { id: 1 },
                (3, 2, 1, 1),
                vec![3, 4],
            ),
            ("Vl", MemberChange::Promote { id: 2 }, (2, 2, 2, 1), vec![]),
            ("V.v", add(false), (3, 2, 1, 1), vec![2]),
        ] {
            let told = view(members).shortfall(&change);
            assert_eq!(
                (told.voters, told.quorum, told.started, told.active),
                numbers,
                "{members} {change:?}"
            );
            assert_eq!(told.away, away, "{members} {change:?}");
        }
    }

    #[test]
    fn not_strictly_only_what_cannot_be_is_refused() {
        let lax = |members| View {
            strict: false,
            ..view(members)
        };
        for (members, change, expected) in [
            ("V.v", add(false), Ok(())),
            ("VVv", add(false), Ok(())),
            ("VVv", MemberChange::Remove { id: 1 }, Ok(())),
            (
                "V",
                MemberChange::Remove { id: 1 },
                Err(Forbidden::UnstartedMembers),
            ),
            ("VL", add(true), Err(Forbidden::TooManyLearners)),
        ] {
            assert_eq!(lax(members).check(&change), expected, "{members}");
        }
        let mut behind = lax("VL");
        behind.matched = 0;
        let promote = MemberChange::Promote { id: 2 };
        assert_eq!(behind.check(&promote), Err(Forbidden::LearnerNotReady));
    }

    #[test]
    fn a_learner_must_have_nine_tenths_of_the_log() {
        let mut view = view("VL");
        let promote = MemberChange::Promote { id: 2 };
        view.matched = 899;
        assert_eq!(view.check(&promote), Err(Forbidden::LearnerNotReady));
        view.matched = 900;
        assert_eq!(view.check(&promote), Ok(()));
    }
}
