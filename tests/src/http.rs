//! The smallest HTTP client that can tell a failed request from an answered one: one GET, one connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// 10 s for each of connecting, sending and each read: a local answer takes a millisecond, so this is a hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines as sent, without the status line.
    pub headers: Vec<(String, String)>,
    /// Body, as text.
    pub body: String,
}

impl Response {
    /// The first header of that name, in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Fetches `path` on a connection of its own.
///
/// # Errors
/// What failed: connect, send, read, or an answer cut short.
pub fn get(address: SocketAddr, path: &str) -> Result<Response, String> {
    request(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

/// Sends a request as given and reads until the peer closes.
///
/// # Errors
/// As [`get`].
pub fn request(address: SocketAddr, text: &str) -> Result<Response, String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .map_err(|cause| format!("connect: {cause}"))?;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    stream
        .write_all(text.as_bytes())
        .map_err(|cause| format!("send: {cause}"))?;
    let mut bytes = Vec::with_capacity(512);
    let read = stream.read_to_end(&mut bytes);
    let response = parse(&bytes);
    match (response, read) {
        (Some(response), _) => Ok(response),
        (None, Err(cause)) => Err(format!("read: {cause}")),
        (None, Ok(_)) => Err(format!(
            "the answer was cut short after {} bytes",
            bytes.len()
        )),
    }
}

/// `None` when it is not a whole answer.
fn parse(bytes: &[u8]) -> Option<Response> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut response = Response {
        status,
        headers,
        body: body.to_owned(),
    };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = unchunked(body)?;
        return Some(response);
    }
    let expected = response
        .header("content-length")
        .and_then(|length| length.parse::<usize>().ok());
    (expected.is_none_or(|length| body.len() >= length)).then_some(response)
}

/// The pieces of a body put together; `None` when the last, empty one has not come.
fn unchunked(mut text: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = text.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        text = rest.get(length..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_together() {
        assert_eq!(
            unchunked("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n").as_deref(),
            Some("abc")
        );
        assert_eq!(unchunked("2\r\nab\r\n"), None);
        assert_eq!(unchunked("5\r\nab"), None);
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Instance: a\r\n\r\nhi";
        let response = parse(whole.as_bytes()).expect("whole");
        assert_eq!(
            (
                response.status,
                response.header("x-instance"),
                response.body.as_str()
            ),
            (200, Some("a"), "hi")
        );
        for cut in 0..whole.len() {
            assert_eq!(
                parse(&whole.as_bytes()[..cut]),
                None,
                "cut after {cut} bytes"
            );
        }
    }
}
