//! Who may use plain HTTP from a browser: the hosts a request may name, and the pages whose scripts may
//! read answers.
//!
//! A page of a stranger can have its own name lead to an address of ours (DNS rebinding, CVE-2018-5702);
//! then the request names the stranger's host. Over TLS it could not, as the certificate would not fit.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST,
    ORIGIN,
};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::text;
use crate::body::Body;
use crate::connection::Way;

/// What `--host-whitelist`, `--cors`, `--enable-grpc-gateway` and `--enable-v2` say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// `None` = any.
    pub(crate) hosts: Option<Vec<String>>,
    /// `None` = any.
    pub(crate) origins: Option<Vec<String>>,
    /// JSON is served for gRPC methods.
    pub(crate) gateway: bool,
    /// The API of etcd 2 is served.
    pub(crate) v2: bool,
}

impl Access {
    /// The refusal of a request in the clear that names a host nobody said is ours.
    pub(super) fn foreign_host<B>(&self, way: Way, request: &Request<B>) -> Option<Response<Body>> {
        let hosts = self.hosts.as_ref().filter(|_| !way.secure)?;
        let header = request
            .headers()
            .get(HOST)
            .and_then(|host| host.to_str().ok());
        let named = header.or_else(|| request.uri().authority().map(|host| host.as_str()));
        let host = without_port(named.unwrap_or_default());
        if hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            return None;
        }
        Some(text(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "This server is not asked for the host {host:?} (protection against DNS rebinding).\n\
                 If it should be: restart it with --host-whitelist set to its hosts, comma-separated.\n"
            ),
        ))
    }

    /// Whose scripts may read the answer, if anybody's.
    pub(super) fn origin<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let Some(origins) = &self.origins else {
            return Some(HeaderValue::from_static("*"));
        };
        let origin = request.headers().get(ORIGIN)?;
        let known = origins
            .iter()
            .any(|known| known.as_bytes() == origin.as_bytes());
        known.then(|| origin.clone())
    }
}

/// Lets scripts of that origin read the answer.
pub(super) fn let_scripts_read(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            "POST, GET, OPTIONS, PUT, DELETE",
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "accept, content-type, authorization",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Serves;

    #[test]
    fn hosts_are_compared_without_their_port_and_in_the_clear_only() {
        let access = Access {
            hosts: Some(vec!["Good.example".into(), "::1".into()]),
            ..Access::default()
        };
        let request = |host: &str| Request::builder().header(HOST, host).body(()).unwrap();
        for (host, secure, fine) in [
            ("good.example", false, true),
            ("good.example:2379", false, true),
            ("[::1]:2379", false, true),
            ("evil.example", false, false),
            ("evil.example", true, true),
            ("", false, false),
        ] {
            let way = Way {
                serves: Serves::All,
                secure,
            };
            let refused = access.foreign_host(way, &request(host));
            assert_eq!(refused.is_none(), fine, "{host} {secure}");
            if let Some(refused) = refused {
                assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
            }
        }
    }

    #[test]
    fn origins_are_those_of_the_list_or_any() {
        let request = |origin: &str| Request::builder().header(ORIGIN, origin).body(()).unwrap();
        let any = Access::default();
        assert_eq!(any.origin(&request("http://a")).unwrap(), "*");
        let some = Access {
            origins: Some(vec!["http://a".into()]),
            ..Access::default()
        };
        assert_eq!(some.origin(&request("http://a")).unwrap(), "http://a");
        assert_eq!(some.origin(&request("http://b")), None);
    }
}
