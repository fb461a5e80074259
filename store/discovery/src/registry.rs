//! The discovery protocol: members that are to begin a cluster together find each other over another cluster, under the
//! keys etcd uses. Somebody has put the size there; each member adds itself, in the order of their revisions the first
//! ones are the members, and all wait until there are as many.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use store_proto::etcdserverpb::auth_client::AuthClient;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{
    AuthenticateRequest, PutRequest, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest,
};
use store_transport::Stream;
use store_transport::dial::{self, BadUrl, Target};
use store_transport::tls::rustls::ClientConfig;
use thiserror::Error;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Where etcd keeps clusters that are being formed.
const PREFIX: &str = "/_etcd/registry";
/// Between two tries; doubles up to the second one.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(250);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// While nothing is heard of others the list is read anew: who waits for a watch alone waits for ever where one is lost.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// 1,000: far above any cluster; a larger number is a mistake.
pub(crate) const SIZE_MAX: usize = 1000;

/// Where and how members find each other.
#[derive(Clone)]
pub struct Registry {
    /// Name of the cluster to form.
    pub token: String,
    /// Members of the cluster that helps.
    pub endpoints: Vec<String>,
    /// How TLS is spoken to them, where it is.
    pub tls: Option<Arc<ClientConfig>>,
    /// Endpoints without a scheme are spoken to in the clear.
    pub insecure: bool,
    /// How long connecting may take.
    pub dial_timeout: Duration,
    /// How long a question may take.
    pub request_timeout: Duration,
    /// Silence on a connection after which the other side is asked whether it is there, and how long for.
    pub keep_alive: (Duration, Duration),
    /// User and password; none without a user.
    pub user: Option<(String, String)>,
}

/// A member to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its id.
    pub id: u64,
    /// As in `--initial-cluster`: name=url, and again for each URL.
    pub entry: String,
}

/// Why the others were not found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// An endpoint is none.
    #[error("read endpoint {url:?}")]
    Url {
        /// The endpoint.
        url: String,
        /// What is wrong with it.
        #[source]
        source: BadUrl,
    },
    /// Nobody said how many.
    #[error("discovery: size key not found: {key} has no value")]
    NoSize {
        /// Where it should stand.
        key: String,
    },
    /// What was said is no number of members.
    #[error("discovery: size key is bad: {key} is {value:?}")]
    BadSize {
        /// Where it stands.
        key: String,
        /// What stands there.
        value: String,
    },
    /// As many have come already.
    #[error("discovery: cluster is full: {token} has its {size} members")]
    Full {
        /// The cluster.
        token: String,
        /// How many there are.
        size: usize,
    },
    /// Somebody else has come under this id.
    #[error("discovery: member {id:x} is already registered as {found}")]
    Registered {
        /// The id.
        id: u64,
        /// Who has it.
        found: String,
    },
    /// The cluster that helps refuses.
    #[error("discovery: {0}")]
    Refused(String),
}

impl RegistryError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Url { .. } => "write --discovery-endpoints as host:port or URLs".to_owned(),
            Self::NoSize { key } => {
                format!("say how many members there are to be: etcdctl put {key} 3")
            }
            Self::BadSize { .. } => "put a number from 1 on there".to_owned(),
            Self::Full { .. } => {
                "start it with --initial-cluster-state=existing after `member add`, or choose another token"
                    .to_owned()
            }
            Self::Registered { .. } => {
                "give each member a peer URL of its own, and each cluster a token of its own".to_owned()
            }
            Self::Refused(_) => "check --discovery-user, --discovery-password and the certificates".to_owned(),
        }
    }
}

/// What went wrong, and whether trying again may help.
enum Trouble {
    Passing(String),
    Lasting(RegistryError),
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition => Self::Lasting(RegistryError::Refused(text)),
            _ => Self::Passing(text),
        }
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Lasting(error)
    }
}

impl Registry {
    fn size_key(&self) -> String {
        format!("{PREFIX}/{}/_config/size", self.token)
    }

    fn members_prefix(&self) -> String {
        format!("{PREFIX}/{}/members/", self.token)
    }

