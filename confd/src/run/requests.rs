//! What people ask of the running agent, over a socket file in its state directory that only its own user can open: one
//! line in, one line out.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Longest line either way. 4 KiB: a word, a name and a number.
const LINE_BYTES_MAX: u64 = 4 << 10;
/// Who does not say what is wanted by then is hung up on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Go back to older content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoBack {
    /// Name of the resource.
    pub(crate) name: String,
    /// Generation; `None` is the one before.
    pub(crate) to: Option<u64>,
}

/// A request and where its answer goes.
pub(super) struct Asked {
    pub(super) request: GoBack,
    pub(super) answer: oneshot::Sender<Result<String, String>>,
}

/// Requests that come in.
pub(super) struct Requests {
    asked: mpsc::Receiver<Asked>,
    /// Taken away at the end.
    path: Option<PathBuf>,
}

fn path_in(state: &Path) -> PathBuf {
    state.join("agent.sock")
}

impl Requests {
    /// Takes none.
    pub(super) fn none() -> Self {
        Self {
            asked: mpsc::channel(1).1,
            path: None,
        }
    }

    /// Listens in a directory; where that cannot be, requests are not taken, and the log says why.
    pub(super) async fn listen(state: &Path) -> Self {
        let path = path_in(state);
        if UnixStream::connect(&path).await.is_ok() {
            tracing::warn!(path = %path.display(), "another agent has this state directory");
            return Self::none();
        }
        // Left behind by a life that was killed.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).and_then(|listener| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "requests are not taken");
                return Self::none();
            }
        };
        // One at a time: people ask.
        let (tell, asked) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let talk = talk(stream, &tell);
                if !matches!(tokio::time::timeout(PATIENCE, talk).await, Ok(Ok(()))) {
                    tracing::debug!("a request was not heard to its end");
                }
                if tell.is_closed() {
                    return;
                }
            }
        });
        Self {
            asked,
            path: Some(path),
        }
    }

    /// The next one. Safe to cancel.
    pub(super) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What stays is taken for left behind.
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn talk(stream: UnixStream, tell: &mpsc::Sender<Asked>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX))
        .read_line(&mut line)
        .await?;
    let reply = match parse(&line) {
        None => "error not understood".to_owned(),
        Some(request) => {
            let (answer, heard) = oneshot::channel();
            // Both fail only if the agent ends.
            let _ = tell.send(Asked { request, answer }).await;
            match heard.await {
                Ok(Ok(text)) => format!("ok {text}"),
                Ok(Err(text)) => format!("error {text}"),
                Err(_) => "error the agent ends".to_owned(),
            }
        }
    };
    write.write_all(format!("{reply}\n").as_bytes()).await
}

fn parse(line: &str) -> Option<GoBack> {
    let mut words = line.trim_end_matches('\n').split('\t');
    let ("rollback", name) = (words.next()?, words.next()?) else {
        return None;
    };
    let to = match words.next() {
        None | Some("") => None,
        Some(number) => Some(number.parse().ok()?),
    };
    (words.next().is_none() && !name.is_empty()).then(|| GoBack {
        name: name.to_owned(),
        to,
    })
}

/// Asks the agent that has this state directory; `None` if there is none.
///
/// # Errors
/// What it answered.
pub(crate) async fn ask(state: &Path, request: &GoBack) -> Option<Result<String, String>> {
    let stream = UnixStream::connect(path_in(state)).await.ok()?;
    let talk = async {
        let (read, mut write) = stream.into_split();
        let to = request.to.map(|to| to.to_string()).unwrap_or_default();
        let line = format!("rollback\t{}\t{to}\n", request.name);
        write.write_all(line.as_bytes()).await?;
        let mut reply = String::new();
        read.take(LINE_BYTES_MAX).read_to_string(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    let reply = match tokio::time::timeout(PATIENCE, talk).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(error)) => return Some(Err(error.to_string())),
        Err(_) => return Some(Err("the agent does not answer".to_owned())),
    };
    let reply = reply.trim_end();
    Some(match reply.split_once(' ') {
        Some(("ok", text)) => Ok(text.to_owned()),
        Some(("error", text)) => Err(text.to_owned()),
        _ => Err(format!("the agent answered {reply:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(name: &str, to: Option<u64>) -> GoBack {
        GoBack {
            name: name.to_owned(),
            to,
        }
    }

    #[test]
    fn lines_are_read() {
        for (line, expected) in [
            ("rollback\tweb\t\n", Some(back("web", None))),
            ("rollback\tsub/a b\t3\n", Some(back("sub/a b", Some(3)))),
            ("rollback\tweb", Some(back("web", None))),
            ("rollback\t\t3\n", None),
            ("rollback\tweb\tx\n", None),
            ("rollback\tweb\t3\t4\n", None),
            ("stop\tweb\n", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[tokio::test]
    async fn one_agent_listens_and_answers() {
        let home = tempfile::tempdir().unwrap();
        let request = back("web", Some(3));
        assert!(ask(home.path(), &request).await.is_none());
        let mut requests = Requests::listen(home.path()).await;
        let asked = tokio::spawn({
            let (path, request) = (home.path().to_owned(), request.clone());
            async move { ask(&path, &request).await }
        });
        let next = requests.next().await;
        assert_eq!(next.request, request);
        next.answer
            .send(Err("no such generation".to_owned()))
            .unwrap();
        assert_eq!(
            asked.await.unwrap(),
            Some(Err("no such generation".to_owned()))
        );
        assert!(Requests::listen(home.path()).await.path.is_none());
        drop(requests);
        assert!(ask(home.path(), &request).await.is_none());
    }
}
