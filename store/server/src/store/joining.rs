//! How a member joins a cluster that runs: it asks the others who they are, finds itself on their
//! list, and takes the ids from there. Whatever does not fit is refused before there is a folder.

use std::thread;
use std::time::{Duration, Instant};

use store_member::answer::MemberInfo;
use store_transport::tls::Keeper;
use store_wal::Identity;
use thiserror::Error;

use super::StoreConfig;
use super::founding::Founding;
use crate::config::address::Address;
use crate::config::cluster::{same, texts};
use crate::fatal::chain;
use crate::peers::inquiry::{self, Told};

/// How long to ask those that do not answer: they may be about to start.
const ASKING: Duration = Duration::from_secs(5);

/// How long to ask those that do not know of this member: whoever added it may have asked another one,
/// and they all learn of it within some heartbeats.
const EXPECTING: Duration = Duration::from_secs(1);

/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a cluster cannot be joined.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Nobody else is listed.
    #[error("--initial-cluster names no other member to ask")]
    Nobody,
    /// Nobody answered.
    #[error("no member of --initial-cluster tells who is in it: {reasons}")]
    Unanswered {
        /// What each said, or why it did not.
        reasons: String,
    },
    /// The cluster does not know this member.
    #[error("cluster {cluster:016x} expects no member at {urls}: it has {listed}")]
    NotListed {
        /// The cluster that answered.
        cluster: u64,
        /// Where this member says that it is.
        urls: String,
        /// Who is a member there.
        listed: String,
        /// `--name`.
        name: String,
    },
    /// It has been started before, on other data.
    #[error(
        "member {member:016x} at {urls} has been started before, as {started}, and this data folder is empty"
    )]
    Started {
        /// Its id.
        member: u64,
        /// Its peer URLs.
        urls: String,
        /// Its name.
        started: String,
    },
    /// The list that was given is not the cluster's.
    #[error("--initial-cluster is {given}, but cluster {cluster:016x} has {listed}")]
    OtherList {
        /// The cluster that answered.
        cluster: u64,
        /// What was given.
        given: String,
        /// Who is a member there.
        listed: String,
    },
    /// The data folder is that of a member of another cluster, or of another member.
    #[error(
        "the data folder is that of member {found:016x} of cluster {found_cluster:016x}, but at {urls} \
         cluster {cluster:016x} expects member {member:016x}"
    )]
    OtherFolder {
        /// Whose folder it is.
        found: u64,
        /// Of which cluster.
        found_cluster: u64,
        /// Where this member says that it is.
        urls: String,
        /// The cluster that answered.
        cluster: u64,
        /// Who is expected there.
        member: u64,
    },
    /// The system refused what asking needs.
    #[error("set up the network")]
    System(#[from] std::io::Error),
}

impl JoinError {
    /// What a person can do.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Nobody => "list all members there, as `member add` prints it, or start a new cluster with \
                             --initial-cluster-state=new"
                .to_owned(),
            Self::Unanswered { .. } => {
                "the URLs must be those of --listen-peer-urls of members that run; to begin a new cluster, \
                 start all members with --initial-cluster-state=new"
                    .to_owned()
            }
            Self::NotListed { name, urls, .. } => format!(
                "add it first: member add {name} --peer-urls={urls}; or check that --initial-cluster leads to \
                 the right cluster and --initial-advertise-peer-urls is what was added"
            ),
            Self::Started { member, .. } => format!(
                "point --data-dir at its data; if that is lost: member remove {member:x}, then add it anew"
            ),
            Self::OtherList { .. } => {
                "give all its members with all their URLs, as `member add` prints it".to_owned()
            }
            Self::OtherFolder { .. } => {
                "point --data-dir at this member's own folder, or at an empty one".to_owned()
            }
            Self::System(_) => "raise the limit on processes and threads".to_owned(),
        }
    }
}

