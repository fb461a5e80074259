//! What the member wants a person to know, as lines of the log.

use store_member::effects::{Notice, Shortfall, Unfit};
use store_member::peer::check::Difference;
use store_member::verdict::Aspect;

pub(super) fn log(notice: Notice) {
    match notice {
        Notice::Leads { term } => tracing::info!(term, "this member leads"),
        Notice::Follows { leader, term } => {
            tracing::info!(leader = id(leader), term, "follows a leader");
        }
        Notice::Leaderless { term } => tracing::info!(term, "no leader"),
        Notice::SpaceUsed {
            percent,
            bytes,
            quota_bytes,
        } => tracing::warn!(
            bytes,
            quota_bytes,
            hint = "delete what is not needed and compact, or raise --quota-backend-bytes on all members",
            "{percent} % of the quota is used"
        ),
        Notice::DiskSlow { ms } => {
            tracing::warn!(
                ms,
                hint = "look at the disk's load and health; a store needs one that syncs in milliseconds",
                "the log's disk is slow: writes wait"
            );
        }
        Notice::Yields { to, unfit } => {
            let why = match unfit {
                Unfit::SlowDisk => "its disk is slow, others' are not",
                Unfit::FullDisk => "its disk is full",
                Unfit::Corrupt => "its state is wrong",
            };
            tracing::warn!(to = id(to), "hands the lead over: {why}");
        }
        Notice::TooFew(left) => too_few(&left),
        Notice::Differs(difference) => differs(&difference),
        Notice::StandsApart => tracing::error!(
            hint = "remove this member and add it again with an empty data folder, then disarm the alarm",
            "this member answers no client: it has a CORRUPT alarm"
        ),
        Notice::ServesAgain => tracing::info!("this member answers clients"),
        Notice::ServesUnchecked => tracing::warn!(
            "this member answers clients, although no other was there to compare its state with"
        ),
    }
}

fn too_few(left: &Shortfall) {
    let Shortfall {
        voters,
        quorum,
        started,
        active,
        away,
    } = left;
    let away: Vec<String> = away.iter().map(|member| id(*member).to_string()).collect();
    tracing::warn!(
        voters,
        quorum,
        started,
        active,
        away = away.join(","),
        hint = "start the members that are away, or remove these first",
        "refuses a change of members: of {voters} voters after it {started} would be started and {active} heard of, {quorum} are needed"
    );
}

fn differs(difference: &Difference) {
    let what = match difference.aspect {
        Aspect::Changes => "applied other changes than the others",
        Aspect::Contents => {
            "holds other contents than the others, although the changes were the same"
        }
        Aspect::Rest => "holds other leases, alarms, members or sizes than the others",
    };
    let member = id(difference.member);
    match difference.since {
        Some(span) => match span.exact() {
            Some(revision) => {
                tracing::error!(member, first_revision = revision.0, "a member {what}");
            }
            None => tracing::error!(
                member,
                after_revision = span.after.0,
                until_revision = span.until.0,
                "a member {what}"
            ),
        },
        None => tracing::error!(member, "a member {what}"),
    }
}

/// A member's id as etcd writes it.
fn id(member: u64) -> String {
    format!("{member:016x}")
}
