//! A running contender: its process, its address and its folder, gone when it is dropped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use store_proto::etcdserverpb::RangeRequest;

use super::{Contender, Programs};
use crate::lines::Lines;
use crate::wire::Heard;

/// Longest wait for a contender to serve.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often to ask whether it serves.
const READY_POLL: Duration = Duration::from_millis(10);

/// Bytes of a contender's log that are shown when it does not start.
const LOG_BYTES_SHOWN: u64 = 2000;

/// Ports tried from the first one on.
const PORTS_TRIED: u16 = 100;

/// Why a contender does not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A folder or file of ours.
    #[error("{operation} {path}")]
    Folder {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The program cannot be run.
    #[error("run {program}")]
    Run {
        /// Which.
        program: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// No port.
    #[error("find a free port from {first} on: {PORTS_TRIED} tried")]
    NoPort {
        /// First port tried.
        first: u16,
    },
    /// It ended.
    #[error("{} ended with {status} instead of serving; it said:\n{log}", .contender.name())]
    Ended {
        /// Who.
        contender: Contender,
        /// How.
        status: ExitStatus,
        /// Its last words.
        log: String,
    },
    /// It does not answer.
    #[error("{} does not answer within {} s; it said:\n{log}", .contender.name(), READY_WAIT_MAX.as_secs())]
    Silent {
        /// Who.
        contender: Contender,
        /// Its last words.
        log: String,
    },
}

impl StartError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            StartError::Run { program, .. } => Some(format!(
                "is {} there? `make deps` fetches etcd, `make build` builds muster; --etcd and --muster name others",
                program.display()
            )),
            StartError::NoPort { .. } => Some("choose others with --port".to_owned()),
            _ => None,
        }
    }
}

/// A contender that serves.
pub(crate) struct Server {
    child: Option<Child>,
    folder: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// Starts `contender` in a fresh folder under `root` and waits until it answers a read.
    pub(crate) fn start(
        contender: Contender,
        programs: &Programs,
        root: &Path,
        first_port: u16,
        value_bytes: usize,
    ) -> Result<Server, StartError> {
        let folder = root.join(format!(
            "{}-{}",
            contender.name().replace(' ', "-"),
            std::process::id()
        ));
        // What an interrupted run left behind must not be found by this one.
        let _ = std::fs::remove_dir_all(&folder);
        let fail = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StartError::Folder {
                operation,
                path,
                source,
            }
        };
        std::fs::create_dir_all(&folder).map_err(fail("create", &folder))?;
        let [client, peer] = free_ports(first_port)?;
        let mut server = Server {
            child: None,
            folder,
            address: client,
        };
        if let Some(command) =
            programs.command(contender, &server.folder, client, peer, value_bytes)
        {
            let log_path = server.folder.join("log");
            let log = File::create(&log_path).map_err(fail("create", &log_path))?;
            server.child = Some(spawn(command, log)?);
            server.wait(contender, &log_path)?;
        }
        Ok(server)
    }

    /// Where clients reach it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.child.iter().map(Child::id).collect()
    }

    /// Its folder, for what a case keeps beside the data.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn wait(&mut self, contender: Contender, log: &Path) -> Result<(), StartError> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        while !answers(self.address) {
            let ended = self
                .child
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(StartError::Ended {
                    contender,
                    status,
                    log: last_words(log),
                });
            }
            if Instant::now() > deadline {
                return Err(StartError::Silent {
                    contender,
                    log: last_words(log),
                });
            }
            std::thread::sleep(READY_POLL);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Nothing of the run is wanted any more, so it need not end gently.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn spawn(mut command: Command, log: File) -> Result<Child, StartError> {
    let program = PathBuf::from(command.get_program());
    let run = |source| StartError::Run { program, source };
    let both = log.try_clone();
    let both = match both {
        Ok(both) => both,
        Err(source) => return Err(run(source)),
    };
    command
        .stdin(Stdio::null())
        .stdout(both)
        .stderr(log)
        .spawn()
        .map_err(run)
}

/// Whether a linearizable read succeeds: then there is a leader, and it serves.
fn answers(address: SocketAddr) -> bool {
    let request = RangeRequest {
        key: "ready?".into(),
        ..RangeRequest::default()
    };
    let Ok(mut lines) = Lines::connect(&[address], 1) else {
        return false;
    };
    lines
        .get(0)
        .call(0, crate::cases::RANGE, &request.encode_to_vec(), false);
    let (mut ready, mut heard) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(2);
    while heard.is_empty() && Instant::now() < deadline {
        let took = lines
            .flush_all()
            .and_then(|()| lines.wait(READY_POLL, &mut ready))
            .and_then(|()| {
                if ready.is_empty() {
                    Ok(())
                } else {
                    lines.get(0).receive(&mut heard)
                }
            });
        if took.is_err() {
            return false;
        }
    }
    matches!(heard[..], [Heard::Ended { messages: 1, .. }])
}

/// Two ports nobody listens on now.
fn free_ports(first: u16) -> Result<[SocketAddr; 2], StartError> {
    let last = first.saturating_add(PORTS_TRIED);
    let mut free = (first..last)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .filter(|address| TcpListener::bind(address).is_ok());
    match (free.next(), free.next()) {
        (Some(client), Some(peer)) => Ok([client, peer]),
        _ => Err(StartError::NoPort { first }),
    }
}

/// The end of a log.
fn last_words(path: &Path) -> String {
    let mut words = Vec::new();
    if let Ok(mut log) = File::open(path) {
        let bytes = log.metadata().map_or(0, |metadata| metadata.len());
        let _ = log.seek(SeekFrom::Start(bytes.saturating_sub(LOG_BYTES_SHOWN)));
        let _ = log.read_to_end(&mut words);
    }
    String::from_utf8_lossy(&words).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(program: &str) -> Programs {
        Programs {
            etcd: program.into(),
            muster: program.into(),
            bench: program.into(),
        }
    }

    #[test]
    fn a_program_that_ends_or_is_missing_is_an_error_with_its_words() {
        let root = tempfile::tempdir().unwrap();
        let start = |program: &str| {
            Server::start(Contender::Etcd, &programs(program), root.path(), 21_560, 1)
        };
        let Err(missing) = start("/nonexistent/etcd") else {
            panic!("started")
        };
        assert!(matches!(missing, StartError::Run { .. }) && missing.hint().is_some());
        // `ls` does not know the flags, says so and ends.
        let Err(ended) = start("ls") else {
            panic!("started")
        };
        assert!(ended.to_string().contains("log-level"), "{ended}");
        assert_eq!(
            std::fs::read_dir(root.path()).unwrap().count(),
            0,
            "folders stay behind"
        );
    }

    #[test]
    fn ports_in_use_are_passed_over() {
        let [first, second] = free_ports(21_570).unwrap();
        assert_ne!(first, second);
        let _taken = TcpListener::bind(first).unwrap();
        let [other, _] = free_ports(first.port()).unwrap();
        assert!(other.port() > first.port());
    }
}
