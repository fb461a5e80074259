//! The members: who answers, who leads, who lags, which versions, how full, how many files.

use std::time::{Duration, Instant};

use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::{Member, RangeRequest, StatusRequest, StatusResponse};

use super::finding::{Finding, bytes};
use super::page::{self, Page};
use crate::command::in_time;
use crate::connect::to;
use crate::failure::Failure;
use crate::flags::Globals;

const WHAT: &str = "member";

/// 1000 entries: what a busy follower never lags by for long.
const LAG_MAX: u64 = 1000;
/// Half the shortest usual election timeout: a read that takes as long says that something is wrong.
const READ_SLOW: Duration = Duration::from_millis(500);
/// Percent of the quota from which on it is said; the store itself warns from there on, too.
const QUOTA_WARNING: u64 = 80;
/// From here on a burst ends in an alarm.
const QUOTA_WRONG: u64 = 95;
/// Percent of the open files there may be.
const FILES_WARNING: f64 = 80.0;
/// 4096: less is a shell's default, not meant for a server; each client takes one.
const FILES_MIN: f64 = 4096.0;

/// What one member says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Examined {
    /// Its name, or its id if it has none.
    pub(crate) name: String,
    /// Where it was asked.
    pub(crate) endpoint: String,
    /// Its id as the list has it.
    pub(crate) id: u64,
    pub(crate) learner: bool,
    /// What it says, or why it says nothing.
    pub(crate) status: Result<StatusResponse, String>,
    /// How long a read took that needs a quorum, or why there was none.
    pub(crate) read: Result<Duration, String>,
    /// Its metrics, if they are to be had there.
    pub(crate) metrics: Option<Page>,
}

/// Asks one member.
pub(crate) async fn examine(member: Member, globals: Globals) -> Examined {
    let name = match member.name.is_empty() {
        true => format!("{:x}", member.id),
        false => member.name,
    };
    let mut examined = Examined {
        name,
        endpoint: member.client_ur_ls.first().cloned().unwrap_or_default(),
        id: member.id,
        learner: member.is_learner,
        status: Err("it has never started".to_owned()),
        read: Err(String::new()),
        metrics: None,
    };
    for endpoint in member.client_ur_ls {
        examined.status = status(&endpoint, &globals)
            .await
            .map_err(|failure| failure.whole());
        if examined.status.is_ok() {
            examined.read = read(&endpoint, &globals)
                .await
                .map_err(|failure| failure.whole());
            examined.metrics = page::get(&endpoint, "/metrics", &globals).await.ok();
            examined.endpoint = endpoint;
            break;
        }
    }
    examined
}

async fn status(endpoint: &str, globals: &Globals) -> Result<StatusResponse, Failure> {
    let connection = to(&[endpoint.to_owned()], globals).await?;
    let mut client = MaintenanceClient::new(connection);
    in_time(globals, client.status(StatusRequest {})).await
}

async fn read(endpoint: &str, globals: &Globals) -> Result<Duration, Failure> {
    let connection = to(&[endpoint.to_owned()], globals).await?;
    let request = RangeRequest {
        key: "health".into(),
        ..RangeRequest::default()
    };
    let began = Instant::now();
    match in_time(globals, KvClient::new(connection).range(request)).await {
        // What it holds was looked up before the user's rights were.
        Err(failure) if failure.to_string().contains("permission denied") => Ok(began.elapsed()),
        Err(failure) => Err(failure),
        Ok(_) => Ok(began.elapsed()),
    }
}

/// All there is to say of them.
pub(crate) fn judge(all: &[Examined]) -> Vec<Finding> {
    let mut found = well(all);
    found.push(quorum(all));
    found.push(versions(all));
    found.extend(all.iter().filter_map(quota));
    found.extend(all.iter().map(files));
    found
}

/// Who answers and keeps up.
pub(crate) fn well(all: &[Examined]) -> Vec<Finding> {
    let front = all.iter().flat_map(|one| &one.status);
    let front = front.map(|status| status.raft_index).max().unwrap_or(0);
    all.iter().map(|one| judge_one(one, front)).collect()
}

fn judge_one(one: &Examined, front: u64) -> Finding {
    let status = match &one.status {
        Ok(status) => status,
        Err(why) => {
            return Finding::wrong(
                WHAT,
                format!("{} at {}: {why}", one.name, one.endpoint),
                "start it or look at its log; a member that is gone for good: `muster ctl member remove`",
            );
        }
    };
    let role = match (one.learner, status.leader == one.id) {
        (true, _) => "learner",
        (_, true) => "leader",
        _ => "follower",
    };
    let mut detail = format!(
        "{} at {}: {role}, {}",
        one.name, one.endpoint, status.version
    );
    // Learners serve no such read, and say so.
    match &one.read {
        Err(why) if !one.learner => {
            return Finding::wrong(
                WHAT,
                format!("{detail}, a read fails: {why}"),
                "without a majority of members nothing is served: look at the others",
            );
        }
        Ok(took) => detail.push_str(&format!(
            ", a read takes {:.1} ms",
            took.as_secs_f64() * 1e3
        )),
        Err(_) => {}
    }
    if !status.errors.is_empty() {
        let advice = "see `muster ctl alarm list`, and what the manual says about each alarm";
        return Finding::wrong(
            WHAT,
            format!("{detail}; {}", status.errors.join("; ")),
            advice,
        );
    }
    let lag = front.saturating_sub(status.raft_applied_index);
    if lag > LAG_MAX {
        let advice = "it catches up, or its machine is too slow: look again in a minute";
        return Finding::warning(WHAT, format!("{detail}, {lag} entries behind"), advice);
    }
    if one.read.as_ref().is_ok_and(|took| *took > READ_SLOW) {
        let advice = "look at its disk and its processor, and the way between the members";
        return Finding::warning(WHAT, detail, advice);
    }
    Finding::fine(WHAT, detail)
}

