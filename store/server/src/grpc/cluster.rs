//! The members of the cluster (reference A.8): listing them. Changing them is not served yet.

use std::sync::Arc;

use store_proto::etcdserverpb as pb;
use tonic::Status;

use super::errors::status;
use super::translate;
use crate::api::Api;
use crate::handle::{Consistency, MemberInfo};

pub(crate) async fn list(
    api: Arc<Api>,
    request: pb::MemberListRequest,
) -> Result<pb::MemberListResponse, Status> {
    let consistency = if request.linearizable {
        Consistency::Linearizable
    } else {
        Consistency::Serializable
    };
    let answer = api.handle.members(consistency).await.map_err(status)?;
    Ok(pb::MemberListResponse {
        header: Some(translate::header_without_revision(answer.header)),
        members: answer.body.into_iter().map(member).collect(),
    })
}

fn member(info: MemberInfo) -> pb::Member {
    pb::Member {
        id: info.id,
        name: info.name,
        peer_ur_ls: info.peer_urls,
        client_ur_ls: info.client_urls,
        is_learner: info.learner,
    }
}
