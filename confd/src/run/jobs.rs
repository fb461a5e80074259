//! Performs the steps of passes beside the agent's task: templates and files on the blocking threads, commands as
//! processes. Each pass keeps the version of the resource it began with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store_client::mirror::Snapshot;
use tokio::sync::mpsc;

use super::copies::{goes_back, keep, restore};
use super::preview::show_difference;
use super::services::{self, Outcome};
use super::staging::{self, render_all};
use crate::agent::{Done, Effect, Fault, Output, Replaced};
use crate::confdir::{Unit, Units};
use crate::disk::Disk;
use crate::engine::Globals;
use crate::faults::chain;
use crate::files::{self, Staged};
use crate::generations::Generations;
use crate::plan::Book;
use crate::reload::Driver;
use crate::resource::Resource;
use crate::state::StateFile;
use crate::switch::{self, Found};

/// Answers on their way. 16: twice the passes that can be under way, each with one step.
const ANSWERS_MAX: usize = 16;

/// A render that took less than this last time is done on the agent's own task. 200 µs: below it, waking another thread
/// and being woken costs more than it saves, and the task is never away for longer than a file operation takes.
const QUICK_MAX: Duration = Duration::from_micros(200);

/// A step that ended.
pub(super) struct Answer {
    pub(super) name: String,
    pub(super) pass: u64,
    pub(super) done: Done,
    /// What a failed command said.
    output: String,
    staged: Vec<Staged>,
    /// Time the step took.
    took: Duration,
}

/// A pass under way.
struct Job {
    unit: Unit,
    /// The keys, where differences are shown.
    snapshot: Option<Snapshot>,
    staged: Vec<Staged>,
}

pub(super) struct Jobs {
    disk: Arc<dyn Disk>,
    state: Arc<StateFile>,
    generations: Arc<Generations>,
    globals: Arc<Globals>,
    /// Staged files that are not used stay where they are.
    keep_staged: bool,
    /// Guards let everything pass.
    accepts_loss: bool,
    /// Differences are shown, so what is secret in them must be known.
    shows: bool,
    /// Newest good version of each resource.
    units: BTreeMap<String, Unit>,
    jobs: BTreeMap<String, Job>,
    tell: mpsc::Sender<Answer>,
    answers: mpsc::Receiver<Answer>,
    /// Steps without answer.
    busy: usize,
    /// Resources whose last render took less than [`QUICK_MAX`].
    quick: BTreeSet<String>,
    /// Answers of steps performed at once.
    ready: VecDeque<Answer>,
    /// Why the book could not be saved last.
    unsaved: Arc<Mutex<Option<String>>>,
}

