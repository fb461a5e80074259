//! Histories of changes: one at a time, as they were told, and only who was removed ends.

use store_machine::MemberRecord;
use store_member::answer::Forbidden;
use store_member::record::Voters;

use super::*;
use crate::promises::example::{Expected, expect, member, members, slot};

const ONE: &str = "members change one at a time";
const FOLLOW: &str = "answers about members follow the log";

fn added(id: u64) -> MemberChange {
    MemberChange::Add(member(id, false))
}

fn added_to_learn(id: u64) -> MemberChange {
    MemberChange::Add(member(id, true))
}

/// The members after some changes to three voters.
fn after(changes: &[MemberChange]) -> Members {
    let mut members = members(3);
    for change in changes {
        members.change(change).expect("a change that can be made");
    }
    members
}

#[test]
fn members_change_one_at_a_time() {
    let rows: Vec<(&str, Members, Expected)> = vec![
        ("one comes", after(&[added(4)]), None),
        ("one goes", after(&[MemberChange::Remove { id: 2 }]), None),
        (
            "two that only learn",
            after(&[added_to_learn(4), added_to_learn(5)]),
            None,
        ),
        (
            "two come",
            after(&[added(4), added(5)]),
            Some((ONE, "entry 7 changes 2 voters")),
        ),
        (
            "one for another",
            after(&[added(4), MemberChange::Remove { id: 1 }]),
            Some((ONE, "entry 7 changes 2 voters")),
        ),
    ];
    for (row, now, expected) in rows {
        let mut memberships = Memberships::new(members(3));
        expect(row, memberships.changed(7, &now, None), expected);
    }
}

#[test]
fn who_was_told_that_nothing_was_proposed_can_rely_on_it() {
    let mut memberships = Memberships::new(members(3));
    let order = memberships.ask(Wish::Change(added(4)));
    let told = memberships.answered(order, &Err(Failure::Forbidden(Forbidden::UnhealthyCluster)));
    expect("told so", told, None);
    let check = memberships.changed(7, &after(&[added(4)]), Some(&added(4)));
    let expected = Some((
        "unknown is not absent",
        "was answered as not proposed and made by entry 7",
    ));
    expect("made all the same", check, expected);
}

#[test]
fn a_change_is_answered_with_what_became_of_it() {
    let list = |members: &Members| Ok(Body::Applied(Reply::Members(members.list())));
    let with_four = || after(&[added(4)]);
    let infos = |members: &Members| {
        let infos = members.list().into_iter().map(|it: MemberRecord| it.into());
        Ok(Body::Members(infos.collect()))
    };
    let refused = |refusal| Err(Failure::Refused(refusal));
    // What is asked for while the members become 1 to 4.
    let rows: Vec<(&str, Wish, Result<Body, Failure>, Expected)> = vec![
        ("done", Wish::Change(added(4)), list(&with_four()), None),
        (
            "unknown",
            Wish::Change(added(4)),
            Err(Failure::TimedOut),
            None,
        ),
        ("listed before", Wish::List, infos(&members(3)), None),
        ("listed after", Wish::List, infos(&with_four()), None),
        (
            "refused",
            Wish::Change(MemberChange::Promote { id: 1 }),
            refused(Refusal::NotLearner),
            None,
        ),
        (
            "handed over",
            Wish::HandOver(Some(2)),
            Ok(Body::Transferred(2)),
            None,
        ),
        (
            "done, with others than there were",
            Wish::Change(added(4)),
            list(&members(3)),
            Some((FOLLOW, "is answered with Ok(Applied(Members(")),
        ),
        (
            "done, and never made",
            Wish::Change(added(5)),
            list(&with_four()),
            Some((FOLLOW, "which no members since index 1 explain")),
        ),
        (
            "refused for no reason",
            Wish::Change(MemberChange::Promote { id: 1 }),
            refused(Refusal::MemberNotFound),
            Some((FOLLOW, "MemberNotFound")),
        ),
        (
            "a list that never was",
            Wish::List,
            infos(&after(&[MemberChange::Remove { id: 1 }])),
            Some((FOLLOW, "Members")),
        ),
        (
            "handed over to nobody",
            Wish::HandOver(None),
            Ok(Body::Transferred(9)),
            Some((FOLLOW, "Transferred(9)")),
        ),
    ];
    for (row, wish, outcome, expected) in rows {
        let mut memberships = Memberships::new(members(3));
        let order = memberships.ask(wish);
        memberships
            .changed(7, &with_four(), Some(&added(4)))
            .expect("one comes");
        expect(row, memberships.answered(order, &outcome), expected);
    }
}

#[test]
fn each_wish_is_answered_once() {
    let once = "every request is answered once";
    let infos: Vec<_> = members(3).list().into_iter().map(Into::into).collect();
    let mut memberships = Memberships::new(members(3));
    let order = memberships.ask(Wish::List);
    let _ = memberships.arrives(order, 0, 1);
    let there = |host: usize, life: u64| (host, life) == (0, 1);
    expect(
        "gone with its process",
        memberships.finished(|_, _| false),
        None,
    );
    let waits = memberships.finished(there);
    expect("never", waits, Some((once, "List was never answered")));
    let first = memberships.answered(order, &Ok(Body::Members(infos.clone())));
    expect(
        "once",
        first.and_then(|()| memberships.finished(there)),
        None,
    );
    let again = memberships.answered(order, &Ok(Body::Members(infos)));
    expect("twice", again, Some((once, "List is answered again")));
}

