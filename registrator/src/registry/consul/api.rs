//! Consul's HTTP API: one request, one answer, over connections that are used again. Knows paths and no meaning.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use store_transport::Stream;
use store_transport::dial::{self, Target};
use store_transport::tls::rustls::ClientConfig;
use store_transport::tls::{CertificateFiles, Material, Settings};
use tokio::time::timeout;

use super::Options;
use crate::registry::CALL_TIMEOUT;

/// 8 connections wait for the next request; more are closed after theirs.
const IDLE_MAX: usize = 8;
/// 64 MiB: a list of 100,000 services.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Header with the number of the last change to what was asked for.
const INDEX: &str = "x-consul-index";
/// What may stand in a path as it is, slashes between its parts included.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The way to one Consul agent.
pub(super) struct Api {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// How far Consul was (`X-Consul-Index`); 0 where it does not say.
    pub(super) index: u64,
}

impl Answer {
    /// The body as a value.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        serde_json::from_slice(&self.body)
            .map_err(|error| format!("{path}: not the answer Consul's API promises: {error}"))
    }

    /// What was refused, in one line.
    pub(super) fn refusal(&self, path: &str) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.trim().chars().take(300).collect();
        format!("{path}: {}: {text}", self.status)
    }

    /// The answer if it is a good one, else what was refused.
    pub(super) fn good(self, path: &str) -> Result<Self, String> {
        if self.status.is_success() {
            Ok(self)
        } else {
            Err(self.refusal(path))
        }
    }
}

/// `text` as one or several parts of a path.
pub(super) fn quoted(text: &str) -> String {
    utf8_percent_encode(text, PATH).to_string()
}

impl Api {
    /// Reads the certificates there are.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let tls = if options.target.secure == Some(true) {
            let settings = Settings {
                own_as_client: options
                    .identity
                    .clone()
                    .map(|(certificate, key)| CertificateFiles { certificate, key }),
                authorities: options.authorities.clone(),
                dials: true,
                ..Settings::default()
            };
            Material::load(&settings)
                .map_err(|error| error.to_string())?
                .client
        } else {
            None
        };
        Ok(Self {
            target: options.target.clone(),
            tls,
            token: options.token.clone(),
            idle: Mutex::default(),
        })
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, String> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Reads what may not be there before `limit` is nearly over.
    pub(super) async fn wait(&self, path: &str, limit: Duration) -> Result<Answer, String> {
        self.within(limit, Method::GET, path, Bytes::new()).await
    }

    /// Removes.
    pub(super) async fn delete(&self, path: &str) -> Result<Answer, String> {
        self.call(Method::DELETE, path, Bytes::new()).await
    }

    /// Writes.
    pub(super) async fn put(&self, path: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
        self.call(Method::PUT, path, body.into()).await
    }

    /// One request. An error is one of the way; what Consul refuses is an answer.
    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, String> {
        self.within(CALL_TIMEOUT, method, path, body).await
    }

    async fn within(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, String> {
        let said = |why: &dyn std::fmt::Display| format!("Consul: {method} {path}: {why}");
        let answer = async {
            loop {
                let idle = self.lock().pop();
                let used = idle.is_some();
                let mut sender = match idle {
                    Some(sender) if sender.is_closed() => continue,
                    Some(sender) => sender,
                    None => self.connect().await?,
                };
                let request = self.request(&method, path, body.clone())?;
                let answer = match sender.try_send_request(request).await {
                    Ok(answer) => answer,
                    // The other side closed the connection before it took the request.
                    Err(error) if used && error.message().is_some() => continue,
                    Err(error) => return Err(error.error().to_string()),
                };
                let status = answer.status();
                let index = answer.headers().get(INDEX);
                let index = index.and_then(|text| text.to_str().ok()?.parse().ok());
                let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
                let body = body.await.map_err(|error| error.to_string())?.to_bytes();
                let mut idle = self.lock();
                if idle.len() < IDLE_MAX {
                    idle.push(sender);
                }
                return Ok(Answer {
                    status,
                    body,
                    index: index.unwrap_or(0),
                });
            }
        };
        match timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|why: String| said(&why)),
            Err(_) => Err(said(&format!("no answer within {limit:?}"))),
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, &self.target.authority);
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        request
            .body(Full::new(body))
            .map_err(|error| error.to_string())
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
