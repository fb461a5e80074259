//! `progress`: a task that one worker at a time works on under its lease, how far it is, and whether it is alive.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Args, Subcommand};
use store_client::mirror::{Event, KeyRange, Snapshot};
use store_recipes::name::Name;
use store_recipes::progress::{Report, Said, Stage, stage};
use tokio::sync::mpsc;

use super::service::told;
use crate::child::{self, Job};
use crate::command::lock::{Held, expired, take_key, under, under_lease};
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::format::Printer;
use crate::recipe::follow::Follow;
use crate::recipe::link::{Link, Patience};
use crate::recipe::{TOKEN, as_json, ask, checked_ttl, myself, say};
use crate::session::Session;

/// What to do with a task.
#[derive(Debug, Subcommand)]
pub enum Progress {
    /// Work on a task: each line the command prints is how far it is
    Run(Run),
    /// Say how far it is, from within the command
    Report(Tell),
    /// How a task stands, or all
    Show(Show),
    /// The same, and each change of it
    Watch(Watch),
}

/// Where tasks are.
#[derive(Debug, Args)]
struct Place {
    /// Where tasks are
    #[arg(long, default_value = "/tasks")]
    prefix: String,
}

/// `progress run TASK -- COMMAND`
#[derive(Debug, Args)]
pub struct Run {
    /// Name of the task
    task: Name,
    #[command(flatten)]
    place: Place,
    /// Fail at once when somebody works on it
    #[arg(long = "try")]
    at_once: bool,
    /// Seconds without a heartbeat after which the worker counts as gone
    #[arg(long, default_value_t = 10)]
    ttl: i64,
    /// How long the command may take to end when it counts as gone [default: a third of the ttl]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    grace: Option<Duration>,
    /// Command that works on it
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// `progress report TASK TEXT`
#[derive(Debug, Args)]
pub struct Tell {
    /// Name of the task
    task: Name,
    /// How far it is
    text: String,
    /// Token of the worker
    #[arg(long, env = TOKEN, value_name = "REVISION")]
    token: i64,
    #[command(flatten)]
    place: Place,
}

/// `progress show [TASK]`
#[derive(Debug, Args)]
pub struct Show {
    /// Name of the task
    task: Option<Name>,
    #[command(flatten)]
    place: Place,
}

/// `progress watch [TASK] [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Watch {
    /// Name of the task
    task: Option<Name>,
    #[command(flatten)]
    place: Place,
    /// Command for each change, which finds it in `MUSTER_…` variables
    #[arg(last = true)]
    command: Vec<String>,
}

impl Progress {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let json = as_json(printer)?;
        match self {
            Self::Run(run) => run.run(globals).await,
            Self::Report(tell) => tell.run(globals).await,
            Self::Show(show) => show.run(globals, json).await,
            Self::Watch(watch) => watch.run(globals, json).await,
        }
    }
}

impl Place {
    fn root(&self) -> String {
        format!("{}/", self.prefix.trim_end_matches('/'))
    }

    fn worker(&self, task: &Name) -> String {
        format!("{}{task}/worker", self.root())
    }

    fn report(&self, task: &Name) -> String {
        format!("{}{task}/report", self.root())
    }

    fn range(&self, task: Option<&Name>) -> KeyRange {
        let root = self.root();
        match task {
            None => KeyRange::prefix(root.as_bytes()),
            Some(task) => KeyRange::prefix(format!("{root}{task}/").as_bytes()),
        }
    }

    /// Writes what a worker says, unless another has taken its place.
    async fn put(&self, task: &Name, report: &Report, link: &Link) -> Result<(), Failure> {
        let put = [ask::put(&self.report(task), report.to_json(), 0)];
        let mine = [ask::created(&self.worker(task), report.token)];
        let answer = link.txn(Patience::Short, ask::txn(mine, put, [])).await?;
        if answer.succeeded {
            Ok(())
        } else {
            let line = format!("{task} is no longer this worker's");
            Err(Failure::error(line).hint("its lease has ended: somebody else may work on it"))
        }
    }
}

