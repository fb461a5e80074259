//! confd as a program: start, report, wait for signals, end with an exit code.

use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::child::Settings;
use crate::config::{Args, Config};
use crate::faults::chain;
use crate::run::{self, Agent};
use crate::supervisor::{Order, supervise};
use crate::systemd;
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
    let child = config.child.clone().filter(|_| !config.noop);
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
        let serving = async {
            match child {
                Some(child) => keep(&agent, child, &mut signals).await,
                None => serve(&agent, &mut signals).await,
            }
        };
        tokio::select! {
            // Ends when it was asked to.
            () = serving => {}
            // Only tells what it sees, for ever.
            () = systemd::keep(&agent) => {}
        }
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

/// The same with a service of its own, which ends first.
async fn keep(agent: &Agent, settings: Settings, signals: &mut Signals) {
    // 16: signals that come while others are handed on.
    let (order, orders) = mpsc::channel(16);
    let mut others = match Others::new() {
        Ok(others) => others,
        Err(error) => {
            tracing::warn!(%error, "signals are not handed on to the service");
            Others::none()
        }
    };
    let kept = supervise(settings, agent.status(), orders);
    tokio::pin!(kept);
    let mut ending = false;
    loop {
        let told = tokio::select! {
            // Goes on where it was.
            () = &mut kept => return,
            // Signals stay pending until taken.
            _ = signals.terminate.recv() => Order::Stop,
            _ = signals.interrupt.recv() => Order::Stop,
            _ = signals.hangup.recv() => {
                agent.reload().await;
                continue;
            }
            other = others.next() => Order::Signal(other),
        };
        if ending && told == Order::Stop {
            // A second signal: the person does not want to wait.
            return;
        }
        // Fails if it is over, or if it does not take what was handed on before; then it is asked again.
        ending |= order.try_send(told).is_ok() && told == Order::Stop;
    }
}

/// Signals that are for the service alone.
struct Others(Vec<(Signal, rustix::process::Signal)>);

impl Others {
    fn new() -> std::io::Result<Self> {
        use rustix::process::Signal as Number;
        let kinds = [
            (SignalKind::user_defined1(), Number::USR1),
            (SignalKind::user_defined2(), Number::USR2),
            (SignalKind::quit(), Number::QUIT),
            (SignalKind::window_change(), Number::WINCH),
        ];
        let all = kinds.into_iter();
        let all = all.map(|(kind, number)| Ok((signal(kind)?, number)));
        all.collect::<std::io::Result<_>>().map(Self)
    }

    fn none() -> Self {
        Self(Vec::new())
    }

    /// The next one. Safe to cancel: signals stay pending until taken.
    async fn next(&mut self) -> rustix::process::Signal {
        std::future::poll_fn(|context| {
            let found = self.0.iter_mut().find_map(|(signal, number)| {
                matches!(signal.poll_recv(context), Poll::Ready(Some(()))).then_some(*number)
            });
            found.map_or(Poll::Pending, Poll::Ready)
        })
        .await
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
