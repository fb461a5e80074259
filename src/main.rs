//! The `muster` program: finds out which of its programs was asked for, sets logging up, and hands over. Owns nothing
//! else; each part stands in a crate of its own, and `up.rs` runs them together.

mod failure;
mod health;
mod logging;
mod manual;
mod name;
mod pause;
mod up;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use store_server::program::Guise;
use tokio::runtime::Runtime;

use crate::failure::{Failure, STATUSES};
use crate::logging::Logging;

/// Made for many threads that allocate and free small things, which is what a store and a web of streams do.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Containers come and go; muster keeps track of them and keeps everything in front of them configured.
#[derive(Debug, Parser)]
#[command(
    name = "muster",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All on this machine: store, registrator and confd in one process
    Up(up::Args),
    /// The key-value store alone; speaks the etcd v3 protocol, takes etcd's flags
    #[command(disable_help_flag = true)]
    Store(StoreFlags),
    /// The registrator alone: keeps this host's containers registered in a store
    Registrator(Box<registrator::Args>),
    /// The confd alone: keeps configuration files equal to what a store says
    Confd(Box<confd::Args>),
    /// What etcdctl does: read, write and look after a store; takes etcdctl's commands and flags
    #[command(disable_help_flag = true)]
    Ctl(CtlWords),
    /// What etcdutl does: look at a snapshot, restore it; takes etcdutl's commands and flags
    #[command(disable_help_flag = true)]
    Utl(CtlWords),
    /// Forwards connections to the members of a cluster (`gateway start`); takes etcd's flags
    #[command(disable_help_flag = true)]
    Gateway(CtlWords),
    /// Serves clients on behalf of a cluster (`grpc-proxy start`); takes etcd's flags
    #[command(disable_help_flag = true)]
    GrpcProxy(CtlWords),
    /// Looks at a store and its machine, and says what to do about what it finds
    #[command(disable_help_flag = true)]
    Doctor(CtlWords),
    /// Says whether the members can be brought to this version one after the other (`upgrade --check`)
    #[command(disable_help_flag = true)]
    Upgrade(CtlWords),
    /// Services and their instances, with health and age
    #[command(disable_help_flag = true)]
    Services(CtlWords),
    /// Which registrators and confds live, how far each is, and which files fail
    #[command(disable_help_flag = true)]
    Agents(CtlWords),
    /// The store at a glance: members, leader, room, history, alarms, leases near their end
    #[command(disable_help_flag = true)]
    Status(CtlWords),
    /// Asks the parts that run here whether they are well; for health checks
    Health(health::Args),
    /// Holds process numbers and networks that other containers join, until it is told to stop
    Pause,
    /// Completions for a shell, of muster and of every name it answers to
    Completions(manual::Completions),
    /// Manual pages: one to standard output, or all of them into a folder
    Man(manual::Man),
    /// Version of this program, and of the etcd whose behaviour its store has
    Version,
}

/// The store reads its flags itself, the way etcd does: one dash or two, and `ETCD_…` variables.
#[derive(Debug, clap::Args)]
struct StoreFlags {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    flags: Vec<OsString>,
}

/// These read their flags themselves: they stand before its commands and after them.
#[derive(Debug, clap::Args)]
struct CtlWords {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<OsString>,
}