impl Run {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        checked_ttl(self.ttl)?;
        under_lease(
            self.ttl,
            self.grace,
            globals,
            async |link, session, grace| self.worked(link, session, grace).await,
        )
        .await
    }

    async fn worked(
        &self,
        link: &Link,
        session: &mut Session,
        grace: Duration,
    ) -> Result<(), Failure> {
        let (key, lease) = (self.place.worker(&self.task), session.lease());
        // Each is safe to cancel: what was taken is the lease's, which ends right after.
        let held: Held = tokio::select! {
            held = take_key(link, &key, lease, self.at_once) => held?,
            () = session.lost() => return Err(expired()),
            () = child::interrupted() => return Err(Failure::error("context canceled")),
        };
        let mut report = Report {
            state: Said::Running,
            progress: String::new(),
            worker: myself(),
            token: held.token,
        };
        self.place.put(&self.task, &report, link).await?;
        let (tell, mut heard) = mpsc::unbounded_channel();
        let job = Job {
            words: &self.command,
            variables: vec![
                ("MUSTER_TASK", self.task.to_string()),
                ("ETCDCTL_ENDPOINTS", link.globals().endpoints.join(",")),
                (TOKEN, held.token.to_string()),
            ],
            lines: Some(tell),
            grace,
            ..Job::default()
        };
        let running = async {
            let done = under(session, link, &held, job).await;
            Ok::<_, Failure>(done)
        };
        // Only the last of those that came meanwhile is written.
        let writing = async {
            let mut last = String::new();
            while let Some(line) = heard.recv().await {
                last = line;
                while let Ok(newer) = heard.try_recv() {
                    last = newer;
                }
                let report = Report {
                    progress: last.clone(),
                    ..report.clone()
                };
                if let Err(failure) = self.place.put(&self.task, &report, link).await {
                    eprintln!("progress: {}", failure.whole());
                }
            }
            Ok(last)
        };
        let (done, last) = tokio::try_join!(running, writing)?;
        report.state = if done.is_ok() {
            Said::Done
        } else {
            Said::Failed
        };
        // What was said by `progress report` stays.
        report.progress = match last.is_empty() {
            true => self.said(link).await?,
            false => last,
        };
        let told = self.place.put(&self.task, &report, link).await;
        done.and(told)
    }

    async fn said(&self, link: &Link) -> Result<String, Failure> {
        let key = self.place.report(&self.task);
        let request = ask::read(&KeyRange::key(key.as_bytes()));
        let found = link.range(Patience::Short, request).await?;
        let report = found
            .kvs
            .first()
            .and_then(|kv| Report::from_json(&kv.value));
        Ok(report.map(|report| report.progress).unwrap_or_default())
    }
}

impl Tell {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let link = Link::open(globals).await?;
        let report = Report {
            state: Said::Running,
            progress: self.text,
            worker: myself(),
            token: self.token,
        };
        self.place.put(&self.task, &report, &link).await
    }
}

/// How a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    stage: Stage,
    progress: String,
    worker: String,
}

/// The tasks there are, in order.
fn tasks(root: &str, snapshot: &Snapshot) -> BTreeSet<String> {
    let name = |key: &[u8]| {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(root)?;
        let (task, _) = rest.split_once('/')?;
        Some(task.to_owned())
    };
    snapshot.iter().filter_map(|(key, _)| name(key)).collect()
}

fn standing(root: &str, task: &str, snapshot: &Snapshot) -> Standing {
    let worker = snapshot.get(format!("{root}{task}/worker").as_bytes());
    let report = snapshot.get(format!("{root}{task}/report").as_bytes());
    let report = report.and_then(|entry| Report::from_json(&entry.value));
    Standing {
        stage: stage(report.as_ref(), worker.map(|entry| entry.create_revision)),
        worker: match (worker, &report) {
            (Some(worker), _) => String::from_utf8_lossy(&worker.value).into_owned(),
            (None, Some(report)) => report.worker.clone(),
            (None, None) => String::new(),
        },
        progress: report.map(|report| report.progress).unwrap_or_default(),
    }
}

fn print(task: &str, standing: &Standing, json: bool) -> Result<(), Failure> {
    let (stage, worker, progress) = (standing.stage.word(), &standing.worker, &standing.progress);
    if json {
        return say(serde_json::json!({
            "task": task, "stage": stage, "worker": worker, "progress": progress,
        }));
    }
    say(format_args!("{task}\t{stage}\t{worker}\t{progress}"))
}

impl Show {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let root = self.place.root();
        let link = Link::open(globals).await?;
        let request = ask::read(&self.place.range(self.task.as_ref()));
        let found = link.range(Patience::Short, request).await?;
        let entry = |kv: store_proto::mvccpb::KeyValue| {
            let entry = store_client::mirror::Entry {
                value: kv.value,
                create_revision: kv.create_revision,
                mod_revision: kv.mod_revision,
            };
            (kv.key, entry)
        };
        let snapshot = Snapshot::from_entries(0, found.kvs.into_iter().map(entry).collect());
        let mut shown = tasks(&root, &snapshot);
        shown.extend(self.task.map(|task| task.to_string()));
        shown
            .iter()
            .try_for_each(|task| print(task, &standing(&root, task, &snapshot), json))
    }
}

impl Watch {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let root = self.place.root();
        let link = Link::open(globals).await?;
        let mut follow = Follow::new(&link, self.place.range(self.task.as_ref()));
        let mut before = Snapshot::default();
        let followed = async {
            loop {
                let (Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) =
                    follow.next().await?;
                let mut known = tasks(&root, &before);
                known.extend(tasks(&root, &snapshot));
                for task in &known {
                    let now = standing(&root, task, &snapshot);
                    if now != standing(&root, task, &before) {
                        print(task, &now, json)?;
                        self.tell(task, &now).await;
                    }
                }
                before = snapshot;
            }
        };
        // Safe to cancel: it only shows.
        tokio::select! {
            ended = followed => ended,
            () = child::interrupted() => Ok(()),
        }
    }

    async fn tell(&self, task: &str, standing: &Standing) {
        let job = Job {
            words: &self.command,
            variables: vec![
                ("MUSTER_TASK", task.to_owned()),
                ("MUSTER_STAGE", standing.stage.word().to_owned()),
                ("MUSTER_WORKER", standing.worker.clone()),
                ("MUSTER_PROGRESS", standing.progress.clone()),
            ],
            ..Job::default()
        };
        told(job).await;
    }
}
