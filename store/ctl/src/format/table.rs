//! The format for people who compare: a table with borders, for what comes in rows.

use store_utl::{drawn, size};

use super::Answer;

/// The table, or nothing for what does not come in rows.
pub(crate) fn told(answer: &Answer) -> Option<String> {
    let head: &[&str] = match answer {
        Answer::Members(_) => &[
            "ID",
            "STATUS",
            "NAME",
            "PEER ADDRS",
            "CLIENT ADDRS",
            "IS LEARNER",
        ],
        Answer::Health(_) => &["ENDPOINT", "HEALTH", "TOOK", "ERROR"],
        Answer::Status(_) => &[
            "ENDPOINT",
            "ID",
            "VERSION",
            "DB SIZE",
            "IS LEADER",
            "IS LEARNER",
            "RAFT TERM",
            "RAFT INDEX",
            "RAFT APPLIED INDEX",
            "ERRORS",
        ],
        Answer::Hash(_) => &["ENDPOINT", "HASH"],
        _ => return None,
    };
    Some(drawn(head, &rows(answer)))
}

/// The rows, which the simple format prints too.
pub(crate) fn rows(answer: &Answer) -> Vec<Vec<String>> {
    match answer {
        Answer::Members(list) => list
            .members
            .iter()
            .map(|member| {
                let status = if member.name.is_empty() {
                    "unstarted"
                } else {
                    "started"
                };
                vec![
                    format!("{:x}", member.id),
                    status.to_owned(),
                    member.name.clone(),
                    member.peer_ur_ls.join(","),
                    member.client_ur_ls.join(","),
                    member.is_learner.to_string(),
                ]
            })
            .collect(),
        Answer::Health(all) => all
            .iter()
            .map(|health| {
                vec![
                    health.endpoint.clone(),
                    health.error.is_none().to_string(),
                    health.took.clone(),
                    health.error.clone().unwrap_or_default(),
                ]
            })
            .collect(),
        Answer::Status(all) => all
            .iter()
            .map(|(endpoint, status)| {
                let member = status.header.unwrap_or_default().member_id;
                vec![
                    endpoint.clone(),
                    format!("{member:x}"),
                    status.version.clone(),
                    size(status.db_size),
                    (status.leader == member).to_string(),
                    status.is_learner.to_string(),
                    status.raft_term.to_string(),
                    status.raft_index.to_string(),
                    status.raft_applied_index.to_string(),
                    status.errors.join(", "),
                ]
            })
            .collect(),
        Answer::Hash(all) => all
            .iter()
            .map(|(endpoint, hash)| vec![endpoint.clone(), hash.hash.to_string()])
            .collect(),
        _ => Vec::new(),
    }
}
