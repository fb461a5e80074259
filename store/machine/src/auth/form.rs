//! The byte forms of changes, actors and the state. Kinds are never reused; what is not understood to
//! the last byte is no form at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::{
    Actor, Auth, AuthChange, Grants, Permission, PermissionKind, TOKEN_KEY_BYTES, User,
};
use crate::request::{KeyRange, RangeEnd};
use crate::varint::{Reader, put_bytes, put_u64};

mod kind {
    pub(super) const ENABLE: u8 = 1;
    pub(super) const DISABLE: u8 = 2;
    pub(super) const USER_ADD: u8 = 3;
    pub(super) const USER_DELETE: u8 = 4;
    pub(super) const USER_PASSWORD: u8 = 5;
    pub(super) const USER_GRANT: u8 = 6;
    pub(super) const USER_REVOKE: u8 = 7;
    pub(super) const ROLE_ADD: u8 = 8;
    pub(super) const ROLE_DELETE: u8 = 9;
    pub(super) const ROLE_GRANT: u8 = 10;
    pub(super) const ROLE_REVOKE: u8 = 11;
    pub(super) const ACTOR_STORE: u8 = 0;
    pub(super) const ACTOR_USER: u8 = 1;
    pub(super) const ACTOR_JUDGED: u8 = 2;
}

impl Actor {
    /// Appends the byte form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Store => out.push(kind::ACTOR_STORE),
            Self::User { name, revision } => {
                out.push(kind::ACTOR_USER);
                put_bytes(out, name.as_bytes());
                put_u64(out, *revision);
            }
            Self::Judged { revision } => {
                out.push(kind::ACTOR_JUDGED);
                put_u64(out, *revision);
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        Some(match reader.u8()? {
            kind::ACTOR_STORE => Self::Store,
            kind::ACTOR_USER => Self::User {
                name: Arc::from(text(reader)?),
                revision: reader.u64()?,
            },
            kind::ACTOR_JUDGED => Self::Judged {
                revision: reader.u64()?,
            },
            _ => return None,
        })
    }

    /// Reads a byte form that fills `bytes`.
    #[must_use]
    pub fn decode(bytes: bytes::Bytes) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let actor = Self::read(&mut reader)?;
        (reader.left() == 0).then_some(actor)
    }
}

impl AuthChange {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Enable { token_key } => {
                out.push(kind::ENABLE);
                out.extend_from_slice(token_key);
            }
            Self::Disable => out.push(kind::DISABLE),
            Self::UserAdd { name, password } => {
                out.push(kind::USER_ADD);
                put_text(out, name);
                put_password(out, password.as_deref());
            }
            Self::UserDelete { name } => put_texts(out, kind::USER_DELETE, &[name]),
            Self::UserPassword { name, password } => {
                put_texts(out, kind::USER_PASSWORD, &[name, password]);
            }
            Self::UserGrant { user, role } => put_texts(out, kind::USER_GRANT, &[user, role]),
            Self::UserRevoke { user, role } => put_texts(out, kind::USER_REVOKE, &[user, role]),
            Self::RoleAdd { name } => put_texts(out, kind::ROLE_ADD, &[name]),
            Self::RoleDelete { name } => put_texts(out, kind::ROLE_DELETE, &[name]),
            Self::RoleGrant { role, permission } => {
                put_texts(out, kind::ROLE_GRANT, &[role]);
                put_permission(out, permission);
            }
            Self::RoleRevoke { role, keys } => {
                put_texts(out, kind::ROLE_REVOKE, &[role]);
                put_keys(out, keys);
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader) -> Option<Self> {
        Some(match reader.u8()? {
            kind::ENABLE => Self::Enable {
                token_key: key(reader)?,
            },
            kind::DISABLE => Self::Disable,
            kind::USER_ADD => Self::UserAdd {
                name: text(reader)?,
                password: password(reader)?,
            },
            kind::USER_DELETE => Self::UserDelete {
                name: text(reader)?,
            },
            kind::USER_PASSWORD => Self::UserPassword {
                name: text(reader)?,
                password: text(reader)?,
            },
            kind::USER_GRANT => Self::UserGrant {
                user: text(reader)?,
                role: text(reader)?,
            },
            kind::USER_REVOKE => Self::UserRevoke {
                user: text(reader)?,
                role: text(reader)?,
            },
            kind::ROLE_ADD => Self::RoleAdd {
                name: text(reader)?,
            },
            kind::ROLE_DELETE => Self::RoleDelete {
                name: text(reader)?,
            },
            kind::ROLE_GRANT => Self::RoleGrant {
                role: text(reader)?,
                permission: permission(reader)?,
            },
            kind::ROLE_REVOKE => Self::RoleRevoke {
                role: text(reader)?,
                keys: keys(reader)?,
            },
            _ => return None,
        })
    }
}

