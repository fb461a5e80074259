//! Why a change of members was refused for want of members that take part, in numbers and with what to do: the server
//! answers etcd's text alone, which clients compare. What is said is pure.

use store_proto::etcdserverpb::MemberListRequest;

use super::super::in_time;
use super::client;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::overview::status::Member;
use crate::overview::survey;

/// What etcd answers for want of members that have started.
const UNSTARTED: &str = "re-configuration failed due to not enough started members";
/// And of members that were heard of.
const UNHEALTHY: &str = "unhealthy cluster";

/// What was to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A voter that has yet to start.
    Add,
    Remove(u64),
    Promote(u64),
}

/// An answer, or the refusal with a hint from the list of members if it is such a one.
///
/// # Errors
/// The failure that was given.
pub(super) async fn explained<T>(
    asked: Result<T, Failure>,
    globals: &Globals,
    change: Change,
) -> Result<T, Failure> {
    let failure = match asked {
        Ok(answer) => return Ok(answer),
        Err(failure) => failure,
    };
    let line = failure.to_string();
    if !line.ends_with(UNSTARTED) && !line.ends_with(UNHEALTHY) {
        return Err(failure);
    }
    let listed = async {
        let request = MemberListRequest {
            linearizable: false,
        };
        in_time(globals, client(globals).await?.member_list(request)).await
    };
    // Without a list the refusal stands as it is.
    let Ok(list) = listed.await else {
        return Err(failure);
    };
    let (members, _) = survey::members(list.members, globals).await;
    Err(failure.hint(hint(&members, change)))
}

fn hint(members: &[Member], change: Change) -> String {
    let (after, removed, promoted) = match change {
        Change::Add => ("with one more", None, None),
        Change::Remove(id) => ("without it", Some(id), None),
        Change::Promote(id) => ("with it", None, Some(id)),
    };
    let voters: Vec<&Member> = members
        .iter()
        .filter(|member| Some(member.id) != removed)
        .filter(|member| !member.learner || Some(member.id) == promoted)
        .collect();
    let count = voters.len() + usize::from(change == Change::Add);
    let quorum = count / 2 + 1;
    if count == 0 {
        return "it is the last voter: to end a cluster, stop it and delete its data folder"
            .to_owned();
    }
    let started = voters
        .iter()
        .filter(|member| !member.name.is_empty())
        .count();
    let answering = voters.iter().filter(|member| member.said.is_ok()).count();
    let away: Vec<String> = voters
        .iter()
        .filter(|member| member.said.is_err())
        .map(|member| match member.name.as_str() {
            "" => format!("{:x} (never started)", member.id),
            name => format!("{name} ({:x})", member.id),
        })
        .collect();
    let numbers = format!(
        "{after} there would be {count} voters, {quorum} of them needed; {started} have started, {answering} answer"
    );
    match away.as_slice() {
        [] => format!("{numbers}; try again, the leader has to hear of each"),
        away => format!("{numbers}; start or first remove: {}", away.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::status::Said;

    fn member(id: u64, name: &str, learner: bool, answers: bool) -> Member {
        Member {
            id,
            name: name.to_owned(),
            endpoint: String::new(),
            learner,
            said: match answers {
                true => Ok(Said::default()),
                false => Err("away".to_owned()),
            },
        }
    }

    #[test]
    fn what_is_missing_and_what_to_do() {
        let three = [
            member(0xa, "n1", false, true),
            member(0xb, "n2", false, true),
            member(0xc, "", false, false),
            member(0xd, "n4", true, false),
        ];
        for (members, change, said) in [
            (
                &three[..],
                Change::Remove(0xa),
                "without it there would be 2 voters, 2 of them needed; 1 have started, 1 answer; start or first remove: c (never started)",
            ),
            (
                &three[..2],
                Change::Add,
                "with one more there would be 3 voters, 2 of them needed; 2 have started, 2 answer; try again, the leader has to hear of each",
            ),
            (
                &three[..],
                Change::Promote(0xd),
                "with it there would be 4 voters, 3 of them needed; 3 have started, 2 answer; start or first remove: c (never started), n4 (d)",
            ),
            (
                &three[..1],
                Change::Remove(0xa),
                "it is the last voter: to end a cluster, stop it and delete its data folder",
            ),
        ] {
            assert_eq!(hint(members, change), said, "{change:?}");
        }
    }
}
