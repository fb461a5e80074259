//! A page over plain HTTP, with the time its sender says it is; and numbers out of Prometheus' text form.

use std::time::SystemTime;

use http::header::{DATE, HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;

use crate::connect;
use crate::failure::Failure;
use crate::flags::Globals;

/// 8 MiB: many times a page of metrics.
const BODY_BYTES_MAX: usize = 8 << 20;

/// What came back, and when.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) text: String,
    /// What the sender's clock said, in whole seconds.
    pub(crate) date: Option<SystemTime>,
    pub(crate) asked: SystemTime,
    pub(crate) answered: SystemTime,
}

/// Gets a page.
///
/// # Errors
/// Why there is none.
pub(crate) async fn get(endpoint: &str, path: &str, globals: &Globals) -> Result<Page, Failure> {
    let failed = |cause: &dyn std::fmt::Display| Failure::error(format!("get {path}: {cause}"));
    let stream = connect::stream(endpoint, globals, false).await?;
    let asked_for = async {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|cause| failed(&cause))?;
        let request = http::Request::get(path)
            .header(HOST, host(endpoint))
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|cause| failed(&cause))?;
        let asking = async {
            let asked = SystemTime::now();
            let response = sender.send_request(request).await;
            let response = response.map_err(|cause| failed(&cause))?;
            let answered = SystemTime::now();
            if !response.status().is_success() {
                return Err(failed(&response.status()));
            }
            let date = response.headers().get(DATE);
            let date = date.and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect();
            let body = body.await.map_err(|cause| failed(&cause))?.to_bytes();
            Ok(Page {
                text: String::from_utf8_lossy(&body).into_owned(),
                date,
                asked,
                answered,
            })
        };
        tokio::pin!(asking, connection);
        tokio::select! {
            // Safe to cancel: the page is there, and the connection is not used again.
            page = &mut asking => page,
            // Safe to cancel: it has ended, and what it brought is with the question.
            _ = &mut connection => asking.await,
        }
    };
    // Safe to cancel: nothing but reading.
    match tokio::time::timeout(globals.command_timeout, asked_for).await {
        Ok(page) => page,
        Err(_) => Err(failed(&"it does not answer")),
    }
}

fn host(endpoint: &str) -> &str {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    rest.trim_end_matches('/')
}

/// The value of a metric without labels.
pub(crate) fn number(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .find_map(|value| value.trim().parse().ok())
}

/// The value of a label of the first sample of a metric.
pub(crate) fn label<'t>(text: &'t str, name: &str, label: &str) -> Option<&'t str> {
    text.lines().find_map(|line| {
        let labels = line.strip_prefix(name)?.strip_prefix('{')?;
        let value = labels
            .split(',')
            .find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\""))?;
        value.split('"').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let text = "# HELP a x\na_b 1\na{l=\"1\"} 2\na 3.5e+06\n";
        assert_eq!(number(text, "a"), Some(3_500_000.0));
        assert_eq!(number(text, "a_b"), Some(1.0));
        assert_eq!(number(text, "c"), None);
        let text = "# HELP a x\nab{v=\"0\"} 1\na{l=\"1\",v=\"0.1.0\"} 1\n";
        assert_eq!(label(text, "a", "v"), Some("0.1.0"));
        assert_eq!(label(text, "a", "w"), None);
    }

    #[test]
    fn a_url_s_host_is_what_is_asked_for() {
        assert_eq!(host("https://h:1/"), "h:1");
        assert_eq!(host("h:1"), "h:1");
    }
}