impl Jobs {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        state: Arc<StateFile>,
        generations: Generations,
        globals: Globals,
        keep_staged: bool,
        accepts_loss: bool,
        shows: bool,
    ) -> Self {
        let (tell, answers) = mpsc::channel(ANSWERS_MAX);
        Self {
            disk,
            state,
            generations: Arc::new(generations),
            globals: Arc::new(globals),
            keep_staged,
            accepts_loss,
            shows,
            units: BTreeMap::new(),
            jobs: BTreeMap::new(),
            tell,
            answers,
            busy: 0,
            quick: BTreeSet::new(),
            ready: VecDeque::new(),
            unsaved: Arc::default(),
        }
    }

    /// Takes over newly loaded resources. A faulty one keeps its older good version, one that is gone goes.
    pub(super) fn load(&mut self, units: &Units) {
        self.units.retain(|name, _| units.contains_key(name));
        for (name, unit) in units {
            if let Ok(unit) = unit {
                let before = self.units.insert(name.clone(), unit.clone());
                if before.is_none() && unit.resource.is_set() && !self.shows {
                    self.heal(&unit.resource);
                }
            }
        }
    }

    /// Makes up for a life that ended while it put the files of a set in place: a few small files, once.
    fn heal(&self, resource: &Resource) {
        let resource_name = &resource.name;
        match switch::heal(&*self.disk, resource) {
            Ok(Found::Nothing) => {}
            Ok(Found::New) => tracing::warn!(
                resource = resource_name,
                "an earlier life ended between two files of the set: all new ones are in place now"
            ),
            Ok(Found::Old) => tracing::warn!(
                resource = resource_name,
                "an earlier life ended between two files of the set: all old ones are in place again"
            ),
            Err(error) => tracing::error!(
                resource = resource_name,
                error = %chain(&error),
                "the files of the set may be of different times"
            ),
        }
    }

    /// The versions in force.
    pub(super) fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.values()
    }

    /// Whether a resource tells a service of its own.
    pub(super) fn is_told(&self, name: &str) -> bool {
        let unit = self.units.get(name);
        unit.is_some_and(|unit| unit.resource.is_told())
    }

    /// Steps under way.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// What is wrong with the state file.
    pub(super) fn problem(&self) -> Option<String> {
        self.unsaved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The next step that ended. Safe to cancel.
    pub(super) async fn answered(&mut self) -> Option<Answer> {
        let mut answer = match self.ready.pop_front() {
            Some(answer) => answer,
            None => self.answers.recv().await?,
        };
        self.busy -= 1;
        if matches!(answer.done, Done::Rendered(_)) {
            if answer.took < QUICK_MAX {
                self.quick.insert(answer.name.clone());
            } else {
                self.quick.remove(&answer.name);
            }
        }
        if !answer.staged.is_empty()
            && let Some(job) = self.jobs.get_mut(&answer.name)
        {
            job.staged = std::mem::take(&mut answer.staged);
        }
        Some(answer)
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Render {
                name,
                pass,
                snapshot,
            } => {
                let Some(unit) = self.units.get(&name).cloned() else {
                    return self.impossible(name, pass, "render");
                };
                let job = Job {
                    unit: unit.clone(),
                    snapshot: self.shows.then(|| snapshot.clone()),
                    staged: Vec::new(),
                };
                self.jobs.insert(name.clone(), job);
                if unit.resource.gone {
                    // Nothing is left to be read.
                    let output = Output {
                        result: Ok("".into()),
                        reads: Default::default(),
                        notes: Vec::new(),
                        waits_for: None,
                    };
                    return self.here(name, pass, || (Done::Rendered(output), Vec::new()));
                }
                let globals = self.globals.clone();
                let render = move || {
                    let output = render_all(&unit, &snapshot, &globals);
                    (Done::Rendered(output), Vec::new())
                };
                if self.quick.contains(&name) {
                    self.here(name, pass, render);
                } else {
                    self.blocking(name, pass, render);
                }
            }
            Effect::Stage { name, pass, text } => {
                let Some(resource) = self.resource(&name) else {
                    return self.impossible(name, pass, "stage");
                };
                let disk = self.disk.clone();
                let accepts = self.accepts_loss;
                if resource.is_removed() {
                    return self.blocking(name, pass, move || {
                        let gone = files::is_gone(&*disk, &resource.dest);
                        (Done::Staged(gone.map_err(Fault::from)), Vec::new())
                    });
                }
                self.blocking(name, pass, move || {
                    match staging::stage(&*disk, &resource, &text, !accepts) {
                        Ok(staged) => (Done::Staged(Ok(staged.is_empty())), staged),
                        Err(fault) => (Done::Staged(Err(fault)), Vec::new()),
                    }
                });
            }
            Effect::Check { name, pass } => {
                let job = self.jobs.get(&name);
                let job = job.filter(|job| !job.staged.is_empty());
                let found = job.map(|job| (job.unit.resource.clone(), job.staged.clone()));
                let Some((resource, staged)) = found else {
                    return self.impossible(name, pass, "check");
                };
                let check = async move { services::check(&resource, &staged).await };
                self.beside(name, pass, Done::Checked, check);
            }
            Effect::Replace { name, pass, book }
                if self.resource(&name).is_some_and(|found| found.is_removed()) =>
            {
                let Some(resource) = self.resource(&name) else {
                    return self.impossible(name, pass, "replace");
                };
                let (disk, state, unsaved) =
                    (self.disk.clone(), self.state.clone(), self.unsaved.clone());
                self.blocking(name, pass, move || {
                    if let Some(book) = book {
                        save(&state, &book, &unsaved);
                    }
                    let removed = files::remove(&*disk, &resource.dest)
                        .map(|()| Replaced::default())
                        .map_err(Fault::from);
                    (Done::Replaced(removed), Vec::new())
                });
            }
            Effect::Replace { name, pass, book } => {
                let job = self.jobs.get(&name).filter(|job| !job.staged.is_empty());
                let found = job.map(|job| (job.unit.resource.clone(), job.staged.clone()));
                let Some((resource, staged)) = found else {
                    return self.impossible(name, pass, "replace");
                };
                let (disk, state, unsaved) =
                    (self.disk.clone(), self.state.clone(), self.unsaved.clone());
                let generations = goes_back(&resource).then(|| self.generations.clone());
                self.blocking(name, pass, move || {
                    if let Some(book) = book {
                        save(&state, &book, &unsaved);
                    }
                    let found = generations.and_then(|kept| keep(&*disk, &kept, &resource));
                    let replaced = staging::replace(&*disk, &resource, &staged)
                        .map(|notes| Replaced { notes, found })
                        .map_err(Fault::from);
                    (Done::Replaced(replaced), Vec::new())
                });
            }
            Effect::Restore {
                name,
                pass,
                content,
                book,
            } => {
                let Some(resource) = self.resource(&name) else {
                    return self.impossible(name, pass, "restore");
                };
                let (disk, generations) = (self.disk.clone(), self.generations.clone());
                let (state, unsaved) = (self.state.clone(), self.unsaved.clone());
                self.blocking(name, pass, move || {
                    let before = || {
                        if let Some(book) = &book {
                            save(&state, book, &unsaved);
                        }
                    };
                    let restored = restore(&*disk, &generations, &resource, content, before);
                    (Done::Restored(restored), Vec::new())
                });
            }
            Effect::Keep { name, kept, .. } => {
                let Some(resource) = self.resource(&name).filter(|resource| goes_back(resource))
                else {
                    return;
                };
                // Reads and writes one small file; nothing waits for it.
                keep(&*self.disk, &self.generations, &resource);
                self.generations.retain(&kept);
            }
            Effect::Verify { name, pass } => {
                let Some(resource) = self.resource(&name) else {
                    return self.impossible(name, pass, "verify");
                };
                let verify = async move { services::verify(&resource).await };
                self.beside(name, pass, Done::Verified, verify);
            }
            Effect::Reload {
                name,
                pass,
                running,
            } => {
                let Some(resource) = self.resource(&name) else {
                    return self.impossible(name, pass, "reload");
                };
                let compares = resource.reload.as_ref().is_some_and(Driver::compares);
                // A set's copy is of all its files.
                let running = running.filter(|_| compares && !resource.is_set());
                // A small file; who has no copy of it is told by a whole reload.
                let running = running.and_then(|hash| self.generations.content(hash).ok());
                let reload = async move { services::reload(&resource, running).await };
                self.beside(name, pass, Done::Reloaded, reload);
            }
            Effect::Compare { name, pass, text } => {
                let job = self.jobs.get(&name);
                let Some((unit, keys)) = job.map(|job| (job.unit.clone(), job.snapshot.clone()))
                else {
                    return self.impossible(name, pass, "compare");
                };
                let disk = self.disk.clone();
                self.blocking(name, pass, move || {
                    let shown = show_difference(&*disk, &unit, keys.as_ref(), &text);
                    (Done::Compared(shown), Vec::new())
                });
            }
            Effect::Discard { name } => {
                let job = self.jobs.get_mut(&name);
                for staged in job
                    .map(|job| std::mem::take(&mut job.staged))
                    .unwrap_or_default()
                {
                    if self.keep_staged {
                        tracing::info!(resource = name, path = %staged.path.display(), "staged file kept");
                    } else {
                        files::discard(&*self.disk, &staged);
                    }
                }
            }
            // A small file that nobody syncs: as fast as handing it to a thread, and in order.
            Effect::Save { book } => save(&self.state, &book, &self.unsaved),
        }
    }

    /// Logs what a step came to.
    pub(super) fn log(&self, answer: &Answer) {
        let resource = &answer.name;
        let (step, fault) = match &answer.done {
            Done::Rendered(Output {
                waits_for: Some(key),
                ..
            }) => {
                tracing::warn!(%resource, "key {key} does not exist: the file stays as it is");
                return;
            }
            Done::Rendered(Output {
                result: Err(fault), ..
            }) => ("render", fault),
            Done::Staged(Err(fault)) | Done::Compared(Err(fault)) => ("stage", fault),
            Done::Checked(Err(fault)) => ("check", fault),
            Done::Replaced(Err(fault)) => ("replace", fault),
            Done::Reloaded(Err(fault)) => ("reload", fault),
            Done::Verified(Err(fault)) => ("verify", fault),
            Done::Restored(Err(fault)) => ("restore", fault),
            Done::Rendered(output) => {
                for note in &output.notes {
                    tracing::warn!(%resource, "{note}");
                }
                return;
            }
            Done::Replaced(Ok(Replaced { notes, .. })) => {
                let dest = self
                    .resource(resource)
                    .map(|resource| resource.dest.display().to_string());
                tracing::info!(%resource, dest, "file replaced");
                for note in notes {
                    tracing::warn!(%resource, "{note}");
                }
                return;
            }
            Done::Reloaded(Ok(())) => {
                tracing::info!(%resource, "reloaded");
                return;
            }
            Done::Verified(Ok(())) => {
                tracing::info!(%resource, "verified");
                return;
            }
            Done::Restored(Ok(true)) => return,
            Done::Restored(Ok(false)) => {
                tracing::warn!(%resource, "the service did not take the new file: the last good one is back in place");
                return;
            }
            Done::Staged(Ok(_)) | Done::Checked(Ok(())) | Done::Compared(Ok(_)) => return,
        };
        let output = (!answer.output.is_empty()).then_some(answer.output.as_str());
        tracing::error!(%resource, step, hint = fault.hint.as_deref(), output, "{}", fault.message);
    }

    /// The version that the pass under way uses.
    fn resource(&self, name: &str) -> Option<Arc<Resource>> {
        let unit = self.jobs.get(name).map(|job| &job.unit);
        // Going back may come before the first pass.
        let unit = unit.or_else(|| self.units.get(name))?;
        Some(unit.resource.clone())
    }

    fn blocking(
        &mut self,
        name: String,
        pass: u64,
        work: impl FnOnce() -> (Done, Vec<Staged>) + Send + 'static,
    ) {
        self.busy += 1;
        let tell = self.tell.clone();
        tokio::task::spawn_blocking(move || {
            // Fails only if the agent is gone.
            let _ = tell.blocking_send(answer(name, pass, work));
        });
    }

    fn here(&mut self, name: String, pass: u64, work: impl FnOnce() -> (Done, Vec<Staged>)) {
        self.busy += 1;
        self.ready.push_back(answer(name, pass, work));
    }

    /// A step that waits for others rather than for the disk.
    fn beside(
        &mut self,
        name: String,
        pass: u64,
        done: fn(Result<(), Fault>) -> Done,
        step: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.busy += 1;
        let tell = self.tell.clone();
        tokio::spawn(async move {
            let (result, output) = step.await;
            // Fails only if the agent is gone.
            let _ = tell
                .send(Answer {
                    name,
                    pass,
                    done: done(result),
                    output,
                    staged: Vec::new(),
                    took: Duration::ZERO,
                })
                .await;
        });
    }

    /// A step that lacks what the step before must have left: a mistake of ours, which must not leave the resource
    /// waiting for ever.
    fn impossible(&mut self, name: String, pass: u64, step: &'static str) {
        let fault = Fault {
            message: format!("{step} without a pass under way"),
            hint: None,
        };
        let done = match step {
            "stage" => Done::Staged(Err(fault)),
            "check" => Done::Checked(Err(fault)),
            "replace" => Done::Replaced(Err(fault)),
            "reload" => Done::Reloaded(Err(fault)),
            "verify" => Done::Verified(Err(fault)),
            "restore" => Done::Restored(Err(fault)),
            "compare" => Done::Compared(Err(fault)),
            _ => Done::Rendered(Output {
                result: Err(fault),
                reads: Default::default(),
                notes: Vec::new(),
                waits_for: None,
            }),
        };
        self.blocking(name, pass, || (done, Vec::new()));
    }
}

fn answer(name: String, pass: u64, work: impl FnOnce() -> (Done, Vec<Staged>)) -> Answer {
    let started = Instant::now();
    let (done, staged) = work();
    Answer {
        name,
        pass,
        done,
        output: String::new(),
        staged,
        took: started.elapsed(),
    }
}

fn save(state: &StateFile, book: &Book, unsaved: &Mutex<Option<String>>) {
    let problem = state.save(book).err().map(|error| {
        format!(
            "the state of applied files cannot be saved: {}; after a crash a reload may be missed",
            chain(&error)
        )
    });
    let mut last = unsaved.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(problem) = problem.as_ref().filter(|_| *last != problem) {
        tracing::warn!("{problem}");
    }
    *last = problem;
}
