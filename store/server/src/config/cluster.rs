//! Who is in the cluster at first: `--initial-cluster` and what must agree with it.

use std::collections::BTreeMap;

use super::address::{self, Address, Scheme};
use super::args::Args;
use super::error::ConfigError;

/// One member of a new cluster, as all of them are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Where the others reach it; never empty. Its id is made of these.
    pub peer_urls: Vec<Address>,
}

impl InitialMember {
    /// Its URLs as text, normalised.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.peer_urls.iter().map(Address::to_string).collect()
    }
}

/// Whether the members start a cluster together or one of them joins it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// All begin together.
    New,
    /// The cluster runs already. A member that has its data merely goes on.
    Existing,
}

/// The members at first, as the flags of the member `name` list them, ordered by name; it is among them.
///
/// # Errors
/// What does not fit.
pub fn listed(
    name: &str,
    advertised: &str,
    cluster: Option<&str>,
) -> Result<Vec<InitialMember>, ConfigError> {
    const ADVERTISED: &str = "initial-advertise-peer-urls";
    let ours = address::list(ADVERTISED, advertised)?;
    let Some(cluster) = cluster else {
        return Ok(vec![InitialMember {
            name: name.to_owned(),
            peer_urls: ours,
        }]);
    };
    let members = parse(cluster)?;
    let listed = members.iter().find(|member| member.name == name);
    if !listed.is_some_and(|listed| same(&listed.peer_urls, &ours)) {
        return Err(ConfigError::ClusterWithoutUs {
            cluster: cluster.to_owned(),
            name: name.to_owned(),
            urls: texts(&ours),
            listed: listed.map(|listed| texts(&listed.peer_urls)),
        });
    }
    Ok(members)
}

/// The same of all the flags.
pub(super) fn members(args: &Args) -> Result<Vec<InitialMember>, ConfigError> {
    let advertised = &args.initial_advertise_peer_urls;
    listed(&args.name, advertised, args.initial_cluster.as_deref())
}

pub(super) fn state(args: &Args) -> Result<ClusterState, ConfigError> {
    match args.initial_cluster_state.as_str() {
        "new" => Ok(ClusterState::New),
        "existing" => Ok(ClusterState::Existing),
        _ => Err(ConfigError::NotOneOf {
            flag: "initial-cluster-state",
            value: args.initial_cluster_state.clone(),
            known: "new, existing",
        }),
    }
}

/// Reads `name=url,…`. A name given twice is one member with two URLs, as in etcd; a URL belongs to
/// one member, once.
fn parse(cluster: &str) -> Result<Vec<InitialMember>, ConfigError> {
    let mut urls_by_name: BTreeMap<&str, Vec<Address>> = BTreeMap::new();
    let mut owners: Vec<(Place, &str)> = Vec::new();
    for member in cluster.split(',') {
        let form = || ConfigError::MemberForm {
            member: member.to_owned(),
        };
        let (name, url) = member.split_once('=').ok_or_else(form)?;
        let name = name.trim();
        if name.is_empty() {
            return Err(form());
        }
        let url = Address::parse("initial-cluster", url.trim())?;
        if url.port == 0 && url.file().is_none() {
            return Err(ConfigError::BadUrl {
                flag: "initial-cluster",
                url: url.to_string(),
                why: "other members need the port itself, not 0",
            });
        }
        if let Some((_, owner)) = owners.iter().find(|(place, _)| *place == Place::of(&url)) {
            return Err(ConfigError::MemberUrlTwice {
                url: url.to_string(),
                names: ((*owner).to_owned(), name.to_owned()),
            });
        }
        owners.push((Place::of(&url), name));
        urls_by_name.entry(name).or_default().push(url);
    }
    Ok(urls_by_name
        .into_iter()
        .map(|(name, peer_urls)| InitialMember {
            name: name.to_owned(),
            peer_urls,
        })
        .collect())
}

/// What a URL leads to: `localhost` and the address it stands for are one place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Place {
    fn of(url: &Address) -> Self {
        Self {
            scheme: url.scheme,
            host: url
                .bind_ip()
                .map_or_else(|| url.host.clone(), |ip| ip.to_string()),
            port: url.port,
        }
    }
}

/// Whether both lists lead to the same places.
pub(crate) fn same(listed: &[Address], ours: &[Address]) -> bool {
    let places = |urls: &[Address]| {
        let mut places: Vec<Place> = urls.iter().map(Place::of).collect();
        places.sort_unstable();
        places
    };
    places(listed) == places(ours)
}

pub(crate) fn texts(urls: &[Address]) -> String {
    let urls: Vec<String> = urls.iter().map(Address::to_string).collect();
    urls.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(name: &str, ours: &str, cluster: &str) -> Args {
        let mut args = Args::defaults();
        args.name = name.to_owned();
        args.initial_advertise_peer_urls = ours.to_owned();
        args.initial_cluster = Some(cluster.to_owned());
        args
    }

    const THREE: &str = "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380";

    #[test]
    fn members_are_read_and_ordered_by_name() {
        let backwards = "c=http://10.0.0.3:2380,b=http://10.0.0.2:2380,a=http://10.0.0.1:2380";
        for cluster in [THREE, backwards] {
            let members = members(&args("b", "http://10.0.0.2:2380", cluster)).unwrap();
            let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
            assert_eq!(names, ["a", "b", "c"]);
            assert_eq!(members[1].urls(), ["http://10.0.0.2:2380"]);
        }
    }

    #[test]
    fn a_name_twice_is_a_member_with_two_urls() {
        let cluster = "a=http://h1:1,b=http://h2:1,a=http://h1:2";
        let members = members(&args("a", "http://h1:2,http://h1:1", cluster)).unwrap();
        assert_eq!(members[0].urls(), ["http://h1:1", "http://h1:2"]);
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn localhost_and_its_address_are_one_place() {
        let cluster = "a=http://localhost:2380";
        assert!(members(&args("a", "http://127.0.0.1:2380", cluster)).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_said() {
        for (name, ours, cluster, said, hint) in [
            (
                "d",
                "http://10.0.0.4:2380",
                THREE,
                "does not list a member d",
                "the names there must be those of --name",
            ),
            (
                "a",
                "http://10.0.0.9:2380",
                THREE,
                "a as http://10.0.0.1:2380, but --initial-advertise-peer-urls is http://10.0.0.9:2380",
                "--initial-advertise-peer-urls=http://10.0.0.1:2380",
            ),
            (
                "a",
                "http://h1:1",
                "a=http://h1:1,a=http://h2:1,b=http://h3:1",
                "a as http://h1:1,http://h2:1, but",
                "a name given twice is one member with two URLs",
            ),
            (
                "a",
                "http://h1:1",
                "a=http://h1:1,b=http://h1:1",
                "http://h1:1 is given to a and to b",
                "a URL of its own",
            ),
            (
                "a",
                "http://h1:1",
                "a=http://h1:1,a=http://h1:1",
                "http://h1:1 is given twice",
                "leave one of them out",
            ),
            ("a", "http://h1:1", "http://h1:1", "form name=url", "="),
            ("a", "http://h1:1", "=http://h1:1", "form name=url", "="),
            ("a", "http://h1:1", "a=h1", "not a URL", "http://"),
            ("a", "http://h1:0", "a=http://h1:0", "not 0", "http://"),
        ] {
            let error = members(&args(name, ours, cluster)).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            let told = error.hint().unwrap();
            assert!(told.contains(hint), "{told}");
        }
    }
}
