//! Pure: When to do what: the confd agent as a value.
//!
//! Each destination goes its own way through one pass after another; whatever fails is tried again until it holds:
//! ```text
//!   idle ─ change ─► quiet ─► rendering ─► staging ─► checking ─► replacing ─► reloading ─► verifying ─► idle
//!                                │            │           │            │           │           │
//!                                └────────────┴───────────┴── fault ───┘           └── fault ──┴─► restoring ─► reloading
//!                                                              ▼                                                 ▼
//!                                                   idle, retry with backoff                     idle, until something changes
//! ```
//! The old file stays in force until a checked new one replaces it. A pass is level-triggered: it renders from the newest
//! snapshot, compares with what is there, and does what is missing, whatever happened before. Content that the service
//! did not take is taken back, if there is content it was proven to run on, and is not tried again until keys or
//! template give other content. If the service does not take the old content either, the content is not to blame: then
//! the new one is retried until it holds.
//!
//! Knows no files, processes, templates or clock: `run.rs` performs the effects. Time is counted from any fixed instant.

mod report;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use store_client::mirror::{Change, Event, Snapshot};

pub use self::report::{Phase, Report, Step};
use self::unit::{Next, Unit};
use crate::plan::{Book, ContentHash, Generation};
use crate::reads::ReadSet;
use crate::resource::Resource;

/// Passes under way at once. 8: a first start with hundreds of resources must not fork hundreds of checks.
const PASSES_MAX: usize = 8;

/// How the agent works.
#[derive(Debug, Clone)]
pub struct Options {
    /// One pass per resource, no retries.
    pub once: bool,
    /// With `once`: begin no more passes after one has failed.
    pub fail_fast: bool,
    /// Compare only, change nothing.
    pub noop: bool,
    /// Write files, but run neither checks nor reloads.
    pub sync_only: bool,
    /// Every destination is compared with its render this often even if nothing changed; zero turns that off. Heals
    /// what nobody reported: a file edited by hand, a user that was missing.
    pub resync: Duration,
    /// Spreads retries.
    pub seed: u64,
}

/// A resource with its compiled template, as the shell has loaded it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The resource.
    pub resource: Arc<Resource>,
    /// Hash of the resource file and all template files behind it; a new version is rendered at once.
    pub version: ContentHash,
}

/// Something that failed, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The result of one render.
#[derive(Debug, Clone)]
pub struct Output {
    /// The text, or why there is none.
    pub result: Result<Arc<str>, Fault>,
    /// What was read.
    pub reads: ReadSet,
    /// What was left out, one line each.
    pub notes: Vec<String>,
    /// The key without which there is no text, where the resource then keeps the file it has.
    pub waits_for: Option<String>,
}

/// A step of a pass that the shell has performed.
#[derive(Debug, Clone)]
pub enum Done {
    /// Answer to [`Effect::Render`].
    Rendered(Output),
    /// Answer to [`Effect::Stage`]: whether the file on disk already is the staged one in content, mode and owner
    /// (nothing is left staged then).
    Staged(Result<bool, Fault>),
    /// Answer to [`Effect::Check`].
    Checked(Result<(), Fault>),
    /// Answer to [`Effect::Replace`].
    Replaced(Result<Replaced, Fault>),
    /// Answer to [`Effect::Reload`].
    Reloaded(Result<(), Fault>),
    /// Answer to [`Effect::Verify`].
    Verified(Result<(), Fault>),
    /// Answer to [`Effect::Restore`]: whether the content stood there already.
    Restored(Result<bool, Fault>),
    /// Answer to [`Effect::Compare`]: whether the file would change.
    Compared(Result<bool, Fault>),
}

/// A file was put in place.
#[derive(Debug, Clone, Default)]
pub struct Replaced {
    /// What was not done as wished, one line each.
    pub notes: Vec<String>,
    /// What stood there before, if the shell has kept it to go back to.
    pub found: Option<ContentHash>,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The store's keys moved.
    Store(Event),
    /// The resources were (re)loaded: all of them, by name. A faulty one that was good before stays as it was.
    Resources(BTreeMap<String, Result<Loaded, Fault>>),
    /// A step ended.
    Done {
        /// Name of the resource.
        name: String,
        /// The pass it was ordered by; steps of older passes are ignored.
        pass: u64,
        /// What came out.
        done: Done,
    },
    /// The deadline of [`Machine::next_deadline`] has come.
    Tick,
}

