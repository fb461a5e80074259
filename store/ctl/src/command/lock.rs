//! `lock`: holds a named lock until told to end, or while a command runs. A lock is a key under a lease: whoever stalls
//! for longer than the lease lives loses it without knowing. What must not be written by two carries the key's create
//! revision (`ETCD_LOCK_REV` is no smaller) and refuses a lower one than the highest it has seen.

use clap::Args;
use store_proto::etcdserverpb::RangeRequest;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::v3lockpb::lock_client::LockClient;
use store_proto::v3lockpb::{LockRequest, LockResponse};

use crate::child;
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer, RangeStyle};
use crate::session::Session;

/// `lock NAME [COMMAND …]`
#[derive(Debug, Args)]
pub struct Lock {
    words: Vec<String>,
    /// Seconds after which the lock of somebody who is gone is free
    #[arg(long, default_value_t = 10, allow_negative_numbers = true)]
    ttl: i64,
}

impl Lock {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let [name, command @ ..] = self.words.as_slice() else {
            return Err(Failure::bad_arguments(
                "lock takes a lock name argument and an optional command to execute",
            ));
        };
        let connection = connect(globals).await?;
        let mut session = Session::open(connection.clone(), self.ttl).await?;
        let held = hold(name, command, &connection, &mut session, printer).await;
        session.close().await;
        held
    }
}

async fn hold(
    name: &str,
    command: &[String],
    connection: &Connection,
    session: &mut Session,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = LockClient::new(connection.clone());
    let request = LockRequest {
        name: name.to_owned().into(),
        lease: session.lease(),
    };
    // Each is safe to cancel: the place in the queue is the lease's, which ends right after.
    let lock: LockResponse = tokio::select! {
        lock = client.lock(request) => lock?.into_inner(),
        () = session.lost() => return Err(expired()),
        () = child::interrupted() => return Err(Failure::error("context canceled")),
    };
    if command.is_empty() {
        show(&lock.key, connection, printer).await?;
        return tokio::select! {
            () = session.lost() => Err(expired()),
            () = child::interrupted() => Ok(()),
        };
    }
    let variables = [
        (
            "ETCD_LOCK_KEY",
            String::from_utf8_lossy(&lock.key).into_owned(),
        ),
        (
            "ETCD_LOCK_REV",
            lock.header.unwrap_or_default().revision.to_string(),
        ),
    ];
    let mut lost = false;
    let end = async {
        tokio::select! {
            () = session.lost() => lost = true,
            () = child::interrupted() => {}
        }
    };
    let done = child::run(command, &variables, end).await;
    if lost { Err(expired()) } else { done }
}

/// Prints a key as `get` does.
pub(super) async fn show(
    key: &bytes::Bytes,
    connection: &Connection,
    printer: &Printer,
) -> Result<(), Failure> {
    let request = RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    };
    let range = KvClient::new(connection.clone()).range(request).await?;
    let range = range.into_inner();
    if range.kvs.is_empty() {
        return Err(Failure::error("lock lost on init"));
    }
    printer.print(&Answer::Range(range, RangeStyle::default()))
}

pub(super) fn expired() -> Failure {
    Failure::error("session expired")
}