/// How many members may still fail.
fn quorum(all: &[Examined]) -> Finding {
    const WHAT: &str = "quorum";
    let voters = all.iter().filter(|one| !one.learner).count();
    let well = all
        .iter()
        .filter(|one| !one.learner && one.status.is_ok())
        .count();
    let needed = voters / 2 + 1;
    let detail = format!("{well} of {voters} voters answer, {needed} are needed");
    let leaders: std::collections::BTreeSet<u64> = all
        .iter()
        .filter_map(|one| one.status.as_ref().ok().map(|status| status.leader))
        .collect();
    if well < needed || leaders.iter().all(|leader| *leader == 0) {
        return Finding::wrong(
            WHAT,
            format!("{detail}; there is no leader"),
            "start the others",
        );
    }
    if leaders.len() > 1 {
        let advice = "one of them is cut off, or an election is under way: look again in a minute";
        return Finding::warning(
            WHAT,
            format!("{detail}; members name different leaders"),
            advice,
        );
    }
    if well == needed && voters > 1 {
        let advice =
            "one more failure stops every write: bring back what is missing, or add a member";
        return Finding::warning(WHAT, detail, advice);
    }
    if voters.is_multiple_of(2) {
        let advice =
            "an even number of voters survives no more failures than one less: make it odd";
        return Finding::warning(WHAT, detail, advice);
    }
    Finding::fine(WHAT, detail)
}

/// Major and minor.
fn release(version: &str) -> (u64, u64) {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn versions(all: &[Examined]) -> Finding {
    const WHAT: &str = "version";
    let known: std::collections::BTreeSet<&str> = all
        .iter()
        .filter_map(|one| {
            one.status
                .as_ref()
                .ok()
                .map(|status| status.version.as_str())
        })
        .collect();
    let list = known.iter().copied().collect::<Vec<_>>().join(", ");
    let releases: std::collections::BTreeSet<(u64, u64)> =
        known.iter().map(|version| release(version)).collect();
    let first = releases.first().copied().unwrap_or_default();
    let last = releases.last().copied().unwrap_or_default();
    if known.len() <= 1 {
        Finding::fine(WHAT, format!("all members: {list}"))
    } else if first.0 != last.0 || last.1 - first.1 > 1 {
        let advice = "members may be one minor version apart, no more: bring the oldest up to date";
        Finding::wrong(WHAT, list, advice)
    } else {
        let advice = "finish the upgrade: new features stay off until all members have them";
        Finding::warning(WHAT, list, advice)
    }
}

fn quota(one: &Examined) -> Option<Finding> {
    const WHAT: &str = "quota";
    let status = one.status.as_ref().ok()?;
    let size = u64::try_from(status.db_size).unwrap_or(0);
    let told = u64::try_from(status.db_size_quota)
        .ok()
        .filter(|told| *told > 0);
    let of_metrics = || {
        let text = &one.metrics.as_ref()?.text;
        page::number(text, "etcd_server_quota_backend_bytes").map(|quota| quota as u64)
    };
    let Some(limit) = told.or_else(of_metrics).filter(|limit| *limit > 0) else {
        let detail = format!(
            "{}: {} taken, of how much it does not say",
            one.name,
            bytes(size)
        );
        return Some(Finding::skipped(WHAT, detail));
    };
    let percent = u64::try_from(u128::from(size) * 100 / u128::from(limit)).unwrap_or(u64::MAX);
    let (size, limit) = (bytes(size), bytes(limit));
    let detail = format!("{}: {size} of {limit} ({percent} %)", one.name);
    const ADVICE: &str = "delete what is not needed, compact (`muster ctl compaction`), defragment (an etcd), \
                          or raise --quota-backend-bytes; the prefixes below say what takes the room";
    Some(if percent >= QUOTA_WRONG {
        Finding::wrong(WHAT, detail, ADVICE)
    } else if percent >= QUOTA_WARNING {
        Finding::warning(WHAT, detail, ADVICE)
    } else {
        Finding::fine(WHAT, detail)
    })
}

fn files(one: &Examined) -> Finding {
    const WHAT: &str = "files";
    let text = one.metrics.as_ref().map_or("", |page| page.text.as_str());
    let numbers = ["process_open_fds", "process_max_fds"].map(|name| page::number(text, name));
    let [Some(open), Some(most)] = numbers else {
        let detail = format!(
            "{}: it does not say (no /metrics at {})",
            one.name, one.endpoint
        );
        return Finding::skipped(WHAT, detail);
    };
    let detail = format!("{}: {open} open, {most} may be", one.name);
    const ADVICE: &str =
        "each client takes one: raise the limit (LimitNOFILE= of its unit, ulimit -n)";
    if most < FILES_MIN || open * 100.0 > most * FILES_WARNING {
        Finding::warning(WHAT, detail, ADVICE)
    } else {
        Finding::fine(WHAT, detail)
    }
}

#[cfg(test)]
pub(crate) mod tests;
