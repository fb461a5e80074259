//! The shell around a confd machine: what `confd/src/run.rs` and `run/jobs.rs` do, over files in memory and
//! simulated services, killed between any two steps and within them. What brings the keys is in
//! `renderer/feed.rs`.

mod disk;
mod feed;
mod resources;
mod service;

pub(super) use resources::PAIR;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use confd::agent::{Done, Effect, Fault as Reason, Input, Machine, Options, Replaced};
use confd::confdir::Unit;
use confd::engine::Globals;
use confd::files::{self, Staged, Staging};
use confd::plan::{Book, ContentHash};
use confd::render::render;
use store_client::mirror::Snapshot;
use store_member::answer::{Body, Failure};
use store_watch::batch::{Batch, StreamId};

use super::Happening;
use super::desk::Desk;
use crate::bugs::Bug;
use crate::clock::{Clock, Time};
use crate::promises::{Check, rendered, whole};
use crate::world::World;
use disk::MemoryDisk;
use feed::{Feed, clock_time};
use service::Service;

/// Time between two comparisons of every file with its render: longer in real life.
const RESYNC: Duration = Duration::from_secs(15);

/// What happens to the process of a confd.
#[derive(Debug)]
pub(crate) enum Fact {
    /// It tries to reach a member.
    Connect,
    /// It has waited long enough for an answer.
    Patience { ask: usize },
    /// A member answers.
    Answered {
        ask: usize,
        revision: i64,
        outcome: Result<Body, Failure>,
    },
    /// Something arrives on its watch stream.
    Shown { stream: StreamId, batch: Batch },
    /// It looks after its connection.
    Look,
    /// A step of a pass is carried out.
    Perform(Box<Effect>),
    /// The step has ended.
    Done { name: String, pass: u64, done: Done },
    /// Its machine wants to be asked again.
    Wake,
    /// Its mirror does.
    FeedWake,
}

/// A pass under way.
struct Job {
    unit: Unit,
    revision: i64,
    /// The mirror could not know whether it showed all of that revision.
    doubted: bool,
    staged: Option<Staged>,
}

/// A process.
struct Life {
    machine: Machine,
    clock: Clock,
    wake_at: Time,
    feed: Feed,
    jobs: BTreeMap<String, Job>,
}

/// See the module.
pub(crate) struct Renderer {
    number: usize,
    life: u64,
    up: Option<Life>,
    pub(crate) paused: Time,
    disk: MemoryDisk,
    services: BTreeMap<String, Service>,
    /// The book as it was saved last, and the time before.
    saved: [Book; 2],
    generations: BTreeMap<ContentHash, Vec<u8>>,
    /// Which edition of the templates is there.
    edition: usize,
    /// Highest revision that anything was rendered at.
    rendered_at: i64,
    /// Files that were put in place.
    pub(crate) placed: u64,
    /// See the plan.
    last_edit: bool,
    bug: Option<Bug>,
}

impl Renderer {
    pub(crate) fn new(number: usize, last_edit: bool, bug: Option<Bug>) -> Self {
        Self {
            number,
            life: 0,
            up: None,
            paused: 0,
            disk: MemoryDisk::default(),
            services: BTreeMap::new(),
            saved: [Book::default(), Book::default()],
            generations: BTreeMap::new(),
            edition: 0,
            rendered_at: 0,
            placed: 0,
            last_edit,
            bug,
        }
    }

    pub(crate) const fn is_down(&self) -> bool {
        self.up.is_none()
    }

    fn later(&self, desk: &mut Desk<'_>, delay: Time, fact: Fact) {
        let (renderer, life) = (self.number, self.life);
        let fact = Box::new(fact);
        desk.after(
            delay,
            Happening::Renderer {
                renderer,
                life,
                fact,
            },
        );
    }

    /// A process starts, unless one runs.
    pub(crate) fn start(&mut self, desk: &mut Desk<'_>) {
        if self.up.is_some() {
            return;
        }
        self.life += 1;
        self.disk.revive();
        let options = Options {
            once: false,
            fail_fast: false,
            noop: false,
            sync_only: false,
            resync: RESYNC,
            seed: desk.chance.next(),
        };
        // As it comes from its file.
        let book = Book::from_json(&self.saved[1].to_json());
        let skew = desk.plan.skew * 1_000;
        let rate = desk.chance.between(1_000_000 - skew, 1_000_000 + skew);
        self.up = Some(Life {
            machine: Machine::new(options, book),
            clock: Clock::new(desk.now, rate),
            wake_at: Time::MAX,
            feed: Feed::new(desk.chance.next()),
            jobs: BTreeMap::new(),
        });
        desk.world.say(|| format!("confd {} starts", self.number));
        self.load(desk);
        self.later(desk, 1_000, Fact::Connect);
        self.later(desk, 1_000_000, Fact::Look);
    }

