//! Who may do what: users, roles, permissions, and whether anybody asks.
//!
//! Owns the replicated state and the changes to it. What a command or a read needs is in `needs.rs`,
//! whether somebody has it in `judge.rs`, how ranges add up in `permission.rs`, bytes in `form.rs`.
//! Never sees a password, only its hash; how tokens are made and checked is the server's.

mod change;
mod form;
mod judge;
mod needs;
mod permission;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use change::AuthChange;
pub use judge::Actor;
pub use needs::{Access, Need};
pub use permission::{Permission, PermissionKind};

use crate::auth::permission::Ranges;

/// The user that must exist before authentication is enabled, and the role it must have. Whoever has
/// the role may do everything.
pub const ROOT: &str = "root";

/// Revision of a store whose users and roles never changed.
const FIRST_REVISION: u64 = 1;

/// Bytes of the key that signs simple tokens.
pub const TOKEN_KEY_BYTES: usize = 32;

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Hash of the password in bcrypt's text form; `None` = comes in by certificate only.
    pub password: Option<String>,
    /// Names of its roles.
    pub roles: BTreeSet<String>,
    /// Revision of the change that made the user or set its password: what was proven with an
    /// earlier one proves nothing any more.
    pub generation: u64,
    /// What the roles add up to; follows from them.
    grants: Arc<Grants>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hash is not shown: it can be guessed at offline.
        f.debug_struct("User")
            .field("roles", &self.roles)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// What the roles of a user allow together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Grants {
    root: bool,
    read: Ranges,
    write: Ranges,
}

/// The replicated state of authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    enabled: bool,
    /// Counts changes; tokens and commands say which one they were made at.
    revision: u64,
    users: BTreeMap<String, User>,
    /// Permissions by role, in the order of their first keys.
    roles: BTreeMap<String, Vec<Permission>>,
    /// Signs simple tokens; made anew each time authentication is enabled.
    token_key: [u8; TOKEN_KEY_BYTES],
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            enabled: false,
            revision: FIRST_REVISION,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            token_key: [0; TOKEN_KEY_BYTES],
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("enabled", &self.enabled)
            .field("revision", &self.revision)
            .field("users", &self.users)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl Auth {
    /// The state of another store: its roles with their permissions, its users with password and roles.
    /// Whatever was proven there proves nothing here, unless the key is the same.
    #[must_use]
    pub fn of_parts(
        (enabled, revision): (bool, u64),
        token_key: [u8; TOKEN_KEY_BYTES],
        mut roles: BTreeMap<String, Vec<Permission>>,
        users: BTreeMap<String, (Option<String>, BTreeSet<String>)>,
    ) -> Self {
        for permissions in roles.values_mut() {
            permissions.sort_by(|a, b| a.keys.start.cmp(&b.keys.start));
        }
        let mut auth = Self {
            enabled,
            // Above the first, at which there is nobody.
            revision: revision.max(FIRST_REVISION + 1),
            users: BTreeMap::new(),
            roles,
            token_key,
        };
        for (name, (password, roles)) in users {
            let user = User {
                password,
                generation: auth.revision,
                grants: auth.grants(&roles),
                roles,
            };
            auth.users.insert(name, user);
        }
        auth
    }

    /// Whether requests are judged at all.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.enabled
    }

    /// Number of changes, the first state being 1.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// One user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// All users by name.
    pub fn users(&self) -> impl Iterator<Item = (&str, &User)> {
        self.users.iter().map(|(name, user)| (&name[..], user))
    }

    /// Permissions of a role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&[Permission]> {
        self.roles.get(name).map(|permissions| &permissions[..])
    }

    /// Names of all roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(|name| &name[..])
    }

    /// Signs simple tokens. Secret.
    #[must_use]
    pub const fn token_key(&self) -> &[u8; TOKEN_KEY_BYTES] {
        &self.token_key
    }

    /// Whether anything differs from a store that never heard of users.
    fn is_pristine(&self) -> bool {
        self.revision == FIRST_REVISION && !self.enabled
    }

    /// Adds up what the roles of a user allow.
    fn grants(&self, roles: &BTreeSet<String>) -> Arc<Grants> {
        let mut grants = Grants {
            root: roles.contains(ROOT),
            ..Grants::default()
        };
        for permission in roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flatten()
        {
            if permission.kind.reads() {
                grants.read.add(&permission.keys);
            }
            if permission.kind.writes() {
                grants.write.add(&permission.keys);
            }
        }
        Arc::new(grants)
    }

    /// Adds up anew for everybody who has the role.
    fn refresh_role(&mut self, role: &str) {
        let mut users = std::mem::take(&mut self.users);
        for user in users.values_mut().filter(|user| user.roles.contains(role)) {
            user.grants = self.grants(&user.roles);
        }
        self.users = users;
    }
}