/// Asks the others, and settles who this member is. `found` is who it is by its folder, where it has
/// one already.
pub(super) fn join(config: &StoreConfig, found: Option<Identity>) -> Result<Founding, JoinError> {
    let urls: Vec<Address> = config
        .members
        .iter()
        .filter(|(name, _)| *name != config.name)
        .flat_map(|(_, urls)| addresses(urls))
        .collect();
    if urls.is_empty() {
        return Err(JoinError::Nobody);
    }
    let began = Instant::now();
    loop {
        let mut reasons = Vec::new();
        let mut refusal = None;
        for (url, told) in urls.iter().zip(ask(&urls, config.peer_tls.as_deref())?) {
            match told.map(|told| settle(config, found, &told)) {
                Ok(Ok(founding)) => return Ok(founding),
                // The others may know more.
                Ok(Err(error @ JoinError::NotListed { .. })) => refusal = Some(error),
                Ok(Err(error)) => return Err(error),
                Err(error) => reasons.push(format!("{url}: failed to {}", chain(&error))),
            }
        }
        let patience = if refusal.is_some() { EXPECTING } else { ASKING };
        if began.elapsed() >= patience {
            let reasons = reasons.join("; ");
            return Err(refusal.unwrap_or(JoinError::Unanswered { reasons }));
        }
        tracing::info!(
            waits_for = refusal.map_or_else(|| reasons.join("; "), |refusal| refusal.to_string()),
            "asks the members of the cluster to be joined"
        );
        thread::sleep(PAUSE);
    }
}

/// What each of them says. On a thread of its own: the one that starts a store may be anybody's.
fn ask(
    urls: &[Address],
    tls: Option<&Keeper>,
) -> std::io::Result<Vec<Result<Told, inquiry::AskError>>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let asked = async {
        let asked = urls.iter().map(|url| inquiry::ask(url, tls));
        futures::future::join_all(asked).await
    };
    thread::scope(
        |scope| match scope.spawn(|| runtime.block_on(asked)).join() {
            Ok(told) => Ok(told),
            Err(panic) => std::panic::resume_unwind(panic),
        },
    )
}

/// Whether what a member says goes with what this one was told.
fn settle(
    config: &StoreConfig,
    found: Option<Identity>,
    told: &Told,
) -> Result<Founding, JoinError> {
    let own = config.members.iter().find(|(name, _)| *name == config.name);
    let ours = own.map(|(_, urls)| addresses(urls)).unwrap_or_default();
    let cluster = told.by.cluster;
    let urls = texts(&ours);
    let place = |member: &&MemberInfo| same(&addresses(&member.peer_urls), &ours);
    let Some(own) = told.members.iter().find(place) else {
        return Err(JoinError::NotListed {
            cluster,
            urls,
            listed: list(&told.members),
            name: config.name.clone(),
        });
    };
    let expected = Identity {
        cluster,
        member: own.id,
    };
    if let Some(found) = found.filter(|found| *found != expected) {
        return Err(JoinError::OtherFolder {
            found: found.member,
            found_cluster: found.cluster,
            urls,
            cluster,
            member: own.id,
        });
    }
    // Whoever has a name has voted and acknowledged: without its data it must not do so again.
    if !own.name.is_empty() && found.is_none() {
        return Err(JoinError::Started {
            member: own.id,
            urls,
            started: own.name.clone(),
        });
    }
    if !same_lists(config, &told.members) {
        let given = config.members.iter();
        let given: Vec<String> = given.map(|(name, urls)| entry(name, urls)).collect();
        return Err(JoinError::OtherList {
            cluster,
            given: given.join(","),
            listed: list(&told.members),
        });
    }
    let members = told.members.iter().map(|member| {
        if member.id != own.id {
            return member.clone();
        }
        MemberInfo {
            name: config.name.clone(),
            client_urls: config.client_urls.clone(),
            ..member.clone()
        }
    });
    Ok(Founding {
        identity: expected,
        members: members.collect(),
        joining: true,
    })
}

/// Whether the list that was given has each of these members, and no other.
fn same_lists(config: &StoreConfig, members: &[MemberInfo]) -> bool {
    let has = |member: &MemberInfo| {
        let places = addresses(&member.peer_urls);
        let mut given = config.members.iter();
        given.any(|(_, urls)| same(&addresses(urls), &places))
    };
    config.members.len() == members.len() && members.iter().all(has)
}

/// URLs of the wire, as far as they are any.
pub(super) fn addresses(urls: &[String]) -> Vec<Address> {
    let read = urls
        .iter()
        .map(|url| Address::parse("initial-cluster", url));
    read.filter_map(Result::ok).collect()
}

fn list(members: &[MemberInfo]) -> String {
    let entries = members
        .iter()
        .map(|member| entry(&member.name, &member.peer_urls));
    entries.collect::<Vec<_>>().join(",")
}

