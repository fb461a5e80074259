//! Requests over HTTP, in the clear, over TLS and through socket files: one request, one answer, over connections that
//! are used again. Knows paths and no meaning.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HeaderMap;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use store_transport::Stream;
use store_transport::dial::{self, Place, Target};
use store_transport::tls::rustls::ClientConfig;
use store_transport::tls::{CertificateFiles, Material, Settings};

/// 4 connections wait for the next request; more are closed after theirs.
const IDLE_MAX: usize = 4;
/// Longest answer that is read. 64 MiB: all keys of a Consul server at its own bounds for one transaction each.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longest piece of an answer that is shown.
const SHOWN_CHARS_MAX: usize = 200;

/// Whom to believe and what to show over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates that may have signed the other side's (PEM); `None`: those the system trusts.
    pub authorities: Option<PathBuf>,
    /// Our certificate and its key (PEM), if it asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// An address that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} {problem}")]
pub struct BadAddress {
    address: String,
    problem: String,
}

/// Reads `host`, `host:port` or a URL of http, https, unix or unixs, without a path; what it does not say is `scheme` and
/// the port `port`.
///
/// # Errors
/// What is wrong with it.
pub fn target(address: &str, scheme: &str, port: u16) -> Result<Target, BadAddress> {
    let bad = |problem: String| BadAddress {
        address: address.to_owned(),
        problem,
    };
    let whole = match address.contains("://") {
        true => address.to_owned(),
        false => format!("{scheme}://{address}"),
    };
    let (scheme, rest) = whole.split_once("://").unwrap_or(("", &whole));
    if scheme.starts_with("unix") {
        return Target::parse(&whole).map_err(|error| bad(error.to_string()));
    }
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() || rest.contains('/') {
        return Err(bad("is not a host with a port".to_owned()));
    }
    // Behind the brackets of IPv6 a colon is that of the port.
    let host_end = rest.rfind(']').map_or(0, |at| at + 1);
    let whole = match rest[host_end..].contains(':') {
        true => format!("{scheme}://{rest}"),
        false => format!("{scheme}://{rest}:{port}"),
    };
    Target::parse(&whole).map_err(|error| bad(error.to_string()))
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// The first line of what it says.
    pub(crate) fn said(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().find(|line| !line.trim().is_empty());
        line.unwrap_or_default()
            .chars()
            .take(SHOWN_CHARS_MAX)
            .collect()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The way to one server.
pub(crate) struct Site {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    /// Sent with every request.
    headers: HeaderMap,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Site {
    /// Reads the certificates there are.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(crate) fn new(target: Target, trust: &Trust, headers: HeaderMap) -> Result<Self, String> {
        let tls = if target.secure == Some(true) {
            let settings = Settings {
                own_as_client: trust
                    .identity
                    .clone()
                    .map(|(certificate, key)| CertificateFiles { certificate, key }),
                authorities: trust.authorities.clone(),
                dials: true,
                ..Settings::default()
            };
            Material::load(&settings)
                .map_err(|error| crate::faults::chain(&error))?
                .client
        } else {
            None
        };
        Ok(Self {
            target,
            tls,
            headers,
            idle: Mutex::default(),
        })
    }

    /// Where it is, for people.
    pub(crate) fn name(&self) -> String {
        match &self.target.place {
            Place::File(path) => path.display().to_string(),
            Place::Host(..) => {
                let scheme = if self.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{}", self.target.authority)
            }
        }
    }

    /// One request; `longest` bounds all of it. An error is one of the way; what the server refuses is an answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
        longest: Duration,
    ) -> Result<Answer, String> {
        let talk = self.talk(method, path, headers, body);
        match tokio::time::timeout(longest, talk).await {
            Ok(answer) => answer,
            Err(_) => Err("no answer".to_owned()),
        }
    }

    async fn talk(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        loop {
            let idle = self.lock().pop();
            let used = idle.is_some();
            let mut sender = match idle {
                Some(sender) if sender.is_closed() => continue,
                Some(sender) => sender,
                None => self.connect().await?,
            };
            let request = self.request(method.clone(), path, headers, body.clone())?;
            let answer = match sender.try_send_request(request).await {
                Ok(answer) => answer,
                // The other side closed the connection before it took the request.
                Err(error) if used && error.message().is_some() => continue,
                Err(error) => return Err(error.error().to_string()),
            };
            let (head, body) = answer.into_parts();
            let last = head.headers.get(hyper::header::CONNECTION);
            let last = last.is_some_and(|word| word.as_bytes().eq_ignore_ascii_case(b"close"));
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect();
            let body = body.await.map_err(|error| error.to_string())?.to_bytes();
            let mut idle = self.lock();
            if idle.len() < IDLE_MAX && !last {
                idle.push(sender);
            }
            return Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            });
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, &self.target.authority)
            .body(Full::new(body));
        let mut request = request.map_err(|error| error.to_string())?;
        for (name, value) in self.headers.iter().chain(headers) {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let place = &self.target.place;
        let stream = match &self.tls {
            Some(config) => dial::secure(place, None, Arc::clone(config), None).await,
            None => dial::plain(place, None).await.map(Stream::Plain),
        };
        let stream = stream.map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // Ends when the sender is dropped or the other side closes; what went wrong is told with the request.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, scheme, secure, authority) in [
            ("h", "http", false, "h:8500"),
            ("h:1", "https", true, "h:1"),
            ("https://h", "http", true, "h:8500"),
            ("http://h:1/", "https", false, "h:1"),
            ("[::1]", "http", false, "[::1]:8500"),
            ("[::1]:1", "http", false, "[::1]:1"),
            ("unix:///run/x.sock", "http", false, "localhost"),
        ] {
            let target = target(address, scheme, 8500).unwrap();
            assert_eq!(target.secure, Some(secure), "{address}");
            assert_eq!(target.authority, authority, "{address}");
        }
        for address in ["", "http://", "h/path", "ftp://h", "h:port"] {
            assert!(target(address, "http", 1).is_err(), "{address}");
        }
    }
}
