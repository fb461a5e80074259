//! The contract, written a second time by hand: numbers and names against the descriptors, the byte
//! form against golden bytes, the JSON form against literal text.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

use crate::etcdserverpb as pb;
use crate::mvccpb;

/// Message, then its fields as `name number type`; a star marks a repeated field. Types other than
/// messages are abbreviated: y bytes, i int64, u uint64, w uint32, s string, b bool, e enum.
const CONTRACT: &str = "
etcdserverpb.ResponseHeader: cluster_id1u member_id2u revision3i raft_term4u
mvccpb.KeyValue: key1y create_revision2i mod_revision3i version4i value5y lease6i
mvccpb.Event: type1e kv2 prev_kv3
etcdserverpb.RangeRequest: key1y range_end2y limit3i revision4i sort_order5e sort_target6e serializable7b keys_only8b count_only9b min_mod_revision10i max_mod_revision11i min_create_revision12i max_create_revision13i
etcdserverpb.RangeResponse: header1 kvs2* more3b count4i
etcdserverpb.RangeStreamResponse: range_response1
etcdserverpb.PutRequest: key1y value2y lease3i prev_kv4b ignore_value5b ignore_lease6b
etcdserverpb.PutResponse: header1 prev_kv2
etcdserverpb.DeleteRangeRequest: key1y range_end2y prev_kv3b
etcdserverpb.DeleteRangeResponse: header1 deleted2i prev_kvs3*
etcdserverpb.RequestOp: request_range1 request_put2 request_delete_range3 request_txn4
etcdserverpb.ResponseOp: response_range1 response_put2 response_delete_range3 response_txn4
etcdserverpb.Compare: result1e target2e key3y version4i create_revision5i mod_revision6i value7y lease8i range_end64y
etcdserverpb.TxnRequest: compare1* success2* failure3*
etcdserverpb.TxnResponse: header1 succeeded2b responses3*
etcdserverpb.CompactionRequest: revision1i physical2b
etcdserverpb.CompactionResponse: header1
etcdserverpb.HashRequest:
etcdserverpb.HashResponse: header1 hash2w
etcdserverpb.HashKVRequest: revision1i
etcdserverpb.HashKVResponse: header1 hash2w compact_revision3i hash_revision4i
etcdserverpb.SnapshotRequest:
etcdserverpb.SnapshotResponse: header1 remaining_bytes2u blob3y version4s
etcdserverpb.WatchRequest: create_request1 cancel_request2 progress_request3
etcdserverpb.WatchCreateRequest: key1y range_end2y start_revision3i progress_notify4b filters5e* prev_kv6b watch_id7i fragment8b
etcdserverpb.WatchCancelRequest: watch_id1i
etcdserverpb.WatchProgressRequest:
etcdserverpb.WatchResponse: header1 watch_id2i created3b canceled4b compact_revision5i cancel_reason6s fragment7b events11*
etcdserverpb.LeaseGrantRequest: TTL1i ID2i
etcdserverpb.LeaseGrantResponse: header1 ID2i TTL3i error4s
etcdserverpb.LeaseRevokeRequest: ID1i
etcdserverpb.LeaseRevokeResponse: header1
etcdserverpb.LeaseCheckpoint: ID1i remaining_TTL2i
etcdserverpb.LeaseCheckpointRequest: checkpoints1*
etcdserverpb.LeaseCheckpointResponse: header1
etcdserverpb.LeaseKeepAliveRequest: ID1i
etcdserverpb.LeaseKeepAliveResponse: header1 ID2i TTL3i
etcdserverpb.LeaseTimeToLiveRequest: ID1i keys2b
etcdserverpb.LeaseTimeToLiveResponse: header1 ID2i TTL3i grantedTTL4i keys5y*
etcdserverpb.LeaseLeasesRequest:
etcdserverpb.LeaseStatus: ID1i
etcdserverpb.LeaseLeasesResponse: header1 leases2*
etcdserverpb.Member: ID1u name2s peerURLs3s* clientURLs4s* isLearner5b
etcdserverpb.MemberAddRequest: peerURLs1s* isLearner2b
etcdserverpb.MemberAddResponse: header1 member2 members3*
etcdserverpb.MemberRemoveRequest: ID1u
etcdserverpb.MemberRemoveResponse: header1 members2*
etcdserverpb.MemberUpdateRequest: ID1u peerURLs2s*
etcdserverpb.MemberUpdateResponse: header1 members2*
etcdserverpb.MemberListRequest: linearizable1b
etcdserverpb.MemberListResponse: header1 members2*
etcdserverpb.MemberPromoteRequest: ID1u
etcdserverpb.MemberPromoteResponse: header1 members2*
etcdserverpb.DefragmentRequest:
etcdserverpb.DefragmentResponse: header1
etcdserverpb.MoveLeaderRequest: targetID1u
etcdserverpb.MoveLeaderResponse: header1
etcdserverpb.AlarmRequest: action1e memberID2u alarm3e
etcdserverpb.AlarmMember: memberID1u alarm2e
etcdserverpb.AlarmResponse: header1 alarms2*
etcdserverpb.DowngradeRequest: action1e version2s
etcdserverpb.DowngradeResponse: header1 version2s
etcdserverpb.DowngradeInfo: enabled1b targetVersion2s
etcdserverpb.StatusRequest:
etcdserverpb.StatusResponse: header1 version2s dbSize3i leader4u raftIndex5u raftTerm6u raftAppliedIndex7u errors8s* dbSizeInUse9i isLearner10b storageVersion11s dbSizeQuota12i downgradeInfo13
etcdserverpb.AuthEnableRequest:
etcdserverpb.AuthDisableRequest:
etcdserverpb.AuthStatusRequest:
etcdserverpb.AuthStatusResponse: header1 enabled2b authRevision3u
etcdserverpb.AuthenticateRequest: name1s password2s
etcdserverpb.AuthenticateResponse: header1 token2s
authpb.UserAddOptions: no_password1b
authpb.Permission: permType1e key2y range_end3y
etcdserverpb.AuthUserAddRequest: name1s password2s options3 hashedPassword4s
etcdserverpb.AuthUserGetRequest: name1s
etcdserverpb.AuthUserGetResponse: header1 roles2s*
etcdserverpb.AuthUserListResponse: header1 users2s*
etcdserverpb.AuthUserChangePasswordRequest: name1s password2s hashedPassword3s
etcdserverpb.AuthUserGrantRoleRequest: user1s role2s
etcdserverpb.AuthUserRevokeRoleRequest: name1s role2s
etcdserverpb.AuthRoleAddRequest: name1s
etcdserverpb.AuthRoleGetRequest: role1s
etcdserverpb.AuthRoleGetResponse: header1 perm2*
etcdserverpb.AuthRoleListResponse: header1 roles2s*
etcdserverpb.AuthRoleDeleteRequest: role1s
etcdserverpb.AuthRoleGrantPermissionRequest: name1s perm2
etcdserverpb.AuthRoleRevokePermissionRequest: role1s key2y range_end3y
v3lockpb.LockRequest: name1y lease2i
v3lockpb.LockResponse: header1 key2y
v3lockpb.UnlockRequest: key1y
v3lockpb.UnlockResponse: header1
v3electionpb.CampaignRequest: name1y lease2i value3y
v3electionpb.CampaignResponse: header1 leader2
v3electionpb.LeaderKey: name1y key2y rev3i lease4i
v3electionpb.LeaderRequest: name1y
v3electionpb.LeaderResponse: header1 kv2
v3electionpb.ProclaimRequest: leader1 value2y
v3electionpb.ProclaimResponse: header1
v3electionpb.ResignRequest: leader1
v3electionpb.ResignResponse: header1
grpc.health.v1.HealthCheckRequest: service1s
grpc.health.v1.HealthCheckResponse: status1e
";

