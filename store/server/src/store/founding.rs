//! Who this member is: by its folder where it has one, else by the list of first members. Refuses
//! what contradicts itself before anything is touched.

use std::path::{Path, PathBuf};

use store_machine::MemberRecord;
use store_member::answer::MemberInfo;
use store_wal::Identity;
use thiserror::Error;

use super::StoreConfig;
use super::joining::{self, JoinError, addresses};
use crate::config::cluster::ClusterState;
use crate::config::cluster::same;
use crate::identity;

/// The list of members does not go with the data folder.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FoundingError {
    /// The folder of another member of the list.
    #[error(
        "data folder {} is that of member {found_name} ({found:016x}), not of {name} ({expected:016x})",
        .dir.display()
    )]
    OtherMember {
        /// The folder.
        dir: PathBuf,
        /// `--name`.
        name: String,
        /// Its id by the list.
        expected: u64,
        /// Whose the folder is: its name, or where it is if that is not known yet.
        found_name: String,
        /// That one's id.
        found: u64,
    },
    /// The folder of another cluster.
    #[error(
        "data folder {} belongs to cluster {found:016x}, but --initial-cluster and \
         --initial-cluster-token make cluster {expected:016x}",
        .dir.display()
    )]
    OtherCluster {
        /// The folder.
        dir: PathBuf,
        /// Id of the cluster by the flags.
        expected: u64,
        /// Id of the folder's cluster.
        found: u64,
    },
    /// A cluster that runs cannot be joined.
    #[error("join the cluster")]
    Joining(#[from] JoinError),
}

impl FoundingError {
    /// What a person can do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::OtherMember { found_name, .. } if found_name.starts_with("at ") => {
                "point --data-dir at this member's own folder".to_owned()
            }
            Self::OtherMember { found_name, .. } => format!(
                "point --data-dir at this member's own folder, or start it as --name={found_name}"
            ),
            Self::OtherCluster { .. } => {
                "point --data-dir at the folder of this cluster, or at an empty one to begin anew; if the \
                 cluster's members have changed since it was made, start with \
                 --initial-cluster-state=existing"
                    .to_owned()
            }
            Self::Joining(error) => error.hint(),
        }
    }
}

/// This member and all the first ones.
pub(super) struct Founding {
    pub(super) identity: Identity,
    pub(super) members: Vec<MemberInfo>,
    /// This member was not among the first ones, so it begins with what the others send it.
    pub(super) joining: bool,
}

/// Settles who is who. `found` is what the folder says.
pub(super) fn settle(
    config: &StoreConfig,
    found: Option<Identity>,
) -> Result<Founding, FoundingError> {
    let token = &config.cluster_token;
    let mut own = 0;
    let mut members = Vec::new();
    for (name, urls) in &config.members {
        let id = identity::member_id(urls, token);
        let ours = *name == config.name;
        if ours {
            own = id;
        }
        members.push(MemberInfo {
            id,
            name: name.clone(),
            peer_urls: urls.clone(),
            client_urls: if ours {
                config.client_urls.clone()
            } else {
                Vec::new()
            },
            learner: false,
        });
    }
    let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
    let expected = identity::of_member(&ids, own);
    let Some(found) = found else {
        if config.cluster_state == ClusterState::Existing {
            return Ok(joining::join(config, None)?);
        }
        return Ok(Founding {
            identity: expected,
            members,
            joining: false,
        });
    };
    if config.members_given {
        check(config, &config.data_dir, &members, expected, found)?;
    }
    // A folder keeps the ids it was made with, as etcd's does.
    for member in &mut members {
        if member.id == own {
            member.id = found.member;
        }
    }
    Ok(Founding {
        identity: found,
        members,
        joining: config.cluster_state == ClusterState::Existing
            || found.cluster != expected.cluster,
    })
}

fn check(
    config: &StoreConfig,
    dir: &Path,
    members: &[MemberInfo],
    expected: Identity,
    found: Identity,
) -> Result<(), FoundingError> {
    let other = members.iter().find(|member| member.id == found.member);
    if let Some(other) = other.filter(|other| other.id != expected.member) {
        return Err(FoundingError::OtherMember {
            dir: dir.to_owned(),
            name: config.name.clone(),
            expected: expected.member,
            found_name: other.name.clone(),
            found: found.member,
        });
    }
    // A cluster whose members have changed is another one by their list.
    if config.cluster_state == ClusterState::New && found.cluster != expected.cluster {
        return Err(FoundingError::OtherCluster {
            dir: dir.to_owned(),
            expected: expected.cluster,
            found: found.cluster,
        });
    }
    Ok(())
}