#[test]
fn a_leader_proposes_one_change_after_an_entry_of_its_term() {
    let early = "members change after an entry of the term is committed";
    // (terms of the log, which entry changes members, applied, where the next is proposed, expected)
    type Row = (&'static str, &'static [u64], Option<u64>, u64, Expected);
    let rows: [Row; 4] = [
        ("after its first entry", &[1, 1, 2, 2], Some(2), 3, None),
        (
            "after a change that is applied",
            &[1, 2, 2, 2],
            Some(3),
            4,
            None,
        ),
        (
            "while another is undecided",
            &[1, 1, 2, 2],
            Some(4),
            3,
            Some((ONE, "at entry 5, that at 4 is undecided; applied 3")),
        ),
        (
            "before its first entry is committed",
            &[1, 1, 2, 2],
            None,
            2,
            Some((early, "has applied 2 of Some(1)")),
        ),
    ];
    for (row, terms, change, applied, expected) in rows {
        let mut log = Shadow::default();
        for (index, term) in (1..).zip(terms) {
            let mut slot = slot(*term, "x");
            if Some(index) == change {
                slot.kind = EntryKind::MembersJoint;
            }
            log.push(index, slot);
        }
        expect(row, proposed(1, &log, applied, (5, 2)), expected);
    }
}

#[test]
fn a_snapshot_carries_the_members_of_its_index() {
    let mark = |index, voters: &[u64]| Mark {
        index,
        term: 1,
        voters: Voters {
            voters: voters.to_vec(),
            ..Voters::default()
        },
    };
    let mut memberships = Memberships::new(members(3));
    memberships
        .changed(7, &after(&[added(4)]), Some(&added(4)))
        .expect("one comes");
    let promise = "a snapshot carries its members";
    for (row, mark, expected) in [
        ("before the change", mark(6, &[1, 2, 3]), None),
        ("in another order", mark(7, &[4, 2, 1, 3]), None),
        (
            "too early",
            mark(6, &[1, 2, 3, 4]),
            Some((promise, "at entry 6 names")),
        ),
        (
            "too late",
            mark(9, &[1, 2, 3]),
            Some((promise, "at entry 9 names")),
        ),
    ] {
        expect(row, memberships.marked(1, &mark), expected);
    }
}

#[test]
fn only_who_was_removed_ends_as_removed() {
    let mut memberships = Memberships::new(members(3));
    let promise = "only who was removed ends as removed";
    let check = memberships.ended_as_removed(3);
    expect("a member", check, Some((promise, "nobody has removed it")));
    let gone = after(&[MemberChange::Remove { id: 3 }]);
    memberships.changed(7, &gone, None).expect("one goes");
    expect("removed", memberships.ended_as_removed(3), None);
}

#[test]
fn one_change_may_be_decided_by_the_voters_before_it() {
    let moved = |id: u64, url: &str| MemberChange::Update {
        id,
        peer_urls: vec![url.to_owned()],
    };
    let promoted = MemberChange::Promote { id: 5 };
    // Changes from entry 7 on, and who may decide on the entry after them.
    type Row<'a> = (&'static str, Vec<MemberChange>, [&'a [u64]; 2]);
    let rows: [Row; 7] = [
        ("none", vec![], [&[1, 2, 3], &[1, 2, 3]]),
        ("one comes", vec![added(4)], [&[1, 2, 3, 4], &[1, 2, 3]]),
        (
            "one goes",
            vec![MemberChange::Remove { id: 3 }],
            [&[1, 2], &[1, 2, 3]],
        ),
        (
            "one comes, and others have new addresses before that is decided",
            vec![added(4), moved(3, "p30"), moved(2, "p20")],
            [&[1, 2, 3, 4], &[1, 2, 3]],
        ),
        (
            "one comes, and another learns once that is decided",
            vec![added(4), added_to_learn(5)],
            [&[1, 2, 3, 4], &[1, 2, 3, 4]],
        ),
        (
            "one learns, has a new address, and votes",
            vec![added_to_learn(5), moved(5, "p50"), promoted],
            [&[1, 2, 3, 5], &[1, 2, 3]],
        ),
        (
            "two come: the first is decided by then",
            vec![added(4), moved(3, "p30"), added(5)],
            [&[1, 2, 3, 4, 5], &[1, 2, 3, 4]],
        ),
    ];
    for (row, changes, expected) in rows {
        let mut memberships = Memberships::new(members(3));
        let end = 7 + changes.len() as u64;
        for (index, made) in (7..).zip(1..=changes.len()) {
            let now = after(&changes[..made]);
            let change = memberships.changed(index, &now, changes.get(made - 1));
            expect(row, change, None);
        }
        assert_eq!(memberships.may_decide(end), expected, "{row}");
        assert_eq!(memberships.may_decide(7), [[1, 2, 3], [1, 2, 3]], "{row}");
        assert_eq!(memberships.changes(), changes.len(), "{row}");
        let last = if changes.is_empty() { 1 } else { end - 1 };
        assert_eq!(memberships.last_change(), last, "{row}");
    }
}
