//! Ways to an engine that its client library does not go: TCP with TLS, and a shell on another host that runs
//! `docker system dial-stdio`, as Docker's own command line does. Knows no call.
//!
//! Connections are used again: one through a shell costs both ends a tenth of a second of work, and a server of shells
//! turns away whoever comes beside ten others that have not shown yet who they are (`MaxStartups` of sshd_config(5)).

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use store_transport::dial::{self, Target};
use store_transport::tls::rustls::ClientConfig;
use store_transport::tls::{CertificateFiles, Material, Settings};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::EngineTls;

/// 120 s: the client library's own limit for the head of an answer.
const ANSWER: Duration = Duration::from_secs(120);
/// 4 connections are made at a time, and as many wait for the next request; see the top of this file.
const DIALS_MAX: usize = 4;
const IDLE_MAX: usize = 4;
/// 1 s: a shell that gave up has said why by then.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// 300 bytes of them are for people.
const LAST_WORDS_BYTES_MAX: usize = 300;

/// A client for an engine at `host`, with certificates where it wants some, and settings for shells.
pub(super) fn client(
    host: &str,
    tls: Option<&EngineTls>,
    ssh_config: Option<&Path>,
) -> Result<Docker, String> {
    let way = if let Some(destination) = host.strip_prefix("ssh://") {
        Way::Shell {
            program: "ssh",
            words: ssh(destination, ssh_config)?,
        }
    } else if host.starts_with("https://") || (tls.is_some() && host.starts_with("tcp://")) {
        let (_, place) = host.split_once("://").unwrap_or(("", host));
        let target = Target::parse(place).map_err(|error| format!("{host}: {error}"))?;
        Way::Tls {
            target,
            config: material(tls)?,
        }
    } else {
        return Docker::connect_with_host(host).map_err(|error| super::one_line(&error));
    };
    over(way)
}

/// A client whose requests all go this way.
fn over(way: Way) -> Result<Docker, String> {
    let pool = Arc::new(Pool::new(way));
    // The name is for the library alone; every request is given its way above.
    let made = Docker::connect_with_custom_transport(
        move |request: BollardRequest| {
            let pool = Arc::clone(&pool);
            async move { pool.send(request).await }
        },
        Some("http://engine"),
        ANSWER.as_secs(),
        API_DEFAULT_VERSION,
    );
    made.map_err(|error| super::one_line(&error))
}

/// How a connection is made.
enum Way {
    /// By a program whose input and output it is.
    Shell {
        program: &'static str,
        words: Vec<String>,
    },
    Tls {
        target: Target,
        config: Arc<ClientConfig>,
    },
}

/// What a connection is carried by.
trait Carrier: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Carrier for T {}

/// A connection that was made, and where the program that carries it says what is wrong.
struct Dialled {
    stream: Box<dyn Carrier>,
    complaint: Option<JoinHandle<String>>,
}

impl Way {
    async fn dial(&self) -> Result<Dialled, Error> {
        match self {
            Self::Shell { program, words } => Ok(shell(program, words)?),
            Self::Tls { target, config } => {
                let config = Arc::clone(config);
                let stream = dial::secure(&target.place, None, config, None).await?;
                Ok(Dialled {
                    stream: Box::new(stream),
                    complaint: None,
                })
            }
        }
    }
}

/// Connections to one engine. A request takes one that waits, or makes one.
struct Pool<B> {
    way: Way,
    senders: Mutex<Vec<SendRequest<B>>>,
    dials: Semaphore,
}

