//! Ways to an engine that its client library does not go: TCP with TLS, and a shell on another host that runs
//! `docker system dial-stdio`, as Docker's own command line does. One connection for each request; knows no call.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper::header::{HOST, HeaderValue};
use hyper::{Response, Uri};
use hyper_util::rt::TokioIo;
use store_transport::dial::{self, Target};
use store_transport::tls::rustls::ClientConfig;
use store_transport::tls::{CertificateFiles, Material, Settings};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::process::Command;

use crate::config::EngineTls;

/// 120 s: the client library's own limit for the head of an answer.
const ANSWER: Duration = Duration::from_secs(120);

/// A client for an engine at `host`, with certificates where it wants some.
pub(super) fn client(host: &str, tls: Option<&EngineTls>) -> Result<Docker, String> {
    if let Some(destination) = host.strip_prefix("ssh://") {
        let words: Arc<[String]> = ssh(destination)?.into();
        return custom(move |request| {
            let words = Arc::clone(&words);
            async move { over(shell("ssh", &words)?, request).await }
        });
    }
    let secure = host.starts_with("https://") || (tls.is_some() && host.starts_with("tcp://"));
    if !secure {
        return Docker::connect_with_host(host).map_err(|error| super::one_line(&error));
    }
    let (_, place) = host.split_once("://").unwrap_or(("", host));
    let target = Target::parse(place).map_err(|error| format!("{host}: {error}"))?;
    let config = material(tls)?;
    custom(move |request| {
        let (target, config) = (target.clone(), Arc::clone(&config));
        async move {
            let stream = dial::secure(&target.place, None, config, None).await;
            over(stream.map_err(Error::from)?, request).await
        }
    })
}

fn custom<F>(
    transport: impl Fn(BollardRequest) -> F + Send + Sync + 'static,
) -> Result<Docker, String>
where
    F: Future<Output = Result<Response<Incoming>, Error>> + Send + 'static,
{
    // The name is for the library alone; every request is given its way above.
    let made = Docker::connect_with_custom_transport(
        transport,
        Some("http://engine"),
        ANSWER.as_secs(),
        API_DEFAULT_VERSION,
    );
    made.map_err(|error| super::one_line(&error))
}

fn material(tls: Option<&EngineTls>) -> Result<Arc<ClientConfig>, String> {
    let settings = Settings {
        own_as_client: tls
            .and_then(|tls| tls.identity.clone())
            .map(|(certificate, key)| CertificateFiles { certificate, key }),
        authorities: tls.and_then(|tls| tls.authorities.clone()),
        dials: true,
        ..Settings::default()
    };
    let material = Material::load(&settings).map_err(|error| error.to_string())?;
    material
        .client
        .ok_or_else(|| "TLS: no configuration for connecting".to_owned())
}

/// The command for `[user@]host[:port]`.
fn ssh(destination: &str) -> Result<Vec<String>, String> {
    let destination = destination.trim_end_matches('/');
    let (host, port) = match destination.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
        _ => (destination, None),
    };
    // What begins with a dash would be an option to ssh, not a place.
    if host.is_empty() || host.starts_with('-') || host.contains('/') {
        return Err(format!("ssh://{destination}: not [user@]host[:port]"));
    }
    let mut words: Vec<String> = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-T"]
        .map(str::to_owned)
        .into();
    words.extend(
        port.into_iter()
            .flat_map(|port| ["-p".to_owned(), port.to_owned()]),
    );
    words.push("--".to_owned());
    words.push(host.replace(['[', ']'], ""));
    words.extend(["docker", "system", "dial-stdio"].map(str::to_owned));
    Ok(words)
}

/// A stream to the engine at the other end of a shell. It ends when the stream is closed.
fn shell(
    program: &str,
    words: &[String],
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, Error> {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let missing = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    // Takes note of its end, so that it does not stay behind as a dead entry of the process table.
    tokio::spawn(async move { child.wait().await });
    Ok(tokio::io::join(output, input))
}

/// One request over a stream of its own.
async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: BollardRequest,
) -> Result<Response<Incoming>, Error> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path
        .parse::<Uri>()
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    parts
        .headers
        .insert(HOST, HeaderValue::from_static("docker"));
    let request = BollardRequest::from_parts(parts, body);
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends with the answer's body, or with the stream that an upgrade makes of it.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_of_shells() {
        for (destination, want) in [
            ("host", "-- host docker system dial-stdio"),
            (
                "me@host:2222",
                "-p 2222 -- me@host docker system dial-stdio",
            ),
            (
                "me@[fd00::1]:22/",
                "-p 22 -- me@fd00::1 docker system dial-stdio",
            ),
        ] {
            let words = ssh(destination).unwrap().join(" ");
            let tail = words
                .strip_prefix("-o BatchMode=yes -o ConnectTimeout=5 -T ")
                .unwrap();
            assert_eq!(tail, want);
        }
        for destination in ["", "-oProxyCommand=x", "host/path"] {
            assert!(ssh(destination).is_err(), "{destination}");
        }
    }

    #[tokio::test]
    async fn a_request_goes_through_a_shell() {
        let script = "while read -r line && [ ${#line} -gt 1 ]; do :; done; \
                      printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\npong'";
        let words: Arc<[String]> = ["-c", script].map(str::to_owned).into();
        let docker = custom(move |request| {
            let words = Arc::clone(&words);
            async move { over(shell("sh", &words)?, request).await }
        });
        assert_eq!(docker.unwrap().ping().await.unwrap(), "pong");
    }
}
