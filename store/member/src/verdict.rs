//! Which members differ, by what each said of itself at the same index. A pure rule: the majority of
//! the voters that were heard is right; where there is none, nobody is known to be.

use std::collections::{BTreeMap, BTreeSet};

use store_machine::checksum::Span;
use store_machine::revision::Revision;
use store_machine::sum_bounds;

use crate::peer::check::CheckPoint;

/// In what a state differs from that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// In the running checksum: other changes were applied.
    Changes,
    /// In what lies in memory, although the changes were the same.
    Contents,
    /// In leases, alarms, members, revision, compaction or sizes.
    Rest,
}

/// A member that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) member: u64,
    pub(crate) aspect: Aspect,
}

/// All findings, a member's weightiest first.
pub(crate) fn judge(
    reports: &BTreeMap<u64, CheckPoint>,
    voters: &BTreeSet<u64>,
) -> BTreeSet<Finding> {
    let all = || reports.iter().map(|(&member, point)| (member, point));
    let origin = common_origin(reports);
    let changes = all().filter(|(_, point)| Some(point.trail.origin) == origin);
    let contents = all().filter(|(_, point)| !point.sums.is_empty());
    let differing = [
        (
            Aspect::Changes,
            minority(
                changes.map(|(id, it)| (id, (it.trail.revision, it.trail.digest))),
                voters,
            ),
        ),
        (
            Aspect::Contents,
            minority(contents.map(|(id, point)| (id, &point.sums)), voters),
        ),
        (
            Aspect::Rest,
            minority(
                all().map(|(id, point)| (id, (point.compacted, point.rest))),
                voters,
            ),
        ),
    ];
    let findings = differing.into_iter().flat_map(|(aspect, members)| {
        let of = move |member| Finding { member, aspect };
        members.into_iter().map(of)
    });
    findings.collect()
}

/// The origin that most trails have; the earlier one where two are even. Trails of another are not
/// compared.
fn common_origin(reports: &BTreeMap<u64, CheckPoint>) -> Option<Revision> {
    let mut counts: BTreeMap<Revision, usize> = BTreeMap::new();
    for point in reports.values() {
        *counts.entry(point.trail.origin).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(origin, _)| origin)
}

/// The members whose value is not that of the majority of voters; all of them where there is none.
fn minority<V: Ord>(
    values: impl Iterator<Item = (u64, V)>,
    voters: &BTreeSet<u64>,
) -> BTreeSet<u64> {
    let mut groups: BTreeMap<V, BTreeSet<u64>> = BTreeMap::new();
    for (member, value) in values {
        groups.entry(value).or_default().insert(member);
    }
    if groups.len() <= 1 {
        return BTreeSet::new();
    }
    let votes = |group: &BTreeSet<u64>| group.intersection(voters).count();
    let cast: usize = groups.values().map(votes).sum();
    groups
        .into_values()
        .filter(|group| votes(group) * 2 <= cast)
        .flatten()
        .collect()
}

/// The revisions among which the first of differing contents is, by the sums of two audits of
/// `from..=to`.
pub(crate) fn first_differing(
    (from, to): (Revision, Revision),
    one: &[u64],
    other: &[u64],
) -> Option<Span> {
    let place = one
        .iter()
        .zip(other)
        .position(|(one, other)| one != other)?;
    let (first, until) = sum_bounds(from, to, place);
    Some(Span {
        after: Revision(first.0 - 1),
        until,
    })
}

#[cfg(test)]
mod tests {
    use store_machine::checksum::TrailPoint;

    use super::*;

    fn point(digest: u64, sums: &[u64], rest: u64) -> CheckPoint {
        CheckPoint {
            trail: TrailPoint {
                origin: Revision::FIRST,
                revision: Revision(9),
                digest,
            },
            compacted: Revision(0),
            rest,
            sums: sums.to_vec(),
        }
    }

    fn found(points: &[CheckPoint], voters: u64) -> Vec<(u64, Aspect)> {
        let reports = (1..).zip(points.iter().cloned()).collect();
        let voters = (1..=voters).collect();
        let findings = judge(&reports, &voters);
        findings
            .into_iter()
            .map(|it| (it.member, it.aspect))
            .collect()
    }

    #[test]
    fn the_majority_decides_and_without_one_all_are_named() {
        use Aspect::{Changes, Contents, Rest};
        let (a, b, c) = (point(1, &[], 0), point(2, &[], 0), point(3, &[], 0));
        let (held, lost) = (point(1, &[5], 0), point(1, &[6], 0));
        let lease = point(1, &[], 7);
        let both = point(2, &[6], 0);
        // What was reported, how many of them vote, who is found.
        type Row<'a> = (Vec<&'a CheckPoint>, u64, Vec<(u64, Aspect)>);
        let table: Vec<Row<'_>> = vec![
            (vec![&a], 1, vec![]),
            (vec![&a, &a, &a], 3, vec![]),
            (vec![&a, &b, &a], 3, vec![(2, Changes)]),
            (vec![&b, &a, &a], 3, vec![(1, Changes)]),
            (vec![&a, &b], 2, vec![(1, Changes), (2, Changes)]),
            (
                vec![&a, &b, &c],
                3,
                vec![(1, Changes), (2, Changes), (3, Changes)],
            ),
            // Learners have no say, but may be wrong.
            (vec![&a, &b], 1, vec![(2, Changes)]),
            (vec![&a, &a, &b, &b], 3, vec![(3, Changes), (4, Changes)]),
            (vec![&a, &b, &b], 1, vec![(2, Changes), (3, Changes)]),
            // Of four voters two and two.
            (
                vec![&a, &a, &b, &b],
                4,
                (1..=4).map(|member| (member, Changes)).collect(),
            ),
            (vec![&held, &lost, &held], 3, vec![(2, Contents)]),
            (
                vec![&held, &held, &both],
                3,
                vec![(3, Changes), (3, Contents)],
            ),
            (vec![&a, &a, &lease], 3, vec![(3, Rest)]),
            // One that was not audited says nothing about contents.
            (vec![&held, &held, &a], 3, vec![]),
        ];
        for (points, voters, expected) in table {
            let points: Vec<CheckPoint> = points.into_iter().cloned().collect();
            assert_eq!(found(&points, voters), expected, "{points:?}");
        }
    }

    #[test]
    fn trails_of_another_origin_are_not_compared() {
        let mut later = point(2, &[], 0);
        later.trail.origin = Revision(5);
        assert_eq!(
            found(&[point(1, &[], 0), later.clone(), point(1, &[], 0)], 3),
            []
        );
        assert_eq!(found(&[point(1, &[], 0), later], 2), []);
    }

    #[test]
    fn the_first_differing_sum_names_its_revisions() {
        let (from, to) = (Revision(1), Revision(6_400));
        let mut other = vec![0; 64];
        assert_eq!(first_differing((from, to), &[0; 64], &other), None);
        other[2] = 1;
        other[9] = 1;
        let span = Span {
            after: Revision(200),
            until: Revision(300),
        };
        assert_eq!(first_differing((from, to), &[0; 64], &other), Some(span));
    }
}
