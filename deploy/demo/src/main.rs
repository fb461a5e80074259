//! `make demo`: the whole loop on this machine. Containers start and stop, muster registers them and renders nginx's
//! configuration, a client sends requests all the time and counts what fails. Each step is one function here.

mod client;
mod journal;
mod observers;
mod report;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use end_to_end::docker::WEB_IMAGE;
use end_to_end::wait;

use crate::journal::Way;
use crate::stage::{PROXY_PORT, Stage};

/// Containers come and go behind nginx on 127.0.0.1:8080, and no request is lost.
#[derive(Debug, Parser)]
struct Args {
    /// The muster binary to show.
    #[arg(long, default_value = "target/release/muster")]
    muster: PathBuf,
    /// Run through, clean up and exit: 0 only if everything held.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let interrupted = Arc::new(AtomicBool::new(false));
    hear_interrupts(Arc::clone(&interrupted));
    match show(&args, &interrupted) {
        Ok(broken) if broken.is_empty() => ExitCode::SUCCESS,
        Ok(broken) => {
            for promise in broken {
                eprintln!("did not hold: {promise}");
            }
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The steps in order; gives the promises that did not hold.
fn show(args: &Args, interrupted: &AtomicBool) -> Result<Vec<String>, String> {
    println!("building the containers' image from scratch and starting muster and nginx …");
    let mut stage = Stage::set(&args.muster)?;
    println!("  store      {}", stage.endpoint());
    println!("  nginx      http://127.0.0.1:{PROXY_PORT}/");
    println!("  files      {}", stage.work().display());
    let mut broken = Vec::new();
    stage.start_client();
    let steps: [Step; 4] = [three_containers, scale_to_five, kill_one, stop_one];
    for (number, step) in (1..).zip(steps) {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        if let Err(reason) = step(&mut stage, number, &mut broken) {
            return Err(format!(
                "{reason}\nmuster said last:\n{}",
                stage.muster_tail()
            ));
        }
    }
    if !args.once {
        stay_up(&stage, interrupted);
    }
    if let Some(client) = stage.client() {
        let (answered, failed) = client.total();
        println!("\nin all: {answered} requests answered, {failed} failed");
    }
    stage.end_asking();
    if let Err(reason) = stage.stop_muster() {
        broken.push(reason);
    }
    if broken.is_empty() {
        println!("everything held; cleaning up");
    }
    Ok(broken)
}

type Step = fn(&mut Stage, usize, &mut Vec<String>) -> Result<(), String>;

fn three_containers(
    stage: &mut Stage,
    number: usize,
    broken: &mut Vec<String>,
) -> Result<(), String> {
    report::heading(number, "three web containers");
    stage.scale_to(3)?;
    stage.settle()?;
    // From here on somebody serves, and every request counts.
    next_step(stage);
    settled(stage, number, broken, Failures::Counted)?;
    report::arrivals(&ways(stage));
    Ok(())
}

fn scale_to_five(stage: &mut Stage, number: usize, broken: &mut Vec<String>) -> Result<(), String> {
    report::heading(number, "scale to five");
    next_step(stage);
    let before = stage.expected();
    stage.scale_to(5)?;
    settled(stage, number, broken, Failures::Counted)?;
    let mut added = ways(stage);
    added.retain(|(instance, _)| !before.contains(instance));
    report::arrivals(&added);
    Ok(())
}

fn kill_one(stage: &mut Stage, number: usize, broken: &mut Vec<String>) -> Result<(), String> {
    report::heading(number, "docker kill one");
    next_step(stage);
    let Some(container) = stage.take_container() else {
        return Ok(());
    };
    container.try_does(&["kill"])?;
    settled(stage, number, broken, Failures::Reported)?;
    report::departure(
        container.short_id(),
        &stage.journal().way_of(container.short_id()),
    );
    println!(
        "  (a killed container answers nothing any more; nginx is told to ask the next one on an error or after"
    );
    println!(
        "  500 ms without a connection, which hides most of it from clients; what remains is counted above)"
    );
    Ok(())
}

fn stop_one(stage: &mut Stage, number: usize, broken: &mut Vec<String>) -> Result<(), String> {
    report::heading(number, "docker stop one, which drains");
    next_step(stage);
    let Some(container) = stage.take_container() else {
        return Ok(());
    };
    container.try_does(&["stop"])?;
    settled(stage, number, broken, Failures::Counted)?;
    report::departure(
        container.short_id(),
        &stage.journal().way_of(container.short_id()),
    );
    let status = container.inspect("{{.State.ExitCode}}")?;
    if status != "0" {
        broken.push(format!(
            "the stopped container drains and exits with 0 (exited with {status})"
        ));
    }
    Ok(())
}

/// Whether a failed request in a step breaks the promise.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failures {
    Counted,
    Reported,
}

/// Waits until all agree, lets the client go on for a moment, and reports the step.
fn settled(
    stage: &mut Stage,
    number: usize,
    broken: &mut Vec<String>,
    failures: Failures,
) -> Result<(), String> {
    stage.settle()?;
    let Some(client) = stage.client() else {
        return Ok(());
    };
    // 300 requests after the change: what it broke, if anything, has shown by then.
    let seen = client.count(number).answered;
    wait::try_until("requests to go on", wait::LONG, || {
        let count = client.count(number);
        if count.answered >= seen + 300 {
            Ok(())
        } else {
            Err(format!("{count:?}"))
        }
    })?;
    report::registry(&stage.journal().registry());
    report::upstreams(&stage.journal().file());
    let count = client.count(number);
    report::requests(&count);
    if failures == Failures::Counted && count.failed > 0 {
        broken.push(format!(
            "step {number}: no request fails ({} did)",
            count.failed
        ));
    }
    Ok(())
}

fn next_step(stage: &Stage) {
    if let Some(client) = stage.client() {
        client.next_step();
    }
}

fn ways(stage: &Stage) -> Vec<(String, Way)> {
    let way = |instance: String| (instance.clone(), stage.journal().way_of(&instance));
    stage.expected().into_iter().map(way).collect()
}

/// Leaves everything running until Ctrl-C, saying when something changes.
fn stay_up(stage: &Stage, interrupted: &AtomicBool) {
    println!(
        "\nstays up; Ctrl-C ends it and takes its containers away. Things to try in another terminal:"
    );
    println!("  curl http://127.0.0.1:{PROXY_PORT}/");
    println!("  docker run -d --label SERVICE_NAME=web {WEB_IMAGE}");
    println!(
        "  etcdctl --endpoints {} get --prefix /services/",
        stage.endpoint()
    );
    let mut registry = stage.journal().registry();
    while !interrupted.load(Ordering::Relaxed) {
        let now = stage.journal().registry();
        if now != registry {
            println!();
            report::registry(&now);
            registry = now;
        }
        // 200 ms: quick for an eye, nothing for a machine.
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Sets the flag on Ctrl-C or SIGTERM. Nothing forces: every wait has its deadline, and the containers have to go.
fn hear_interrupts(interrupted: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                return;
            };
            loop {
                tokio::select! {
                    // Both lose nothing when dropped.
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                interrupted.store(true, Ordering::Relaxed);
                println!("\nending …");
            }
        });
    });
}
