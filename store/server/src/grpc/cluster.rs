//! The members of the cluster: listing and changing them. Which changes may be made is the member's
//! business; here is what can be said of a request alone, and whether others could reach this member.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use store_machine::MemberRecord;
use store_machine::command::{Command, MemberChange};
use store_machine::reply::Reply;
use store_proto::etcdserverpb as pb;
use tonic::Status;

use super::errors::{self, ApiError, status};
use super::{kv, translate};
use crate::api::Api;
use crate::config::address::Address;
use crate::handle::{Consistency, Header, MemberInfo};
use crate::identity;
use crate::roster;

pub(crate) async fn list(
    api: Arc<Api>,
    request: pb::MemberListRequest,
) -> Result<pb::MemberListResponse, Status> {
    let consistency = kv::consistency(!request.linearizable);
    let answer = api.handle.members(consistency).await.map_err(status)?;
    Ok(pb::MemberListResponse {
        header: header(answer.header),
        members: answer.body.into_iter().map(roster::entry).collect(),
    })
}

pub(crate) async fn add(
    api: Arc<Api>,
    request: pb::MemberAddRequest,
) -> Result<pb::MemberAddResponse, Status> {
    let urls = peer_urls(&request.peer_ur_ls)?;
    reachable(&api, &urls).await?;
    let peer_urls: Vec<String> = urls.iter().map(Address::to_string).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let id = identity::added_member_id(&peer_urls, now.unwrap_or_default());
    let added = MemberRecord {
        id,
        peer_urls,
        learner: request.is_learner,
        ..MemberRecord::default()
    };
    let (header, members) = change(&api, MemberChange::Add(added)).await?;
    Ok(pb::MemberAddResponse {
        header,
        member: members.iter().find(|member| member.id == id).cloned(),
        members,
    })
}

pub(crate) async fn remove(
    api: Arc<Api>,
    request: pb::MemberRemoveRequest,
) -> Result<pb::MemberRemoveResponse, Status> {
    let id = request.id;
    let (header, members) = change(&api, MemberChange::Remove { id }).await?;
    Ok(pb::MemberRemoveResponse { header, members })
}

pub(crate) async fn update(
    api: Arc<Api>,
    request: pb::MemberUpdateRequest,
) -> Result<pb::MemberUpdateResponse, Status> {
    let urls = peer_urls(&request.peer_ur_ls)?;
    let update = MemberChange::Update {
        id: request.id,
        peer_urls: urls.iter().map(Address::to_string).collect(),
    };
    let (header, members) = change(&api, update).await?;
    Ok(pb::MemberUpdateResponse { header, members })
}

pub(crate) async fn promote(
    api: Arc<Api>,
    request: pb::MemberPromoteRequest,
) -> Result<pb::MemberPromoteResponse, Status> {
    let id = request.id;
    let promoted = change(&api, MemberChange::Promote { id }).await;
    let outcome = match promoted {
        Ok(_) => &api.accounts.promoted,
        Err(_) => &api.accounts.not_promoted,
    };
    outcome.fetch_add(1, Relaxed);
    let (header, members) = promoted?;
    Ok(pb::MemberPromoteResponse { header, members })
}

/// Makes a change; the members after it.
async fn change(
    api: &Api,
    change: MemberChange,
) -> Result<(Option<pb::ResponseHeader>, Vec<pb::Member>), Status> {
    let answer = api.handle.propose(Command::Members(change)).await;
    let answer = answer.map_err(status)?;
    match answer.body {
        Reply::Members(members) => Ok((
            header(answer.header),
            members.into_iter().map(roster::entry).collect(),
        )),
        other => Err(kv::mismatch("member change", &other)),
    }
}

/// The peer URLs of a request, in the form they are compared in: sorted, and each once.
fn peer_urls(urls: &[String]) -> Result<Vec<Address>, ApiError> {
    let read = urls
        .iter()
        .map(|url| match Address::parse("peer-urls", url) {
            // Others must know the port itself.
            Ok(url) if url.port != 0 => Ok(url),
            _ => Err(ApiError::MemberBadUrls),
        });
    let mut urls = read.collect::<Result<Vec<_>, _>>()?;
    urls.sort_unstable();
    urls.dedup();
    if urls.is_empty() {
        return Err(ApiError::MemberBadUrls);
    }
    Ok(urls)
}

/// Refuses a member that could never be heard: with it the cluster could lose its majority for good.
async fn reachable(api: &Api, urls: &[Address]) -> Result<(), Status> {
    if !api.peer_port {
        return Err(errors::no_peer_port());
    }
    if !api.limits.strict_reconfig || urls.iter().all(Address::is_loopback) {
        return Ok(());
    }
    let members = api.handle.members(Consistency::Serializable).await;
    let members = members.map_err(status)?.body;
    let local = |url: &String| Address::parse("", url).is_ok_and(|url| url.is_loopback());
    let hidden =
        |member: &&MemberInfo| !member.name.is_empty() && member.peer_urls.iter().all(local);
    match members.iter().find(hidden) {
        Some(hidden) => Err(errors::member_hidden(hidden.id, &hidden.peer_urls)),
        None => Ok(()),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "every message has its header as an option"
)]
fn header(of: Header) -> Option<pb::ResponseHeader> {
    Some(translate::header_without_revision(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_checked_and_put_in_order() {
        let read = |urls: &[&str]| {
            let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
            peer_urls(&urls)
                .map(|urls| {
                    urls.iter()
                        .map(Address::to_string)
                        .collect::<Vec<_>>()
                        .join(",")
                })
                .ok()
        };
        for (urls, wanted) in [
            (
                &["http://b:1", "http://a:1"][..],
                Some("http://a:1,http://b:1"),
            ),
            (&["HTTP://A:1/", "http://a:1"], Some("http://a:1")),
            (&["https://a:1"], Some("https://a:1")),
            (&[], None),
            (&["a:1"], None),
            (&["http://a"], None),
            (&["http://a:0"], None),
            (&["http://a:1", ""], None),
            (&["http://a:1/path"], None),
        ] {
            assert_eq!(read(urls).as_deref(), wanted, "{urls:?}");
        }
    }
}
