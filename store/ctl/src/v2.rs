//! What etcdctl does with `ETCDCTL_API=2`: commands, output and exit statuses are those of its release 3.4. `client.rs`
//! sends requests, `keys.rs` is what is done with keys, `watching.rs` waits for changes, `cluster.rs` looks after
//! members, `output.rs` prints.

mod client;
mod cluster;
mod keys;
mod output;
mod watching;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::client::Client;
use self::output::Output;
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::{child, prompt};

/// Commands of version 2.
#[derive(Debug, Parser)]
#[command(
    name = "etcdctl",
    about = "A command line client for the keys of version 2 (ETCDCTL_API=2)",
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

/// Flags every command takes.
#[derive(Clone, Debug, Args)]
struct Flags {
    /// Say on stderr what is asked
    #[arg(long, global = true)]
    debug: bool,
    /// Talk to the endpoints that were named; that is what is done anyway
    #[arg(long, global = true)]
    no_sync: bool,
    /// simple, extended or json
    #[arg(short, long, global = true, default_value = "simple")]
    output: String,
    /// Members to talk to, separated by commas
    #[arg(
        long,
        global = true,
        alias = "endpoint",
        alias = "peers",
        short = 'C',
        env = "ETCDCTL_ENDPOINTS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2379,http://127.0.0.1:4001"
    )]
    endpoints: Vec<String>,
    /// Certificate to show (PEM)
    #[arg(long, global = true, env = "ETCDCTL_CERT_FILE")]
    cert_file: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, global = true, env = "ETCDCTL_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Certificate authorities to trust (PEM)
    #[arg(long, global = true, env = "ETCDCTL_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Name of the user, with `:password` if it is not to be asked for
    #[arg(short, long, global = true, env = "ETCDCTL_USERNAME")]
    username: Option<String>,
    /// How long connecting may take
    #[arg(long, global = true, value_parser = duration, default_value = "2s")]
    timeout: Duration,
    /// How long a command may take that does not watch
    #[arg(long, global = true, value_parser = duration, default_value = "5s")]
    total_timeout: Duration,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new key
    Mk(keys::Write),
    /// Make a new directory
    Mkdir(keys::Write),
    /// Set a key
    Set(keys::Write),
    /// Make a directory, or give one another time to live
    Setdir(keys::Write),
    /// Change a key that is there
    Update(keys::Write),
    /// Change a directory that is there
    Updatedir(keys::Write),
    /// Remove a key or a directory
    Rm(keys::Remove),
    /// Remove a directory that is empty
    Rmdir(keys::Remove),
    /// Show a key
    Get(keys::Read),
    /// Show a directory
    Ls(keys::Read),
    /// Wait for a change
    Watch(watching::Watch),
    /// Run a command for each change
    ExecWatch(watching::Watch),
    /// How the members are
    ClusterHealth,
    /// Members
    #[command(subcommand)]
    Member(cluster::Member),
    /// Save a data folder of etcd 2
    Backup(Elsewhere),
    /// Users
    User(Elsewhere),
    /// Roles
    Role(Elsewhere),
    /// Whether users are asked for
    Auth(Elsewhere),
}

/// What version 3 does for both.
#[derive(Debug, Args)]
struct Elsewhere {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Runs the command that `words` spell out and gives its exit status.
pub(crate) async fn run(words: Vec<OsString>) -> ExitCode {
    let words = std::iter::once("etcdctl".into()).chain(words);
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) if error.exit_code() == 0 => error.exit(),
        Err(error) => return Failure::error(store_utl::first_line(&error)).report(),
    };
    match perform(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn perform(cli: Cli) -> Result<(), Failure> {
    let output = Output::of(&cli.flags.output)?;
    let client = Client::new(&cli.flags, Globals::unset()?)?;
    match cli.command {
        Command::Mk(write) => write.mk(&client, output).await,
        Command::Mkdir(write) => write.dir(&client, output, Some(false)).await,
        Command::Set(write) => write.set(&client, output).await,
        Command::Setdir(write) => write.dir(&client, output, None).await,
        Command::Update(write) => write.update(&client, output).await,
        Command::Updatedir(write) => write.dir(&client, output, Some(true)).await,
        Command::Rm(remove) => remove.rm(&client, output, false).await,
        Command::Rmdir(remove) => remove.rm(&client, output, true).await,
        Command::Get(read) => read.get(&client, output).await,
        Command::Ls(read) => read.ls(&client, output).await,
        Command::Watch(watch) => watched(watch.run(&client, output)).await,
        Command::ExecWatch(watch) => watched(watch.exec(&client)).await,
        Command::ClusterHealth => cluster::health(&client).await,
        Command::Member(member) => member.run(&client).await,
        Command::Backup(_) => Err(elsewhere("etcdctl snapshot save")),
        Command::User(_) => Err(elsewhere("etcdctl user")),
        Command::Role(_) => Err(elsewhere("etcdctl role")),
        Command::Auth(_) => Err(elsewhere("etcdctl auth")),
    }
}

/// Goes on until it is told to end.
async fn watched(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // Safe to cancel: it only reads.
    tokio::select! {
        done = work => done,
        () = child::interrupted() => Ok(()),
    }
}

fn elsewhere(command: &str) -> Failure {
    Failure::error(
        "users, roles and snapshots are the same for both versions, and version 3's to look after",
    )
    .hint(format!("ETCDCTL_API=3 {command}"))
}

impl Flags {
    /// Name and password, asked for if need be.
    fn credentials(&self) -> Result<Option<String>, Failure> {
        match &self.username {
            None => Ok(None),
            Some(user) if user.contains(':') => Ok(Some(user.clone())),
            Some(user) => Ok(Some(format!("{user}:{}", prompt::hidden("Password: ")?))),
        }
    }
}