    /// Adds a member and waits for the others: gives what `--initial-cluster` would say. Tries for as long as the cluster
    /// that helps cannot be reached; `say` hears why.
    ///
    /// # Errors
    /// What does not pass by itself.
    pub async fn join(
        &self,
        newcomer: &Newcomer,
        mut say: impl FnMut(&str),
    ) -> Result<String, RegistryError> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.try_to_join(newcomer, &mut say).await {
                Ok(cluster) => return Ok(cluster),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(why)) => say(&format!("{why}; trying again")),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_to_join(
        &self,
        newcomer: &Newcomer,
        say: &mut impl FnMut(&str),
    ) -> Result<String, Trouble> {
        let calls = self.connect().await?;
        let size = self.size(&calls).await?;
        let (found, _) = self.members(&calls).await?;
        if admitted(&found, size, newcomer, &self.token)? == Standing::Unknown {
            let request = PutRequest {
                key: format!("{}{:x}", self.members_prefix(), newcomer.id).into(),
                value: newcomer.entry.clone().into(),
                ..PutRequest::default()
            };
            let mut client = KvClient::new(calls.channel.clone());
            self.in_time(client.put(calls.with(request)?)).await?;
        }
        loop {
            let (found, revision) = self.members(&calls).await?;
            admitted(&found, size, newcomer, &self.token)?;
            if found.len() >= size {
                let entries: Vec<String> =
                    found.into_iter().take(size).map(|one| one.entry).collect();
                return Ok(entries.join(","));
            }
            say(&format!("{} of {size} members are there", found.len()));
            self.wait(&calls, revision + 1).await?;
        }
    }

    /// Until another member comes, or for a while.
    async fn wait(&self, calls: &Calls, start_revision: i64) -> Result<(), Trouble> {
        let key = self.members_prefix();
        let create = WatchCreateRequest {
            range_end: end_of(&key).into(),
            key: key.into(),
            start_revision,
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        // It goes on for as long as answers are waited for.
        let requests = tokio_stream::once(request).chain(tokio_stream::pending());
        let mut client = WatchClient::new(calls.channel.clone());
        let watched = async {
            let mut answers = client.watch(calls.with(requests)?).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                if answer.canceled || !answer.events.is_empty() {
                    break;
                }
            }
            Ok(())
        };
        // Safe to cancel: the list is read anew.
        timeout(LOOK_AGAIN, watched).await.unwrap_or(Ok(()))
    }

    async fn size(&self, calls: &Calls) -> Result<usize, Trouble> {
        let key = self.size_key();
        let answer = self.range(calls, key.clone(), Vec::new()).await?;
        let Some(pair) = answer.kvs.first() else {
            return Err(RegistryError::NoSize { key }.into());
        };
        let value = String::from_utf8_lossy(&pair.value).into_owned();
        match value.trim().parse() {
            Ok(size) if (1..=SIZE_MAX).contains(&size) => Ok(size),
            _ => Err(RegistryError::BadSize { key, value }.into()),
        }
    }

    /// Those who have come, the first one first, and the revision of the list.
    async fn members(&self, calls: &Calls) -> Result<(Vec<Newcomer>, i64), Trouble> {
        let prefix = self.members_prefix();
        let answer = self.range(calls, prefix.clone(), end_of(&prefix)).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        let mut by_revision = BTreeMap::new();
        for pair in answer.kvs {
            let key = String::from_utf8_lossy(&pair.key).into_owned();
            let id = key
                .strip_prefix(&prefix)
                .and_then(|id| u64::from_str_radix(id, 16).ok());
            let entry = String::from_utf8_lossy(&pair.value).into_owned();
            if let Some(id) = id.filter(|_| entry.contains('=')) {
                by_revision.insert((pair.create_revision, key), Newcomer { id, entry });
            }
        }
        Ok((by_revision.into_values().collect(), revision))
    }

