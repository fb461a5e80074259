//! Who is measured: how each server is started with equivalent settings, and how it goes away.
//!
//! Every run gets a fresh process and a fresh data folder. Nothing here knows what is measured.

mod nothing;
mod plain;
mod running;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

pub(crate) use nothing::serve as serve_nothing;
pub(crate) use running::Running;
pub(crate) use server::{Server, StartError, ask_once};

/// Entries after which both stores take a snapshot: etcd's default in 3.5, given to both so that
/// their disks have the same work.
const SNAPSHOT_COUNT: &str = "100000";

/// Largest state both stores accept, 8 GiB: no case may meet the quota.
const QUOTA_BYTES: &str = "8589934592";

/// Silence of a leader after which the others of a cluster hold an election, in milliseconds: the
/// default of both, and ten heartbeats, as it is there.
pub(crate) const ELECTION_MS: u64 = 1000;

/// Something that is measured.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contender {
    /// The peer.
    Etcd,
    /// `muster store`.
    Muster,
    /// A gRPC server of the same stack that answers at once: what is left when the store is free.
    Nothing,
    /// The disk alone: write a record, fdatasync, again.
    Disk,
}

impl Contender {
    /// As written in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Etcd => "etcd",
            Contender::Muster => "muster",
            Contender::Nothing => "do-nothing gRPC",
            Contender::Disk => "raw fdatasync",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The etcd binary.
    pub(crate) etcd: PathBuf,
    /// The muster binary.
    pub(crate) muster: PathBuf,
    /// This program, for the server that does nothing.
    pub(crate) bench: PathBuf,
}

/// The place of one member of a contender: its name, its addresses, its folder.
#[derive(Clone, Debug)]
struct Seat {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    folder: PathBuf,
}

impl Seat {
    fn peer_url(&self) -> String {
        format!("http://{}", self.peer)
    }
}

impl Programs {
    /// The command that starts `contender` as the member at `place`; `None` for one that needs no
    /// process.
    fn command(
        &self,
        contender: Contender,
        seats: &[Seat],
        place: usize,
        value_bytes: usize,
    ) -> Option<Command> {
        let seat = &seats[place];
        let (client_url, peer_url) = (format!("http://{}", seat.client), seat.peer_url());
        let members = seats
            .iter()
            .map(|seat| format!("{}={}", seat.name, seat.peer_url()));
        let members: Vec<String> = members.collect();
        let mut command;
        match contender {
            Contender::Etcd => {
                command = Command::new(&self.etcd);
                command.args(["--log-level", "error"]);
            }
            Contender::Muster => {
                command = Command::new(&self.muster);
                command.arg("store");
            }
            Contender::Nothing => {
                command = Command::new(&self.bench);
                command.args(["nothing", "--listen", &seat.client.to_string()]);
                command.args(["--value-bytes", &value_bytes.to_string()]);
                return Some(command);
            }
            Contender::Disk => return None,
        }
        command.arg("--data-dir").arg(seat.folder.join("data"));
        command.args(["--name", &seat.name]);
        command.args([
            "--listen-client-urls",
            &client_url,
            "--advertise-client-urls",
            &client_url,
        ]);
        command.args([
            "--listen-peer-urls",
            &peer_url,
            "--initial-advertise-peer-urls",
            &peer_url,
        ]);
        command.args(["--initial-cluster", &members.join(",")]);
        command.args([
            "--heartbeat-interval",
            &(ELECTION_MS / 10).to_string(),
            "--election-timeout",
            &ELECTION_MS.to_string(),
        ]);
        command.args([
            "--snapshot-count",
            SNAPSHOT_COUNT,
            "--quota-backend-bytes",
            QUOTA_BYTES,
        ]);
        Some(command)
    }

    /// The first line of what `contender` says about its version; its name where it says nothing.
    pub(crate) fn version(&self, contender: Contender) -> String {
        let program = match contender {
            Contender::Etcd => &self.etcd,
            Contender::Muster => &self.muster,
            Contender::Nothing | Contender::Disk => return contender.name().to_owned(),
        };
        let said = Command::new(program).arg("--version").output();
        let text = said
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default();
        text.lines()
            .next()
            .map_or_else(|| contender.name().to_owned(), str::to_owned)
    }
}
