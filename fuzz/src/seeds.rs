//! Where the fuzzer starts: one or two whole inputs for each target, made by the real encoders.

use bytes::Bytes;
use store_machine::MemberRecord;
use store_machine::alarm::AlarmKind;
use store_machine::command::{Command, MemberChange};
use store_machine::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, RangeRequest, Relation, TxnOp,
    TxnRequest,
};
use store_machine::revision::{Index, LeaseId, Revision};
use store_machine::{Limits, Machine};
use store_member::input::Read;
use store_member::peer::{Ask, Forward, Life, PeerMessage, SnapshotGot};

/// The names of the targets, as of the modules and of the folders in `fuzz/corpus/`.
pub const TARGETS: [&str; 9] = [
    "command",
    "etcd_file",
    "form",
    "gateway",
    "log",
    "peer_message",
    "request",
    "snapshot",
    "snapshot_file",
];

/// Whole inputs for a target; none for a name that is not one.
#[must_use]
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "command" => vec![row(&commands())],
        "etcd_file" => vec![crate::etcd_file::file(&machine())],
        "form" => FORMS.iter().map(|form| form.as_bytes().to_vec()).collect(),
        "gateway" => BODIES.iter().map(|body| body.as_bytes().to_vec()).collect(),
        "log" => files(""),
        "snapshot_file" => files("snap")
            .into_iter()
            .map(|file| file[1..].to_vec())
            .collect(),
        "snapshot" => vec![snapshot()],
        "request" => requests(),
        "peer_message" => messages().iter().map(PeerMessage::encode).collect(),
        _ => Vec::new(),
    }
}

/// Requests in the words of etcd 2: a byte for the verb, then path, query and form.
const FORMS: &[&str] = &[
    "\0/a\nrecursive=true&sorted=true\n",
    "\u{1}/a/b%20c\nprevExist=false\nvalue=x+y%21&ttl=5",
    "\u{1}/b\nprevIndex=3&prevValue=1\nvalue=2",
    "\u{1}/d\ndir=true\nttl=",
    "\u{1}/b\nrefresh=true\nttl=5&prevExist=true",
    "\u{2}/queue\n\nvalue=1&ttl=60",
    "\u{3}/b\nrecursive=true&dir=true\n",
];

/// Requests to the gateway: a path, then JSON.
const BODIES: &[&str] = &[
    r#"kv/range
{"key":"YQ==","range_end":"AA==","limit":"2","sort_order":"DESCEND","sort_target":"MOD","serializable":true}"#,
    r#"kv/put
{"key":"Yg==","value":"MQ==","lease":"7","prev_kv":true}"#,
    r#"kv/deleterange
{"key":"Yg==","range_end":"Yw==","prev_kv":true}"#,
    r#"kv/txn
{"compare":[{"key":"Yg==","target":"VALUE","result":"EQUAL","value":"MQ=="}],"success":[{"request_put":{"key":"Yg=="}},{"request_txn":{"success":[{"request_range":{"key":"Yg=="}}]}}],"failure":[{"request_delete_range":{"key":"Yg=="}}]}"#,
    r#"watch
{"create_request":{"key":"YQ==","start_revision":"3","filters":["NOPUT"],"fragment":true}}"#,
    r#"auth/user/add
{"name":"u","password":"p","options":{"no_password":true}}"#,
    r#"election/proclaim
{"leader":{"name":"ZQ==","key":"ZS8x","rev":"3","lease":"7"},"value":"djI="}"#,
];

/// The same in the form of gRPC, as far as they have a number there.
fn requests() -> Vec<Vec<u8>> {
    let decoded = BODIES.iter().filter_map(|body| {
        let (path, json) = body.split_once('\n')?;
        let number = crate::request::PATHS
            .iter()
            .position(|known| *known == path)?;
        let decoded = store_server::decoding::of_json(path, json.as_bytes(), 128).ok()?;
        Some([vec![u8::try_from(number).ok()?], decoded.protobuf].concat())
    });
    decoded.collect()
}

