use super::*;
use crate::promises::example::expect;

#[test]
fn a_member_may_work_in_slices_but_not_for_ever() {
    let promise = "a member sleeps when it has nothing to do";
    for (turns, expected) in [
        (0, None),
        (IDLE_TURNS_MAX, None),
        (
            IDLE_TURNS_MAX + 1,
            Some((promise, "member 1 has asked for 2001 turns")),
        ),
    ] {
        expect("idle turns", turned(1, turns), expected);
    }
}
