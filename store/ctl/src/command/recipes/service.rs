//! `service`: offers a service for as long as a command runs, lists and follows instances, and finds one to talk to. What
//! it writes is what the registrator writes for a container, so templates and balancers need not know the difference.

mod register;

use clap::{Args, Subcommand};
use registrator_catalog::record::Record;
use store_client::mirror::{Change, ChangeKind, Event};
use store_recipes::choice;
use store_recipes::table::takers;

use self::register::Register;
use crate::child::{self, Job};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::Printer;
use crate::recipe::follow::Follow;
use crate::recipe::instances::{Registry, nobody, place};
use crate::recipe::link::Link;
use crate::recipe::{as_json, say};

/// What to do with services.
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Register an instance, while a command runs or until told to end
    Register(Box<Register>),
    /// The instances there are
    List(List),
    /// What changes, from what is there on
    Watch(Watch),
    /// One instance that takes traffic, chosen at random by weight
    Resolve(Resolve),
}

/// Where the registry is.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Where instances are registered
    #[arg(long, default_value = "/services")]
    pub(super) prefix: String,
}

/// `service list [NAME]`
#[derive(Debug, Args)]
pub struct List {
    name: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// `service watch [NAME] [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Watch {
    name: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Command for each change, which finds it in `MUSTER_…` variables
    #[arg(last = true)]
    command: Vec<String>,
}

/// `service resolve NAME`
#[derive(Debug, Args)]
pub struct Resolve {
    name: String,
    #[command(flatten)]
    place: Place,
}

impl Service {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let json = as_json(printer)?;
        match self {
            Self::Register(register) => register.run(globals, json).await,
            Self::List(list) => list.run(globals, json).await,
            Self::Watch(watch) => watch.run(globals, json).await,
            Self::Resolve(resolve) => resolve.run(globals, json).await,
        }
    }
}

impl List {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let registry = Registry::new(&self.place.prefix);
        let link = Link::open(globals).await?;
        let records = registry.read(&link, self.name.as_deref()).await?;
        if json {
            let records: Vec<String> = records.iter().map(Record::to_json).collect();
            return say(format_args!("[{}]", records.join(",")));
        }
        records.iter().try_for_each(|record| say(line(record)))
    }
}

impl Watch {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let registry = Registry::new(&self.place.prefix);
        let link = Link::open(globals).await?;
        let mut follow = Follow::new(&link, registry.range(self.name.as_deref()));
        let followed = async {
            loop {
                let (Event::Listed { changes, .. } | Event::Advanced { changes, .. }) =
                    follow.next().await?;
                for change in &changes {
                    self.tell(&registry, change, json).await?;
                }
            }
        };
        // Safe to cancel: it only shows.
        tokio::select! {
            ended = followed => ended,
            () = child::interrupted() => Ok(()),
        }
    }

    async fn tell(&self, registry: &Registry, change: &Change, json: bool) -> Result<(), Failure> {
        let (word, entry) = match change.kind() {
            ChangeKind::Created => ("joined", &change.after),
            ChangeKind::Modified => ("changed", &change.after),
            ChangeKind::Deleted => ("left", &change.before),
            // Only its lease was changed.
            ChangeKind::Rewritten => return Ok(()),
        };
        let value = entry.as_ref().map(|entry| &entry.value[..]);
        let Some(record) = registry.record(&change.key, value.unwrap_or_default()) else {
            return Ok(());
        };
        if self.name.as_ref().is_some_and(|name| *name != record.name) {
            return Ok(());
        }
        if json {
            let record = record.to_json();
            say(format_args!(r#"{{"event":"{word}","record":{record}}}"#))?;
        } else {
            say(format_args!("{word}\t{}", line(&record)))?;
        }
        let job = Job {
            words: &self.command,
            variables: vec![
                ("MUSTER_EVENT", word.to_owned()),
                ("MUSTER_SERVICE", record.name.clone()),
                ("MUSTER_INSTANCE", record.instance.clone()),
                ("MUSTER_ADDRESS", place(&record)),
                ("MUSTER_STATE", record.state.to_string()),
            ],
            ..Job::default()
        };
        told(job).await;
        Ok(())
    }
}

/// Runs a command for something that happened. One that fails is told of, and the next one runs all the same.
pub(super) async fn told(job: Job<'_>) {
    if let Err(failure) = job.run(std::future::pending()).await {
        failure.report();
    }
}

impl Resolve {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let registry = Registry::new(&self.place.prefix);
        let link = Link::open(globals).await?;
        let takers = takers(registry.read(&link, Some(&self.name)).await?);
        let weights: Vec<u32> = takers.iter().map(|record| record.weight).collect();
        let chosen = choice::weighted(rand::random(), &weights);
        let chosen = chosen.and_then(|at| takers.get(at));
        shown(chosen.ok_or_else(|| nobody(&self.name))?, json)
    }
}

/// Prints an instance that was chosen.
pub(super) fn shown(record: &Record, json: bool) -> Result<(), Failure> {
    if json {
        say(record.to_json())
    } else {
        say(place(record))
    }
}

fn line(record: &Record) -> String {
    let (name, instance, state) = (&record.name, &record.instance, record.state);
    format!("{name}\t{instance}\t{}\t{state}", place(record))
}