impl<B> Pool<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(way: Way) -> Self {
        Self {
            way,
            senders: Mutex::default(),
            dials: Semaphore::new(DIALS_MAX),
        }
    }

    async fn send(&self, request: Request<B>) -> Result<Response<Incoming>, Error> {
        let mut request = relative(request)?;
        loop {
            match self.waiting() {
                Some(sender) => match self.sent(sender, request).await {
                    Ok(answer) => return Ok(answer),
                    // The other side closed the connection before it took the request.
                    Err((_, Some(back))) => request = back,
                    Err((error, None)) => return Err(error.into()),
                },
                None => {
                    // Held until the other side has answered once. Never closed.
                    let _permit = self.dials.acquire().await;
                    if self.lock().iter().any(SendRequest::is_ready) {
                        continue;
                    }
                    let dialled = self.way.dial().await?;
                    let (sender, connection) = handshake(TokioIo::new(dialled.stream)).await?;
                    // Ends with its sender, or with the stream that an upgrade makes of it.
                    tokio::spawn(connection.with_upgrades());
                    return match (self.sent(sender, request).await, dialled.complaint) {
                        (Ok(answer), _) => Ok(answer),
                        (Err((error, _)), None) => Err(error.into()),
                        (Err((error, _)), Some(complaint)) => {
                            Err(explained(error, complaint).await)
                        }
                    };
                }
            }
        }
    }

    /// Sends over this connection and keeps it for the next request; gives back what was not sent.
    async fn sent(
        &self,
        mut sender: SendRequest<B>,
        request: Request<B>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<B>>)> {
        match sender.try_send_request(request).await {
            Ok(answer) => {
                self.lock().push(sender);
                Ok(answer)
            }
            Err(mut error) => {
                let back = error.take_message();
                Err((error.into_error(), back))
            }
        }
    }

    /// A connection that waits for a request; lets go of those that have ended, and of more than may wait.
    fn waiting(&self) -> Option<SendRequest<B>> {
        let mut senders = self.lock();
        let mut idle = 0;
        senders.retain(|sender| {
            idle += usize::from(sender.is_ready());
            !sender.is_closed() && (idle <= IDLE_MAX || !sender.is_ready())
        });
        let at = senders.iter().position(SendRequest::is_ready)?;
        Some(senders.swap_remove(at))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SendRequest<B>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error with the last words of the program that carried the connection.
async fn explained(error: hyper::Error, complaint: JoinHandle<String>) -> Error {
    match timeout(LAST_WORDS, complaint).await {
        Ok(Ok(said)) if !said.is_empty() => std::io::Error::other(said).into(),
        _ => error.into(),
    }
}

/// The request as it is sent over a connection to the engine itself.
fn relative<B>(request: Request<B>) -> Result<Request<B>, Error> {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path
        .parse::<Uri>()
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
    parts
        .headers
        .insert(HOST, HeaderValue::from_static("docker"));
    Ok(Request::from_parts(parts, body))
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

/// The words behind `ssh` for `[user@]host[:port]`.
fn ssh(destination: &str, config: Option<&Path>) -> Result<Vec<String>, String> {
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
    let options = config.map(|config| ("-F", config.display().to_string()));
    let options = options
        .into_iter()
        .chain(port.map(|port| ("-p", port.to_owned())));
    words.extend(options.flat_map(|(option, value)| [option.to_owned(), value]));
    words.push("--".to_owned());
    words.push(host.replace(['[', ']'], ""));
    words.extend(["docker", "system", "dial-stdio"].map(str::to_owned));
    Ok(words)
}

/// A stream to the engine at the other end of a shell. It ends when the stream is closed.
fn shell(program: &str, words: &[String]) -> Result<Dialled, std::io::Error> {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|cause| std::io::Error::new(cause.kind(), format!("run {program}: {cause}")))?;
    let missing = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let errors = child.stderr.take().ok_or_else(missing)?;
    // Read to its end, so that it is never held up.
    let complaint = tokio::spawn(async move {
        let mut said = String::new();
        let mut lines = BufReader::new(errors).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if said.len() < LAST_WORDS_BYTES_MAX {
                let line: String = line.trim().chars().take(LAST_WORDS_BYTES_MAX).collect();
                let gap = if said.is_empty() { "" } else { "; " };
                said = format!("{said}{gap}{line}");
            }
        }
        said
    });
    // Takes note of its end, so that it does not stay behind as a dead entry of the process table.
    tokio::spawn(async move { child.wait().await });
    Ok(Dialled {
        stream: Box::new(tokio::io::join(output, input)),
        complaint: Some(complaint),
    })
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
            let words = ssh(destination, None).unwrap().join(" ");
            let tail = words
                .strip_prefix("-o BatchMode=yes -o ConnectTimeout=5 -T ")
                .unwrap();
            assert_eq!(tail, want);
        }
        let words = ssh("host:1", Some(Path::new("/etc/s"))).unwrap().join(" ");
        assert!(words.contains(" -T -F /etc/s -p 1 -- host "), "{words}");
        for destination in ["", "-oProxyCommand=x", "host/path"] {
            assert!(ssh(destination, None).is_err(), "{destination}");
        }
    }

    /// A client through a shell on this machine.
    fn by(script: &str) -> Docker {
        let words = ["-c", script].map(str::to_owned).into();
        over(Way::Shell {
            program: "sh",
            words,
        })
        .unwrap()
    }

    #[tokio::test]
    async fn requests_go_through_one_shell() {
        // Answers as often as it is asked, with how often it was.
        let docker = by(
            "n=0; while n=$((n+1)); do while read -r line && [ ${#line} -gt 1 ]; do :; done; \
             [ -n \"$line\" ] || exit; printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 1\\r\\n\\r\\n%d' $n; done",
        );
        // A connection waits again when its task has seen the end of the answer, which may be after the next request.
        let mut answers = Vec::new();
        while !answers.contains(&"3".to_owned()) {
            answers.push(docker.ping().await.unwrap());
            assert!(answers.len() < 100, "{answers:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_shell_that_gives_up_says_why() {
        let docker = by("echo 'Permission denied (publickey).' >&2; exit 255");
        let error = super::super::one_line(&docker.ping().await.unwrap_err());
        assert!(error.contains("Permission denied (publickey)."), "{error}");
    }
}
