//! Performs what `child.rs` orders: one process in a group of its own, signals for it, and what the first process of a
//! container owes to others: waiting for those whose parent has ended.

use std::collections::BTreeSet;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, waitpid,
};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::child::{Effect, Input, Machine, Settings};
use crate::drivers::signal_number;
use crate::status::Status;

/// 1 s between two looks for ended processes that are nobody's: none hurts in so short a time.
const REAP: Duration = Duration::from_secs(1);

/// What people ask of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// End it, and then all.
    Stop,
    /// Hand a signal on.
    Signal(Signal),
}

/// Keeps the child until it was told to stop.
pub(crate) async fn supervise(
    settings: Settings,
    mut status: watch::Receiver<Status>,
    mut orders: mpsc::Receiver<Order>,
) {
    let begun = Instant::now();
    let seed = u64::from(std::process::id());
    let mut keeper = Keeper {
        command: settings.command.clone(),
        child: None,
        ended: BTreeSet::new(),
    };
    let mut machine = Machine::new(settings, seed);
    let mut effects = Vec::new();
    let mut reaping = tokio::time::interval(REAP);
    let mut input = files(&status.borrow_and_update());
    loop {
        machine.step(begun.elapsed(), input, &mut effects);
        let failed = effects.drain(..).any(|effect| !keeper.perform(effect));
        if failed {
            input = Input::Ended;
            continue;
        }
        if machine.is_over() {
            return;
        }
        let deadline = machine.next_deadline().map(|deadline| begun + deadline);
        input = loop {
            tokio::select! {
                // The newest value is read below.
                Ok(()) = status.changed() => break files(&status.borrow_and_update()),
                // Waiting for a child again gives the same answer.
                ended = keeper.wait() => {
                    tracing::warn!("the service ended: {ended}");
                    break Input::Ended;
                }
                () = sleep_until(deadline) => break Input::Tick,
                // An order stays in the channel until received.
                order = orders.recv() => match order {
                    Some(Order::Signal(signal)) => keeper.signal(signal),
                    Some(Order::Stop) | None => break Input::Stop,
                },
                // A tick that was not seen comes at once.
                _ = reaping.tick() => keeper.reap(),
            }
        };
    }
}

fn files(status: &Status) -> Input {
    // Those with a reload of their own have another service.
    let own = status.resources.iter().filter(|resource| !resource.told);
    Input::Files {
        ready: status.ready,
        version: own.map(|resource| resource.replaced).sum(),
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

struct Keeper {
    command: String,
    child: Option<Child>,
    /// Ended processes that nobody had waited for at the last look.
    ended: BTreeSet<i32>,
}

impl Keeper {
    /// False if there is no child to be waited for.
    fn perform(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Start => return self.start(),
            Effect::Signal(name) => {
                if let Some(signal) = signal_number(name) {
                    tracing::info!("the service is sent SIG{name}");
                    self.signal(signal);
                }
            }
            Effect::Kill => {
                tracing::warn!("the service does not end: it is killed");
                if let Some(pid) = self.pid() {
                    // Fails only if it has ended.
                    let _ = kill_process_group(pid, Signal::KILL);
                }
            }
        }
        true
    }

    fn start(&mut self) -> bool {
        let mut command = Command::new("/bin/sh");
        // The shell becomes the service, so that signals reach it.
        command.arg("-c").arg(format!("exec {}", self.command));
        command.process_group(0).kill_on_drop(true);
        match command.spawn() {
            Ok(child) => {
                tracing::info!(pid = child.id(), "service started");
                self.child = Some(child);
                true
            }
            Err(error) => {
                tracing::error!(%error, "the service could not be started");
                false
            }
        }
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.child.as_ref()?.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // Fails only if it has ended, which is told.
            let _ = kill_process(pid, signal);
        }
    }

    /// Safe to cancel: the child stays until its end was seen.
    async fn wait(&mut self) -> String {
        let Some(child) = &mut self.child else {
            return std::future::pending().await;
        };
        let ended = child.wait().await;
        self.child = None;
        ended.map_or_else(
            |error| error.to_string(),
            |status: ExitStatus| status.to_string(),
        )
    }

    /// As the first process: waits for children that others have left. Our own are waited for by whoever started them,
    /// well before the second look.
    fn reap(&mut self) {
        if !getpid().is_init() {
            return;
        }
        let found: BTreeSet<i32> = zombies().into_iter().collect();
        for pid in found.intersection(&self.ended) {
            if let Some(pid) = Pid::from_raw(*pid) {
                // Fails only if somebody has waited for it meanwhile.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
        self.ended = found;
    }
}

/// Ended children of this process (proc(5): behind the name in brackets stand state and parent).
fn zombies() -> Vec<i32> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
        let mut words = behind.split_whitespace();
        words.next() == Some("Z") && words.next() == Some(&own)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(ready: bool, replaced: u64) -> Status {
        let resource = |told, replaced| crate::status::Resource {
            told,
            replaced,
            ..crate::status::Resource::default()
        };
        Status {
            ready,
            // A service of its own is nobody else's matter.
            resources: vec![resource(false, replaced), resource(true, replaced * 100)],
            ..Status::default()
        }
    }

    async fn says(log: &std::path::Path, text: &str) {
        let holds = async {
            while std::fs::read_to_string(log).unwrap_or_default() != text {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), holds)
            .await
            .is_err()
        {
            panic!("{:?}", std::fs::read_to_string(log));
        }
    }

    #[tokio::test]
    async fn a_child_is_started_told_started_again_and_ended() {
        let home = tempfile::tempdir().unwrap();
        let (log, script) = (home.path().join("log"), home.path().join("service"));
        let text = format!(
            "say() {{ echo $1 >> {}; }}\ntrap 'say told' HUP\ntrap 'say other' USR1\ntrap 'say end; exit 0' TERM\n\
             say start\nwhile :; do sleep 0.02; done\n",
            log.display()
        );
        std::fs::write(&script, text).unwrap();
        let settings = Settings {
            command: format!("/bin/sh {}", script.display()),
            change: Some("HUP"),
            patience: Duration::from_secs(20),
        };
        let (tell, told) = watch::channel(status(false, 0));
        let (order, orders) = mpsc::channel(1);
        let running = tokio::spawn(supervise(settings, told, orders));
        tell.send(status(true, 1)).unwrap();
        says(&log, "start\n").await;
        tell.send(status(true, 2)).unwrap();
        says(&log, "start\ntold\n").await;
        order.send(Order::Signal(Signal::USR1)).await.unwrap();
        says(&log, "start\ntold\nother\n").await;
        // It ends by itself, and is started again.
        order.send(Order::Signal(Signal::TERM)).await.unwrap();
        says(&log, "start\ntold\nother\nend\nstart\n").await;
        order.send(Order::Stop).await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), running)
            .await
            .expect("it ends")
            .unwrap();
        says(&log, "start\ntold\nother\nend\nstart\nend\n").await;
    }
}
