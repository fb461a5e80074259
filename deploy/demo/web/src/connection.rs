//! One HTTP/1.1 connection: reads request heads, answers with the instance's name. Owns keep-alive and its end while
//! draining; bodies of requests are not for this server (a request with one is answered and the connection closed).

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// 8 KiB: what nginx allows for a request head by default.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// 60 s: longer than any test asks for, so that a mistyped `/slow/` cannot hold a connection for ever.
const SLOW_MS_MAX: u64 = 60_000;

/// Serves one connection until the peer closes it, sends what cannot be understood, or draining ends keep-alive.
pub(crate) async fn serve(
    mut stream: TcpStream,
    instance: Arc<str>,
    mut draining: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::with_capacity(1024);
    loop {
        let head_bytes = tokio::select! {
            // Dropping `read_head` keeps what was read in `buffer`; nothing is half-consumed.
            head = read_head(&mut stream, &mut buffer) => match head {
                Some(bytes) => bytes,
                None => return,
            },
            // Idle while draining: closing is safe for the peer only between requests, which is here.
            () = idle_drain(&mut draining), if buffer.is_empty() => return,
        };
        let request = Request::parse(&buffer[..head_bytes]);
        buffer.drain(..head_bytes);
        if let Some(delay) = request.delay {
            tokio::time::sleep(delay).await;
        }
        let close = request.close || *draining.borrow();
        if stream
            .write_all(request.answer(&instance, close).as_bytes())
            .await
            .is_err()
            || close
        {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Resolves a moment after draining began: a request that crossed with the signal on the wire still gets its answer.
async fn idle_drain(draining: &mut watch::Receiver<bool>) {
    /// 500 ms: far more than a local round trip, a quarter of the default drain.
    const GRACE: Duration = Duration::from_millis(500);
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(GRACE).await;
}

/// Bytes of the next request head in `buffer`; `None` when the peer is done or sends too much.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(at + 4);
        }
        if buffer.len() > HEAD_BYTES_MAX || stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// What this server cares about in a request.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// Path, as sent.
    path: String,
    /// The peer wants the connection closed, or it cannot be kept in step (a body follows).
    close: bool,
    /// From `/slow/<milliseconds>`: how long the answer takes.
    delay: Option<Duration>,
}

impl Request {
    fn parse(head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (_method, path, version) = (
            words.next(),
            words.next().unwrap_or("/").to_owned(),
            words.next(),
        );
        let mut close = version != Some("HTTP/1.1");
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.trim();
            close |= name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close");
            close |= name.eq_ignore_ascii_case("content-length") && value != "0";
            close |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        let delay = path
            .strip_prefix("/slow/")
            .and_then(|text| text.parse().ok())
            .map(|ms: u64| Duration::from_millis(ms.min(SLOW_MS_MAX)));
        Self { path, close, delay }
    }

    fn answer(&self, instance: &str, close: bool) -> String {
        let body = format!("{instance} answers {}\n", self.path);
        let connection = if close { "close" } else { "keep-alive" };
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Instance: {instance}\r\n\
             Connection: {connection}\r\n\r\n{body}",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_matters_in_a_head() {
        let request = |path: &str, close, delay| Request {
            path: path.into(),
            close,
            delay,
        };
        let table = [
            (
                "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                request("/", false, None),
            ),
            ("GET /a HTTP/1.0\r\n\r\n", request("/a", true, None)),
            (
                "GET / HTTP/1.1\r\nconnection: Close\r\n\r\n",
                request("/", true, None),
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
                request("/", true, None),
            ),
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                request("/", true, None),
            ),
            (
                "GET /slow/250 HTTP/1.1\r\n\r\n",
                request("/slow/250", false, Some(Duration::from_millis(250))),
            ),
            (
                "GET /slow/x HTTP/1.1\r\n\r\n",
                request("/slow/x", false, None),
            ),
            ("nonsense\r\n\r\n", request("/", true, None)),
        ];
        for (head, expected) in table {
            assert_eq!(Request::parse(head.as_bytes()), expected, "{head:?}");
        }
    }

    #[test]
    fn an_answer_tells_who_and_whether_the_connection_stays() {
        let request = Request::parse(b"GET /x HTTP/1.1\r\n\r\n");
        let answer = request.answer("web-1", true);
        assert!(answer.ends_with("\r\n\r\nweb-1 answers /x\n"), "{answer}");
        assert!(
            answer.contains("Content-Length: 17\r\n") && answer.contains("Connection: close\r\n"),
            "{answer}"
        );
    }
}
