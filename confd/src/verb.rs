//! What people ask of confd beside running it: what would change, why a file reads as it does, what is wrong with
//! resources and templates, and what was in place before. None of it changes a file but `rollback`.

mod cases;
mod difference;
mod doctor;
mod history;
mod lint;
mod rendering;

use std::process::ExitCode;
use std::sync::Arc;

use store_client::mirror::{Event, KeyRange, Snapshot};

use crate::agent::{Fault, Output};
use crate::backends;
use crate::confdir::{Unit, Units};
use crate::config::Config;
use crate::each;
use crate::engine::Globals;
use crate::faults::chain;
use crate::plan::Book;
use crate::render::render;
use crate::run;
use crate::run::instances::Instances;
use crate::tree::Scope;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Verb {
    /// Show what would change in the files, secrets hidden: 0 nothing, 2 something, 1 a fault
    Diff,
    /// Print what a resource renders to; with --explain also where each value comes from
    Render,
    /// Say what is wrong or doubtful about resources and templates: 0 nothing wrong, 1 something
    Lint,
    /// Render the fixtures in tests/*.yaml, without a store: 0 all as expected, 1 not
    Test,
    /// Show which contents services were proven to run on
    History,
    /// Say what of a set-up behaves differently here than under the original confd, and why
    Doctor,
    /// Print the form of resource files as JSON Schema, for editors; with the name confd that of confd.yaml and confd.toml
    Schema,
    /// Show what would change whenever keys, templates or resources are saved, and change nothing
    Dev,
    /// Put older content back, and keep it until keys, template or resource change
    Rollback,
}

/// A verb and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub verb: Verb,
    /// Of `render`: where values come from too.
    pub explain: bool,
    /// Of `rollback`: the generation to go back to.
    pub to: Option<u64>,
}

/// A fault was found, or something could not be done.
const FAILED: u8 = 1;
/// A file would change.
const PENDING: u8 = 2;

/// The configuration of an agent that shows what it would change and leaves no trace.
pub(crate) fn preview(config: Config) -> Config {
    Config {
        noop: true,
        onetime: false,
        state_dir: None,
        request: None,
        ..config
    }
}

/// Does what was asked and gives the exit status.
pub(crate) async fn run(request: &Request, config: &Config) -> ExitCode {
    let result = match request.verb {
        Verb::Diff => difference::run(config).await,
        Verb::Render => rendering::run(config, request.explain).await,
        Verb::Lint => lint::run(config),
        Verb::Test => cases::run(config),
        Verb::Doctor => doctor::run(config),
        Verb::Schema => {
            let schema = match config.only.as_deref() {
                Some("confd") => crate::config::schema(),
                _ => crate::resource::schema(),
            };
            let schema = serde_json::to_string_pretty(&schema);
            say(&(schema.unwrap_or_default() + "\n"));
            Ok(0)
        }
        // It is the agent itself, see `preview`.
        Verb::Dev => Ok(0),
        Verb::History => history::run(config),
        Verb::Rollback => history::roll_back(config, request.to).await,
    };
    result.map_or_else(
        |fault| {
            complain(&fault);
            ExitCode::from(FAILED)
        },
        ExitCode::from,
    )
}

#[expect(clippy::print_stderr, reason = "what a person asked for failed")]
fn complain(fault: &Fault) {
    eprintln!("error: {}", fault.message);
    if let Some(hint) = &fault.hint {
        eprintln!("hint: {hint}");
    }
}

/// The resources that are asked about, the faulty ones with their fault.
fn units(config: &Config) -> Result<Units, Fault> {
    let units = run::load(config).map_err(|error| Fault {
        message: chain(&error),
        hint: error.hint(),
    })?;
    match &config.only {
        Some(only) if units.is_empty() => Err(Fault {
            message: format!("there is no resource {only:?}"),
            hint: Some(
                "resources are named by their file in conf.d, without its ending".to_owned(),
            ),
        }),
        _ => Ok(units),
    }
}

/// Each file by itself: those of a set stand as `set/file`.
fn single(units: Units) -> Units {
    let each = units.into_iter().flat_map(|(name, unit)| match unit {
        Ok(unit) if !unit.files.is_empty() => {
            let named = |part: Unit| (part.resource.name.clone(), Ok(part));
            unit.files.into_iter().map(named).collect()
        }
        unit => vec![(name, unit)],
    });
    each.collect()
}

/// All keys of some resources at one revision.
async fn snapshot(config: &Config, units: &Units) -> Result<Snapshot, Fault> {
    let good = units.values().flatten();
    let ranges = good.flat_map(|unit| each::ranges(&unit.resource)).collect();
    let rest = Arc::from(run::backend(config));
    let resources = units.values().flatten().map(|unit| &*unit.resource);
    let mut source = backends::open(&rest, config, resources, KeyRange::normalise(ranges));
    let first = std::future::poll_fn(|context| source.poll_next(context));
    let problem = match tokio::time::timeout(config.startup_timeout, first).await {
        Ok(Some(Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. })) => {
            return Ok(snapshot);
        }
        Ok(None) => "it has ended".to_owned(),
        Err(_) => source.status().borrow().error.clone().unwrap_or_default(),
    };
    let hint = source.status().borrow().hint.clone();
    Err(Fault {
        message: format!("no keys within {:?}: {problem}", config.startup_timeout),
        hint,
    })
}

/// The resources that those with a file for each name come to.
fn expanded(units: Units, snapshot: &Snapshot) -> Units {
    let mut instances = Instances::default();
    instances.load(units);
    instances.make(Some(snapshot), &Book::default())
}

fn scope(unit: &Unit) -> Scope {
    unit.resource.scope()
}

fn rendered(unit: &Unit, snapshot: &Snapshot, globals: &Globals) -> Output {
    render(&unit.resource, &*unit.template, snapshot.clone(), globals)
}

/// Writes the answer in one piece; a reader that went away has heard enough.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
