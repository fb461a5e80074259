//! Members, status, alarms, checksums, health, and what is not served yet.

use store_proto::authpb;
use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::auth_client::AuthClient;
use store_proto::health::health_client::HealthClient;
use store_proto::health::{HealthCheckRequest, health_check_response};
use store_server::config::address::Address;

use crate::running::{refusal, start, start_with};

#[tokio::test]
async fn the_one_member_is_listed_where_clients_find_it() {
    let store = start_with(|config| {
        config.name = "n1".into();
        config.initial_cluster[0].name = "n1".into();
    })
    .await;
    for linearizable in [false, true] {
        let list = pb::MemberListRequest { linearizable };
        let list = store.cluster().member_list(list).await.unwrap();
        let list = list.into_inner();
        assert_eq!(list.header.unwrap().revision, 0, "member answers have none");
        assert_eq!(list.members.len(), 1);
        let member = &list.members[0];
        assert_eq!(member.id, store.server.handle().member_id());
        assert_eq!(member.name, "n1");
        let url = format!("http://{}", store.address());
        assert_eq!(member.client_ur_ls, [url], "the port the system picked");
        assert_eq!(member.peer_ur_ls, ["http://localhost:2380"]);
        assert!(!member.is_learner);
    }
}

fn member_add(url: &str) -> pb::MemberAddRequest {
    pb::MemberAddRequest {
        peer_ur_ls: vec![url.into()],
        is_learner: true,
    }
}

#[tokio::test]
async fn members_are_changed_and_answers_have_no_revision() {
    let store = start_with(|config| {
        config.listen_peer = vec![Address::parse("test", "http://127.0.0.1:0").unwrap()];
    })
    .await;
    let mut cluster = store.cluster();
    let here = "http://127.0.0.1:9";
    let added = cluster.member_add(member_add(here)).await.unwrap();
    let added = added.into_inner();
    let member = added.member.unwrap();
    let header = added.header.unwrap();
    assert_eq!(header.revision, 0);
    assert_eq!(header.member_id, store.server.handle().member_id());
    assert!(member.is_learner && member.name.is_empty());
    assert_eq!(member.peer_ur_ls, [here]);
    assert_eq!(added.members.len(), 2);
    assert!(added.members.contains(&member));

    let id = member.id;
    let update = |id, url: &str| pb::MemberUpdateRequest {
        id,
        peer_ur_ls: vec![url.into()],
    };
    for (refused, wanted) in [
        (
            cluster.member_add(member_add(here)).await.err(),
            "FailedPrecondition: etcdserver: Peer URLs already exists",
        ),
        (
            cluster.member_add(member_add("127.0.0.1:9")).await.err(),
            "InvalidArgument: etcdserver: given member URLs are invalid",
        ),
        (
            cluster
                .member_add(member_add("http://127.0.0.1:8"))
                .await
                .err(),
            "FailedPrecondition: etcdserver: too many learner members in cluster",
        ),
        (
            cluster
                .member_add(member_add("http://10.0.0.9:8"))
                .await
                .err(),
            "FailedPrecondition: muster: member",
        ),
        (
            cluster.member_update(update(7, here)).await.err(),
            "NotFound: etcdserver: member not found",
        ),
        (
            cluster
                .member_update(update(id, "http://localhost:2380"))
                .await
                .err(),
            "FailedPrecondition: etcdserver: Peer URLs already exists",
        ),
        (
            cluster.member_update(update(id, "")).await.err(),
            "InvalidArgument: etcdserver: given member URLs are invalid",
        ),
        (
            cluster
                .member_promote(pb::MemberPromoteRequest { id: 7 })
                .await
                .err(),
            "NotFound: etcdserver: member not found",
        ),
        (
            cluster
                .member_promote(pb::MemberPromoteRequest {
                    id: header.member_id,
                })
                .await
                .err(),
            "FailedPrecondition: etcdserver: can only promote a learner member",
        ),
        (
            cluster
                .member_promote(pb::MemberPromoteRequest { id })
                .await
                .err(),
            "FailedPrecondition: etcdserver: can only promote a learner member which is in sync with leader",
        ),
        (
            cluster
                .member_remove(pb::MemberRemoveRequest { id: 7 })
                .await
                .err(),
            "NotFound: etcdserver: member not found",
        ),
        (
            cluster
                .member_remove(pb::MemberRemoveRequest {
                    id: header.member_id,
                })
                .await
                .err(),
            "FailedPrecondition: etcdserver: re-configuration failed due to not enough started members",
        ),
    ] {
        let said = refused.map(|status| format!("{:?}: {}", status.code(), status.message()));
        assert!(
            said.as_deref().is_some_and(|said| said.starts_with(wanted)),
            "{said:?} {wanted}"
        );
    }
    let moved = cluster
        .member_update(update(id, "http://127.0.0.1:10"))
        .await;
    let moved = moved.unwrap().into_inner();
    assert_eq!(moved.header.unwrap().revision, 0);
    let known = moved.members.iter().find(|member| member.id == id).unwrap();
    assert!(known.is_learner, "an update changes the URLs alone");
    assert_eq!(known.peer_ur_ls, ["http://127.0.0.1:10"]);
    let removed = cluster.member_remove(pb::MemberRemoveRequest { id }).await;
    let removed = removed.unwrap().into_inner();
    assert_eq!(
        (removed.header.unwrap().revision, removed.members.len()),
        (0, 1)
    );
}