/// Service, then its methods; `<` marks a stream of requests, `>` one of responses.
const SERVICES: &str = "
etcdserverpb.KV: Range RangeStream> Put DeleteRange Txn Compact
etcdserverpb.Watch: Watch<>
etcdserverpb.Lease: LeaseGrant LeaseRevoke LeaseKeepAlive<> LeaseTimeToLive LeaseLeases
etcdserverpb.Cluster: MemberAdd MemberRemove MemberUpdate MemberList MemberPromote
etcdserverpb.Maintenance: Alarm Status Defragment Hash HashKV Snapshot> MoveLeader Downgrade
etcdserverpb.Auth: AuthEnable AuthDisable AuthStatus Authenticate UserAdd UserGet UserList UserDelete UserChangePassword UserGrantRole UserRevokeRole RoleAdd RoleGet RoleList RoleDelete RoleGrantPermission RoleRevokePermission
v3lockpb.Lock: Lock Unlock
v3electionpb.Election: Campaign Proclaim Leader Observe> Resign
grpc.health.v1.Health: Check Watch>
";

/// Enum, then its values from 0.
const ENUMS: &str = "
mvccpb.Event.EventType: PUT DELETE
authpb.Permission.Type: READ WRITE READWRITE
etcdserverpb.AlarmType: NONE NOSPACE CORRUPT
etcdserverpb.RangeRequest.SortOrder: NONE ASCEND DESCEND
etcdserverpb.RangeRequest.SortTarget: KEY VERSION CREATE MOD VALUE
etcdserverpb.Compare.CompareResult: EQUAL GREATER LESS NOT_EQUAL
etcdserverpb.Compare.CompareTarget: VERSION CREATE MOD VALUE LEASE
etcdserverpb.WatchCreateRequest.FilterType: NOPUT NODELETE
etcdserverpb.AlarmRequest.AlarmAction: GET ACTIVATE DEACTIVATE
etcdserverpb.DowngradeRequest.DowngradeAction: VALIDATE ENABLE CANCEL
grpc.health.v1.HealthCheckResponse.ServingStatus: UNKNOWN SERVING NOT_SERVING SERVICE_UNKNOWN
";

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap()
}