/// Refuses the folder of another member, as the cluster knows it: one that joined later is not told by
/// the ids of the first list. A member that is merely called otherwise now is no other, nor is one that
/// moved.
pub(super) fn check_folder(
    config: &StoreConfig,
    found: u64,
    members: &[MemberRecord],
) -> Result<(), FoundingError> {
    let listed = config.members.iter().find(|(name, _)| *name == config.name);
    let ours = listed.map(|(_, urls)| addresses(urls)).unwrap_or_default();
    let is_ours = |member: &MemberRecord| same(&addresses(&member.peer_urls), &ours);
    let (Some(owner), Some(expected)) = (
        members.iter().find(|member| member.id == found),
        members.iter().find(|member| is_ours(member)),
    ) else {
        return Ok(());
    };
    if !config.members_given || expected.id == found {
        return Ok(());
    }
    Err(FoundingError::OtherMember {
        dir: config.data_dir.clone(),
        name: config.name.clone(),
        expected: expected.id,
        found_name: if owner.name.is_empty() {
            format!("at {}", owner.peer_urls.join(","))
        } else {
            owner.name.clone()
        },
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, token: &str, state: ClusterState) -> StoreConfig {
        StoreConfig {
            name: name.to_owned(),
            cluster_token: token.to_owned(),
            members: ["a", "b", "c"]
                .map(|name| (name.to_owned(), vec![format!("http://{name}:2380")]))
                .to_vec(),
            members_given: true,
            cluster_state: state,
            ..StoreConfig::new("folder")
        }
    }

    #[test]
    fn all_members_settle_on_the_same() {
        let settled = ["a", "b", "c"].map(|name| {
            let founding = settle(&config(name, "t", ClusterState::New), None);
            founding.ok().unwrap()
        });
        for founding in &settled {
            assert_eq!(founding.identity.cluster, settled[0].identity.cluster);
            assert_eq!(founding.members.len(), 3);
            let own = founding
                .members
                .iter()
                .filter(|member| member.id == founding.identity.member);
            assert_eq!(own.count(), 1);
        }
    }

    #[test]
    fn a_folder_that_does_not_fit_is_refused() {
        use ClusterState::{Existing, New};
        let of = |name: &str, token: &str| {
            let founding = settle(&config(name, token, New), None);
            Some(founding.ok().unwrap().identity)
        };
        let added_later = of("a", "t").map(|found| Identity { member: 9, ..found });
        for (name, token, state, found, wanted) in [
            ("a", "t", New, None, None),
            ("a", "t", New, of("a", "t"), None),
            ("a", "t", Existing, of("a", "t"), None),
            ("a", "t", Existing, added_later, None),
            ("a", "t", New, of("b", "t"), Some("is that of member b")),
            (
                "a",
                "t",
                Existing,
                of("b", "t"),
                Some("is that of member b"),
            ),
            ("a", "t", New, of("a", "u"), Some("belongs to cluster")),
            ("a", "t", Existing, of("a", "u"), None),
        ] {
            let said = settle(&config(name, token, state), found).err();
            let said = said.map(|error| error.to_string());
            assert_eq!(said.is_some(), wanted.is_some(), "{said:?}");
            if let (Some(said), Some(wanted)) = (said, wanted) {
                assert!(said.contains(wanted), "{said}");
            }
        }
    }
    #[test]
    fn a_folder_of_one_who_joined_later_is_told_by_its_place() {
        use ClusterState::Existing;
        let record = |id, name: &str, url: &str| MemberRecord {
            id,
            name: name.to_owned(),
            peer_urls: vec![url.to_owned()],
            ..MemberRecord::default()
        };
        let members = [
            record(1, "a", "http://a:2380"),
            record(9, "later", "http://later:2380"),
        ];
        let a = config("a", "t", Existing);
        for (config, found, fits) in [
            (&a, 1, true),
            (&a, 9, false),
            // It moved, or is called otherwise.
            (&config("b", "t", Existing), 9, true),
            (&config("c", "t", Existing), 1, true),
        ] {
            let checked = check_folder(config, found, &members);
            assert_eq!(checked.is_ok(), fits, "{} {found}", config.name);
            if let Err(error) = checked {
                assert!(
                    error.to_string().contains("is that of member later"),
                    "{error}"
                );
            }
        }
    }
}
