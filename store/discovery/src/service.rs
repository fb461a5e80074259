//! The discovery protocol of etcd 2: members that are to begin a cluster together find each other below a URL, in keys of
//! version 2 that another store has (discovery.etcd.io was one). Somebody has put the size at `_config/size` there; each
//! member puts itself beside it under its id, the first ones by their indexes are the members, and all wait until there
//! are as many.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use store_transport::Stream;
use store_transport::dial::{self, Target};
use store_transport::tls::rustls::ClientConfig;
use thiserror::Error;
use tokio::time::timeout;

use crate::registry::{
    FIRST_PAUSE, LONGEST_PAUSE, LOOK_AGAIN, Newcomer, RegistryError, SIZE_MAX, Standing, admitted,
};

/// 1 MiB: an answer lists a thousand members at most, with their URLs.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// 10 s to connect and ask. Waiting for others takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// etcd's code for a key that is not there.
const NOT_FOUND: u64 = 100;
/// And for one that is there already.
const THERE_ALREADY: u64 = 105;

/// Where the keys are.
#[derive(Clone)]
pub struct Service {
    url: String,
    target: Target,
    /// The directory of this cluster, without a slash at its end.
    path: String,
    tls: Option<Arc<ClientConfig>>,
}

/// Why the others were not found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The URL leads nowhere.
    #[error("discovery: invalid URL {url}: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody said how many.
    #[error("discovery: size key not found at {url}/_config/size")]
    NoSize {
        /// The URL.
        url: String,
    },
    /// What is there is no store that has keys of version 2.
    #[error("discovery: bad discovery endpoint {url}: {answer}")]
    Foreign {
        /// The URL.
        url: String,
        /// What it said.
        answer: String,
    },
    /// As with a registry.
    #[error(transparent)]
    Members(#[from] RegistryError),
}

impl ServiceError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Url { .. } => {
                "write --discovery as http://HOST:PORT/v2/keys/TOKEN, or as the service gave it"
                    .to_owned()
            }
            Self::NoSize { url } => format!(
                "say how many members there are to be: curl -X PUT {url}/_config/size -d value=3"
            ),
            Self::Foreign { .. } => {
                "the URL must lead to keys of version 2 (an etcd with --enable-v2, or a store of ours)"
                    .to_owned()
            }
            Self::Members(RegistryError::BadSize { .. }) => "put a number from 1 on there".to_owned(),
            Self::Members(error) => error.hint(),
        }
    }
}

/// What went wrong, and whether trying again may help.
enum Trouble {
    Passing(String),
    Lasting(ServiceError),
}

impl From<ServiceError> for Trouble {
    fn from(error: ServiceError) -> Self {
        Self::Lasting(error)
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        Self::Lasting(error.into())
    }
}