    /// The process is gone; commands it has started may go on.
    pub(crate) fn crash(&mut self, desk: &mut Desk<'_>) {
        if let Some(mut life) = self.up.take() {
            life.feed.hang_up(desk);
            desk.world.say(|| format!("confd {} is gone", self.number));
        }
        self.paused = 0;
    }

    /// The machine under it starts anew: services read the files that are there, and of what was saved and not
    /// forced to disk something else may be left.
    pub(crate) fn reboot(&mut self, desk: &mut Desk<'_>) {
        self.crash(desk);
        for (name, service) in &mut self.services {
            service.start(self.disk.content(&resources::dest(name)));
        }
        match desk.chance.below(3) {
            0 => self.saved[1] = self.saved[0].clone(),
            1 => self.saved = [Book::default(), Book::default()],
            _ => {}
        }
        if desk.chance.once_in(2) {
            self.generations.clear();
        }
    }

    /// Somebody edits a file by hand.
    pub(crate) fn edit(&mut self, desk: &mut Desk<'_>) {
        let names = resources::NAMES;
        let name = names[desk.chance.place(names.len())];
        self.disk.edit(&resources::dest(name), b"edited");
    }

    /// The templates change.
    pub(crate) fn new_edition(&mut self, desk: &mut Desk<'_>) {
        self.edition = (self.edition + 1) % resources::EDITIONS;
        if self.up.is_some() {
            self.load(desk);
        }
    }

    /// A file operation will fail, or be the last of the process.
    pub(crate) fn fail_disk(&mut self, desk: &mut Desk<'_>) {
        let nth = desk.chance.between(1, 12);
        if desk.chance.once_in(2) {
            self.disk.fail_after(nth);
        } else {
            self.disk.die_after(nth);
        }
    }

    /// Faults that are under way never come.
    pub(crate) fn end_faults(&mut self) {
        self.paused = 0;
        self.disk.revive();
    }

    fn load(&mut self, desk: &mut Desk<'_>) {
        let loaded = resources::edition(self.edition).iter().map(|(name, unit)| {
            let loaded = Ok(confd::agent::Loaded::from(unit));
            ((*name).to_owned(), loaded)
        });
        let input = Input::Resources(loaded.collect());
        self.step(desk, input);
    }

    /// Something happens to the process of that life.
    pub(crate) fn tell(&mut self, desk: &mut Desk<'_>, number: u64, fact: Fact) -> Check {
        if number != self.life || self.up.is_none() {
            if let Fact::Perform(effect) = fact
                && let Effect::Reload { name, .. } = *effect
            {
                // The command goes on without who has started it.
                let _ = self.command(desk, &name);
            }
            return Ok(());
        }
        match fact {
            Fact::Perform(effect) => return self.perform(desk, *effect),
            Fact::Done { name, pass, done } => self.step(desk, Input::Done { name, pass, done }),
            Fact::Wake => self.wake(desk),
            Fact::Connect => self.connect(desk),
            Fact::Patience { ask } => self.impatient(desk, ask),
            Fact::Answered {
                ask,
                revision,
                outcome,
            } => self.answered(desk, ask, revision, outcome),
            Fact::Shown { stream, batch } => self.shown(desk, stream, &batch),
            Fact::Look => self.look(desk),
            Fact::FeedWake => self.feed_wake(desk),
        }
        Ok(())
    }

    /// Tells the machine a fact; what it orders takes its time.
    fn step(&mut self, desk: &mut Desk<'_>, input: Input) {
        let Some(life) = &mut self.up else { return };
        let now = Duration::from_millis(life.clock.moment(desk.now).0);
        let mut effects = Vec::new();
        life.machine.step(now, input, &mut effects);
        for effect in effects {
            self.order(desk, effect);
        }
        self.plan_wake(desk);
    }

    fn order(&mut self, desk: &mut Desk<'_>, effect: Effect) {
        match effect {
            Effect::Save { book } => self.save(&book),
            Effect::Keep { name, kept, .. } => {
                if let Some(content) = self.disk.content(&resources::dest(&name)) {
                    self.generations.insert(ContentHash::of(&content), content);
                }
                self.retain(&kept);
            }
            Effect::Discard { name } => {
                let job = self.up.as_mut().and_then(|life| life.jobs.get_mut(&name));
                if let Some(staged) = job.and_then(|job| job.staged.take()) {
                    files::discard(&self.disk, &staged);
                }
            }
            effect => {
                let longest = match effect {
                    Effect::Render { .. } => 2_000,
                    Effect::Check { .. } | Effect::Reload { .. } | Effect::Verify { .. } => {
                        2_000_000
                    }
                    _ => 50_000,
                };
                let delay = desk.chance.skewed(10, longest);
                self.later(desk, delay, Fact::Perform(Box::new(effect)));
            }
        }
    }

