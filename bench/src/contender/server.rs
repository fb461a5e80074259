//! A running contender: its processes, their addresses and its folder, gone when it is dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::Signal;
use store_proto::etcdserverpb::RangeRequest;

use super::running::Running;
use super::{Contender, Programs, Seat};
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

/// A contender that serves: one process, or the members of a cluster, or none at all.
pub(crate) struct Server {
    contender: Contender,
    programs: Programs,
    value_bytes: usize,
    seats: Vec<Seat>,
    /// By seat.
    running: Vec<Option<Running>>,
    folder: PathBuf,
}

impl Server {
    /// Starts so many members of `contender` in fresh folders under `root` and waits until each
    /// answers a read.
    pub(crate) fn start(
        contender: Contender,
        programs: &Programs,
        root: &Path,
        first_port: u16,
        value_bytes: usize,
        members: usize,
    ) -> Result<Server, StartError> {
        forget_the_dead(root);
        let name = contender.name().replace(' ', "-");
        let folder = root.join(format!("{FOLDER_PREFIX}{name}-{}", std::process::id()));
        let ports = free_ports(first_port, 2 * members)?;
        let seats = ports.chunks(2).enumerate().map(|(number, ports)| Seat {
            name: format!("m{number}"),
            client: ports[0],
            peer: ports[1],
            folder: folder.join(format!("m{number}")),
        });
        let mut server = Server {
            contender,
            programs: programs.clone(),
            value_bytes,
            seats: seats.collect(),
            running: (0..members).map(|_| None).collect(),
            folder,
        };
        for member in 0..members {
            server.spawn(member)?;
        }
        for member in 0..members {
            server.wait(member)?;
        }
        Ok(server)
    }

    fn spawn(&mut self, member: usize) -> Result<(), StartError> {
        let folder = &self.seats[member].folder;
        std::fs::create_dir_all(folder).map_err(|source| StartError::Folder {
            operation: "create",
            path: folder.clone(),
            source,
        })?;
        let command = self
            .programs
            .command(self.contender, &self.seats, member, self.value_bytes);
        self.running[member] = match command {
            Some(command) => Some(Running::start(command, &folder.join("log"))?),
            None => None,
        };
        Ok(())
    }

    /// Where clients reach its first member.
    pub(crate) fn address(&self) -> SocketAddr {
        self.seats[0].client
    }

    /// Where clients reach its members.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.seats.iter().map(|seat| seat.client).collect()
    }

    /// Its processes.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.running.iter().flatten().map(Running::id).collect()
    }

    /// Its folder, for what a case keeps beside the data.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sends a member a signal.
    pub(crate) fn signal(&self, member: usize, signal: Signal) {
        if let Some(running) = &self.running[member] {
            running.signal(signal);
        }
    }

    /// Whether a member has ended.
    pub(crate) fn has_ended(&mut self, member: usize) -> bool {
        self.running[member]
            .as_mut()
            .is_none_or(|running| running.ended().is_some())
    }

    /// Starts a member again, on its data, and waits until it answers a read.
    pub(crate) fn restart(&mut self, member: usize) -> Result<(), StartError> {
        self.running[member] = None;
        self.spawn(member)?;
        self.wait(member)
    }

    fn wait(&mut self, member: usize) -> Result<(), StartError> {
        let (contender, address) = (self.contender, self.seats[member].client);
        let deadline = Instant::now() + READY_WAIT_MAX;
        while self.running[member].is_some() && !answers(address) {
            let Some(program) = &mut self.running[member] else {
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
        // First the programs, then what they write to.
        self.running.clear();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether a linearizable read succeeds: then there is a leader, and it serves.
fn answers(address: SocketAddr) -> bool {
    let request = RangeRequest {
        key: "ready?".into(),
        ..RangeRequest::default()
    };
    let message = request.encode_to_vec();
    ask_once(address, crate::cases::RANGE, &message).is_some()
}

/// Asks once, on a connection of its own; `None` when there is no answer within two seconds.
pub(crate) fn ask_once(address: SocketAddr, path: &'static str, message: &[u8]) -> Option<Vec<u8>> {
    let mut lines = Lines::connect(&[address], 1).ok()?;
    lines.get(0).call(0, path, message, true);
    let (mut ready, mut heard) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(2);
    while heard.is_empty() && Instant::now() < deadline {
        lines.flush_all().ok()?;
        lines.wait(READY_POLL, &mut ready).ok()?;
        if !ready.is_empty() {
            lines.get(0).receive(&mut heard).ok()?;
        }
    }
    heard.into_iter().find_map(|said| match said {
        Heard::Message { bytes, .. } => Some(bytes),
        _ => None,
    })
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

/// Ports nobody listens on now.
fn free_ports(first: u16, count: usize) -> Result<Vec<SocketAddr>, StartError> {
    let last = first.saturating_add(PORTS_TRIED);
    let free: Vec<SocketAddr> = (first..last)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        // Not by listening for a moment: a program that another thread starts just then would keep that listener until its
        // exec.
        .filter(|address| TcpStream::connect(address).is_err())
        .take(count)
        .collect();
    if free.len() == count {
        Ok(free)
    } else {
        Err(StartError::NoPort { first })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

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
            Server::start(
                Contender::Etcd,
                &programs(program),
                root.path(),
                21_560,
                1,
                1,
            )
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
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = taken.local_addr().unwrap().port();
        let ports = free_ports(taken, 6).unwrap();
        assert!(ports[0].port() > taken);
        assert!(ports.is_sorted_by(|one, next| one.port() < next.port()));
    }
}
