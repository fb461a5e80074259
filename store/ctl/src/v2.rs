//! What etcdctl does with `ETCDCTL_API=2`: commands, output and exit statuses are those of its release 3.4. `client.rs`
//! sends requests, `keys.rs` is what is done with keys, `watching.rs` waits for changes, `cluster.rs` looks after
//! members, `people.rs` after users and roles, `output.rs` prints.

mod client;
mod cluster;
mod keys;
mod output;
mod people;
mod watching;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};

use store_utl::Exit;

use self::client::Client;
use self::output::Output;
use crate::failure::Failure;
use crate::flags::{duration, go_bool};
use crate::{child, prompt};

/// Where members are unless somebody says: the ports of today and of etcd 0.4.
const DEFAULT_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

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
    /// Do not ask for all members first: only the exit status is another when nobody answers
    #[arg(long, global = true)]
    no_sync: bool,
    /// simple, extended or json
    #[arg(short, long, global = true, default_value = "simple")]
    output: String,
    /// Members to talk to, separated by commas [default: http://127.0.0.1:2379,http://127.0.0.1:4001]
    #[arg(
        long,
        global = true,
        alias = "endpoint",
        alias = "peers",
        short = 'C',
        env = "ETCDCTL_ENDPOINTS",
        value_delimiter = ','
    )]
    endpoints: Option<Vec<String>>,
    /// Domain whose records name the members
    #[arg(short = 'D', long, global = true, env = "ETCDCTL_DISCOVERY_SRV")]
    discovery_srv: Option<String>,
    /// Name of the service in these records
    #[arg(long, global = true, env = "ETCDCTL_DISCOVERY_SRV_NAME")]
    discovery_srv_name: Option<String>,
    /// Take members in the clear from them as well
    #[arg(long, global = true, env = "ETCDCTL_INSECURE_DISCOVERY", default_value = "false", num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_parser = go_bool)]
    insecure_discovery: bool,
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
    ClusterHealth(cluster::Health),
    /// Members
    #[command(subcommand)]
    Member(cluster::Member),
    /// Copy the data folder of a member that is stopped
    Backup(store_utl::Backup),
    /// Users
    #[command(subcommand)]
    User(people::User),
    /// Roles
    #[command(subcommand)]
    Role(people::Role),
    /// Whether users are asked who they are
    #[command(subcommand)]
    Auth(people::Auth),
}

/// Runs the command that `words` spell out and gives its exit status.
pub(crate) async fn run(words: Vec<OsString>) -> ExitCode {
    let words = std::iter::once("etcdctl".into()).chain(words);
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) if error.exit_code() == 0 => error.exit(),
        Err(error) => return misread(&error).report(),
    };
    match perform(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Words that are no command, as etcdctl answers them: a family of commands alone shows its own.
fn misread(error: &clap::Error) -> Failure {
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => {
            print!("{error}");
            Failure::told().ending(Exit::Done)
        }
        (_, Some(ContextValue::String(word))) => {
            refused(format_args!("No help topic for '{word}'")).ending(Exit::InvalidInput)
        }
        _ => Failure::error(store_utl::first_line(error)),
    }
}

async fn perform(cli: Cli) -> Result<(), Failure> {
    if let Command::Backup(backup) = cli.command {
        return Ok(backup.run()?);
    }
    let output = Output::of(&cli.flags.output)?;
    let client = Client::new(&cli.flags).await?;
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
        Command::ClusterHealth(health) => watched(health.run(&client)).await,
        Command::Member(member) => member.run(&client).await,
        Command::Backup(_) => Ok(()),
        Command::User(user) => user.run(&client).await,
        Command::Role(role) => role.run(&client).await,
        Command::Auth(auth) => auth.run(&client).await,
    }
}

/// What was typed makes no sense, or the store says no; where etcdctl says so without `Error:` before it.
fn refused(line: impl std::fmt::Display) -> Failure {
    eprintln!("{line}");
    Failure::told()
}

/// Goes on until it is told to end.
async fn watched(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // Safe to cancel: it only reads.
    tokio::select! {
        done = work => done,
        () = child::interrupted() => Ok(()),
    }
}

impl Flags {
    /// Where members are, by the names this had in older releases too.
    fn endpoints(&self) -> Vec<String> {
        let older = || {
            let of = |name| std::env::var(name).ok().filter(|list| !list.is_empty());
            let list = of("ETCDCTL_ENDPOINT").or_else(|| of("ETCDCTL_PEERS"));
            let list = list.unwrap_or_else(|| DEFAULT_ENDPOINTS.to_owned());
            list.split(',').map(str::to_owned).collect()
        };
        self.endpoints.clone().unwrap_or_else(older)
    }

    /// Name and password, asked for if need be.
    fn credentials(&self) -> Result<Option<String>, Failure> {
        match &self.username {
            None => Ok(None),
            Some(user) if user.contains(':') => Ok(Some(user.clone())),
            Some(user) => Ok(Some(format!("{user}:{}", prompt::hidden("Password: ")?))),
        }
    }
}
