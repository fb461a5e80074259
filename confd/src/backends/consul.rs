//! Keys of Consul's key-value store. Each beginning of keys is asked for with a blocking query: the server answers when
//! something below it has another index, or after a while (<https://developer.hashicorp.com/consul/api-docs/features/blocking>).

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, select_all};
use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use store_client::mirror::KeyRange;
use store_transport::dial::Target;

use super::follow::{Reader, Trouble, follow};
use super::ledger::Keys;
use super::{Backend, Source, reach};
use crate::web::{Answer, Site, Trust};

/// 10 s: a server with a leader answers within milliseconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Consul's own longest wait is ten minutes; so a connection that died unnoticed is noticed within one.
const BLOCK: Duration = Duration::from_secs(60);
/// The server adds up to a sixteenth of the wait; the rest is for slow ways.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(75);
/// What may stand in a path as it is, slashes between its parts included.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// How to reach Consul.
#[derive(Clone)]
pub struct Consul {
    /// Servers or agents; the next is asked when one does not answer. Never empty.
    pub servers: Vec<Target>,
    /// Certificates.
    pub trust: Trust,
    /// Token of its access control, if it asks for one.
    pub token: Option<String>,
    /// User and password for a proxy in front of it.
    pub user: Option<(String, String)>,
}

impl std::fmt::Debug for Consul {
    /// Never prints token and password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consul")
            .field("servers", &self.servers)
            .field("trust", &self.trust)
            .field("token", &self.token.is_some())
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .finish()
    }
}

impl Consul {
    fn headers(&self) -> Result<HeaderMap, Trouble> {
        let mut headers = HeaderMap::new();
        let value = |text: &str| {
            let value = HeaderValue::from_str(text);
            value.map_err(|_| Trouble::new("Consul: the token or password is no header's value"))
        };
        if let Some(token) = &self.token {
            headers.insert("x-consul-token", value(token)?);
        }
        if let Some((name, password)) = &self.user {
            let word = STANDARD.encode(format!("{name}:{password}"));
            headers.insert(AUTHORIZATION, value(&format!("Basic {word}"))?);
        }
        Ok(headers)
    }
}

impl Backend for Consul {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        let folders = ranges.iter().map(|range| Folder {
            // Consul's keys have no slash in front.
            beginning: reach::beginning(range).trim_start_matches('/').to_owned(),
            known: None,
        });
        let reader = ConsulReader {
            folders: folders.collect(),
            options: self.clone(),
            next: 0,
            site: None,
        };
        follow(reader, ranges, 0)
    }
}

struct ConsulReader {
    options: Consul,
    folders: Vec<Folder>,
    /// Which server is next.
    next: usize,
    site: Option<Site>,
}

/// All keys that begin in some way.
struct Folder {
    beginning: String,
    known: Option<Known>,
}

/// What the server has said, and at which index.
#[derive(Clone)]
struct Known {
    index: u64,
    keys: Keys,
}

/// A key as the server shows it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    key: String,
    /// In base64; none if it is empty.
    value: Option<String>,
}

fn read(answer: &Answer, name: &str) -> Result<Known, Trouble> {
    let bad = |why: String| Trouble::new(format!("Consul at {name}: {why}"));
    let shown: Vec<Shown> = match answer.status {
        200 => serde_json::from_slice(&answer.body)
            .map_err(|error| bad(format!("not the answer its API promises: {error}")))?,
        // There is no such key.
        404 => Vec::new(),
        status => {
            let message = format!("Consul at {name}: status {status}: {}", answer.said());
            return Err(match status {
                401 | 403 => Trouble::hinted(
                    message,
                    "give a token that may list these keys: --auth-token or CONSUL_HTTP_TOKEN",
                ),
                _ => Trouble::new(message),
            });
        }
    };
    let index = answer.header("x-consul-index");
    let index = index.and_then(|index| index.parse::<u64>().ok());
    let mut keys = BTreeMap::new();
    for Shown { key, value } in shown {
        let value = STANDARD
            .decode(value.unwrap_or_default())
            .map_err(|error| bad(format!("the value of {key}: {error}")))?;
        let path = format!("/{}", key.trim_matches('/'));
        keys.insert(Bytes::from(path), Bytes::from(value));
    }
    Ok(Known {
        // An index of 0 would not block.
        index: index.unwrap_or(0).max(1),
        keys,
    })
}

