//! Changes of users, roles and permissions, and of whether anybody asks for them.
//!
//! What is refused, what is taken silently and what counts as a change is etcd's.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::auth::{Auth, Grants, Permission, ROOT, TOKEN_KEY_BYTES, User};
use crate::error::Refusal;
use crate::request::KeyRange;

/// A change of [`Auth`]. Passwords come as hashes: hashing takes long, and differs each time.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthChange {
    /// From now on requests are judged.
    Enable {
        /// Signs the simple tokens of this time. Drawn by the proposer; without effect where
        /// authentication is enabled already.
        token_key: [u8; TOKEN_KEY_BYTES],
    },
    /// From now on they are not.
    Disable,
    /// One more user.
    UserAdd {
        /// Its name.
        name: String,
        /// bcrypt's text form; `None` = comes in by certificate only.
        password: Option<String>,
    },
    /// One user less.
    UserDelete {
        /// Its name.
        name: String,
    },
    /// A new password; a user without one stays so.
    UserPassword {
        /// Its name.
        name: String,
        /// bcrypt's text form.
        password: String,
    },
    /// A role for a user; one it has already changes nothing.
    UserGrant {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A role less.
    UserRevoke {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A role without permissions.
    RoleAdd {
        /// Its name.
        name: String,
    },
    /// A role less, for all who have it.
    RoleDelete {
        /// Its name.
        name: String,
    },
    /// A permission for a role, in place of one for the same range.
    RoleGrant {
        /// The role.
        role: String,
        /// The permission.
        permission: Permission,
    },
    /// A permission less.
    RoleRevoke {
        /// The role.
        role: String,
        /// The range of the permission.
        keys: KeyRange,
    },
}

impl fmt::Debug for AuthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither keys nor hashes are shown.
        let (kind, name) = match self {
            Self::Enable { .. } => ("Enable", ""),
            Self::Disable => ("Disable", ""),
            Self::UserAdd { name, .. } => ("UserAdd", &name[..]),
            Self::UserDelete { name } => ("UserDelete", &name[..]),
            Self::UserPassword { name, .. } => ("UserPassword", &name[..]),
            Self::UserGrant { user, .. } => ("UserGrant", &user[..]),
            Self::UserRevoke { user, .. } => ("UserRevoke", &user[..]),
            Self::RoleAdd { name } => ("RoleAdd", &name[..]),
            Self::RoleDelete { name } => ("RoleDelete", &name[..]),
            Self::RoleGrant { role, .. } => ("RoleGrant", &role[..]),
            Self::RoleRevoke { role, .. } => ("RoleRevoke", &role[..]),
        };
        f.debug_tuple(kind).field(&name).finish()
    }
}

impl Auth {
    /// Makes a change.
    pub(crate) fn change(&mut self, change: AuthChange) -> Result<(), Refusal> {
        if self.make(change)? {
            self.revision += 1;
        }
        Ok(())
    }

    /// True when it counts as a change.
    fn make(&mut self, change: AuthChange) -> Result<bool, Refusal> {
        match change {
            AuthChange::Enable { token_key } => self.enable(token_key),
            AuthChange::Disable => Ok(std::mem::take(&mut self.enabled)),
            AuthChange::UserAdd { name, password } => self.user_add(name, password),
            AuthChange::UserDelete { name } => {
                self.spare(name == ROOT)?;
                self.users.remove(&name).ok_or(Refusal::UserNotFound)?;
                Ok(true)
            }
            AuthChange::UserPassword { name, password } => {
                let generation = self.revision + 1;
                let user = self.users.get_mut(&name).ok_or(Refusal::UserNotFound)?;
                if user.password.is_some() {
                    user.password = Some(password);
                }
                user.generation = generation;
                Ok(true)
            }
            AuthChange::UserGrant { user, role } => self.user_grant(&user, role),
            AuthChange::UserRevoke { user, role } => self.user_revoke(&user, &role),
            AuthChange::RoleAdd { name } => {
                if name.is_empty() {
                    return Err(Refusal::RoleEmpty);
                }
                if self.roles.contains_key(&name) {
                    return Err(Refusal::RoleExists);
                }
                self.roles.insert(name.clone(), Vec::new());
                Ok(true)
            }
            AuthChange::RoleDelete { name } => self.role_delete(&name),
            AuthChange::RoleGrant { role, permission } => self.role_grant(&role, permission),
            AuthChange::RoleRevoke { role, keys } => {
                let permissions = self.roles.get_mut(&role).ok_or(Refusal::RoleNotFound)?;
                let before = permissions.len();
                permissions.retain(|permission| permission.keys != keys);
                if permissions.len() == before {
                    return Err(Refusal::PermissionNotGranted);
                }
                self.refresh_role(&role);
                Ok(true)
            }
        }
    }

