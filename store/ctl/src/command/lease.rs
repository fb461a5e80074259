//! Leases: `lease grant`, `revoke`, `timetolive`, `list` and `keep-alive`.

use std::time::Duration;

use clap::Subcommand;
use store_proto::etcdserverpb::lease_client::LeaseClient;
use store_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
};

use super::{bad_number, in_time, lease_id};
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer};

/// What to do with leases; ids are in hex.
#[derive(Debug, Subcommand)]
pub enum Lease {
    /// Make a lease of so many seconds
    Grant { words: Vec<String> },
    /// End a lease, and its keys with it
    Revoke { words: Vec<String> },
    /// How long a lease has left
    Timetolive {
        words: Vec<String>,
        /// And which keys it holds
        #[arg(long)]
        keys: bool,
    },
    /// All leases
    List { words: Vec<String> },
    /// Renew a lease again and again
    KeepAlive {
        words: Vec<String>,
        /// Only once
        #[arg(long)]
        once: bool,
    },
}

impl Lease {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        match self {
            Self::Grant { words } => {
                let ttl = one(&words, "grant command needs TTL argument")?;
                let ttl = ttl.parse().map_err(|_| {
                    Failure::bad_arguments(format!("bad TTL ({})", bad_number(ttl)))
                })?;
                let request = LeaseGrantRequest { ttl, id: 0 };
                let lease = in_time(globals, client(globals).await?.lease_grant(request))
                    .await
                    .map_err(|failure| failure.because("failed to grant lease"))?;
                printer.print(&Answer::Grant(lease))
            }
            Self::Revoke { words } => {
                let id = lease_id(one(&words, "revoke command needs 1 argument")?, " arg")?;
                let request = LeaseRevokeRequest { id };
                let done = in_time(globals, client(globals).await?.lease_revoke(request))
                    .await
                    .map_err(|failure| failure.because("failed to revoke lease"))?;
                printer.print(&Answer::Revoke(done, id))
            }
            Self::Timetolive { words, keys } => {
                let id = lease_id(
                    one(&words, "timetolive command needs lease ID as argument")?,
                    " arg",
                )?;
                let request = LeaseTimeToLiveRequest { id, keys };
                let lease =
                    in_time(globals, client(globals).await?.lease_time_to_live(request)).await?;
                printer.print(&Answer::TimeToLive(lease, keys))
            }
            Self::List { .. } => {
                let call = client(globals)
                    .await?
                    .lease_leases(LeaseLeasesRequest {})
                    .await;
                printer.print(&Answer::Leases(call?.into_inner()))
            }
            Self::KeepAlive { words, once } => {
                let id = lease_id(
                    one(&words, "keep-alive command needs lease ID as argument")?,
                    " arg",
                )?;
                keep_alive(id, once, globals, printer).await
            }
        }
    }
}

async fn client(globals: &Globals) -> Result<LeaseClient<Connection>, Failure> {
    Ok(LeaseClient::new(connect(globals).await?))
}

/// Renews at a third of the time to live, as etcd's clients do, until the lease is gone.
async fn keep_alive(
    id: i64,
    once: bool,
    globals: &Globals,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = client(globals).await?;
    loop {
        let request = tokio_stream::once(LeaseKeepAliveRequest { id });
        let mut answers = in_time(globals, client.lease_keep_alive(request)).await?;
        let answer = answers
            .message()
            .await?
            .ok_or_else(|| Failure::bad_connection("the stream ended without an answer"))?;
        if answer.ttl == 0 && once {
            return Err(Failure::bad_connection(
                "etcdserver: requested lease not found",
            ));
        }
        if answer.ttl == 0 {
            println!("lease {id:016x} expired or revoked.");
            return Ok(());
        }
        let third = u64::try_from(answer.ttl).unwrap_or(1) * 1000 / 3;
        printer.print(&Answer::KeepAlive(answer))?;
        if once {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(third)).await;
    }
}

fn one<'a>(words: &'a [String], otherwise: &str) -> Result<&'a str, Failure> {
    match words {
        [word] => Ok(word),
        _ => Err(Failure::bad_arguments(format!("lease {otherwise}"))),
    }
}
