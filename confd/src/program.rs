//! confd as a program: start, report, wait for signals, end with an exit code.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Args, Config};
use crate::faults::chain;
use crate::run::{self, Agent};
use crate::verb::{self, Verb};

/// It could not start.
const FAILED: u8 = 1;
/// The settings cannot be; clap's status for the same.
const MISUSED: u8 = 2;

/// Runs confd until a signal, or with `--onetime` until every resource has had its pass. Must be called inside a tokio
/// runtime; logging is the caller's (see [`Config::log_level`]).
///
/// Exit codes: 0 when asked to end or when `--onetime` did everything; 1 when it could not start or a resource failed
/// with `--onetime`; 2 when the settings cannot be; 130 when a second signal forced the end.
pub async fn main(args: Args) -> ExitCode {
    let config = match args.resolve() {
        Ok(config) => config,
        Err(error) => return refuse(MISUSED, &error, error.hint().as_deref()),
    };
    run(config).await
}

/// As [`main`], with a configuration already checked.
pub async fn run(config: Config) -> ExitCode {
    let config = match &config.request {
        Some(request) if request.verb == Verb::Dev => verb::preview(config),
        Some(request) => return verb::run(request, &config).await,
        None => config,
    };
    if config.check_config {
        return check(&config);
    }
    let (onetime, patience) = (config.onetime, config.startup_timeout);
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return refuse(FAILED, &error, None),
    };
    let agent = match Agent::start(config).await {
        Ok(agent) => agent,
        Err(error) => return refuse(FAILED, &error, error.hint().as_deref()),
    };
    let code = if onetime {
        tokio::select! {
            // Both arms only observe.
            code = finish(&agent, patience) => code,
            () = signals.end() => ExitCode::FAILURE,
        }
    } else {
        serve(&agent, &mut signals).await;
        ExitCode::SUCCESS
    };
    tokio::select! {
        // Ends within seconds by itself.
        () = agent.stop() => code,
        // A second signal: the person does not want to wait.
        () = signals.end() => ExitCode::from(130),
    }
}

/// Says what is wrong with the resources and their templates.
#[expect(clippy::print_stdout, reason = "the answer that was asked for")]
fn check(config: &Config) -> ExitCode {
    let units = match run::load(config) {
        Ok(units) => units,
        Err(error) => return refuse(FAILED, &error, error.hint().as_deref()),
    };
    let mut faults = 0;
    for (name, unit) in &units {
        match unit {
            Ok(unit) => {
                println!("{name}: good, keeps {}", unit.resource.dest.display());
                for warning in &unit.resource.warnings {
                    println!("{name}: warning: {warning}");
                }
            }
            Err(fault) => {
                faults += 1;
                println!("{name}: {}", fault.message);
                if let Some(hint) = &fault.hint {
                    println!("{name}: hint: {hint}");
                }
            }
        }
    }
    if let Some(only) = config.only.as_ref().filter(|_| units.is_empty()) {
        println!("{only}: there is no resource of this name");
        faults += 1;
    }
    println!("{} resources, {faults} with faults", units.len());
    if faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// Until a signal says to end.
async fn serve(agent: &Agent, signals: &mut Signals) {
    loop {
        tokio::select! {
            // Signals stay pending until taken.
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hangup.recv() => agent.reload().await,
        }
    }
}

/// Until every resource has had its pass.
async fn finish(agent: &Agent, patience: Duration) -> ExitCode {
    let mut status = agent.status();
    let listed = async {
        let mut status = agent.status();
        let known = status
            .wait_for(|status| status.source.revision > 0 || status.finished.is_some())
            .await;
        known.is_ok()
    };
    if tokio::time::timeout(patience, listed).await.is_err() {
        let status = status.borrow();
        let reason = status.source.error.as_deref().unwrap_or("no answer");
        tracing::error!(
            hint = status.source.hint.as_deref(),
            "no keys within {patience:?}: {reason}"
        );
        return ExitCode::FAILURE;
    }
    let finished = status.wait_for(|status| status.finished.is_some()).await;
    match finished.ok().and_then(|status| status.finished) {
        Some(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what a person needs when nothing runs yet"
)]
fn refuse(status: u8, error: &dyn std::error::Error, hint: Option<&str>) -> ExitCode {
    eprintln!("error: {}", chain(error));
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(status)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            // Signals stay pending until taken.
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