/// What the shell must do. Each but `Keep`, `Save` and `Discard` is answered by [`Input::Done`] with the same name and pass.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Render the resource's template from this snapshot.
    Render {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
        /// The keys.
        snapshot: Snapshot,
    },
    /// Compare the text with the file, and unless equal put it, durable, beside the destination.
    Stage {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
        /// The text.
        text: Arc<str>,
    },
    /// Run `check_cmd` on the staged file.
    Check {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
    },
    /// Save the book if there is one here, and only then put the staged file in place.
    Replace {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
        /// The book to save first; `None` if there is no reload that a crash could leave undone.
        book: Option<Arc<Book>>,
    },
    /// Make the service read its file.
    Reload {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
        /// Content the service is proven to run on until now.
        running: Option<ContentHash>,
    },
    /// Run `verify_cmd`: whether the service really runs on the new file.
    Verify {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
    },
    /// Put kept content back in place.
    Restore {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
        /// Which content.
        content: ContentHash,
        /// The book to save first, if that content does not stand there already: from then on nothing is proven.
        book: Option<Arc<Book>>,
    },
    /// Keep a copy of what is in place, to go back to.
    Keep {
        /// Name of the resource.
        name: String,
        /// Its content.
        content: ContentHash,
        /// All content that may be gone back to; other copies may go.
        kept: Arc<BTreeSet<ContentHash>>,
    },
    /// Compare the text with the file and show the difference; change nothing.
    Compare {
        /// Name of the resource.
        name: String,
        /// Pass to answer with.
        pass: u64,
        /// The text.
        text: Arc<str>,
    },
    /// Remove the staged file.
    Discard {
        /// Name of the resource.
        name: String,
    },
    /// Save the book.
    Save {
        /// The book.
        book: Arc<Book>,
    },
}

/// See the module text.
#[derive(Debug)]
pub struct Machine {
    options: Options,
    units: BTreeMap<String, Unit>,
    /// Resources that never were good.
    broken: BTreeMap<String, Fault>,
    /// True once the resources were loaded.
    loaded: bool,
    snapshot: Option<Snapshot>,
    book: Book,
    /// Numbers passes; unique over all units, so that a step of a removed resource cannot be taken for another's.
    passes: u64,
}

impl Machine {
    /// A machine that knows the book of its last life and nothing else.
    pub fn new(options: Options, book: Book) -> Self {
        Self {
            options,
            units: BTreeMap::new(),
            broken: BTreeMap::new(),
            loaded: false,
            snapshot: None,
            book,
            passes: 0,
        }
    }

