//! A web server for containers that come and go: every answer names the instance that gave it, and on SIGTERM it
//! keeps serving for a while before it leaves, as a well-behaved service does. Owns draining; knows nothing of
//! registries or proxies. Settings come by environment, see [`Settings`].
//!
//! Why a drain at all: a container gets SIGTERM at the same moment as the rest of the world hears about it. Whoever
//! leaves at once fails every request that is already on its way through a proxy that has not been told yet.

mod connection;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the environment says.
struct Settings {
    /// `PORT`: where to listen, on all addresses.
    port: u16,
    /// `INSTANCE`: the name in the answers; the host name (a container's short id) if not given.
    instance: String,
    /// `DRAIN_MS`: how long to serve on after SIGTERM. 2 s by default: some hundred times what it takes until a
    /// proxy has been reloaded without this instance, and well below the 10 s after which `docker stop` kills.
    drain: Duration,
    /// `START_MS`: how long to wait before listening, as slow services do.
    start: Duration,
    /// `CRASH_MS`: exit with status 1 after this long; for crash loops.
    crash: Option<Duration>,
}

impl Settings {
    fn from_environment() -> Result<Self, String> {
        let number = |name: &str| match std::env::var(name) {
            Ok(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|cause| format!("{name}={text}: {cause}")),
            Err(_) => Ok(None),
        };
        let port = number("PORT")?.unwrap_or(8080);
        Ok(Self {
            port: u16::try_from(port).map_err(|cause| format!("PORT={port}: {cause}"))?,
            instance: std::env::var("INSTANCE").unwrap_or_else(|_| host_name()),
            drain: Duration::from_millis(number("DRAIN_MS")?.unwrap_or(2_000)),
            start: Duration::from_millis(number("START_MS")?.unwrap_or(0)),
            crash: number("CRASH_MS")?.map(Duration::from_millis),
        })
    }
}

/// A scratch image has no `hostname` program; the kernel tells as well.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let served = match Settings::from_environment() {
        Ok(settings) => serve(settings).await,
        Err(reason) => Err(reason),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say(&format!("error: {reason}"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// When it cannot listen or hear signals.
async fn serve(settings: Settings) -> Result<(), String> {
    // Before anything else: as process 1 of a container, a signal without a handler is ignored by the kernel.
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|cause| format!("hear SIGTERM: {cause}"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|cause| format!("hear SIGINT: {cause}"))?;
    if let Some(delay) = settings.crash {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            say("crashing as told");
            std::process::exit(1);
        });
    }
    tokio::time::sleep(settings.start).await;
    let listener = TcpListener::bind(("0.0.0.0", settings.port))
        .await
        .map_err(|cause| format!("listen on port {}: {cause}", settings.port))?;
    say(&format!(
        "{} listens on port {}",
        settings.instance, settings.port
    ));

    let (draining, drain_seen) = watch::channel(false);
    let instance: Arc<str> = settings.instance.into();
    let mut connections = JoinSet::new();
    let mut end = None;
    loop {
        let leave_at = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Each arm may be dropped half-way: accept, recv and join_next lose nothing, sleep_until has an absolute end.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection::serve(stream, Arc::clone(&instance), drain_seen.clone()));
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = terminate.recv() => start_drain(&draining, &mut end, settings.drain),
            _ = interrupt.recv() => start_drain(&draining, &mut end, settings.drain),
            () = leave_at => break,
        }
    }
    drop(listener);
    // What was accepted is answered; idle connections have closed by themselves when the drain began.
    let _ = tokio::time::timeout(settings.drain, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    say("left");
    Ok(())
}

/// Only the first signal sets the end: further ones do not prolong it.
fn start_drain(
    draining: &watch::Sender<bool>,
    end: &mut Option<tokio::time::Instant>,
    drain: Duration,
) {
    if end.is_none() {
        say(&format!("draining for {} ms", drain.as_millis()));
        *end = Some(tokio::time::Instant::now() + drain);
        draining.send_replace(true);
    }
}

/// A line for `docker logs`; nobody listening is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
