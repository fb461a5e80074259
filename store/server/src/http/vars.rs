//! `/debug/vars`, in the shape of Go's expvar: how the process was started, and where raft is.
//!
//! What Go tells of its heap is left out, as there is none.

use http::{Response, StatusCode};
use serde::Serialize;

use super::json;
use crate::api::Api;
use crate::body::Body;

/// A flag with one of these in its name has a value that nobody is shown.
const SECRET: &str = "password";

#[derive(Serialize)]
struct Vars {
    cmdline: Vec<String>,
    file_descriptor_limit: u64,
    #[serde(rename = "raft.status")]
    raft_status: RaftStatus,
}

/// As etcd's raft writes it; ids in hexadecimal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RaftStatus {
    id: String,
    term: u64,
    commit: u64,
    lead: String,
    raft_state: &'static str,
    applied: u64,
}

/// `GET /debug/vars`.
pub(super) fn vars(api: &Api) -> Response<Body> {
    let counters = api.handle.counters();
    let (id, leader) = (api.handle.member_id(), counters.leader.get());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let arguments = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let vars = Vars {
        cmdline: without_secrets(arguments),
        file_descriptor_limit: limit.unwrap_or(u64::MAX),
        raft_status: RaftStatus {
            id: format!("{id:x}"),
            term: counters.term.get(),
            commit: counters.proposals_committed.get(),
            lead: format!("{leader:x}"),
            raft_state: match leader {
                _ if leader == id => "StateLeader",
                // Without one, it may be about to ask to become one; that is not told apart here.
                _ => "StateFollower",
            },
            applied: counters.proposals_applied.get(),
        },
    };
    json(StatusCode::OK, &vars)
}

fn without_secrets(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut follows = false;
    let shown = words.map(|word| {
        let value = std::mem::take(&mut follows);
        let (name, rest) = word.split_once('=').unwrap_or((&word, ""));
        if value && !word.starts_with('-') {
            "***".to_owned()
        } else if name.starts_with('-') && name.contains(SECRET) {
            follows = rest.is_empty();
            if follows { word } else { format!("{name}=***") }
        } else {
            word
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (line, wanted) in [
            ("etcd --name n", "etcd --name n"),
            (
                "etcd --discovery-password=p x",
                "etcd --discovery-password=*** x",
            ),
            (
                "etcd -discovery-password p x",
                "etcd -discovery-password *** x",
            ),
            (
                "etcd --discovery-password --name n",
                "etcd --discovery-password --name n",
            ),
        ] {
            let words = line.split(' ').map(str::to_owned);
            assert_eq!(without_secrets(words).join(" "), wanted);
        }
    }
}
