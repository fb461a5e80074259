//! Services behind HTTP: a request that reloads, and the engine that signals containers.

use std::path::Path;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, Uri};
use store_transport::dial::{Place, Target};

use super::{fault, hinted};
use crate::agent::Fault;
use crate::reload::DockerAction;
use crate::web::{self, Answer, Site, Trust};

/// Longest for one question; the reload of a service may take that long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A request that must be answered with a status of 200 to 299; what it says.
pub(super) async fn ask(method: &str, url: &str) -> Result<String, Fault> {
    let failed = |cause: String| {
        hinted(
            format!("{method} {url}: {cause}"),
            "the service does not run, or listens somewhere else",
        )
    };
    let (target, path) = parse(url).map_err(fault)?;
    let site = Site::new(target, &Trust::default(), HeaderMap::new()).map_err(failed)?;
    let answer = send(&site, method, &path).await.map_err(failed)?;
    if answer.is_good() {
        return Ok(String::from_utf8_lossy(&answer.body).into_owned());
    }
    Err(fault(format!(
        "{method} {url}: status {}: {}",
        answer.status,
        answer.said()
    )))
}

/// Where an address leads, and what is asked for there.
///
/// # Errors
/// What it lacks.
pub(crate) fn parse(url: &str) -> Result<(Target, String), String> {
    let bad = || format!("{url:?} does not begin with http:// or https:// and a host");
    let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no address"))?;
    let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(bad());
    };
    let usual = if scheme == "https" { 443 } else { 80 };
    let authority = format!("{scheme}://{host}:{}", uri.port_u16().unwrap_or(usual));
    let target = web::target(&authority, scheme, usual).map_err(|_| bad())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Ok((target, path.to_owned()))
}

/// Signals or restarts every running container with the label. None is no fault: one that starts later reads the new
/// file by itself.
pub(super) async fn docker(label: &str, action: &DockerAction, socket: &Path) -> Result<(), Fault> {
    let failed = |cause: String| {
        hinted(
            format!("Docker at {}: {cause}", socket.display()),
            "the engine does not run, or confd may not use its socket",
        )
    };
    let target = Target {
        secure: Some(false),
        place: Place::File(socket.to_owned()),
        authority: "docker".to_owned(),
    };
    let site = Site::new(target, &Trust::default(), HeaderMap::new()).map_err(failed)?;
    let call =
        async |method: &'static str, path: String| send(&site, method, &path).await.map_err(failed);
    let filters = serde_json::json!({"label": [label], "status": ["running"]}).to_string();
    let list = call(
        "GET",
        format!("/containers/json?filters={}", escaped(&filters)),
    )
    .await?;
    let found: Vec<serde_json::Value> = serde_json::from_slice(&list.body)
        .map_err(|_| failed(format!("status {}: {}", list.status, list.said())))?;
    if found.is_empty() {
        tracing::warn!("no running container has the label {label}");
    }
    for container in found {
        let id = container["Id"].as_str().unwrap_or_default();
        let path = match action {
            DockerAction::Signal(signal) => format!("/containers/{id}/kill?signal=SIG{signal}"),
            DockerAction::Restart => format!("/containers/{id}/restart"),
        };
        let answer = call("POST", path).await?;
        // 404, 409: it ended meanwhile, and reads the file when it starts.
        if !matches!(answer.status, 200..=299 | 404 | 409) {
            return Err(fault(format!(
                "Docker on container {id}: status {}: {}",
                answer.status,
                answer.said()
            )));
        }
    }
    Ok(())
}

/// Text as part of a query (RFC 3986, 2.1).
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

async fn send(site: &Site, method: &str, path: &str) -> Result<Answer, String> {
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let headers = HeaderMap::new();
    site.ask(method, path, &headers, Bytes::new(), ANSWER_TIMEOUT)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one request on each connection with this status and body; what was asked.
    fn serving<S: std::io::Read + std::io::Write>(
        mut accept: impl FnMut() -> S,
        answers: &[(u16, &str)],
    ) -> Vec<String> {
        let mut asked = Vec::new();
        for (status, body) in answers {
            let mut stream = accept();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            let head = String::from_utf8(head).unwrap();
            asked.push(head.lines().next().unwrap().to_owned());
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        }
        asked
    }

    #[tokio::test]
    async fn a_request_is_taken_or_says_why_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/-/reload?x=1", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let accept = || listener.accept().unwrap().0;
            serving(accept, &[(204, ""), (500, "\nyaml: line 3\nmore\n")])
        });
        ask("POST", &url).await.unwrap();
        let error = ask("POST", &url).await.unwrap_err();
        assert_eq!(
            error.message,
            format!("POST {url}: status 500: yaml: line 3")
        );
        assert_eq!(server.join().unwrap()[0], "POST /-/reload?x=1 HTTP/1.1");
        assert!(ask("POST", &url).await.is_err(), "nobody is there");
        let (target, path) = parse("https://x/y?z").unwrap();
        assert_eq!(
            (target.secure, target.authority.as_str(), path.as_str()),
            (Some(true), "x:443", "/y?z")
        );
        for url in ["ftp://x/", "x", "http:///"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    async fn containers_with_the_label_are_told() {
        let home = tempfile::tempdir().unwrap();
        let socket = home.path().join("docker.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let accept = || listener.accept().unwrap().0;
            let list = r#"[{"Id": "abc"}, {"Id": "def"}]"#;
            let answers = [
                (200, list),
                (204, ""),
                (409, "it is not running"),
                (200, "[]"),
                (200, list),
                (500, r#"{"message": "no"}"#),
            ];
            serving(accept, &answers)
        });
        let hup = DockerAction::Signal("HUP".to_owned());
        docker("role=lb", &hup, &socket).await.unwrap();
        docker("role=lb", &hup, &socket).await.unwrap();
        let error = docker("role=lb", &DockerAction::Restart, &socket)
            .await
            .unwrap_err();
        assert!(error.message.contains("status 500"), "{}", error.message);
        let asked = server.join().unwrap();
        assert!(asked[0].contains("%22label%22%3A%5B%22role%3Dlb%22%5D"));
        assert_eq!(asked[1], "POST /containers/abc/kill?signal=SIGHUP HTTP/1.1");
        assert_eq!(asked[2], "POST /containers/def/kill?signal=SIGHUP HTTP/1.1");
        assert_eq!(asked[5], "POST /containers/abc/restart HTTP/1.1");
    }
}