/// A member as `--initial-cluster` has it; one that has not started has no name.
fn entry(name: &str, urls: &[String]) -> String {
    let name = if name.is_empty() {
        "(not started)"
    } else {
        name
    };
    let entries = urls.iter().map(|url| format!("{name}={url}"));
    entries.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, list: &[(&str, &str)]) -> StoreConfig {
        StoreConfig {
            name: name.to_owned(),
            members: list
                .iter()
                .map(|(name, url)| ((*name).to_owned(), vec![(*url).to_owned()]))
                .collect(),
            members_given: true,
            client_urls: vec!["http://clients:1".to_owned()],
            ..StoreConfig::new("folder")
        }
    }

    fn told(members: &[(u64, &str, &str)]) -> Told {
        let info = |&(id, name, url): &(u64, &str, &str)| MemberInfo {
            id,
            name: name.to_owned(),
            peer_urls: vec![url.to_owned()],
            client_urls: Vec::new(),
            learner: false,
        };
        Told {
            by: Identity {
                cluster: 7,
                member: 1,
            },
            members: members.iter().map(info).collect(),
        }
    }

    const A: &str = "http://a:1";
    const B: &str = "http://b:1";
    const C: &str = "http://127.0.0.1:1";

    #[test]
    fn a_member_finds_itself_by_its_urls() {
        let cluster = told(&[(1, "a", A), (2, "b", B), (3, "", C)]);
        // Names of others do not count, nor how this machine is written.
        let config = config("c", &[("x", A), ("b", B), ("c", "http://localhost:1")]);
        let founding = settle(&config, None, &cluster).ok().unwrap();
        assert!(founding.joining);
        assert_eq!(
            (founding.identity.cluster, founding.identity.member),
            (7, 3)
        );
        assert_eq!(founding.members.len(), 3);
        assert_eq!(founding.members[0], cluster.members[0]);
        assert_eq!(founding.members[2].name, "c");
        assert_eq!(founding.members[2].client_urls, ["http://clients:1"]);
        // Its name is known once it has started; a start that was cut short goes on.
        let cluster = told(&[(1, "a", A), (2, "b", B), (3, "c", C)]);
        let again = settle(&config, Some(founding.identity), &cluster);
        assert_eq!(again.ok().unwrap().identity, founding.identity);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let whole = [("a", A), ("c", C)];
        let id = |cluster, member| Some(Identity { cluster, member });
        for (name, list, found, members, said, hint) in [
            (
                "c",
                &whole[..],
                None,
                &[(1, "a", A)][..],
                "0000000000000007 expects no member at http://127.0.0.1:1: it has a=http://a:1",
                "member add c --peer-urls=http://127.0.0.1:1",
            ),
            (
                "c",
                &whole,
                None,
                &[(1, "a", A), (3, "d", C)],
                "member 0000000000000003 at http://127.0.0.1:1 has been started before, as d",
                "member remove 3",
            ),
            (
                "c",
                &whole,
                None,
                &[(1, "a", A), (2, "b", B), (3, "", C)],
                "is a=http://a:1,c=http://127.0.0.1:1, but cluster 0000000000000007 has \
                 a=http://a:1,b=http://b:1,(not started)=http://127.0.0.1:1",
                "as `member add` prints it",
            ),
            (
                "c",
                &[("a", A), ("b", B), ("c", C)],
                None,
                &[(1, "a", A), (3, "", C)],
                "--initial-cluster is",
                "as `member add` prints it",
            ),
            (
                "c",
                &whole,
                id(7, 2),
                &[(1, "a", A), (3, "", C)],
                "that of member 0000000000000002 of cluster 0000000000000007",
                "own folder",
            ),
            (
                "c",
                &whole,
                id(8, 3),
                &[(1, "a", A), (3, "", C)],
                "of cluster 0000000000000008",
                "own folder",
            ),
        ] {
            let error = settle(&config(name, list), found, &told(members));
            let error = error.err().unwrap();
            assert!(error.to_string().contains(said), "{error}");
            assert!(error.hint().contains(hint), "{}", error.hint());
        }
    }

    #[test]
    fn who_names_nobody_asks_nobody() {
        let error = join(&config("a", &[("a", A)]), None).err().unwrap();
        assert!(matches!(error, JoinError::Nobody), "{error}");
        assert!(error.hint().contains("--initial-cluster-state=new"));
    }
}