impl Service {
    /// The cluster that is formed below this URL; `tls` is for `https`.
    ///
    /// # Errors
    /// The URL leads nowhere.
    pub fn new(url: &str, tls: Option<Arc<ClientConfig>>) -> Result<Self, ServiceError> {
        let wrong = |reason: &str| ServiceError::Url {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(wrong("the scheme is not http or https")),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Err(wrong("no token behind the host"));
        }
        let has_port = place
            .rsplit(']')
            .next()
            .is_some_and(|end| end.contains(':'));
        let place = match has_port {
            true => place.to_owned(),
            false => format!("{place}:{port}"),
        };
        let target = Target::parse(&format!("{scheme}://{place}"));
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            target: target.map_err(|error| wrong(&error.to_string()))?,
            path: format!("/{path}"),
            tls,
        })
    }

    /// Adds a member and waits for the others: gives what `--initial-cluster` would say. Tries for as long as the service
    /// cannot be reached; `say` hears why.
    ///
    /// # Errors
    /// What does not pass by itself.
    pub async fn join(
        &self,
        newcomer: &Newcomer,
        mut say: impl FnMut(&str),
    ) -> Result<String, ServiceError> {
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
        let size = self.size().await?;
        let (found, _) = self.members().await?;
        if admitted(&found, size, newcomer, &self.url)? == Standing::Unknown {
            self.add(newcomer).await?;
        }
        loop {
            let (found, index) = self.members().await?;
            admitted(&found, size, newcomer, &self.url)?;
            if found.len() >= size {
                let entries = found.into_iter().take(size).map(|one| one.entry);
                return Ok(entries.collect::<Vec<_>>().join(","));
            }
            say(&format!("{} of {size} members are there", found.len()));
            let wait = format!("?wait=true&recursive=true&waitIndex={}", index + 1);
            // Safe to cancel, and whatever comes back: the list is read anew.
            let waited = timeout(LOOK_AGAIN, self.ask(Method::GET, &wait, String::new()));
            if let Ok(Err(why)) = waited.await {
                return Err(why);
            }
        }
    }

    async fn size(&self) -> Result<usize, Trouble> {
        let key = "/_config/size";
        let (answer, _) = self.in_time(Method::GET, key, String::new()).await?;
        let Some(value) = answer["node"]["value"].as_str() else {
            if answer["errorCode"] == NOT_FOUND {
                return Err(ServiceError::NoSize {
                    url: self.url.clone(),
                }
                .into());
            }
            return Err(self.strange(&answer));
        };
        match value.trim().parse() {
            Ok(size) if (1..=SIZE_MAX).contains(&size) => Ok(size),
            _ => Err(RegistryError::BadSize {
                key: format!("{}{key}", self.url),
                value: value.to_owned(),
            }
            .into()),
        }
    }

    /// Those who have come, the first one first, and the index of the list.
    async fn members(&self) -> Result<(Vec<Newcomer>, u64), Trouble> {
        let (answer, index) = self.in_time(Method::GET, "", String::new()).await?;
        if answer["node"]["dir"] != true {
            return Err(self.strange(&answer));
        }
        let nodes = answer["node"]["nodes"].as_array().into_iter().flatten();
        let found = nodes.filter_map(|node| {
            let (_, id) = node["key"].as_str()?.rsplit_once('/')?;
            let id = u64::from_str_radix(id, 16).ok()?;
            let entry = node["value"].as_str().filter(|entry| entry.contains('='))?;
            let newcomer = Newcomer {
                id,
                entry: entry.to_owned(),
            };
            Some((node["createdIndex"].as_u64()?, newcomer))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable_by_key(|(created, one)| (*created, one.id));
        Ok((found.into_iter().map(|(_, one)| one).collect(), index))
    }

    /// Puts it there. One that is there already was put by a try whose answer was lost, or is told from the list.
    async fn add(&self, newcomer: &Newcomer) -> Result<(), Trouble> {
        let key = format!("/{:x}?prevExist=false", newcomer.id);
        let form = format!("value={}", escaped(&newcomer.entry));
        let (answer, _) = self.in_time(Method::PUT, &key, form).await?;
        if answer["action"] == "create" || answer["errorCode"] == THERE_ALREADY {
            Ok(())
        } else {
            Err(self.strange(&answer))
        }
    }

    /// An answer that makes no sense here. What a store says that has no leader passes.
    fn strange(&self, answer: &Value) -> Trouble {
        let said = match answer["message"].as_str() {
            Some(message) => message.to_owned(),
            None => answer.to_string(),
        };
        match answer["errorCode"].as_u64() {
            Some(code) if code >= 300 => Trouble::Passing(said),
            _ => Trouble::Lasting(ServiceError::Foreign {
                url: self.url.clone(),
                answer: said,
            }),
        }
    }

    async fn in_time(
        &self,
        method: Method,
        key: &str,
        form: String,
    ) -> Result<(Value, u64), Trouble> {
        // Safe to cancel: reading again changes nothing, and writing again finds what was written.
        let asked = timeout(PATIENCE, self.ask(method, key, form)).await;
        asked.unwrap_or_else(|_| Err(Trouble::Passing(format!("{} does not answer", self.url))))
    }

    /// One request on a connection of its own: the answer, and the store's index.
    async fn ask(&self, method: Method, key: &str, form: String) -> Result<(Value, u64), Trouble> {
        let failed = |cause: &dyn std::fmt::Display| {
            Trouble::Passing(format!("{} cannot be reached: {cause}", self.url))
        };
        let place = &self.target.place;
        let stream = match (self.target.secure, &self.tls) {
            (Some(true), Some(tls)) => dial::secure(place, None, Arc::clone(tls), None).await,
            _ => dial::plain(place, None).await.map(Stream::Plain),
        };
        let stream = TokioIo::new(stream.map_err(|cause| failed(&cause))?);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{key}", self.path))
            .header(HOST, &self.target.authority)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)));
        let request = request.map_err(|cause| ServiceError::Url {
            url: self.url.clone(),
            reason: cause.to_string(),
        })?;
        let shaken = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = shaken.map_err(|cause| failed(&cause))?;
        // Ends with the answer's body, or when nobody reads it any more.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|cause| failed(&cause))?;
        let status = answer.status();
        let index = answer.headers().get("x-etcd-index");
        let index = index.and_then(|index| index.to_str().ok()?.parse().ok());
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(|cause| failed(&cause))?;
        let body = body.to_bytes();
        if status.is_server_error() {
            return Err(failed(&status));
        }
        match serde_json::from_slice(&body) {
            Ok(value) => Ok((value, index.unwrap_or_default())),
            Err(_) => Err(ServiceError::Foreign {
                url: self.url.clone(),
                answer: status.to_string(),
            }
            .into()),
        }
    }
}

/// Text as forms have it.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_the_cluster_is_formed() {
        for (url, authority, path) in [
            ("http://h:2379/v2/keys/t1", "h:2379", "/v2/keys/t1"),
            ("https://discovery.test/abc/", "discovery.test:443", "/abc"),
            ("http://[::1]/t", "[::1]:80", "/t"),
        ] {
            let Ok(service) = Service::new(url, None) else {
                panic!("{url}");
            };
            assert_eq!(
                (&*service.target.authority, &*service.path),
                (authority, path)
            );
        }
        for (url, wrong) in [
            ("h:2379/t", "no scheme"),
            ("ftp://h/t", "the scheme is not http or https"),
            ("http://h:2379", "no token"),
            ("http://h:2379/", "no token"),
            ("http://h:x/t", "the port is not a number"),
        ] {
            let error = Service::new(url, None).err().map(|error| error.to_string());
            assert!(
                error.as_ref().is_some_and(|text| text.contains(wrong)),
                "{url}: {error:?}"
            );
        }
    }

    #[test]
    fn entries_are_escaped() {
        assert_eq!(
            escaped("a=http://h:1,a=é"),
            "a%3Dhttp%3A%2F%2Fh%3A1%2Ca%3D%C3%A9"
        );
    }
}
