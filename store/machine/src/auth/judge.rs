//! Whether somebody may: the one place where a request is let pass or refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Machine;
use crate::auth::needs::{Access, Need};
use crate::auth::{Auth, User};
use crate::error::Refusal;

/// Whose request it is. A request without an actor is nobody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The store's own: what no client has asked for.
    Store,
    /// A user's.
    User {
        /// Its name, as proven to the member that took the request.
        name: Arc<str>,
        /// [`Auth::revision`] at which it was proven.
        revision: u64,
    },
    /// Somebody's whose right the member that took the request has judged itself, because the request reads and writes
    /// more than whoever asks needs a permission for. It stands as long as users and roles do.
    Judged {
        /// [`Auth::revision`] by which it was judged.
        revision: u64,
    },
}

impl Auth {
    /// Whether the actor has what is needed.
    ///
    /// # Errors
    /// `UserEmpty` for nobody, `AuthOldRevision` when users or roles changed since it was proven who
    /// asks, else `PermissionDenied`; `UserNotFound` where a user that is none wants to administer.
    pub fn check(&self, actor: Option<&Actor>, need: &Need<'_>) -> Result<(), Refusal> {
        self.check_with(actor, need, &mut |_, _| Ok(()))
    }

    /// Whether a role by itself has what is needed to read or write keys: for those who come without a name.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn check_role(&self, role: &str, need: &Need<'_>) -> Result<(), Refusal> {
        let grants = self.grants(&BTreeSet::from([role.to_owned()]));
        let allowed = match need {
            Need::Read(start, end) => grants.read.contains(start, end),
            Need::Write(start, end) => grants.write.contains(start, end),
            _ => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::PermissionDenied)
        }
    }

    /// As [`Auth::check`], with `leases` to judge needs that stand for the keys of leases.
    fn check_with(
        &self,
        actor: Option<&Actor>,
        need: &Need<'_>,
        leases: &mut dyn FnMut(&User, &Need<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if !self.enabled {
            return Ok(());
        }
        let (name, revision) = match actor {
            Some(Actor::Store) => return Ok(()),
            Some(Actor::Judged { revision }) if *revision < self.revision => {
                return Err(Refusal::AuthOldRevision);
            }
            Some(Actor::Judged { .. }) => return Ok(()),
            Some(Actor::User { name, revision }) => (name, *revision),
            None => return Err(Refusal::UserEmpty),
        };
        let user = self.users.get(&name[..]);
        let root = user.is_some_and(|user| user.grants.root);
        let allowed = match need {
            Need::Nothing | Need::Identity => true,
            Need::Root if user.is_none() => return Err(Refusal::UserNotFound),
            Need::Root => root,
            Need::Oneself(wanted) => root || **wanted == **name,
            Need::OwnRole(role) => root || user.is_some_and(|user| user.roles.contains(&role[..])),
            Need::Read(..)
            | Need::Write(..)
            | Need::ReadLease(_)
            | Need::WriteLease(_)
            | Need::ReadAllLeases => {
                // Only what concerns keys goes by the revision, as in etcd: who administers with a
                // signed token changes it with every step.
                if revision < self.revision {
                    return Err(Refusal::AuthOldRevision);
                }
                match (user, need) {
                    (None, _) => false,
                    (Some(_), _) if root => true,
                    (Some(user), Need::Read(start, end)) => user.grants.read.contains(start, end),
                    (Some(user), Need::Write(start, end)) => user.grants.write.contains(start, end),
                    (Some(user), need) => return leases(user, need),
                }
            }
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::PermissionDenied)
        }
    }
}

impl Machine {
    /// Whether the actor may do this now; with authentication off, everybody may.
    ///
    /// # Errors
    /// As [`Auth::check`].
    pub fn authorize(&self, actor: Option<&Actor>, access: Access<'_>) -> Result<(), Refusal> {
        if !self.auth.enabled {
            return Ok(());
        }
        access.needs(&mut |need| {
            self.auth.check_with(actor, &need, &mut |user, need| {
                self.check_leases(user, need)
            })
        })
    }

    /// Needs that stand for every key on a lease, or on any.
    fn check_leases(&self, user: &User, need: &Need<'_>) -> Result<(), Refusal> {
        use crate::request::RangeEnd::Single;
        let allowed = match need {
            Need::WriteLease(id) => {
                let keys = self.leases.keys(*id);
                keys.iter()
                    .all(|key| user.grants.write.contains(key, &Single))
            }
            Need::ReadLease(id) => {
                let keys = self.leases.keys(*id);
                keys.iter()
                    .all(|key| user.grants.read.contains(key, &Single))
            }
            Need::ReadAllLeases => self.leases.iter().all(|lease| {
                let keys = self.leases.keys(lease.id);
                keys.iter()
                    .all(|key| user.grants.read.contains(key, &Single))
            }),
            // Judged before.
            _ => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal::PermissionDenied)
        }
    }
}