fn fields(message: &DescriptorProto) -> String {
    let field = |field: &prost_types::FieldDescriptorProto| {
        let kind = match field.r#type() {
            Type::Bytes => "y",
            Type::Int64 => "i",
            Type::Uint64 => "u",
            Type::Uint32 => "w",
            Type::String => "s",
            Type::Bool => "b",
            Type::Enum => "e",
            Type::Message => "",
            other => panic!("{}: {other:?} is not in the contract", field.name()),
        };
        let star = if field.label() == Label::Repeated {
            "*"
        } else {
            ""
        };
        format!("{}{}{kind}{star}", field.name(), field.number())
    };
    message
        .field
        .iter()
        .map(field)
        .collect::<Vec<_>>()
        .join(" ")
}

fn parse(table: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':').unwrap();
        (name.to_owned(), rest.trim().to_owned())
    };
    table.trim().lines().map(line).collect()
}

#[test]
fn messages_have_the_fields_of_the_contract() {
    let mut actual = BTreeMap::new();
    for file in descriptors().file {
        for message in &file.message_type {
            let name = format!("{}.{}", file.package(), message.name());
            actual.insert(name, fields(message));
        }
    }
    for (name, wanted) in parse(CONTRACT) {
        assert_eq!(actual.get(&name), Some(&wanted), "{name}");
    }
    // What the table leaves out is nothing but the plain requests and answers about users and roles.
    let known = parse(CONTRACT);
    for (name, fields) in actual.iter().filter(|(name, _)| !known.contains_key(*name)) {
        let plain = matches!(fields.as_str(), "" | "header1" | "name1s");
        assert!(
            name.starts_with("etcdserverpb.Auth") && plain,
            "{name}: {fields}"
        );
    }
}

#[test]
fn services_have_the_methods_of_the_contract() {
    let mut actual = BTreeMap::new();
    for file in descriptors().file {
        for service in &file.service {
            let method = |method: &prost_types::MethodDescriptorProto| {
                let requests = if method.client_streaming() { "<" } else { "" };
                let responses = if method.server_streaming() { ">" } else { "" };
                format!("{}{requests}{responses}", method.name())
            };
            let methods: Vec<_> = service.method.iter().map(method).collect();
            let name = format!("{}.{}", file.package(), service.name());
            actual.insert(name, methods.join(" "));
        }
    }
    assert_eq!(actual, parse(SERVICES));
}

