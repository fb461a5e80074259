//! Histories of one write: where it stands in the log, and what its client is told.

use store_machine::command::Command;
use store_machine::reply::PutReply;

use super::*;
use crate::history::What;
use crate::promises::example::{Expected, expect, header, put};

const ONCE: &str = "a write happens once";
const UNKNOWN: &str = "unknown is not absent";
const KEPT: &str = "acknowledged writes are kept";
const FOLLOW: &str = "answers follow the log";

/// What happens to it.
enum Step {
    /// It comes to this index, where it is done, or refused.
    Placed(u64, Result<Reply, Refusal>),
    /// It is answered at this revision.
    Answered(i64, Result<Body, Failure>),
}

fn done() -> Result<Reply, Refusal> {
    Ok(Reply::Put(PutReply { prev: None }))
}

fn told() -> Result<Body, Failure> {
    Ok(Body::Applied(Reply::Put(PutReply { prev: None })))
}

#[test]
fn a_write_is_where_its_client_was_told() {
    use Step::{Answered, Placed};
    let refused = Err(Failure::Refused(Refusal::LeaseNotFound));
    let rows: Vec<(&str, Vec<Step>, Expected)> = vec![
        ("done", vec![Placed(6, done()), Answered(9, told())], None),
        (
            "refused",
            vec![Placed(6, Err(Refusal::LeaseNotFound)), Answered(9, refused)],
            None,
        ),
        (
            "unknown, then done",
            vec![Answered(9, Err(Failure::TimedOut)), Placed(6, done())],
            None,
        ),
        (
            "unknown, and never done",
            vec![Answered(9, Err(Failure::LeaderChanged))],
            None,
        ),
        (
            "never proposed",
            vec![Answered(9, Err(Failure::NoLeader))],
            None,
        ),
        (
            "twice",
            vec![Placed(6, done()), Placed(7, done())],
            Some((ONCE, "at entries 6 and 7")),
        ),
        (
            "done, and known to be absent",
            vec![Answered(9, Err(Failure::NoLeader)), Placed(6, done())],
            Some((
                UNKNOWN,
                "was answered as not proposed and applied at entry 6",
            )),
        ),
        (
            "absent, and known to be done",
            vec![
                Placed(6, done()),
                Answered(9, Err(Failure::TooManyRequests)),
            ],
            Some((UNKNOWN, "at entry 6 is answered with Err(TooManyRequests)")),
        ),
        (
            "acknowledged, and nowhere",
            vec![Answered(9, told())],
            Some((KEPT, "answered and nobody has applied it")),
        ),
        (
            "answered as something else",
            vec![Placed(6, done()), Answered(9, Ok(Body::KeepAlive(1)))],
            Some((KEPT, "is answered with KeepAlive(1)")),
        ),
        (
            "before what was known to be done",
            vec![Placed(5, done())],
            Some(("real-time order", "stands at entry 5, but 5 was known")),
        ),
        (
            "another answer",
            vec![
                Placed(6, done()),
                Answered(9, Err(Failure::Refused(Refusal::LeaseNotFound))),
            ],
            Some((FOLLOW, "at entry 6 is answered with Err(LeaseNotFound)")),
        ),
        (
            "another revision",
            vec![Placed(6, done()), Answered(8, told())],
            Some((FOLLOW, "answered at revision 8 and stands at 9")),
        ),
    ];
    for (row, steps, expected) in rows {
        let mut history = History::default();
        let id = history.ask(0, 0, What::Write(put("a", "1")));
        // Entry 5 was known to be done when it was asked.
        history.ops[id.0].floor_index = 5;
        let mut check = Ok(());
        for step in steps {
            check = check.and_then(|()| match step {
                Placed(index, reply) => {
                    let revision = 9;
                    let place = Place {
                        index,
                        revision,
                        reply,
                    };
                    placed(&mut history, id, place)
                }
                Answered(revision, outcome) => {
                    answered(&mut history.ops[id.0], id, &header(revision, 1), &outcome)
                }
            });
        }
        expect(row, check, expected);
    }
}

#[test]
fn each_write_is_told_from_all_others_by_its_body() {
    let mut history = History::default();
    let commands: [Command; 2] = [put("a", "1"), put("a", "2")];
    let ids = commands
        .clone()
        .map(|it| history.ask(0, 0, What::Write(it)));
    for (command, id) in commands.iter().zip(ids) {
        let mut body = vec![0];
        command.encode(&mut body);
        assert_eq!(history.of_body(&body.into()), Some(id));
    }
}