#[tokio::test]
async fn a_store_without_a_peer_port_takes_no_member() {
    let store = start().await;
    let refused = store
        .cluster()
        .member_add(member_add("http://127.0.0.1:9"))
        .await;
    assert!(refusal(refused).contains("does not listen for other members"));
}

#[tokio::test]
async fn status_says_who_and_how_much() {
    let store = start_with(|config| config.quota_bytes = 1 << 20).await;
    store.put("a", "1").await;
    let status = store.maintenance().status(pb::StatusRequest {}).await;
    let status = status.unwrap().into_inner();
    assert_eq!(status.version, "3.7.0");
    assert_eq!(status.storage_version, "3.7.0");
    assert_eq!(status.leader, store.server.handle().member_id());
    assert_eq!(status.db_size_quota, 1 << 20);
    assert!(status.db_size > 0 && status.db_size_in_use > 0);
    assert!(status.raft_applied_index > 0 && status.raft_applied_index <= status.raft_index);
    assert_eq!(status.raft_term, status.header.unwrap().raft_term);
    assert!(status.errors.is_empty());
}

#[tokio::test]
async fn alarms_are_raised_listed_and_cleared() {
    let store = start().await;
    let mut maintenance = store.maintenance();
    let member_id = store.server.handle().member_id();
    let ask = |action: pb::alarm_request::AlarmAction, member_id| pb::AlarmRequest {
        action: action.into(),
        member_id,
        alarm: pb::AlarmType::Corrupt.into(),
    };
    use pb::alarm_request::AlarmAction::{Activate, Deactivate, Get};
    let raised = maintenance.alarm(ask(Activate, member_id)).await.unwrap();
    assert_eq!(raised.into_inner().alarms.len(), 1);
    let all = pb::AlarmRequest::default();
    let listed = maintenance.alarm(all).await.unwrap().into_inner();
    assert_eq!(listed.alarms[0].member_id, member_id);
    assert_eq!(listed.alarms[0].alarm(), pb::AlarmType::Corrupt);
    let others = maintenance.alarm(ask(Get, member_id ^ 1)).await.unwrap();
    assert!(others.into_inner().alarms.is_empty());
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap();
    let error = format!("memberID:{member_id} alarm:CORRUPT ");
    assert_eq!(status.into_inner().errors, [error]);

    let put = pb::PutRequest {
        key: "a".into(),
        ..Default::default()
    };
    assert_eq!(
        refusal(store.kv().put(put.clone()).await),
        "DataLoss: etcdserver: corrupt cluster"
    );
    maintenance.alarm(ask(Deactivate, member_id)).await.unwrap();
    store.kv().put(put).await.unwrap();
}

#[tokio::test]
async fn checksums_depend_on_the_pairs_alone() {
    let mut hashes = vec![];
    for _ in 0..2 {
        let store = start().await;
        store.put("a", "1").await;
        store.put("b", "2").await;
        let mut maintenance = store.maintenance();
        let hash = maintenance.hash_kv(pb::HashKvRequest { revision: 2 });
        let hash = hash.await.unwrap().into_inner();
        assert_eq!((hash.hash_revision, hash.compact_revision), (2, -1));
        let later = maintenance.hash_kv(pb::HashKvRequest { revision: 0 });
        let later = later.await.unwrap().into_inner();
        assert_eq!(later.hash_revision, 3);
        assert_ne!(later.hash, hash.hash);
        let all = maintenance.hash(pb::HashRequest {}).await.unwrap();
        assert_eq!(all.into_inner().hash, later.hash);
        hashes.push(later.hash);
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[tokio::test]
async fn defragmentation_is_done_at_once() {
    let store = start().await;
    let mut maintenance = store.maintenance();
    let done = maintenance.defragment(pb::DefragmentRequest {});
    assert_eq!(done.await.unwrap().into_inner().header, None);
}

#[tokio::test]
async fn health_is_told_by_service() {
    let store = start().await;
    let mut health = HealthClient::new(store.channel.clone());
    let ask = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    let serving = health.check(ask("")).await.unwrap().into_inner();
    assert_eq!(
        serving.status(),
        health_check_response::ServingStatus::Serving
    );
    assert_eq!(
        refusal(health.check(ask("nobody")).await),
        "NotFound: unknown service"
    );
    let mut states = health.watch(ask("")).await.unwrap().into_inner();
    let now = states.message().await.unwrap().unwrap();
    assert_eq!(now.status(), health_check_response::ServingStatus::Serving);
    let end = tokio::spawn(async move {
        let last = states.message().await.unwrap().unwrap();
        (last.status(), states.message().await.unwrap_err().code())
    });
    store.server.stop().await;
    assert_eq!(
        end.await.unwrap(),
        (
            health_check_response::ServingStatus::NotServing,
            tonic::Code::Unavailable
        )
    );
}

#[tokio::test]
async fn authorization_is_off() {
    let store = start().await;
    let mut auth = AuthClient::new(store.channel.clone());
    let status = auth.auth_status(pb::AuthStatusRequest {}).await.unwrap();
    assert!(!status.into_inner().enabled);
    assert_eq!(
        refusal(auth.authenticate(pb::AuthenticateRequest::default()).await),
        "FailedPrecondition: etcdserver: authentication is not enabled"
    );
    let grant = pb::AuthRoleGrantPermissionRequest {
        name: "r".into(),
        perm: Some(authpb::Permission::default()),
    };
    assert_eq!(
        refusal(auth.role_grant_permission(grant).await),
        "InvalidArgument: etcdserver: invalid auth management"
    );
}