#[test]
fn enums_have_the_values_of_the_contract() {
    let mut actual = BTreeMap::new();
    let mut note = |name: String, values: &prost_types::EnumDescriptorProto| {
        for (at, value) in values.value.iter().enumerate() {
            assert_eq!(usize::try_from(value.number()), Ok(at), "{name}");
        }
        let values: Vec<_> = values.value.iter().map(|value| value.name()).collect();
        actual.insert(name, values.join(" "));
    };
    for file in descriptors().file {
        for values in &file.enum_type {
            note(format!("{}.{}", file.package(), values.name()), values);
        }
        for message in &file.message_type {
            for values in &message.enum_type {
                let name = format!("{}.{}.{}", file.package(), message.name(), values.name());
                note(name, values);
            }
        }
    }
    assert_eq!(actual, parse(ENUMS));
}

#[test]
fn bytes_share_the_buffer_they_came_in() {
    let wire = Bytes::from_static(b"\x0a\x01k\x12\x05value\x18\x07\x20\x01");
    let put = pb::PutRequest::decode(wire.clone()).unwrap();
    assert_eq!(
        put,
        pb::PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"value"),
            lease: 7,
            prev_kv: true,
            ..Default::default()
        }
    );
    assert_eq!(
        put.value.as_ptr(),
        wire[5..].as_ptr(),
        "the value was copied"
    );
    assert_eq!(put.encode_to_vec(), wire);
}

#[test]
fn json_is_as_in_the_gateway() {
    let response = pb::RangeResponse {
        header: Some(pb::ResponseHeader {
            cluster_id: u64::MAX,
            member_id: 1,
            revision: 2,
            raft_term: 3,
        }),
        kvs: vec![mvccpb::KeyValue {
            key: Bytes::from_static(b"foo"),
            create_revision: 2,
            value: Bytes::from_static(b"\xff\xfe"),
            ..Default::default()
        }],
        more: false,
        count: 1,
    };
    assert_eq!(
        serde_json::to_string(&response).unwrap(),
        r#"{"header":{"cluster_id":"18446744073709551615","member_id":"1","revision":"2","raft_term":"3"},"kvs":[{"key":"Zm9v","create_revision":"2","value":"//4="}],"count":"1"}"#
    );
    let grant = pb::LeaseTimeToLiveResponse {
        header: None,
        id: 5,
        ttl: -1,
        granted_ttl: 10,
        keys: vec![Bytes::from_static(b"a")],
    };
    assert_eq!(
        serde_json::to_string(&grant).unwrap(),
        r#"{"ID":"5","TTL":"-1","grantedTTL":"10","keys":["YQ=="]}"#
    );
}

#[test]
fn json_is_read_in_both_spellings_and_unknown_fields_are_skipped() {
    let wanted = pb::RangeRequest {
        key: Bytes::from_static(b"a"),
        range_end: Bytes::from_static(b"b"),
        limit: 7,
        sort_order: pb::range_request::SortOrder::Descend.into(),
        keys_only: true,
        ..Default::default()
    };
    for text in [
        r#"{"key":"YQ==","range_end":"Yg==","limit":"7","sort_order":"DESCEND","keys_only":true}"#,
        r#"{"key":"YQ==","rangeEnd":"Yg==","limit":7,"sortOrder":2,"keysOnly":true,"new":[1]}"#,
    ] {
        let request: pb::RangeRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request, wanted, "{text}");
    }
    let nested: pb::TxnRequest = serde_json::from_str(
        r#"{"compare":[{"target":"VALUE","key":"YQ==","value":"Yg=="}],"success":[{"requestPut":{"key":"YQ=="}}]}"#,
    )
    .unwrap();
    assert_eq!(
        nested.compare[0].target_union,
        Some(pb::compare::TargetUnion::Value(Bytes::from_static(b"b")))
    );
    assert!(matches!(
        nested.success[0].request,
        Some(pb::request_op::Request::RequestPut(_))
    ));
    for text in [
        r#"{"key":"not base64!"}"#,
        r#"{"limit":"x"}"#,
        r#"{"sort_order":"SIDEWAYS"}"#,
        r#"{"key":1}"#,
        "[]",
    ] {
        assert!(
            serde_json::from_str::<pb::RangeRequest>(text).is_err(),
            "{text}"
        );
    }
}