    fn retain(&mut self, kept: &BTreeSet<ContentHash>) {
        self.generations.retain(|hash, _| kept.contains(hash));
    }

    /// Older books do not replace newer ones.
    fn save(&mut self, book: &Book) {
        if book.version() > self.saved[1].version() {
            self.saved.swap(0, 1);
            self.saved[1] = book.clone();
        }
    }

    /// A step of a pass is carried out, and its end is told a little later.
    fn perform(&mut self, desk: &mut Desk<'_>, effect: Effect) -> Check {
        let (name, pass, done) = match effect {
            Effect::Render {
                name,
                pass,
                snapshot,
            } => {
                let done = self.render(desk, &name, snapshot)?;
                (name, pass, done)
            }
            Effect::Stage { name, pass, text } => {
                let job = self.up.as_mut().and_then(|life| life.jobs.get_mut(&name));
                let Some(job) = job else { return Ok(()) };
                let done = match files::stage(&self.disk, &job.unit.resource, text.as_bytes()) {
                    Ok(Staging::Same) => Ok(true),
                    Ok(Staging::Staged(staged)) => {
                        job.staged = Some(staged);
                        Ok(false)
                    }
                    Err(error) => Err(error.into()),
                };
                (name, pass, Done::Staged(done))
            }
            Effect::Check { name, pass } => {
                let done = sometimes(desk, "check_cmd failed");
                (name, pass, Done::Checked(done))
            }
            Effect::Replace { name, pass, book } => {
                if let Some(book) = book {
                    self.save(&book);
                }
                let done = self.replace(desk, &name)?;
                (name, pass, Done::Replaced(done))
            }
            Effect::Reload { name, pass, .. } => {
                let done = self.command(desk, &name);
                (name, pass, Done::Reloaded(done))
            }
            Effect::Verify { name, pass } => {
                let runs = self.services.get(&name).and_then(Service::runs);
                let same = runs == self.disk.content(&resources::dest(&name)).as_deref();
                let done = if same {
                    sometimes(desk, "verify_cmd failed")
                } else {
                    Err(reason("the service runs on something else"))
                };
                (name, pass, Done::Verified(done))
            }
            Effect::Restore {
                name,
                pass,
                content,
                book,
            } => {
                let done = self.restore(&name, content, book);
                (name, pass, Done::Restored(done))
            }
            // Nothing is ordered so; the others were carried out when they were ordered.
            Effect::Compare { .. }
            | Effect::Save { .. }
            | Effect::Keep { .. }
            | Effect::Discard { .. } => return Ok(()),
        };
        if self.disk.is_dead() {
            self.crash(desk);
            let back = desk.chance.skewed(10_000, 10_000_000);
            let renderer = self.number;
            desk.after(back, Happening::StartRenderer { renderer });
            return Ok(());
        }
        let delay = desk.chance.skewed(10, 20_000);
        self.later(desk, delay, Fact::Done { name, pass, done });
        Ok(())
    }

    fn render(
        &mut self,
        desk: &mut Desk<'_>,
        name: &str,
        snapshot: Snapshot,
    ) -> Result<Done, crate::promises::Violation> {
        let unit = resources::edition(self.edition)[name].clone();
        let revision = snapshot.revision();
        let feed = self.up.as_ref().map(|life| &life.feed);
        let doubted = feed.is_some_and(|feed| feed.doubted.contains(&revision));
        if !doubted {
            whole::seen(&desk.world.canon.model, resources::ranges(), &snapshot)?;
        }
        whole::forward(name, self.rendered_at, revision)?;
        self.rendered_at = self.rendered_at.max(revision);
        let output = render(
            &unit.resource,
            &*unit.template,
            snapshot,
            &Globals::default(),
        );
        let job = Job {
            unit,
            revision,
            doubted,
            staged: None,
        };
        if let Some(life) = &mut self.up {
            life.jobs.insert(name.to_owned(), job);
        }
        Ok(Done::Rendered(output))
    }

