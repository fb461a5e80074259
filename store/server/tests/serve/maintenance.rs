//! What an operator asks of one member.

use store_proto::etcdserverpb as pb;
use store_proto::etcdserverpb::downgrade_request::DowngradeAction::{Cancel, Enable, Validate};

use super::running::{refusal, start};

#[tokio::test]
async fn a_downgrade_is_validated_and_never_begun() {
    let store = start().await;
    let ask = async |action: i32, version: &str| {
        let request = pb::DowngradeRequest {
            action,
            version: version.to_owned(),
        };
        store.maintenance().downgrade(request).await
    };
    let answer = ask(Validate.into(), "3.6.0").await.unwrap().into_inner();
    assert_eq!(answer.version, "3.7.0");
    assert_eq!(answer.header.unwrap().revision, 1);
    for (action, version, wanted) in [
        (
            Validate.into(),
            "3.5.0",
            "InvalidArgument: etcdserver: invalid downgrade target version",
        ),
        (
            Validate.into(),
            "three",
            "InvalidArgument: etcdserver: wrong downgrade target version format",
        ),
        (
            Enable.into(),
            "3.5.0",
            "InvalidArgument: etcdserver: invalid downgrade target version",
        ),
        (
            Cancel.into(),
            "",
            "FailedPrecondition: etcdserver: no inflight downgrade job",
        ),
        (9, "3.6.0", "Unknown: etcdserver: unknown method"),
    ] {
        assert_eq!(
            refusal(ask(action, version).await),
            wanted,
            "{action} {version}"
        );
    }
    let begun = refusal(ask(Enable.into(), "3.6.0").await);
    assert!(begun.starts_with("Unimplemented: muster: "), "{begun}");
    let status = store.maintenance().status(pb::StatusRequest {}).await;
    let downgrade = status.unwrap().into_inner().downgrade_info.unwrap();
    assert_eq!(downgrade, pb::DowngradeInfo::default());
}

#[tokio::test]
async fn the_lead_goes_to_nobody_unknown() {
    let store = start().await;
    let request = pb::MoveLeaderRequest { target_id: 7 };
    assert_eq!(
        refusal(store.maintenance().move_leader(request).await),
        "FailedPrecondition: etcdserver: bad leader transferee"
    );
}