impl Auth {
    /// Appends the state; nothing for one that never changed, as before there were users.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.is_pristine() {
            return;
        }
        out.push(u8::from(self.enabled));
        put_u64(out, self.revision);
        out.extend_from_slice(&self.token_key);
        put_u64(out, self.roles.len() as u64);
        for (name, permissions) in &self.roles {
            put_text(out, name);
            put_u64(out, permissions.len() as u64);
            for permission in permissions {
                put_permission(out, permission);
            }
        }
        put_u64(out, self.users.len() as u64);
        for (name, user) in &self.users {
            put_text(out, name);
            put_password(out, user.password.as_deref());
            put_u64(out, user.generation);
            put_u64(out, user.roles.len() as u64);
            for role in &user.roles {
                put_text(out, role);
            }
        }
    }

    /// Reads what [`Auth::write`] has appended.
    pub(crate) fn read(bytes: bytes::Bytes) -> Option<Self> {
        let reader = &mut Reader::new(bytes);
        let mut auth = Self {
            enabled: flag(reader)?,
            revision: reader.u64()?,
            token_key: key(reader)?,
            roles: named(reader, |reader| list(reader, permission))?,
            users: named(reader, user)?,
        };
        let grants: Vec<_> = auth
            .users
            .values()
            .map(|user| auth.grants(&user.roles))
            .collect();
        for (user, grants) in auth.users.values_mut().zip(grants) {
            user.grants = grants;
        }
        (reader.left() == 0).then_some(auth)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

fn put_texts(out: &mut Vec<u8>, kind: u8, texts: &[&str]) {
    out.push(kind);
    for text in texts {
        put_text(out, text);
    }
}

fn put_password(out: &mut Vec<u8>, password: Option<&str>) {
    out.push(u8::from(password.is_some()));
    if let Some(password) = password {
        put_text(out, password);
    }
}

fn put_permission(out: &mut Vec<u8>, permission: &Permission) {
    // The numbers are those of etcd's `Permission.Type`.
    out.push(match permission.kind {
        PermissionKind::Read => 0,
        PermissionKind::Write => 1,
        PermissionKind::ReadWrite => 2,
    });
    put_keys(out, &permission.keys);
}

fn put_keys(out: &mut Vec<u8>, keys: &KeyRange) {
    put_bytes(out, &keys.start);
    match &keys.end {
        RangeEnd::Single => out.push(0),
        RangeEnd::Open => out.push(1),
        RangeEnd::Before(end) => {
            out.push(2);
            put_bytes(out, end);
        }
    }
}

fn text(reader: &mut Reader) -> Option<String> {
    String::from_utf8(reader.bytes()?.to_vec()).ok()
}

/// A user, what its roles allow not yet added up.
fn user(reader: &mut Reader) -> Option<User> {
    Some(User {
        password: password(reader)?,
        generation: reader.u64()?,
        roles: list(reader, text)?.into_iter().collect(),
        grants: Arc::new(Grants::default()),
    })
}

fn flag(reader: &mut Reader) -> Option<bool> {
    match reader.u8()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn password(reader: &mut Reader) -> Option<Option<String>> {
    Some(if flag(reader)? {
        Some(text(reader)?)
    } else {
        None
    })
}

fn key(reader: &mut Reader) -> Option<[u8; TOKEN_KEY_BYTES]> {
    reader.take(TOKEN_KEY_BYTES)?[..].try_into().ok()
}

fn permission(reader: &mut Reader) -> Option<Permission> {
    Some(Permission {
        kind: match reader.u8()? {
            0 => PermissionKind::Read,
            1 => PermissionKind::Write,
            2 => PermissionKind::ReadWrite,
            _ => return None,
        },
        keys: keys(reader)?,
    })
}

fn keys(reader: &mut Reader) -> Option<KeyRange> {
    Some(KeyRange {
        start: reader.bytes()?,
        end: match reader.u8()? {
            0 => RangeEnd::Single,
            1 => RangeEnd::Open,
            2 => RangeEnd::Before(reader.bytes()?),
            _ => return None,
        },
    })
}

fn list<T>(reader: &mut Reader, item: impl Fn(&mut Reader) -> Option<T>) -> Option<Vec<T>> {
    // Grows as items are found: a count is believed only as far as the bytes go.
    (0..reader.u64()?).map(|_| item(reader)).collect()
}

fn named<T>(
    reader: &mut Reader,
    item: impl Fn(&mut Reader) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let items = list(reader, |reader| Some((text(reader)?, item(reader)?)))?;
    let count = items.len();
    let map: BTreeMap<_, _> = items.into_iter().collect();
    // A name twice is not what was written.
    (map.len() == count).then_some(map)
}
