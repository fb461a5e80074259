//! Roles: `role add`, `delete`, `get`, `list`, `grant-permission` and `revoke-permission`.

use bytes::Bytes;
use clap::{Args, Subcommand};
use store_proto::authpb::{Permission, permission::Type};
use store_proto::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest, AuthRoleGrantPermissionRequest,
    AuthRoleListRequest, AuthRoleRevokePermissionRequest,
};

use super::auth::client;
use super::in_time;
use super::kv::after_prefix;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer};

/// The end that means all keys that follow.
const OPEN_END: Bytes = Bytes::from_static(b"\0");

/// What to do with roles.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Add a role
    Add { words: Vec<String> },
    /// Take a role away
    Delete { words: Vec<String> },
    /// What a role may do
    Get { words: Vec<String> },
    /// All roles
    List { words: Vec<String> },
    /// Let a role read, write or both (readwrite): ROLE TYPE KEY [END]
    GrantPermission {
        words: Vec<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Take a permission from a role: ROLE KEY [END]
    RevokePermission {
        words: Vec<String>,
        #[command(flatten)]
        reach: Reach,
    },
}

/// How far a permission goes.
#[derive(Debug, Args)]
pub struct Reach {
    /// Keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// Keys from KEY on
    #[arg(long)]
    from_key: bool,
}

impl Reach {
    fn of(&self, words: &[String]) -> Result<(Bytes, Bytes), Failure> {
        let bytes = |at: usize| words.get(at).map(|word| Bytes::from(word.clone()));
        let (key, end) = (bytes(0).unwrap_or_default(), bytes(1));
        match (self.prefix, self.from_key, end) {
            (true, true, None) => Err(Failure::bad_arguments(
                "--from-key and --prefix flags are mutually exclusive",
            )),
            (true, _, Some(_)) => Err(Failure::bad_arguments(
                "unexpected endkey argument with --prefix flag",
            )),
            (_, true, Some(_)) => Err(Failure::bad_arguments(
                "unexpected endkey argument with --from-key flag",
            )),
            // The empty prefix is all keys, of which the first is a zero byte.
            (true, false, None) | (false, true, None) if key.is_empty() => Ok((OPEN_END, OPEN_END)),
            (true, false, None) => {
                let end = after_prefix(&key);
                Ok((key, end))
            }
            (false, true, None) => Ok((key, OPEN_END)),
            (false, false, end) => Ok((key, end.unwrap_or_default())),
        }
    }
}

impl Role {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        match self {
            Self::Add { words } => {
                let name = one(&words, "add")?;
                let line = format!("Role {name} created");
                let request = AuthRoleAddRequest { name };
                let done = in_time(globals, client(globals).await?.role_add(request)).await?;
                printer.print(&Answer::done(done.header, line))
            }
            Self::Delete { words } => {
                let role = one(&words, "delete")?;
                let line = format!("Role {role} deleted");
                let request = AuthRoleDeleteRequest { role };
                let done = in_time(globals, client(globals).await?.role_delete(request)).await?;
                printer.print(&Answer::done(done.header, line))
            }
            Self::Get { words } => {
                let role = one(&words, "get")?;
                let request = AuthRoleGetRequest { role: role.clone() };
                let found = in_time(globals, client(globals).await?.role_get(request)).await?;
                printer.print(&Answer::Role(role, found))
            }
            Self::List { words } => {
                if !words.is_empty() {
                    return Err(Failure::bad_arguments(
                        "role list command requires no arguments",
                    ));
                }
                let request = AuthRoleListRequest {};
                let list = in_time(globals, client(globals).await?.role_list(request)).await?;
                printer.print(&Answer::Roles(list))
            }
            Self::GrantPermission { words, reach } => {
                let request = granted(&words, &reach)?;
                let line = format!("Role {} updated", request.name);
                let mut client = client(globals).await?;
                let done = in_time(globals, client.role_grant_permission(request)).await?;
                printer.print(&Answer::done(done.header, line))
            }
            Self::RevokePermission { words, reach } => {
                let [role, place @ ..] = words.as_slice() else {
                    return Err(revoke_needs());
                };
                if place.is_empty() {
                    return Err(revoke_needs());
                }
                let (key, range_end) = reach.of(place)?;
                let text = revoked(&key, &range_end);
                let line = format!("Permission of {text} is revoked from role {role}");
                let request = AuthRoleRevokePermissionRequest {
                    role: role.clone(),
                    key,
                    range_end,
                };
                let mut client = client(globals).await?;
                let done = in_time(globals, client.role_revoke_permission(request)).await?;
                printer.print(&Answer::done(done.header, line))
            }
        }
    }
}

fn granted(words: &[String], reach: &Reach) -> Result<AuthRoleGrantPermissionRequest, Failure> {
    let [name, kind, place @ ..] = words else {
        return Err(grant_needs());
    };
    if place.is_empty() {
        return Err(grant_needs());
    }
    let kind_of = Type::from_str_name(&kind.to_ascii_uppercase())
        .ok_or_else(|| Failure::bad_arguments(format!("invalid permission type: {kind}")))?;
    let (key, range_end) = reach.of(place)?;
    Ok(AuthRoleGrantPermissionRequest {
        name: name.clone(),
        perm: Some(Permission {
            perm_type: kind_of.into(),
            key,
            range_end,
        }),
    })
}

fn grant_needs() -> Failure {
    Failure::bad_arguments(
        "role grant command requires role name, permission type, and key [endkey] as its argument",
    )
}

fn revoke_needs() -> Failure {
    Failure::bad_arguments(
        "role revoke-permission command requires role name and key [endkey] as its argument",
    )
}

fn revoked(key: &[u8], range_end: &[u8]) -> String {
    let (key, end) = (
        String::from_utf8_lossy(key),
        String::from_utf8_lossy(range_end),
    );
    match range_end {
        b"" => format!("key {key}"),
        b"\0" => format!("range [{key}, <open ended>"),
        _ => format!("range [{key}, {end})"),
    }
}

fn one(words: &[String], what: &str) -> Result<String, Failure> {
    match words {
        [word] => Ok(word.clone()),
        _ => Err(Failure::bad_arguments(format!(
            "role {what} command requires role name as its argument"
        ))),
    }
}
