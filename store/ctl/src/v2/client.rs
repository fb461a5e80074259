//! Requests to whichever endpoint answers first, and what comes back.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, Response};
use serde_json::Value;

use super::Flags;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::web;

/// The way to the members.
pub(super) struct Client {
    globals: Globals,
    user: Option<String>,
    limit: std::time::Duration,
    debug: bool,
    /// Not to be asked for all members first, whose status for "nobody answers" is another.
    no_sync: bool,
}

/// An answer about keys.
pub(super) struct Told {
    /// The body.
    pub(super) value: Value,
    /// The store's index.
    pub(super) index: u64,
}

impl Client {
    /// # Errors
    /// A password that cannot be read, a domain whose records do not say where the members are.
    pub(super) async fn new(flags: &Flags) -> Result<Self, Failure> {
        let mut globals = Globals::unset()?.discovering(
            flags.discovery_srv.clone(),
            flags.discovery_srv_name.clone(),
            flags.insecure_discovery,
        );
        globals.endpoints = flags.endpoints();
        globals.cert.clone_from(&flags.cert_file);
        globals.key.clone_from(&flags.key_file);
        globals.cacert.clone_from(&flags.ca_file);
        globals.dial_timeout = flags.timeout;
        Ok(Self {
            globals: globals.located().await?,
            user: flags.credentials()?,
            limit: flags.total_timeout,
            debug: flags.debug,
            no_sync: flags.no_sync,
        })
    }

    /// Asks about a key; fields go behind the question mark, or into a form for PUT and POST.
    ///
    /// # Errors
    /// The store's, or that nobody answers.
    pub(super) async fn keys(
        &self,
        method: Method,
        key: &str,
        fields: &[(&str, String)],
    ) -> Result<Told, Failure> {
        let answer = self.in_time(self.open(&method, key, fields)).await?;
        self.in_time(told(answer)).await
    }

    /// The same, without a limit in time: it may be waited for.
    ///
    /// # Errors
    /// As [`Client::keys`].
    pub(super) async fn wait(&self, key: &str, fields: &[(&str, String)]) -> Result<Told, Failure> {
        told(self.open(&Method::GET, key, fields).await?).await
    }

    async fn open(
        &self,
        method: &Method,
        key: &str,
        fields: &[(&str, String)],
    ) -> Result<Response<Incoming>, Failure> {
        let form = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value, b"")));
        let form = form.collect::<Vec<_>>().join("&");
        let path = format!("/v2/keys/{}", escaped(key.trim_start_matches('/'), b"/"));
        let in_body = [Method::PUT, Method::POST].contains(method);
        let (path, body) = match (in_body, form.is_empty()) {
            (true, _) => (path, form),
            (false, true) => (path, String::new()),
            (false, false) => (format!("{path}?{form}"), String::new()),
        };
        let kind = "application/x-www-form-urlencoded";
        self.any(method, &path, kind, &body).await
    }

    /// Asks for what is not about keys: status and body.
    ///
    /// # Errors
    /// Nobody answers.
    pub(super) async fn plain(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(u16, String), Failure> {
        self.in_time(async {
            let answer = self.any(&method, path, "application/json", body).await?;
            let status = answer.status().as_u16();
            Ok((status, text(answer).await?))
        })
        .await
    }

    /// Asks one endpoint whether it is well.
    ///
    /// # Errors
    /// It cannot be reached, or says something else.
    pub(super) async fn is_healthy(&self, endpoint: &str) -> Result<bool, Failure> {
        let asked = self.in_time(async {
            let request = self.request(&Method::GET, "/health", "", "")?;
            let answer = web::ask(endpoint, request, &self.globals).await?;
            text(answer).await
        });
        let value: Value = serde_json::from_str(&asked.await?)
            .map_err(|_| Failure::error(format!("{endpoint}: the answer is no JSON")))?;
        Ok(value["health"] == "true" || value["health"] == true)
    }

    /// The first endpoint that can be reached answers.
    async fn any(
        &self,
        method: &Method,
        path: &str,
        kind: &str,
        body: &str,
    ) -> Result<Response<Incoming>, Failure> {
        let mut reasons = String::new();
        for (number, endpoint) in self.globals.endpoints.iter().enumerate() {
            if self.debug {
                eprintln!("Cluster-Endpoints: {endpoint}\ncurl -X {method} {endpoint}{path}");
            }
            let request = self.request(method, path, kind, body)?;
            match web::ask(endpoint, request, &self.globals).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    // Writing to a string does not fail.
                    let _ = write!(reasons, "; error #{number}: {failure}");
                }
            }
        }
        let line = format!(" client: etcd cluster is unavailable or misconfigured{reasons}");
        // etcdctl asks for all members first, and ends there when nobody answers.
        Err(match self.no_sync {
            true => Failure::bad_feature(line),
            false => Failure::bad_connection(line),
        })
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        kind: &str,
        body: &str,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, kind);
        }
        if let Some(user) = &self.user {
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(user)));
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        let request = request.body(body);
        request.map_err(|cause| Failure::error(format!("request {path}: {cause}")))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        // Safe to cancel: what becomes of a request that was sent is the store's to know.
        let done = tokio::time::timeout(self.limit, work).await;
        done.unwrap_or_else(|_| Err(Failure::bad_feature(" context deadline exceeded")))
    }
}

async fn told(answer: Response<Incoming>) -> Result<Told, Failure> {
    let index = answer.headers().get("x-etcd-index");
    let index = index.and_then(|index| index.to_str().ok()?.parse().ok());
    let well = answer.status().is_success();
    let text = text(answer).await?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|_| Failure::bad_feature(format!(" the answer is no JSON: {text:?}")))?;
    if well {
        let index = index.unwrap_or_default();
        return Ok(Told { value, index });
    }
    let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    // Two blanks, as etcdctl prints it.
    Err(Failure::bad_feature(format!(
        " {}: {} ({}) [{}]",
        value["errorCode"],
        part("message"),
        part("cause"),
        value["index"]
    )))
}

async fn text(answer: Response<Incoming>) -> Result<String, Failure> {
    let body = answer.into_body().collect().await;
    let body =
        body.map_err(|cause| Failure::bad_feature(format!(" the answer broke off: {cause}")))?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

/// Text as URLs have it; what is in `kept` stays.
pub(super) fn escaped(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
