//! Users, roles and whether they count. The key that signs tokens is not in the file: a backup should not let anybody in.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use store_machine::auth::{Auth, Permission, PermissionKind, TOKEN_KEY_BYTES};
use store_machine::request::{KeyRange, RangeEnd};

use super::bucket;
use super::export::{Small, write as write_bucket};
use super::import::ImportError;
use super::message;
use crate::loader::Loader;
use crate::source::Source;
use crate::tree::{Bucket, Tree};

/// Keys of the bucket `auth`.
const ENABLED: &[u8] = b"authEnabled";
const REVISION: &[u8] = b"authRevision";

/// Ends a range that has no end.
const OPEN: &[u8] = b"\0";

/// Writes what the machine has of them.
pub(super) fn write(loader: &mut Loader, auth: &Auth) {
    let mut numbers = Small::new();
    if *auth != Auth::default() {
        numbers.insert(ENABLED.to_vec(), vec![u8::from(auth.enabled())]);
        numbers.insert(REVISION.to_vec(), auth.revision().to_be_bytes().to_vec());
    }
    write_bucket(loader, bucket::AUTH, &numbers);
    let roles = auth.roles().map(|name| {
        let permissions = auth.role(name).unwrap_or_default();
        let role = message::Role {
            name: name.as_bytes().to_vec(),
            permissions: permissions.iter().map(permission_message).collect(),
        };
        (role.name.clone(), role.encode_to_vec())
    });
    write_bucket(loader, bucket::AUTH_ROLES, &roles.collect());
    let users = auth.users().map(|(name, user)| {
        let user = message::User {
            name: name.as_bytes().to_vec(),
            password: user.password.clone().unwrap_or_default().into_bytes(),
            roles: user.roles.iter().cloned().collect(),
            options: Some(message::UserOptions {
                no_password: user.password.is_none(),
            }),
        };
        (user.name.clone(), user.encode_to_vec())
    });
    write_bucket(loader, bucket::AUTH_USERS, &users.collect());
}

fn permission_message(permission: &Permission) -> message::Permission {
    message::Permission {
        kind: match permission.kind {
            PermissionKind::Read => 0,
            PermissionKind::Write => 1,
            PermissionKind::ReadWrite => 2,
        },
        key: permission.keys.start.clone(),
        range_end: match &permission.keys.end {
            RangeEnd::Single => Bytes::new(),
            RangeEnd::Open => Bytes::from_static(OPEN),
            RangeEnd::Before(end) => end.clone(),
        },
    }
}

/// Reads them; the key that signs tokens is all zero then.
pub(super) fn read<S: Source>(tree: &Tree<S>, buckets: &[Bucket]) -> Result<Auth, ImportError> {
    let (mut enabled, mut revision) = (false, None);
    each(tree, buckets, bucket::AUTH, |key, value| {
        match key {
            ENABLED => enabled = value == [1],
            REVISION => {
                let bytes = value.first_chunk();
                revision = Some(bytes.map(|bytes| u64::from_be_bytes(*bytes))?);
            }
            _ => {}
        }
        Some(())
    })?;
    let mut roles = BTreeMap::new();
    each(tree, buckets, bucket::AUTH_ROLES, |key, value| {
        let role = message::Role::decode(value).ok()?;
        let permissions = role.permissions.into_iter().map(permission);
        roles.insert(name(key)?, permissions.collect::<Option<_>>()?);
        Some(())
    })?;
    let mut users = BTreeMap::new();
    each(tree, buckets, bucket::AUTH_USERS, |key, value| {
        let user = message::User::decode(value).ok()?;
        let password = String::from_utf8(user.password).ok()?;
        let password = Some(password).filter(|password| !password.is_empty());
        let roles: BTreeSet<String> = user.roles.into_iter().collect();
        users.insert(name(key)?, (password, roles));
        Some(())
    })?;
    if !enabled && users.is_empty() && roles.is_empty() {
        return Ok(Auth::default());
    }
    let numbers = (enabled, revision.unwrap_or_default());
    Ok(Auth::of_parts(numbers, [0; TOKEN_KEY_BYTES], roles, users))
}

/// Hands over the pairs of a bucket, which need not be there; `None` says that one is not what it should be.
fn each<S: Source>(
    tree: &Tree<S>,
    buckets: &[Bucket],
    name: &'static [u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Result<(), ImportError> {
    let Some(bucket) = buckets.iter().find(|bucket| bucket.name == name) else {
        return Ok(());
    };
    tree.walk(bucket, &mut |key, value| {
        take(key, value)
            .ok_or_else(|| ImportError::pair(name, key, "a user, a role or their state"))
    })
}

fn name(key: &[u8]) -> Option<String> {
    String::from_utf8(key.to_vec()).ok()
}

fn permission(permission: message::Permission) -> Option<Permission> {
    let permission = Permission {
        kind: match permission.kind {
            0 => PermissionKind::Read,
            1 => PermissionKind::Write,
            2 => PermissionKind::ReadWrite,
            _ => return None,
        },
        keys: KeyRange {
            start: permission.key,
            end: match &permission.range_end[..] {
                [] => RangeEnd::Single,
                OPEN => RangeEnd::Open,
                _ => RangeEnd::Before(permission.range_end),
            },
        },
    };
    permission.is_valid().then_some(permission)
}
