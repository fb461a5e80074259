//! A store process with its data folder: ours, or a real etcd in its place. Can be killed and started again on the same
//! data and port.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::etcdctl::{Etcdctl, Release};
use crate::process::Process;
use crate::{port, programs, wait};

/// What both print (etcd in its log) once clients are served.
const READY: &str = "ready to serve client requests";

/// Who made the store.
#[derive(Clone, Debug)]
pub enum Maker {
    /// `muster store`, with the path of the binary.
    Muster(PathBuf),
    /// The official etcd 3.5.
    Etcd,
    /// The distribution's etcd: 3.4 in Debian 12.
    EtcdOfDistribution,
}

/// One member and its data.
pub struct Store {
    maker: Maker,
    folder: TempDir,
    data: PathBuf,
    port: u16,
    peer_port: u16,
    options: Vec<OsString>,
    process: Option<Process>,
}

impl Store {
    /// A started store that serves.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start(maker: Maker) -> Self {
        let mut store = Self::prepare(maker);
        store.restart();
        store
    }

    /// A store yet to be started, with a data folder that does not exist yet.
    ///
    /// # Panics
    /// When there is no temporary folder to be had.
    #[track_caller]
    #[must_use]
    pub fn prepare(maker: Maker) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let data = folder.path().join("data");
        Self {
            maker,
            folder,
            data,
            port: port::free(),
            peer_port: port::free(),
            options: Vec::new(),
            process: None,
        }
    }

    /// Puts its data elsewhere: a file system of its own, another's folder.
    #[must_use]
    pub fn with_data(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    /// Adds a flag to every start.
    #[must_use]
    pub fn with_option(mut self, option: impl Into<OsString>) -> Self {
        self.options.push(option.into());
        self
    }

    /// How it is started.
    #[must_use]
    pub fn command(&self) -> Command {
        let client_url = self.endpoint();
        let mut command = match &self.maker {
            Maker::Muster(binary) => {
                let mut command = Command::new(binary);
                command.arg("store");
                command
            }
            Maker::Etcd | Maker::EtcdOfDistribution => {
                let program = match &self.maker {
                    Maker::EtcdOfDistribution => programs::etcd_of_distribution(),
                    _ => programs::etcd_3_5("etcd"),
                };
                let peer_url = format!("http://127.0.0.1:{}", self.peer_port);
                let mut command = Command::new(program);
                command
                    .args([
                        "--listen-peer-urls",
                        &peer_url,
                        "--initial-advertise-peer-urls",
                        &peer_url,
                    ])
                    .args(["--initial-cluster", &format!("default={peer_url}")]);
                command
            }
        };
        command
            .arg("--data-dir")
            .arg(&self.data)
            .args([
                "--listen-client-urls",
                &client_url,
                "--advertise-client-urls",
                &client_url,
            ])
            .args(&self.options)
            .current_dir(self.folder.path());
        command
    }

    /// Starts it without waiting; for starts that are meant to fail.
    pub fn spawn(&mut self) -> &mut Process {
        let name = match &self.maker {
            Maker::Muster(_) => format!("muster store on {}", self.port),
            Maker::Etcd | Maker::EtcdOfDistribution => format!("etcd on {}", self.port),
        };
        let mut command = self.command();
        self.process.insert(Process::spawn(name, &mut command))
    }

    /// Starts it (again) on its data and waits until it serves.
    ///
    /// # Panics
    /// When it does not get ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.spawn().wait_line(READY, wait::LONG);
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// The process.
    ///
    /// # Panics
    /// Before the first start.
    #[track_caller]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the store was started")
    }

    /// Where clients reach it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The client port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A client to look at it with.
    #[must_use]
    pub fn client(&self) -> Etcdctl {
        Etcdctl::new(Release::V3_5, &self.endpoint())
    }
}
