//! A running contender: its process, its address and its folder, gone when it is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use prost::Message;
use store_proto::etcdserverpb::RangeRequest;

use super::running::Running;
use super::{Contender, Programs};
use crate::lines::Lines;
use crate::wire::Heard;

/// Longest wait for a contender to serve.
const READY_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often to ask whether it serves.
const READY_POLL: Duration = Duration::from_millis(10);

/// How folders of contenders begin; the process id of the run that made them ends them.
const FOLDER_PREFIX: &str = "bench-";

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
    program: Option<Running>,
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
        forget_the_dead(root);
        let name = contender.name().replace(' ', "-");
        let folder = root.join(format!("{FOLDER_PREFIX}{name}-{}", std::process::id()));
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
            program: None,
            folder,
            address: client,
        };
        if let Some(command) =
            programs.command(contender, &server.folder, client, peer, value_bytes)
        {
            server.program = Some(Running::start(command, &server.folder.join("log"))?);
            server.wait(contender)?;
        }
        Ok(server)
    }

    /// Where clients reach it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.program.iter().map(Running::id).collect()
    }

    /// Its folder, for what a case keeps beside the data.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn wait(&mut self, contender: Contender) -> Result<(), StartError> {
        let deadline = Instant::now() + READY_WAIT_MAX;
        while !answers(self.address) {
            let Some(program) = &mut self.program else {
                return Ok(());
            };
            if let Some(status) = program.ended() {
                return Err(StartError::Ended {
                    contender,
                    status,
                    log: program.last_words(),
                });
            }
            if Instant::now() > deadline {
                return Err(StartError::Silent {
                    contender,
                    log: program.last_words(),
                });
            }
            std::thread::sleep(READY_POLL);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // First the program, then what it writes to.
        self.program = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
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

/// Removes folders that interrupted runs left behind: those whose process is gone.
fn forget_the_dead(root: &Path) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().filter(|name| name.starts_with(FOLDER_PREFIX));
        let owner = ours
            .and_then(|name| name.rsplit('-').next())
            .and_then(|id| id.parse::<u32>().ok());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
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
    fn only_folders_of_runs_that_are_gone_are_forgotten() {
        let root = tempfile::tempdir().unwrap();
        // No process has a number above 2^22 (proc(5), pid_max).
        let alive = format!("bench-etcd-{}", std::process::id());
        for name in ["etcd", "bench-etcd-4194305", "bench-x", &alive] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        forget_the_dead(root.path());
        let mut left: Vec<_> = std::fs::read_dir(root.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [alive.as_str(), "bench-x", "etcd"]);
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
