//! The safe way to a new member: it learns first, gets its vote when it has the data, and is taken out
//! again when nothing is heard of it. What goes on is told on stderr, a line for each change.

use std::time::Duration;

use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::{
    MemberListRequest, MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest,
    StatusRequest,
};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::super::in_time;
use super::client;
use crate::connect::to;
use crate::failure::Failure;
use crate::flags::Globals;

/// Between two looks: soon enough for people, rarely enough for the cluster.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long the new member may take to say how far it is. It is asked again soon.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// How far the new member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The cluster has not heard its name.
    Unstarted,
    /// It has started, and is now at this index of the log; `None` when it does not say.
    Learning(Option<u64>),
    /// It has the data; other members are missing for the change.
    Ready,
}

/// Waits until member `id` has been promoted.
///
/// # Errors
/// When nothing was heard of it for `undo_after`: then it has been removed again. Or when it cannot
/// become a voter for another reason.
pub(super) async fn see_through(
    globals: &Globals,
    id: u64,
    name: &str,
    undo_after: Duration,
) -> Result<MemberPromoteResponse, Failure> {
    eprintln!(
        "{name} learns until it has the data; start it now, on an empty folder, with the settings above"
    );
    eprintln!(
        "Ctrl-C leaves it a learner: `member promote {id:x}` then gives it a vote, `member remove {id:x}` \
         takes it out"
    );
    let mut stage = None;
    let mut heard = Instant::now();
    loop {
        let refused = match promote(globals, id).await {
            Ok(promoted) => return Ok(promoted),
            Err(status) => status,
        };
        let now = match refused.code() {
            Code::NotFound => {
                let line = format!("member {id:x} was removed by somebody else");
                return Err(Failure::error(line));
            }
            Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => {
                return Err(refused.into());
            }
            Code::FailedPrecondition if !refused.message().ends_with("in sync with leader") => {
                Some(Stage::Ready)
            }
            _ => look(globals, id).await,
        };
        if let Some(now) = now {
            let silent = matches!(now, Stage::Unstarted | Stage::Learning(None));
            if !silent || Some(now) != stage && now != Stage::Unstarted {
                heard = Instant::now();
            }
            if stage != Some(now) {
                eprintln!("{name} {}", told(now, &refused));
                stage = Some(now);
            }
        }
        if heard.elapsed() >= undo_after {
            return Err(undo(globals, id, name, undo_after).await);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn told(stage: Stage, refused: &Status) -> String {
    match stage {
        Stage::Unstarted => "has not been started yet".to_owned(),
        Stage::Learning(Some(index)) => format!("catches up; it has the log up to {index}"),
        Stage::Learning(None) => {
            "has started, but its client URLs do not answer from here".to_owned()
        }
        Stage::Ready => format!("has the data, but must wait: {}", refused.message()),
    }
}

async fn promote(globals: &Globals, id: u64) -> Result<MemberPromoteResponse, Status> {
    // A store that cannot be reached now may be reached soon.
    let unreachable = |failure: Failure| Status::unavailable(failure.to_string());
    let mut client = client(globals).await.map_err(unreachable)?;
    let request = MemberPromoteRequest { id };
    // Safe to cancel: it is asked again, and a promotion that was made then says so.
    match tokio::time::timeout(globals.command_timeout, client.member_promote(request)).await {
        Ok(Ok(promoted)) => Ok(promoted.into_inner()),
        Ok(Err(status)) if status.message().ends_with("promote a learner member") => {
            // An answer before was lost on its way.
            Ok(MemberPromoteResponse::default())
        }
        Ok(Err(status)) => Err(status),
        Err(_) => Err(Status::unavailable(crate::connect::LATE)),
    }
}

/// How far it is; `None` when nobody tells.
async fn look(globals: &Globals, id: u64) -> Option<Stage> {
    let request = MemberListRequest { linearizable: true };
    let list = in_time(globals, client(globals).await.ok()?.member_list(request)).await;
    let member = list
        .ok()?
        .members
        .into_iter()
        .find(|member| member.id == id)?;
    if member.name.is_empty() {
        return Some(Stage::Unstarted);
    }
    let mut patient = globals.clone();
    patient.command_timeout = STATUS_TIMEOUT;
    let status = async {
        let mut client = MaintenanceClient::new(to(&member.client_ur_ls, &patient).await?);
        in_time(&patient, client.status(StatusRequest {})).await
    };
    Some(Stage::Learning(
        status.await.ok().map(|status| status.raft_applied_index),
    ))
}

/// Takes it out again; what to say then.
async fn undo(globals: &Globals, id: u64, name: &str, after: Duration) -> Failure {
    let silent = format!("nothing was heard of {name} for {} s", after.as_secs());
    let removed = async {
        let request = MemberRemoveRequest { id };
        in_time(globals, client(globals).await?.member_remove(request)).await
    };
    match removed.await {
        Ok(_) => Failure::error(format!("{silent}: member {id:x} was removed again")).hint(
            "check that it was started, and that the members reach each other's peer URLs and this \
             machine its client URLs",
        ),
        Err(failure) => Failure::error(format!(
            "{silent}, and it could not be removed again: {failure}"
        ))
        .hint(format!(
            "it has no vote; take it out with: member remove {id:x}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told() {
        let refused = Status::unavailable("etcdserver: unhealthy cluster");
        for (stage, said) in [
            (Stage::Unstarted, "not been started"),
            (Stage::Learning(Some(7)), "up to 7"),
            (Stage::Learning(None), "do not answer"),
            (Stage::Ready, "unhealthy cluster"),
        ] {
            assert!(told(stage, &refused).contains(said), "{stage:?}");
        }
    }
}