fn put(key: &'static str, value: &'static str, lease: i64) -> PutRequest {
    PutRequest {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
        lease: LeaseId(lease),
        prev_kv: true,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn single(key: &'static str) -> KeyRange {
    KeyRange::single(Bytes::from_static(key.as_bytes()))
}

/// One of each.
fn commands() -> Vec<Command> {
    let delete = DeleteRequest {
        keys: single("a"),
        prev_kv: true,
    };
    let member = MemberRecord {
        id: 4,
        name: "m".into(),
        peer_urls: vec!["http://h:1".into()],
        client_urls: vec!["http://h:2".into()],
        learner: true,
    };
    vec![
        Command::LeaseGrant {
            id: LeaseId(7),
            ttl_seconds: 60,
        },
        Command::Put(put("a", "1", 7)),
        Command::Put(put("a", "2", 0)),
        Command::Put(put("b", "1", 7)),
        Command::Txn(TxnRequest {
            compare: vec![Compare {
                keys: single("a"),
                relation: Relation::Equal,
                target: CompareTarget::Value(Bytes::from_static(b"2")),
            }],
            success: vec![
                TxnOp::Put(put("c", "1", 7)),
                TxnOp::Txn(TxnRequest::default()),
                TxnOp::Range(RangeRequest::latest(single("a"))),
            ],
            failure: vec![TxnOp::Delete(delete.clone())],
        }),
        Command::Delete(delete),
        Command::LeaseCheckpoint {
            remaining: vec![(LeaseId(7), 30)],
            term: 2,
        },
        Command::Compact {
            revision: Revision(3),
        },
        Command::AlarmRaise {
            member: 4,
            kind: AlarmKind::NoSpace,
        },
        Command::AlarmClear {
            member: 4,
            kind: AlarmKind::NoSpace,
        },
        Command::MemberPublish {
            id: 4,
            name: "m".into(),
            client_urls: vec!["http://h:2".into()],
        },
        Command::Members(MemberChange::Add(member)),
        Command::Members(MemberChange::Promote { id: 4 }),
        Command::Members(MemberChange::Update {
            id: 4,
            peer_urls: vec!["http://h:3".into()],
        }),
        Command::Members(MemberChange::Remove { id: 4 }),
        Command::LeaseRevoke {
            id: LeaseId(7),
            term: 2,
        },
    ]
}

fn row(commands: &[Command]) -> Vec<u8> {
    let mut row = Vec::new();
    for command in commands {
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        row.push(u8::try_from(bytes.len()).unwrap_or(255));
        row.extend(bytes);
    }
    row
}

/// A little of everything that a machine holds.
pub(crate) fn machine() -> Machine {
    let mut machine = Machine::new(Limits {
        quota_bytes: u64::MAX,
    });
    // All but the revoke, so that a lease is left.
    for (command, index) in commands().into_iter().rev().skip(1).rev().zip(1..) {
        machine.apply(Index(index), command);
    }
    machine
}

/// In pieces of 64 bytes.
fn snapshot() -> Vec<u8> {
    let machine = machine();
    let mut cursor = machine.snapshot_begin();
    let mut bytes = vec![63];
    while let Some(chunk) = cursor.chunk(64) {
        bytes.extend(chunk);
    }
    bytes
}

/// The files of a log's folder that end so, each behind its number.
fn files(extension: &str) -> Vec<Vec<u8>> {
    let disk = crate::log::folder();
    let named = disk.files().into_iter().zip(0_u8..);
    let chosen = named.filter(|(path, _)| path.to_string_lossy().ends_with(extension));
    chosen
        .filter_map(|(path, number)| Some([vec![number], disk.content(&path)?].concat()))
        .collect()
}

fn messages() -> Vec<PeerMessage> {
    vec![
        PeerMessage::Removed,
        PeerMessage::SnapshotGot(SnapshotGot {
            transfer: 5,
            next: 1024,
        }),
        PeerMessage::Forward(Box::new(Forward {
            term: 3,
            life: Life(7),
            message: 1,
            first: 1,
            commands: commands(),
        })),
        PeerMessage::Ask(Box::new(Ask {
            life: Life(7),
            number: 8,
            read: Read::Leases,
        })),
    ]
}
