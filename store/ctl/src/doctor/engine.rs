//! The container engine of this machine: whether this user may use its socket, and whether it is new enough for a
//! registrator. `muster registrator doctor` looks closer, with a registrator's own settings.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::finding::Finding;

const WHAT: &str = "engine";

/// 1.41: Docker 20.10, the oldest engine that is tested.
const API_MIN: (u32, u32) = (1, 41);
/// 3 s: an engine answers this within milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// 64 KiB: many times what it says.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Looks, blocking. Where nobody named an engine, none is no fault.
pub(super) fn look(host: &str, named: bool) -> Finding {
    let Some(path) = host.strip_prefix("unix://").map(Path::new) else {
        return Finding::skipped(WHAT, format!("{host}: ask `muster registrator doctor`"));
    };
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(cause) if cause.kind() == ErrorKind::NotFound && !named => {
            return Finding::skipped(WHAT, format!("none at {}", path.display()));
        }
        Err(cause) => return refused(path, &cause),
    };
    match asked(stream) {
        Ok(answer) => judge(path, &answer),
        Err(cause) => Finding::wrong(
            WHAT,
            format!("{} does not answer: {cause}", path.display()),
            "restart the engine, or name another one with --docker-host",
        ),
    }
}

fn refused(path: &Path, cause: &std::io::Error) -> Finding {
    let detail = format!("{}: {cause}", path.display());
    let advice = match cause.kind() {
        ErrorKind::PermissionDenied => {
            let group = std::fs::metadata(path).map(|file| file.gid());
            let group = group.map_or_else(|_| "GROUP".to_owned(), |group| group.to_string());
            format!(
                "the socket is for its group {group}: add this user to it (usermod -aG, SupplementaryGroups=, \
                 docker run --group-add {group})"
            )
        }
        _ => "start the engine, mount its socket there, or say where it is with --docker-host"
            .to_owned(),
    };
    Finding::wrong(WHAT, detail, advice)
}

/// HTTP/1.0: the engine closes behind its answer.
fn asked(mut stream: UnixStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(path: &Path, answer: &str) -> Finding {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let said: Value = serde_json::from_str(body).unwrap_or_default();
    let api = said["ApiVersion"].as_str().unwrap_or_default();
    let Some(version) = numbers(api) else {
        let status = head.lines().next().unwrap_or_default();
        let detail = format!("{} does not tell its version: {status}", path.display());
        return Finding::skipped(WHAT, detail);
    };
    let release = said["Version"].as_str().unwrap_or_default();
    let detail = format!("version {release}, API {api} at {}", path.display());
    if version < API_MIN {
        let advice = "older than Docker 20.10, the oldest that is tested: upgrade it";
        Finding::warning(WHAT, detail, advice)
    } else {
        Finding::fine(WHAT, detail)
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::doctor::finding::State;

    fn state_of(api: &str) -> State {
        let answer =
            format!("HTTP/1.0 200 OK\r\n\r\n{{\"ApiVersion\":\"{api}\",\"Version\":\"1\"}}");
        judge(Path::new("/s"), &answer).state
    }

    #[test]
    fn an_old_engine_is_warned_of() {
        assert_eq!(state_of("1.41"), State::Fine);
        assert_eq!(state_of("1.51"), State::Fine);
        assert_eq!(state_of("1.40"), State::Warning);
        assert_eq!(state_of("new"), State::Skipped);
        let forbidden = judge(Path::new("/s"), "HTTP/1.0 403 Forbidden\r\n\r\n<html>");
        assert!(forbidden.detail.contains("403"), "{forbidden}");
    }

    #[test]
    fn a_socket_nobody_listens_at_is_wrong_and_none_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let host = format!("unix://{}", path.display());
        assert_eq!(look(&host, false).state, State::Skipped);
        assert_eq!(look(&host, true).state, State::Wrong);
        drop(UnixListener::bind(&path).unwrap());
        let found = look(&host, false);
        assert_eq!(found.state, State::Wrong, "{found}");
        assert!(found.advice.contains("start the engine"), "{found}");
        assert_eq!(look("tcp://h:2375", true).state, State::Skipped);
    }

    #[test]
    fn a_socket_that_is_not_for_this_user_names_its_group() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let group = file.as_file().metadata().unwrap().gid();
        let found = refused(file.path(), &ErrorKind::PermissionDenied.into());
        assert!(
            found.advice.contains(&format!("--group-add {group}")),
            "{found}"
        );
    }
}