fn main() -> ExitCode {
    if is_registrator() {
        in_small_pages();
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    let guise = name::guise(&words);
    let mut words = name::spelled_out(words);
    let notes = name::translated(&mut words);
    let logging = match Logging::taken_from(&mut words, |name| std::env::var(name).ok()) {
        Ok(logging) => logging,
        Err(failure) => return failure.report(),
    };
    let cli = match parse(words) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(cli.command, guise, &logging, &notes) {
        Ok(status) => status,
        Err(failure) => failure.report(),
    }
}

/// Whether this is the registrator, told before anything is allocated that stays.
fn is_registrator() -> bool {
    let mut first = std::env::args_os().take(2);
    first.any(|word| Path::new(&word).file_name() == Some("registrator".as_ref()))
}

/// Takes memory in small pages. The allocator asks for huge ones, which what a store holds fills, and the few megabytes
/// of a registrator only touch. It has asked for two, 4 MiB, by the time `main` runs, so the program begins once more: the
/// setting outlives that (prctl(2), `PR_SET_THP_DISABLE`), and what was allocated does not.
fn in_small_pages() {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    // A kernel without that setting has nothing to switch off.
    if let Ok(false) = rustix::thread::transparent_huge_pages_are_disabled()
        && rustix::thread::disable_transparent_huge_pages(true).is_ok()
    {
        let mut again = std::process::Command::new(ITSELF);
        again.arg0(name).args(words);
        if std::env::var_os(PURGE_DELAY).is_none() {
            again.env(PURGE_DELAY, "0");
        }
        // Comes back only when that cannot be done; then it is done with what there is.
        let _ = again.exec();
        return;
    }
    // The kernel calls a process after what it was started from, which is this name's link now.
    let name = Path::new(&name).file_name().unwrap_or_default();
    if let Ok(name) = std::ffi::CString::new(name.as_encoded_bytes()) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// How long the allocator keeps what was given back, in milliseconds. None at all costs a registrator no time that could be
/// measured, and saves 2 MiB beside a thousand containers, which it otherwise keeps for as long as nothing happens.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// The program that runs, also when its file was replaced meanwhile (proc(5)).
const ITSELF: &str = "/proc/self/exe";

fn run(
    command: Command,
    guise: Guise,
    logging: &Logging,
    notes: &[String],
) -> Result<ExitCode, Failure> {
    match command {
        Command::Up(args) => {
            // Its status block tells the state; the log only what a person should look at.
            logging.start("warn");
            runtime()?.block_on(up::run(&args))
        }
        // It keeps its log as its own flags say.
        Command::Store(store) => {
            let flags = logging.words.iter().cloned().chain(store.flags);
            Ok(runtime()?.block_on(store_server::program::run(flags, guise)))
        }
        Command::Registrator(args) => {
            logging.start("info");
            Ok(registrator::main(&args))
        }
        Command::Confd(args) => {
            let config = args
                .resolve()
                .map_err(|error| Failure::of(&error).maybe_hint(error.hint()))?;
            // Its configuration file may name a level.
            logging.start(&config.log_level);
            for note in notes {
                tracing::warn!("{note}");
            }
            Ok(runtime()?.block_on(confd::run_config(config)))
        }
        Command::Ctl(ctl) => Ok(runtime()?.block_on(store_ctl::run(ctl.words))),
        Command::Gateway(gateway) => {
            logging.start("info");
            Ok(runtime()?.block_on(store_proxy::gateway(gateway.words)))
        }
        Command::GrpcProxy(proxy) => {
            logging.start("info");
            Ok(runtime()?.block_on(store_proxy::grpc_proxy(proxy.words)))
        }
        Command::Doctor(doctor) => Ok(runtime()?.block_on(store_ctl::doctor::run(doctor.words))),
        Command::Upgrade(upgrade) => {
            Ok(runtime()?.block_on(store_ctl::upgrade::run(upgrade.words)))
        }
        Command::Health(health) => health.run(),
        Command::Pause => pause::run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
        Command::Services(services) => {
            Ok(runtime()?.block_on(store_ctl::overview::services(services.words)))
        }
        Command::Agents(agents) => {
            Ok(runtime()?.block_on(store_ctl::overview::agents(agents.words)))
        }
        Command::Status(status) => {
            Ok(runtime()?.block_on(store_ctl::overview::status(status.words)))
        }
        Command::Utl(utl) => Ok(store_utl::run(utl.words)),
        Command::Version => {
            println!("muster {}", env!("CARGO_PKG_VERSION"));
            println!(
                "etcd {} (behaviour of the store)",
                store_server::version::ETCD_VERSION
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|cause| {
        Failure::new(format!("start worker threads: {cause}"))
            .hint("raise the limit on processes and threads")
    })
}

fn parse(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    let matches = Cli::command()
        .after_help(after_help())
        .try_get_matches_from(words)?;
    Cli::from_arg_matches(&matches)
}

fn after_help() -> String {
    let mut text = String::from(
        "Every command also takes --log-level (error … trace) and --log-format (text, json).\n\
         Through a link called etcd, etcdctl, etcdutl, registrator or confd, muster is that program.\n\nExit statuses:\n",
    );
    for (status, meaning) in STATUSES {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {status:>3}  {meaning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
