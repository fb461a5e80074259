//! `muster store` as a program: flags in, exit status out.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::args::Args;
use crate::config::line::{LineError, Said};
use crate::config::{Config, help};
use crate::discovery;
use crate::fatal::chain;
use crate::server::Server;
use crate::supervisor::Supervisor;
use crate::version;

/// Exit status after a second Ctrl-C: what a shell shows for a program ended by one.
const FORCED: u8 = 130;

/// Exit status for settings that cannot be.
const USAGE: u8 = 2;

/// As what a store is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guise {
    /// As a part of this program.
    Own,
    /// As `etcd`, whose help has a shape that scripts know.
    Etcd,
}

/// Runs a store until it is told to stop. `flags` are those after the program's name; the
/// environment is read as etcd reads it. Needs a runtime with network and time.
pub async fn run(flags: impl IntoIterator<Item = OsString>, guise: Guise) -> ExitCode {
    let said = match Said::read(flags, environment()) {
        Err(LineError::Clap(error))
            if guise == Guise::Etcd && error.kind() == ErrorKind::DisplayHelp =>
        {
            print!("{}", help::as_etcd());
            return ExitCode::SUCCESS;
        }
        Ok(said) => said,
        Err(LineError::Clap(error)) => {
            // Help goes to standard output and is no failure; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
        Err(LineError::Config(error)) => return misused(&error, error.hint()),
    };
    if said.args.version {
        print!("{}", version::as_etcd());
        return ExitCode::SUCCESS;
    }
    if said.args.print_config {
        for setting in &said.effective {
            println!("{setting}");
        }
        return ExitCode::SUCCESS;
    }
    let asked = match discovery::asked(&said.args) {
        Ok(asked) => asked,
        Err(error) => return misused(&error, error.hint()),
    };
    let mut config = match Config::checked(said.args.clone()) {
        Ok(config) => config,
        Err(error) => return misused(&error, error.hint()),
    };
    if let Err(error) = config.logging.start() {
        return report(
            &format!("failed to open a log file: {error}"),
            Some("check --log-outputs: a folder that exists, and the right to write there".into()),
        );
    }
    for warning in said.warnings.iter().chain(&config.warnings) {
        tracing::warn!("{warning}");
    }
    if asked && !discovery::has_data(&config.data_dir) {
        config = match discover(said.args).await {
            Ok(config) => config,
            Err(status) => return status,
        };
    }
    serve(config).await
}

/// The settings with the members that were found, unless a signal ends the search.
async fn discover(args: Args) -> Result<Config, ExitCode> {
    let mut signals = Signals::new()
        .map_err(|error| report(&format!("failed to listen for signals: {error}"), None))?;
    let found = tokio::select! {
        // Safe to cancel: what was said of this member stays, and it says the same again.
        () = signals.stop() => return Err(ExitCode::SUCCESS),
        found = discovery::found(args) => found,
    };
    let args =
        found.map_err(|error| report(&format!("failed to {}", chain(&error)), error.hint()))?;
    Config::checked(args).map_err(|error| misused(&error, error.hint()))
}

async fn serve(config: Config) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return report(&format!("failed to listen for signals: {error}"), None),
    };
    let supervisor = Supervisor::of_environment(|name| std::env::var(name).ok());
    tracing::info!(
        version = version::PRODUCT_VERSION,
        etcd_version = version::ETCD_VERSION,
        name = config.name,
        data_dir = %config.data_dir.display(),
        "starting"
    );
    let server = tokio::select! {
        // Safe to cancel: the process ends, and what was being recovered stays as it was.
        () = signals.stop() => return ExitCode::SUCCESS,
        started = Server::start(config) => match started {
            Ok(server) => server,
            Err(error) => {
                let text = format!("failed to {}", chain(&error));
                return report(&text, error.hint());
            }
        },
    };
    tokio::select! {
        // Safe to cancel: it only waits.
        ready = server.ready() => if ready.is_ok() {
            let addresses = server.client_addrs();
            tracing::info!(?addresses, "ready to serve client requests");
            supervisor.ready();
            tokio::select! {
                // Safe to cancel: a signal not returned stays pending.
                () = signals.stop() => {}
                // Safe to cancel: a sign of life more or less.
                () = supervisor.watch(server.handle()) => {}
            }
        },
        // Safe to cancel: a signal not returned stays pending.
        () = signals.stop() => {}
    }
    supervisor.stopping();
    tracing::info!("stopping; once more to force");
    tokio::select! {
        () = server.stop() => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        () = signals.stop() => {
            tracing::warn!("forced to stop");
            ExitCode::from(FORCED)
        }
    }
}

/// Ctrl-C and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of either. Safe to cancel.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The environment, with the product's own variables for the log under etcd's names, which win.
fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    let ours = [
        ("MUSTER_LOG_LEVEL", "ETCD_LOG_LEVEL"),
        ("MUSTER_LOG_FORMAT", "ETCD_LOG_FORMAT"),
    ];
    let ours = ours.into_iter().filter_map(|(ours, etcd)| {
        let value = std::env::var_os(ours)?;
        Some((OsString::from(etcd), value))
    });
    ours.chain(std::env::vars_os())
}

/// Settings that cannot be; the status is clap's for the same.
fn misused(error: &dyn Error, hint: Option<String>) -> ExitCode {
    report(&chain(error), hint);
    ExitCode::from(USAGE)
}

/// Prints the error as one line, and the hint as another.
fn report(error: &str, hint: Option<String>) -> ExitCode {
    eprintln!("error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::FAILURE
}