async fn ask(site: &Site, beginning: &str, index: Option<u64>) -> Result<Known, Trouble> {
    let mut path = format!(
        "/v1/kv/{}?recurse=true",
        utf8_percent_encode(beginning, PATH)
    );
    let mut longest = CALL_TIMEOUT;
    if let Some(index) = index {
        path.push_str(&format!("&index={index}&wait={}s", BLOCK.as_secs()));
        longest = BLOCK_TIMEOUT;
    }
    let name = site.name();
    let answer = site
        .ask(Method::GET, &path, &HeaderMap::new(), Bytes::new(), longest)
        .await;
    match answer {
        Ok(answer) => read(&answer, &name),
        Err(why) => Err(Trouble::hinted(
            format!("Consul at {name}: {why}"),
            "no agent answers there; --node names others",
        )),
    }
}

impl ConsulReader {
    /// The server in use, or the next one.
    fn site(&mut self) -> Result<&Site, Trouble> {
        if self.site.is_none() {
            let servers = &self.options.servers;
            let target = servers[self.next % servers.len()].clone();
            self.next += 1;
            let headers = self.options.headers()?;
            let site = Site::new(target, &self.options.trust, headers);
            self.site = Some(site.map_err(|why| Trouble::new(format!("Consul: {why}")))?);
            // Indexes are one server's, and another may know more or less.
            for folder in &mut self.folders {
                folder.known = None;
            }
        }
        self.site
            .as_ref()
            .ok_or_else(|| Trouble::new("Consul: no server is named"))
    }

    async fn all(&mut self) -> Result<Keys, Trouble> {
        self.site()?;
        let Some(site) = &self.site else {
            return Ok(Keys::new());
        };
        let mut keys = Keys::new();
        for folder in &mut self.folders {
            let known = match folder.known.take() {
                Some(known) => known,
                None => ask(site, &folder.beginning, None).await?,
            };
            let shown = known.keys.iter();
            keys.extend(shown.map(|(key, value)| (key.clone(), value.clone())));
            folder.known = Some(known);
        }
        Ok(keys)
    }

    /// Waits for the first answer that has another index.
    async fn other(&mut self) -> Result<(), Trouble> {
        let Some(site) = &self.site else {
            return Ok(());
        };
        if self.folders.is_empty() {
            return std::future::pending().await;
        }
        let blocked = self.folders.iter().map(|folder| {
            let index = folder.known.as_ref().map(|known| known.index);
            ask(site, &folder.beginning, index).boxed()
        });
        let (answer, at, _) = select_all(blocked).await;
        let new = answer?;
        let folder = &mut self.folders[at];
        let before = folder.known.as_ref().map_or(0, |known| known.index);
        // An index that goes back is a server that has forgotten: it is asked from the start (the same page).
        folder.known = (new.index >= before).then_some(new);
        Ok(())
    }
}

impl Reader for ConsulReader {
    fn read(&mut self) -> BoxFuture<'_, Result<Keys, Trouble>> {
        async {
            let keys = self.all().await;
            if keys.is_err() {
                self.site = None;
            }
            keys
        }
        .boxed()
    }

    fn moved(&mut self) -> BoxFuture<'_, Result<(), Trouble>> {
        async {
            let moved = self.other().await;
            if moved.is_err() {
                self.site = None;
            }
            moved
        }
        .boxed()
    }

    fn endpoint(&self) -> String {
        self.site.as_ref().map(Site::name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, index: &str, body: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("x-consul-index", HeaderValue::from_str(index).unwrap());
        Answer {
            status,
            headers,
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn answers_are_keys_with_an_index() {
        let body = r#"[{"Key":"app/name","Value":"eA=="},{"Key":"app/folder/","Value":null}]"#;
        let known = read(&answer(200, "7", body), "c").unwrap();
        assert_eq!(known.index, 7);
        let shown: Vec<_> = known
            .keys
            .iter()
            .map(|(key, value)| (key.as_ref(), value.as_ref()))
            .collect();
        assert_eq!(
            shown,
            [
                (&b"/app/folder"[..], &b""[..]),
                (&b"/app/name"[..], &b"x"[..])
            ]
        );
        let known = read(&answer(404, "0", ""), "c").unwrap();
        assert!(known.keys.is_empty() && known.index == 1);
        let refused = read(&answer(403, "1", "Permission denied"), "c");
        let trouble = refused.err().unwrap();
        assert!(trouble.message.contains("status 403: Permission denied"));
        assert!(trouble.hint.unwrap().contains("CONSUL_HTTP_TOKEN"));
        for body in ["{", r#"[{"Key":"a","Value":"?"}]"#] {
            assert!(read(&answer(200, "1", body), "c").is_err(), "{body}");
        }
    }
}
