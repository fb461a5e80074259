//! Requests of clients, in the form of gRPC and in that of the gateway.
//!
//! What is understood in one form is understood as the same in the other and when it is written again. What it asks
//! brings no machine down, and whoever may touch some keys only is shown and changes no others.

use std::sync::Arc;

use bytes::Bytes;
use store_machine::Machine;
use store_machine::auth::{Access, Actor, AuthChange, Permission, PermissionKind, ROOT};
use store_machine::command::Command;
use store_machine::reply::{KeyValue, Reply, TxnOpReply, TxnReply};
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Index;
use store_server::decoding::{Asked, Decoded, of_json, of_protobuf};

use crate::seeds;

/// Small, so that a fuzzer meets it.
const OPS_MAX: usize = 8;

/// The keys somebody may touch: from here...
const FROM: &[u8] = b"b";
/// ...to before here.
const TO: &[u8] = b"d";

/// Methods whose messages say most, as the first byte of a message names them.
pub const PATHS: [&str; 8] = [
    "kv/range",
    "kv/put",
    "kv/deleterange",
    "kv/txn",
    "kv/compaction",
    "watch",
    "auth/role/grant",
    "cluster/member/add",
];

/// A message in the form of gRPC, behind a byte that names its method.
///
/// # Panics
/// When a promise above is broken.
pub fn run(data: &[u8]) {
    let Some((method, message)) = data.split_first() else {
        return;
    };
    let path = PATHS[usize::from(*method) % PATHS.len()];
    if let Ok(decoded) = of_protobuf(path, message, OPS_MAX) {
        check(path, decoded);
    }
}

/// A body in the form of the gateway, behind a line with the path.
///
/// # Panics
/// When a promise above is broken.
pub fn run_json(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (path, body) = data.split_at(end.unwrap_or(data.len()));
    let Ok(path) = std::str::from_utf8(path) else {
        return;
    };
    if let Ok(decoded) = of_json(path, body, OPS_MAX) {
        check(path, decoded);
    }
}

fn check(path: &str, decoded: Decoded) {
    let again = of_protobuf(path, &decoded.protobuf, OPS_MAX).expect("what was understood");
    assert_eq!(
        (&again.protobuf, &again.json),
        (&decoded.protobuf, &decoded.json)
    );
    let again = of_json(path, decoded.json.as_bytes(), OPS_MAX).expect("what was understood");
    assert_eq!(
        (&again.protobuf, &again.json),
        (&decoded.protobuf, &decoded.json)
    );
    match decoded.asked {
        Some(Asked::Range(range)) => {
            let machine = guarded();
            let shown = machine.range(&range).map(|reply| reply.kvs);
            if machine
                .authorize(Some(&somebody(&machine)), Access::Range(&range))
                .is_ok()
            {
                shown.iter().flatten().for_each(permitted);
            }
        }
        Some(Asked::Read(txn)) => {
            let machine = guarded();
            let shown = machine.read_txn(&txn);
            if machine
                .authorize(Some(&somebody(&machine)), Access::Txn(&txn))
                .is_ok()
                && let Ok(reply) = shown
            {
                permitted_txn(&reply);
            }
        }
        Some(Asked::Command(command)) => {
            let mut machine = guarded();
            let mut encoded = Vec::new();
            command.encode(&mut encoded);
            assert_eq!(Command::decode(Bytes::from(encoded)).as_ref(), Ok(&command));
            let may = machine.authorize(Some(&somebody(&machine)), Access::Command(&command));
            let next = Index(machine.applied().0 + 1);
            // Without anybody to judge: the one who may would be judged the same way.
            disable(&mut machine);
            let applied = machine.apply(Index(next.0 + 1), command);
            if may.is_ok() {
                applied.events.iter().for_each(|event| permitted(&event.kv));
                match &applied.reply {
                    Ok(Reply::Put(put)) => put.prev.iter().for_each(permitted),
                    Ok(Reply::Delete(delete)) => delete.prev.iter().for_each(permitted),
                    Ok(Reply::Txn(txn)) => permitted_txn(txn),
                    _ => {}
                }
            }
        }
        Some(Asked::Refused(_)) | None => {}
    }
}

fn permitted(pair: &KeyValue) {
    assert!((FROM..TO).contains(&&pair.key[..]), "{:?}", pair.key);
}

fn permitted_txn(txn: &TxnReply) {
    for reply in &txn.replies {
        match reply {
            TxnOpReply::Range(range) => range.kvs.iter().for_each(permitted),
            TxnOpReply::Put(put) => put.prev.iter().for_each(permitted),
            TxnOpReply::Delete(delete) => delete.prev.iter().for_each(permitted),
            TxnOpReply::Txn(txn) => permitted_txn(txn),
        }
    }
}

/// Who may read and write from [`FROM`] to before [`TO`].
fn somebody(machine: &Machine) -> Actor {
    Actor::User {
        name: Arc::from("u"),
        revision: machine.auth().revision(),
    }
}

/// A machine with some keys, where requests are judged.
fn guarded() -> Machine {
    let mut machine = seeds::machine();
    let user = |name: &str| AuthChange::UserAdd {
        name: name.to_owned(),
        password: None,
    };
    let role = |name: &str| AuthChange::RoleAdd {
        name: name.to_owned(),
    };
    let grant = |user: &str, role: &str| AuthChange::UserGrant {
        user: user.to_owned(),
        role: role.to_owned(),
    };
    let permission = Permission {
        kind: PermissionKind::ReadWrite,
        keys: KeyRange {
            start: Bytes::from_static(FROM),
            end: RangeEnd::Before(Bytes::from_static(TO)),
        },
    };
    let changes = [
        user(ROOT),
        role(ROOT),
        grant(ROOT, ROOT),
        user("u"),
        role("r"),
        grant("u", "r"),
        AuthChange::RoleGrant {
            role: "r".to_owned(),
            permission,
        },
        AuthChange::Enable { token_key: [7; 32] },
    ];
    for change in changes {
        let next = Index(machine.applied().0 + 1);
        let _ = machine.apply(next, Command::Auth(change));
    }
    assert!(machine.auth().enabled(), "requests are judged");
    machine
}

fn disable(machine: &mut Machine) {
    let next = Index(machine.applied().0 + 1);
    let root = Actor::User {
        name: Arc::from(ROOT),
        revision: machine.auth().revision(),
    };
    let command = Box::new(Command::Auth(AuthChange::Disable));
    machine.apply(
        next,
        Command::As {
            actor: root,
            command,
        },
    );
    assert!(!machine.auth().enabled(), "requests are judged no more");
}