    /// The staged file is put in place: what was rendered at one revision.
    fn replace(
        &mut self,
        desk: &mut Desk<'_>,
        name: &str,
    ) -> Result<Result<Replaced, Reason>, crate::promises::Violation> {
        let job = self.up.as_ref().and_then(|life| life.jobs.get(name));
        let Some((job, staged)) = job.and_then(|job| Some((job, job.staged.clone()?))) else {
            return Ok(Err(reason("nothing is staged")));
        };
        let dest = resources::dest(name);
        let found = self.disk.content(&dest).map(|content| {
            let hash = ContentHash::of(&content);
            self.generations.insert(hash, content);
            hash
        });
        let replaced = files::replace(&self.disk, &staged);
        if replaced.is_ok() {
            self.placed += 1;
            let fresh = fresh(desk.world, &job.unit, job.revision);
            let content = self.disk.content(&dest).unwrap_or_default();
            desk.world.say(|| {
                format!(
                    "confd {}: {name} from revision {}",
                    self.number, job.revision
                )
            });
            if !job.doubted {
                whole::placed(name, job.revision, &content, &fresh)?;
            }
        }
        Ok(replaced
            .map(|notes| Replaced { notes, found })
            .map_err(Reason::from))
    }

    fn restore(
        &mut self,
        name: &str,
        content: ContentHash,
        book: Option<Arc<Book>>,
    ) -> Result<bool, Reason> {
        let Some(content) = self.generations.get(&content).cloned() else {
            return Err(reason("there is no copy of it"));
        };
        let resource = &resources::edition(self.edition)[name].resource;
        match files::stage(&self.disk, resource, &content)? {
            Staging::Same => Ok(true),
            Staging::Staged(staged) => {
                if let Some(book) = book {
                    self.save(&book);
                }
                Ok(files::replace(&self.disk, &staged).map(|_| false)?)
            }
        }
    }

    /// The reload command runs: the service reads its file, unless the command fails before.
    fn command(&mut self, desk: &mut Desk<'_>, name: &str) -> Result<(), Reason> {
        let content = self.disk.content(&resources::dest(name));
        let service = self.services.entry(name.to_owned()).or_default();
        if !desk.well() && desk.chance.per_mille(desk.plan.command_faults) {
            return Err(reason("the command failed before it did anything"));
        }
        service
            .reload(content, desk.well())
            .map_err(|why| reason(&why))?;
        sometimes(desk, "the command failed after it had done its work")
    }

    fn plan_wake(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        let Some(due) = life.machine.next_deadline() else {
            return;
        };
        let Some(at) = clock_time(life.clock, due) else {
            return;
        };
        let at = at.max(desk.now + 1);
        if at < life.wake_at {
            life.wake_at = at;
            self.later(desk, at - desk.now, Fact::Wake);
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        let Some(life) = &mut self.up else { return };
        if life.wake_at > desk.now {
            return;
        }
        life.wake_at = Time::MAX;
        self.step(desk, Input::Tick);
    }

    /// Whether every file is what a render gives now, and its service runs on it.
    pub(crate) fn unsettled(&self, world: &World) -> Check {
        let revision = world.canon.model.revision();
        for (name, unit) in resources::edition(self.edition) {
            let fresh = fresh(world, unit, revision);
            let file = self.disk.content(&unit.resource.dest);
            let runs = self.services.get(*name).and_then(Service::runs);
            let hash = ContentHash::of(fresh.as_bytes());
            let taken_back = self.up.as_ref().is_some_and(|life| {
                let book = life.machine.book();
                book.is_bad(&unit.resource.dest, hash)
            });
            if taken_back && !self.last_edit {
                rendered::taken_back(name, file.as_deref(), runs)?;
            } else {
                rendered::converged(name, &fresh, file.as_deref(), runs)?;
            }
        }
        Ok(())
    }
}

/// What a template gives at a revision, by the model's keys.
fn fresh(world: &World, unit: &Unit, revision: i64) -> String {
    let snapshot = whole::snapshot(&world.canon.model, resources::ranges(), revision);
    let output = render(
        &unit.resource,
        &*unit.template,
        snapshot,
        &Globals::default(),
    );
    match output.result {
        Ok(text) => text.to_string(),
        Err(fault) => fault.message,
    }
}

fn reason(message: &str) -> Reason {
    Reason {
        message: message.to_owned(),
        hint: None,
    }
}

/// A command that fails now and then while anything may.
fn sometimes(desk: &mut Desk<'_>, message: &str) -> Result<(), Reason> {
    if !desk.well() && desk.chance.per_mille(desk.plan.command_faults) {
        Err(reason(message))
    } else {
        Ok(())
    }
}