    /// Takes one input.
    pub fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Store(
                Event::Listed {
                    snapshot, changes, ..
                }
                | Event::Advanced { snapshot, changes },
            ) => {
                self.store(now, snapshot, &changes);
            }
            Input::Resources(resources) => self.resources(now, resources),
            Input::Done { name, pass, done } => self.done(now, &name, pass, done, effects),
            Input::Tick => {}
        }
        self.start_passes(now, effects);
    }

    /// Goes back to older content because a person says so: to the generation of this number, or the one before. What is
    /// in place now is not applied again until keys, template or resource give other content.
    ///
    /// # Errors
    /// Why that cannot be.
    pub fn go_back(
        &mut self,
        name: &str,
        to: Option<u64>,
        effects: &mut Vec<Effect>,
    ) -> Result<Generation, String> {
        let unit = self
            .units
            .get_mut(name)
            .ok_or_else(|| format!("there is no resource {name:?}"))?;
        let pass = self.passes + 1;
        let (good, order) = unit.go_back(pass, to, &self.book)?;
        self.passes = pass;
        effects.push(order(name.to_owned(), pass));
        Ok(good)
    }

    /// When [`Input::Tick`] is due, if at all.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.snapshot.as_ref()?;
        if self.gave_up() {
            return None;
        }
        self.units.values().filter_map(Unit::due).min()
    }

    /// What is known of all destinations; saved once more at the end.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The revision of the newest snapshot; `None` before the first.
    pub fn revision(&self) -> Option<i64> {
        self.snapshot.as_ref().map(Snapshot::revision)
    }

    /// How each resource is doing, by name.
    pub fn reports(&self) -> BTreeMap<String, Report> {
        let newest = self.revision();
        let units = self
            .units
            .iter()
            .map(|(name, unit)| (name.clone(), unit.report(newest, &self.book)));
        let broken = self
            .broken
            .iter()
            .map(|(name, fault)| (name.clone(), Report::broken(fault.clone())));
        units.chain(broken).collect()
    }

    /// In `once` mode: whether all went well, as soon as every resource has had its pass.
    pub fn finished(&self) -> Option<bool> {
        if !self.options.once || !self.loaded || (self.snapshot.is_none() && !self.units.is_empty())
        {
            return None;
        }
        if self.gave_up() && !self.units.values().any(Unit::is_busy) {
            return Some(false);
        }
        let outcomes: Option<Vec<bool>> = self.units.values().map(Unit::outcome).collect();
        Some(outcomes?.into_iter().all(|good| good) && self.broken.is_empty())
    }

    fn store(&mut self, now: Duration, snapshot: Snapshot, changes: &[Change]) {
        for unit in self.units.values_mut() {
            unit.changed(now, changes);
        }
        self.snapshot = Some(snapshot);
    }

    fn resources(&mut self, now: Duration, resources: BTreeMap<String, Result<Loaded, Fault>>) {
        self.loaded = true;
        for (name, unit) in &mut self.units {
            unit.removed |= !resources.contains_key(name);
        }
        self.drop_removed();
        self.broken.clear();
        for (name, result) in resources {
            match (result, self.units.get_mut(&name)) {
                (Ok(loaded), Some(unit)) => unit.loaded(now, loaded, &mut self.book),
                (Ok(loaded), None) => {
                    let seed = self.options.seed ^ seed_of(&name);
                    self.units
                        .insert(name, Unit::new(now, loaded, &self.options, seed));
                }
                (Err(fault), Some(unit)) => unit.faulty(fault),
                (Err(fault), None) => {
                    self.broken.insert(name, fault);
                }
            }
        }
    }

    fn done(
        &mut self,
        now: Duration,
        name: &str,
        pass: u64,
        done: Done,
        effects: &mut Vec<Effect>,
    ) {
        let Some(unit) = self.units.get_mut(name).filter(|unit| unit.pass() == pass) else {
            return;
        };
        match unit.done(now, done, &mut self.book) {
            Next::Nothing => {}
            Next::Do(make) => effects.push(make(name.to_owned(), pass)),
            Next::Settled(content) => {
                effects.push(Effect::Keep {
                    name: name.to_owned(),
                    content,
                    kept: Arc::new(self.book.kept().collect()),
                });
                effects.push(Effect::Save {
                    book: Arc::new(self.book.clone()),
                });
            }
            Next::Save => effects.push(Effect::Save {
                book: Arc::new(self.book.clone()),
            }),
            Next::Discard => effects.push(Effect::Discard {
                name: name.to_owned(),
            }),
        }
        self.drop_removed();
    }

    /// A unit goes only between passes: its staged file and its reload belong to the pass.
    fn drop_removed(&mut self) {
        self.units.retain(|_, unit| !unit.removed || unit.is_busy());
    }

    /// A failure ends it all.
    fn gave_up(&self) -> bool {
        let failed = |unit: &Unit| unit.outcome() == Some(false);
        self.options.once
            && self.options.fail_fast
            && (!self.broken.is_empty() || self.units.values().any(failed))
    }

    /// Starts what is due, longest due first, within the bound.
    fn start_passes(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(snapshot) = &self.snapshot else {
            return;
        };
        let free =
            PASSES_MAX.saturating_sub(self.units.values().filter(|unit| unit.is_busy()).count());
        if free == 0 || self.gave_up() {
            return;
        }
        let mut due: Vec<(Duration, String)> = self
            .units
            .iter()
            .filter_map(|(name, unit)| Some((unit.due().filter(|due| *due <= now)?, name.clone())))
            .collect();
        due.sort();
        for (_, name) in due.into_iter().take(free) {
            let Some(unit) = self.units.get_mut(&name) else {
                continue;
            };
            self.passes += 1;
            unit.begin(now, self.passes, snapshot.revision());
            effects.push(Effect::Render {
                name,
                pass: self.passes,
                snapshot: snapshot.clone(),
            });
        }
    }
}

/// Gives each resource its own retry times.
fn seed_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
