//! The commands, a file for each family. Each checks its arguments first, then connects, asks, and hands the answer to
//! the printer.

mod alarm;
mod auth;
mod check;
mod downgrade;
mod elect;
mod endpoint;
mod kv;
mod leader;
mod lease;
mod lock;
mod member;
mod mirror;
mod recipes;
mod role;
mod snapshot;
mod txn;
mod user;
mod watch;

pub(crate) use self::kv::after_prefix;

use std::future::Future;

use clap::Subcommand;
use store_proto::release;
use tonic::{Response, Status};

use crate::connect::LATE;
use crate::failure::Failure;
use crate::flags::{self, Globals};
use crate::format::Printer;

/// A command with its flags.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get a key or a range of keys
    Get(kv::Get),
    /// Put a key
    Put(kv::Put),
    /// Delete a key or a range of keys
    Del(kv::Del),
    /// Do several things in one transaction
    Txn(txn::Txn),
    /// Forget history below a revision
    Compaction(kv::Compaction),
    /// Show what changes
    Watch(watch::Watch),
    /// Leases
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Members of the cluster
    #[command(subcommand)]
    Member(member::Member),
    /// How each endpoint is
    #[command(subcommand)]
    Endpoint(endpoint::Endpoint),
    /// Alarms
    #[command(subcommand)]
    Alarm(alarm::Alarm),
    /// Snapshots
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Give the memory of deleted keys back
    Defrag(endpoint::Defrag),
    /// Whether users are asked for
    #[command(subcommand)]
    Auth(auth::Auth),
    /// Users
    #[command(subcommand)]
    User(user::User),
    /// Roles
    #[command(subcommand)]
    Role(role::Role),
    /// Hold a lock, while a command runs or until told to end
    Lock(lock::Lock),
    /// Take part in an election, or watch who leads
    Elect(elect::Elect),
    /// What a store is used for
    #[command(flatten)]
    Recipe(recipes::Recipe),
    /// Hand the lead to another member
    MoveLeader(leader::MoveLeader),
    /// Go back to an older version
    #[command(subcommand)]
    Downgrade(downgrade::Downgrade),
    /// Keep a copy of the keys in another store
    MakeMirror(mirror::MakeMirror),
    /// How fast the store is, and how large it gets
    #[command(subcommand)]
    Check(check::Check),
    /// The flags that every command takes
    Options,
    /// Version of this client and of the API it speaks
    Version,
}

/// Runs it.
///
/// # Errors
/// Why it could not be done.
pub(crate) async fn run(command: Command, globals: &Globals) -> Result<(), Failure> {
    globals.checked()?;
    let globals = &globals.located().await?;
    let printer = Printer::new(globals)?;
    match command {
        Command::Get(get) => get.run(globals, &printer).await,
        Command::Put(put) => put.run(globals, &printer).await,
        Command::Del(del) => del.run(globals, &printer).await,
        Command::Txn(txn) => txn.run(globals, &printer).await,
        Command::Compaction(compaction) => compaction.run(globals, &printer).await,
        Command::Watch(watch) => watch.run(globals, printer).await,
        Command::Lease(lease) => lease.run(globals, &printer).await,
        Command::Member(member) => member.run(globals, &printer).await,
        Command::Endpoint(endpoint) => endpoint.run(globals, &printer).await,
        Command::Alarm(alarm) => alarm.run(globals, &printer).await,
        Command::Snapshot(snapshot) => snapshot.run(globals).await,
        Command::Defrag(defrag) => defrag.run(globals).await,
        Command::Auth(auth) => auth.run(globals, &printer).await,
        Command::User(user) => user.run(globals, &printer).await,
        Command::Role(role) => role.run(globals, &printer).await,
        Command::Lock(lock) => lock.run(globals, &printer).await,
        Command::Elect(elect) => elect.run(globals, &printer).await,
        Command::Recipe(recipe) => recipe.run(globals, &printer).await,
        Command::MoveLeader(leader) => leader.run(globals, &printer).await,
        Command::Downgrade(downgrade) => downgrade.run(globals, &printer).await,
        Command::MakeMirror(mirror) => mirror.run(globals).await,
        Command::Check(check) => check.run(globals).await,
        Command::Options => {
            flags::show_options();
            Ok(())
        }
        Command::Version => {
            println!(
                "etcdctl version: {}\nAPI version: {}",
                release::VERSION,
                release::API_VERSION
            );
            Ok(())
        }
    }
}

/// A call's answer, unless the command's time is up before.
pub(crate) async fn in_time<T>(
    globals: &Globals,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    // Safe to cancel: what becomes of a call that was sent is the store's to know; the text says so.
    match tokio::time::timeout(globals.command_timeout, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(Failure::error(LATE)),
    }
}

/// What Go says about a number it cannot read.
fn bad_number(text: &str) -> String {
    format!("strconv.ParseInt: parsing {text:?}: invalid syntax")
}

/// A lease as people write it, in hex.
fn lease_id(text: &str, what: &str) -> Result<i64, Failure> {
    i64::from_str_radix(text, 16).map_err(|_| {
        let reason = bad_number(text);
        Failure::bad_arguments(format!(
            "bad lease ID{what} ({reason}), expecting ID in Hex"
        ))
    })
}
