//! Roles as version 2 shows them: patterns of paths to be read and written, a last `*` standing for whatever follows,
//! for the ranges of keys that version 3 keeps. Both say the same, and a pattern comes back as it was given; a range that
//! no pattern names is shown as it is, with the reason.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use store_machine::auth::{Auth, AuthChange, Permission, PermissionKind, ROOT};
use store_machine::request::{KeyRange, RangeEnd};

use crate::people::Denied;

/// What is allowed with a pattern: reading, writing.
type Rights = BTreeMap<String, [bool; 2]>;

/// Names of the two in answers and requests.
const KINDS: [&str; 2] = ["read", "write"];

/// The keys that a pattern names.
pub(crate) fn keys_of(pattern: &str) -> Result<KeyRange, Denied> {
    let Some(prefix) = pattern.strip_suffix('*') else {
        if pattern.is_empty() {
            return Err(Denied::new(400, "auth: An empty pattern names no key."));
        }
        return Ok(KeyRange::single(Bytes::from(pattern.to_owned())));
    };
    if prefix.is_empty() {
        // All keys: those of version 3 begin behind the empty one.
        return Ok(KeyRange {
            start: Bytes::from_static(b"\0"),
            end: RangeEnd::Open,
        });
    }
    Ok(KeyRange {
        start: Bytes::from(prefix.to_owned()),
        end: RangeEnd::Before(behind(prefix.as_bytes())),
    })
}

/// The first key behind all that begin with the prefix. Text has no byte that could not be one more.
fn behind(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end.into()
}

/// The pattern that names a range.
///
/// # Errors
/// Why there is none.
pub(crate) fn pattern_of(keys: &KeyRange) -> Result<String, &'static str> {
    if keys.start == b"\0"[..] && keys.end == RangeEnd::Open {
        return Ok("*".to_owned());
    }
    let text = std::str::from_utf8(&keys.start).map_err(|_| "the key is not UTF-8")?;
    match &keys.end {
        RangeEnd::Single if text.ends_with('*') => Err("a pattern with * at its end is a prefix"),
        RangeEnd::Single => Ok(text.to_owned()),
        RangeEnd::Before(end) if *end == behind(&keys.start) => Ok(format!("{text}*")),
        RangeEnd::Before(_) | RangeEnd::Open => Err("the range is no prefix"),
    }
}

/// A role as version 2 shows it; nothing if there is none of that name.
pub(crate) fn shown(auth: &Auth, name: &str) -> Option<Value> {
    if name == ROOT {
        let all = json!({ "read": ["/*"], "write": ["/*"] });
        return Some(json!({ "role": ROOT, "permissions": { "kv": all } }));
    }
    let (rights, unnamed) = rights(auth.role(name)?);
    let of = |kind: usize| -> Vec<&str> {
        let allowed = rights.iter().filter(|(_, rights)| rights[kind]);
        allowed.map(|(pattern, _)| &pattern[..]).collect()
    };
    let kv = json!({ "read": of(0), "write": of(1) });
    let mut role = json!({ "role": name, "permissions": { "kv": kv } });
    if !unnamed.is_empty() {
        role["unnamed"] = unnamed.into();
    }
    Some(role)
}

fn rights(permissions: &[Permission]) -> (Rights, Vec<Value>) {
    let (mut rights, mut unnamed) = (Rights::new(), Vec::new());
    for Permission { kind, keys } in permissions {
        match pattern_of(keys) {
            Ok(pattern) => {
                rights.insert(pattern, allowed(*kind));
            }
            Err(reason) => unnamed.push(json!({
                "permType": match kind {
                    PermissionKind::Read => "READ",
                    PermissionKind::Write => "WRITE",
                    PermissionKind::ReadWrite => "READWRITE",
                },
                "key": STANDARD.encode(&keys.start),
                "range_end": match &keys.end {
                    RangeEnd::Single => String::new(),
                    RangeEnd::Open => STANDARD.encode(b"\0"),
                    RangeEnd::Before(end) => STANDARD.encode(end),
                },
                "reason": reason,
            })),
        }
    }
    (rights, unnamed)
}

const fn allowed(kind: PermissionKind) -> [bool; 2] {
    match kind {
        PermissionKind::Read => [true, false],
        PermissionKind::Write => [false, true],
        PermissionKind::ReadWrite => [true, true],
    }
}

/// Patterns of a request: to be read, to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patterns([Vec<String>; 2]);

impl Patterns {
    /// Of `{"kv": {"read": […], "write": […]}}`; nothing if it is something else.
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let mut patterns = Self::default();
        if value.is_null() {
            return Some(patterns);
        }
        let kv = value.as_object()?.get("kv").unwrap_or(&Value::Null);
        if !kv.is_null() && !kv.is_object() {
            return None;
        }
        for (kind, list) in KINDS.iter().zip(&mut patterns.0) {
            *list = crate::people::names(&kv[kind])?;
        }
        Some(patterns)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }
}

/// What gives a role these patterns and takes those from it.
pub(crate) fn changes(
    role: &str,
    before: &[Permission],
    grant: &Patterns,
    revoke: &Patterns,
) -> Result<Vec<AuthChange>, Denied> {
    let (before, _) = rights(before);
    let mut after = before.clone();
    for (kind, granted) in grant.0.iter().enumerate() {
        for pattern in granted {
            keys_of(pattern)?;
            let rights = after.entry(pattern.clone()).or_default();
            if std::mem::replace(&mut rights[kind], true) {
                let name = KINDS[kind];
                let text = format!("auth: Granting duplicate {name} permission {pattern}");
                return Err(Denied::new(409, text));
            }
        }
    }
    for (kind, revoked) in revoke.0.iter().enumerate() {
        for pattern in revoked {
            if let Some(rights) = after.get_mut(pattern) {
                rights[kind] = false;
            }
        }
    }
    let changed = after
        .into_iter()
        .filter(|(pattern, rights)| before.get(pattern).copied().unwrap_or_default() != *rights);
    changed
        .map(|(pattern, rights)| {
            let (role, keys) = (role.to_owned(), keys_of(&pattern)?);
            let kind = match rights {
                [false, false] => return Ok(AuthChange::RoleRevoke { role, keys }),
                [true, false] => PermissionKind::Read,
                [false, true] => PermissionKind::Write,
                [true, true] => PermissionKind::ReadWrite,
            };
            let permission = Permission { kind, keys };
            Ok(AuthChange::RoleGrant { role, permission })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_back_as_they_were_given() {
        for pattern in [
            "/a",
            "/a/*",
            "/a*",
            "/*",
            "*",
            "/a**",
            "a",
            "/ä*",
            "/a*b",
            "/\u{10ffff}*",
        ] {
            let keys = keys_of(pattern).unwrap();
            assert_eq!(pattern_of(&keys).as_deref(), Ok(pattern), "{pattern}");
        }
        assert!(keys_of("").is_err());
    }

    #[test]
    fn ranges_that_no_pattern_names_say_why() {
        let range = |start: &'static [u8], end: RangeEnd| KeyRange {
            start: Bytes::from_static(start),
            end,
        };
        for (keys, reason) in [
            (
                range(b"/a*", RangeEnd::Single),
                "a pattern with * at its end is a prefix",
            ),
            (range(b"\xff", RangeEnd::Single), "the key is not UTF-8"),
            (range(b"/a", RangeEnd::Open), "the range is no prefix"),
            (
                range(b"/a", RangeEnd::Before("/c".into())),
                "the range is no prefix",
            ),
        ] {
            assert_eq!(pattern_of(&keys), Err(reason), "{keys:?}");
        }
    }
}