    fn enable(&mut self, token_key: [u8; TOKEN_KEY_BYTES]) -> Result<bool, Refusal> {
        if self.enabled {
            return Ok(false);
        }
        let root = self.users.get(ROOT).ok_or(Refusal::RootUserMissing)?;
        if !root.grants.root {
            return Err(Refusal::RootRoleMissing);
        }
        self.enabled = true;
        self.token_key = token_key;
        // Enabling does not count: what was proven before stays so.
        Ok(false)
    }

    fn user_add(&mut self, name: String, password: Option<String>) -> Result<bool, Refusal> {
        if name.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        if self.users.contains_key(&name) {
            return Err(Refusal::UserExists);
        }
        let user = User {
            password,
            roles: BTreeSet::new(),
            generation: self.revision + 1,
            grants: Arc::new(Grants::default()),
        };
        self.users.insert(name, user);
        Ok(true)
    }

    fn user_grant(&mut self, user: &str, role: String) -> Result<bool, Refusal> {
        let known = role == ROOT || self.roles.contains_key(&role);
        let roles = &mut self.users.get_mut(user).ok_or(Refusal::UserNotFound)?.roles;
        if !known {
            return Err(Refusal::RoleNotFound);
        }
        let changed = roles.insert(role);
        self.refresh_user(user);
        Ok(changed)
    }

    fn user_revoke(&mut self, user: &str, role: &str) -> Result<bool, Refusal> {
        self.spare(user == ROOT && role == ROOT)?;
        let roles = &mut self.users.get_mut(user).ok_or(Refusal::UserNotFound)?.roles;
        if !roles.remove(role) {
            return Err(Refusal::RoleNotGranted);
        }
        self.refresh_user(user);
        Ok(true)
    }

    fn role_delete(&mut self, name: &str) -> Result<bool, Refusal> {
        self.spare(name == ROOT)?;
        self.roles.remove(name).ok_or(Refusal::RoleNotFound)?;
        let having = |user: &User| user.roles.contains(name);
        let users: Vec<String> = self
            .users
            .iter()
            .filter(|(_, user)| having(user))
            .map(|(name, _)| name.clone())
            .collect();
        for user in users {
            if let Some(user) = self.users.get_mut(&user) {
                user.roles.remove(name);
            }
            self.refresh_user(&user);
        }
        Ok(true)
    }

    fn role_grant(&mut self, role: &str, permission: Permission) -> Result<bool, Refusal> {
        if !permission.is_valid() {
            return Err(Refusal::InvalidAuthManagement);
        }
        let permissions = self.roles.get_mut(role).ok_or(Refusal::RoleNotFound)?;
        match permissions.iter_mut().find(|it| it.keys == permission.keys) {
            Some(found) => found.kind = permission.kind,
            None => {
                let behind =
                    permissions.partition_point(|it| it.keys.start <= permission.keys.start);
                permissions.insert(behind, permission);
            }
        }
        self.refresh_role(role);
        Ok(true)
    }

    /// Refuses what would lock everybody out.
    const fn spare(&self, root: bool) -> Result<(), Refusal> {
        if self.enabled && root {
            Err(Refusal::InvalidAuthManagement)
        } else {
            Ok(())
        }
    }

    fn refresh_user(&mut self, name: &str) {
        let Some(user) = self.users.get(name) else {
            return;
        };
        let grants = self.grants(&user.roles);
        if let Some(user) = self.users.get_mut(name) {
            user.grants = grants;
        }
    }
}
