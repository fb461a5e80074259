//! Histories of states: the same entries give the same state, which the model has, too.

use store_machine::Limits;
use store_machine::command::Command;
use store_machine::revision::{Index, LeaseId};

use super::*;
use crate::promises::example::{
    Expected, canon, compact, delete, expect, grant, leased, members, put, slot,
};

/// A machine that has applied these from index 2 on.
fn machine(commands: &[Command]) -> Machine {
    let mut machine = Machine::new(Limits::NONE);
    machine.found(members(3).list());
    machine.pass(Index(1));
    for (index, command) in (2..).zip(commands) {
        // A refusal is as good: the model refuses it, too.
        let _ = machine.apply(Index(index), command.clone());
    }
    machine
}

const SAME: &str = "same state at same index";
const SAFETY: &str = "state machine safety";

#[test]
fn two_members_hold_the_same_and_the_model_holds_it_too() {
    struct Row {
        history: &'static str,
        log: Vec<Command>,
        one: Vec<Command>,
        other: Vec<Command>,
        expected: Expected,
    }
    let log = || vec![grant(1, 60), leased("a", "1", 1), put("b", "2")];
    let with = |command: Command| {
        let mut commands = log();
        commands[2] = command;
        commands
    };
    let checkpoint = Command::LeaseCheckpoint {
        remaining: vec![(LeaseId(1), 5)],
        term: 1,
    };
    let rows = [
        Row {
            history: "all the same",
            log: log(),
            one: log(),
            other: log(),
            expected: None,
        },
        Row {
            history: "one is behind",
            log: log(),
            one: log(),
            other: log()[..2].to_vec(),
            expected: None,
        },
        Row {
            history: "one has another value",
            log: log(),
            one: log(),
            other: with(put("b", "3")),
            expected: Some((SAME, "member 2 is at")),
        },
        Row {
            history: "both have another value than the log",
            log: log(),
            one: with(put("b", "3")),
            other: with(put("b", "3")),
            expected: Some((SAME, "member 1 holds")),
        },
        Row {
            history: "one lacks a key",
            log: with(delete("a")),
            one: with(delete("a")),
            other: with(delete("c")),
            expected: Some((SAME, "after entry 4 member 2 is at")),
        },
        Row {
            history: "one has more of a lease left",
            log: with(checkpoint.clone()),
            one: with(checkpoint.clone()),
            other: with(Command::LeaseCheckpoint {
                remaining: Vec::new(),
                term: 1,
            }),
            expected: Some((SAME, "member 2 is at Digest")),
        },
        Row {
            history: "one has kept what is compacted",
            log: with(compact(2)),
            one: with(compact(2)),
            other: with(delete("nothing")),
            expected: Some((SAME, "compacted: 0")),
        },
    ];
    for row in rows {
        let canon = canon(&row.log);
        let mut states = States::default();
        let mut check = Ok(());
        for (id, commands) in [(1, &row.one), (2, &row.other)] {
            let machine = machine(commands);
            let short = commands.len() < row.log.len();
            // The model keeps all revisions, but members at one index only.
            let look = |states: &mut States| states.look(&canon, &members(3), id, &machine);
            check = check.and_then(|()| if short { Ok(()) } else { look(&mut states) });
        }
        expect(row.history, check, row.expected);
    }
}

#[test]
fn members_are_part_of_the_state() {
    let log = [put("a", "1")];
    let check = States::default().look(&canon(&log), &members(2), 1, &machine(&log));
    expect(
        "one too many",
        check,
        Some((SAME, "after entry 2 member 1 knows")),
    );
    let mut removed = members(3);
    removed.removed.insert(4);
    let check = States::default().look(&canon(&log), &removed, 1, &machine(&log));
    expect("one that was removed", check, Some((SAME, "removed: {4}")));
}

#[test]
fn revision_and_compaction_fit_the_index() {
    let log = [put("a", "1"), put("a", "2"), compact(2)];
    for (history, commands, expected) in [
        ("as the log", log.to_vec(), None),
        ("behind", log[..1].to_vec(), None),
        (
            "a write came to nothing",
            vec![put("a", "1"), delete("b")],
            Some((
                SAFETY,
                "member 3 is at revision and compaction (2, 0) after entry 3",
            )),
        ),
        (
            "a compaction went too far",
            vec![put("a", "1"), put("a", "2"), compact(3)],
            Some((
                SAFETY,
                "(3, 3) after entry 4, the model at Point { revision: 3, compacted: 2 }",
            )),
        ),
    ] {
        let check = same_point(&canon(&log), 3, &machine(&commands));
        expect(history, check, expected);
    }
}

#[test]
fn nobody_applies_another_entry() {
    let canon = canon(&[put("a", "1")]);
    for (history, found, expected) in [
        ("the same", Some(slot(1, "x")), None),
        (
            "of another term",
            Some(slot(2, "x")),
            Some((
                SAFETY,
                "entry 2 of term Some(2), others one of term Some(1)",
            )),
        ),
        (
            "another command",
            Some(slot(1, "y")),
            Some((SAFETY, "member 1 applied entry 2")),
        ),
        (
            "one it does not have",
            None,
            Some((SAFETY, "entry 2 of term None")),
        ),
    ] {
        let check = same_entry(&canon, 1, 2, found.as_ref());
        expect(history, check, expected);
    }
}