    async fn range(
        &self,
        calls: &Calls,
        key: String,
        range_end: Vec<u8>,
    ) -> Result<RangeResponse, Trouble> {
        let request = RangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            ..RangeRequest::default()
        };
        let mut client = KvClient::new(calls.channel.clone());
        self.in_time(client.range(calls.with(request)?)).await
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Trouble> {
        // Safe to cancel: reading again changes nothing, and writing again writes the same.
        match timeout(self.request_timeout, call).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(Trouble::Passing("no answer in time".to_owned())),
        }
    }

    async fn connect(&self) -> Result<Calls, Trouble> {
        let mut why = String::from("no endpoint is given");
        for url in &self.endpoints {
            match self.channel(url).await? {
                Ok(channel) => {
                    let mut calls = Calls {
                        channel,
                        token: None,
                    };
                    if let Some((name, password)) = &self.user {
                        let request = AuthenticateRequest {
                            name: name.clone(),
                            password: password.clone(),
                        };
                        let mut client = AuthClient::new(calls.channel.clone());
                        let answer = self.in_time(client.authenticate(request)).await?;
                        calls.token = Some(answer.token);
                    }
                    return Ok(calls);
                }
                Err(error) => why = format!("{url} cannot be reached: {}", innermost(&error)),
            }
        }
        Err(Trouble::Passing(why))
    }

    async fn channel(
        &self,
        url: &str,
    ) -> Result<Result<Channel, tonic::transport::Error>, RegistryError> {
        let bad = |source| RegistryError::Url {
            url: url.to_owned(),
            source,
        };
        let target = Target::parse(url).map_err(bad)?;
        let secure = target.secure.unwrap_or(!self.insecure);
        let tls = self.tls.clone().filter(|_| secure);
        // TLS is spoken below; to the client above all is in the clear.
        let endpoint = match Endpoint::from_shared(format!("http://{}", target.authority)) {
            Ok(endpoint) => endpoint,
            Err(error) => return Ok(Err(error)),
        };
        let endpoint = endpoint
            .connect_timeout(self.dial_timeout)
            .http2_keep_alive_interval(self.keep_alive.0)
            .keep_alive_timeout(self.keep_alive.1);
        let connector = tower::service_fn(move |_| {
            let (place, tls) = (target.place.clone(), tls.clone());
            async move {
                let stream = match tls {
                    Some(config) => dial::secure(&place, None, config, None).await?,
                    None => Stream::Plain(dial::plain(&place, None).await?),
                };
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        Ok(endpoint.connect_with_connector(connector).await)
    }
}

/// A way to the cluster that helps.
struct Calls {
    channel: Channel,
    token: Option<String>,
}

impl Calls {
    /// A call with the user's token.
    fn with<M>(&self, message: M) -> Result<Request<M>, Trouble> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let token = token
                .parse()
                .map_err(|_| Trouble::Passing("its token cannot be sent".to_owned()))?;
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }
}

/// Whether the list has a member already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Member,
    Unknown,
}

/// Whether there is a place for it among the first.
pub(crate) fn admitted(
    found: &[Newcomer],
    size: usize,
    newcomer: &Newcomer,
    token: &str,
) -> Result<Standing, RegistryError> {
    let at = found.iter().position(|other| other.id == newcomer.id);
    match at {
        Some(at) if found[at].entry != newcomer.entry => Err(RegistryError::Registered {
            id: newcomer.id,
            found: found[at].entry.clone(),
        }),
        Some(at) if at < size => Ok(Standing::Member),
        None if found.len() < size => Ok(Standing::Unknown),
        _ => Err(RegistryError::Full {
            token: token.to_owned(),
            size,
        }),
    }
}

/// The end of all keys with a prefix that ends in `/`.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn innermost(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer(id: u64, name: &str) -> Newcomer {
        Newcomer {
            id,
            entry: format!("{name}=http://{name}:2380"),
        }
    }

    #[test]
    fn the_first_ones_are_the_members() {
        let three = [newcomer(1, "a"), newcomer(2, "b"), newcomer(3, "c")];
        let judge = |size, newcomer: &Newcomer| admitted(&three, size, newcomer, "t");
        assert_eq!(judge(3, &three[2]).unwrap(), Standing::Member);
        assert_eq!(judge(4, &newcomer(4, "d")).unwrap(), Standing::Unknown);
        for (size, newcomer, said) in [
            (
                3,
                newcomer(4, "d"),
                "discovery: cluster is full: t has its 3 members",
            ),
            (2, newcomer(3, "c"), "discovery: cluster is full"),
            (
                3,
                newcomer(3, "x"),
                "member 3 is already registered as c=http://c:2380",
            ),
        ] {
            let error = judge(size, &newcomer).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_prefix_ends_behind_its_last_key() {
        assert_eq!(end_of("/a/"), b"/a0");
    }
}
