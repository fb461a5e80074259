//! The agents in the same world: container engines with a registrator each, and confds with files and services,
//! on members that are being broken. The agents' machines are the shipped ones; their shells are written again here, over simulated
//! engines and the members' own requests and answers.
//!
//! Not in every world: whatever is done here is drawn from a chance of its own, so that a world without
//! agents is what it would be if there were none. Start at `agents/registrar.rs` and
//! `agents/renderer.rs`; what must hold is in `promises/`: `registered.rs`, `kept.rs`, `rendered.rs`, `whole.rs`.

mod desk;
mod editor;
mod engine;
mod plan;
mod registrar;
mod renderer;

use store_machine::command::Command;
use store_machine::reply::{Event as KeyEvent, EventKind};
use store_machine::request::TxnRequest;
use store_machine::revision::LeaseId;
use store_member::answer::{Body, Failure, Header};
use store_member::input::Token;
use store_watch::batch::{Batch, StreamId};

use crate::bugs::Bug;
use crate::chance::Chance;
use crate::clock::Time;
use crate::promises::kept::Kept;
use crate::promises::{Check, broken};
use crate::queue::Event;
use crate::world::World;
use desk::{Ask, Caller, Desk, Line};
use editor::Editor;
use engine::Engine;
use plan::Plan;
use registrar::{Fact, Registrar};
use renderer::Renderer;

/// The first token of an agent's request; those of clients stay below, those of the operator above.
const FIRST_TOKEN: u64 = 1 << 60;
const LAST_TOKEN: u64 = 1 << 61;

/// Mixed into the seed for the chance of the agents.
const SALT: u64 = 0x0a9e_0075;

/// A key no one has, whose number makes an agent's transaction differ from all others, so that it is known in
/// the log.
const MARK: &[u8] = b"~";

/// Whether a token is an agent's; the number of its request.
pub(crate) fn ask_of(token: Token) -> Option<usize> {
    let ours = (FIRST_TOKEN..LAST_TOKEN).contains(&token.0);
    ours.then(|| usize::try_from(token.0 - FIRST_TOKEN).unwrap_or(usize::MAX))
}

/// The token of a request.
pub(crate) const fn token_of(ask: usize) -> Token {
    Token(FIRST_TOKEN + ask as u64)
}

/// Something that happens to an agent or around it.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A container of a site starts, ends, or changes.
    Churn { site: usize },
    /// A container that was told to stop has.
    Dies {
        site: usize,
        id: String,
        started: i64,
    },
    /// A container that ended starts again.
    Starts { site: usize, id: String },
    /// Something goes wrong at a site.
    Trouble { site: usize },
    /// An engine is there again.
    EngineBack { site: usize },
    /// A registrator starts.
    Start { site: usize },
    /// Something happens to the process of a registrator.
    Registrar { site: usize, life: u64, fact: Fact },
    /// A confd starts.
    StartRenderer { renderer: usize },
    /// Something goes wrong with a confd.
    RendererTrouble { renderer: usize },
    /// Something happens to the process of a confd.
    Renderer {
        renderer: usize,
        life: u64,
        fact: Box<renderer::Fact>,
    },
    /// The editor writes.
    Edit,
    /// A member answers.
    Answered {
        ask: usize,
        header: Header,
        outcome: Result<Body, Failure>,
    },
    /// A member's process is gone, and with it all connections to it.
    Gone { host: usize, life: u64 },
}

/// A machine with an engine and a registrator.
struct Site {
    engine: Engine,
    registrar: Registrar,
}

/// See the module.
pub(crate) struct Agents {
    plan: Plan,
    chance: Chance,
    sites: Vec<Site>,
    renderers: Vec<Renderer>,
    editor: Editor,
    /// All watch streams there were.
    lines: Vec<Line>,
    asks: Vec<Ask>,
    /// What is to be put into the world's queue.
    queue: Vec<(Time, Event)>,
    kept: Kept,
    /// Marks of the transactions that are in the log.
    placed: Vec<bool>,
    /// Containers come and go no more.
    quiet: bool,
    bug: Option<Bug>,
}

impl Agents {
    /// The agents of a world, where it has some.
    pub(crate) fn draw(seed: u64, world: &crate::plan::Plan, bug: Option<Bug>) -> Option<Self> {
        let mut chance = Chance::new(seed ^ SALT);
        let wanted = bug.is_some_and(Bug::is_of_agents);
        if bug.is_some() && !wanted {
            // A bug of the store is looked for in the worlds that are about the store alone.
            return None;
        }
        let plan = Plan::draw(&mut chance, world, wanted)?;
        let sites = (0..plan.sites).map(|site| Site {
            engine: Engine::new(site),
            registrar: Registrar::new(site, &plan, bug),
        });
        Some(Self {
            sites: sites.collect(),
            renderers: (0..plan.renderers)
                .map(|number| Renderer::new(number, plan.last_edit, bug))
                .collect(),
            editor: Editor::default(),
            lines: Vec::new(),
            plan,
            chance,
            asks: Vec::new(),
            queue: Vec::new(),
            kept: Kept::default(),
            placed: Vec::new(),
            quiet: false,
            bug,
        })
    }

    /// What is first.
    pub(crate) fn begin(&mut self) -> Vec<(Time, Event)> {
        let mut first = Vec::new();
        for site in 0..self.sites.len() {
            let churn = self.chance.below(3 * self.plan.churn_every);
            let trouble = self.chance.between(0, 2 * self.plan.trouble_every);
            for (at, happening) in [
                (churn, Happening::Churn { site }),
                (self.chance.below(5_000_000), Happening::Start { site }),
                (trouble, Happening::Trouble { site }),
            ] {
                first.push((at, Event::Agents(happening)));
            }
        }
        for renderer in 0..self.renderers.len() {
            let start = self.chance.below(5_000_000);
            let trouble = self.chance.between(0, 2 * self.plan.trouble_every);
            for (at, happening) in [
                (start, Happening::StartRenderer { renderer }),
                (trouble, Happening::RendererTrouble { renderer }),
            ] {
                first.push((at, Event::Agents(happening)));
            }
        }
        first.push((1_000_000, Event::Agents(Happening::Edit)));
        first
    }

    /// Lets it happen; what follows from it is for the world's queue.
    pub(crate) fn happen(&mut self, world: &World, happening: Happening) -> Check {
        let mut desk = Desk {
            world,
            now: world.now,
            plan: &self.plan,
            chance: &mut self.chance,
            asks: &mut self.asks,
            queue: &mut self.queue,
            lines: &mut self.lines,
            kept: &mut self.kept,
            bug: self.bug,
        };
        match happening {
            Happening::Churn { site } => {
                if !self.quiet {
                    self.sites[site].churn(&mut desk, site);
                }
            }
            Happening::Dies { site, id, started } => {
                let Site { engine, registrar } = &mut self.sites[site];
                engine.dies(&mut desk, &registrar.rules, &id, started);
            }
            Happening::Starts { site, id } => {
                let Site { engine, registrar } = &mut self.sites[site];
                engine.starts(&mut desk, &registrar.rules, &id);
            }
            Happening::Trouble { site } => {
                if !world.net.well {
                    self.sites[site].trouble(&mut desk, site);
                }
            }
            Happening::EngineBack { site } => self.sites[site].engine.up = true,
            Happening::Start { site } => self.sites[site].registrar.start(&mut desk),
            Happening::Registrar { site, life, fact } => {
                self.sites[site].tell(&mut desk, site, life, fact);
            }
            Happening::Answered {
                ask,
                header,
                outcome,
            } => {
                let revision = header.revision.0;
                match desk.asks[ask].from {
                    Caller::Registrar { site, life } => {
                        let fact = Fact::Answered {
                            ask,
                            revision,
                            outcome,
                        };
                        self.sites[site].tell(&mut desk, site, life, fact);
                    }
                    Caller::Renderer { renderer, life } => {
                        let fact = renderer::Fact::Answered {
                            ask,
                            revision,
                            outcome,
                        };
                        let fact = Box::new(fact);
                        return tell(&mut self.renderers, &mut desk, renderer, life, fact);
                    }
                    Caller::Editor => self.editor.answered(ask, &outcome),
                }
            }
            Happening::Edit => self.editor.edit(&mut desk, self.quiet),
            Happening::StartRenderer { renderer } => self.renderers[renderer].start(&mut desk),
            Happening::RendererTrouble { renderer } => {
                if !world.net.well {
                    trouble(&mut self.renderers[renderer], &mut desk, renderer);
                }
            }
            Happening::Renderer {
                renderer,
                life,
                fact,
            } => return tell(&mut self.renderers, &mut desk, renderer, life, fact),
            Happening::Gone { host, life } => {
                for site in &mut self.sites {
                    site.registrar.gone(&mut desk, host, life);
                }
                for renderer in &mut self.renderers {
                    renderer.gone(&mut desk, host, life);
                }
            }
        }
        Ok(())
    }

    /// What is to go into the world's queue.
    pub(crate) fn take_queue(&mut self) -> Vec<(Time, Event)> {
        std::mem::take(&mut self.queue)
    }

    /// A request, as the member is asked it.
    pub(crate) fn input(&mut self, ask: usize) -> Option<store_member::Input> {
        let wish = self.asks[ask].wish.take()?;
        Some(wish.input(token_of(ask)))
    }

    /// A batch goes to its stream, when that is a confd's: what happens then, and when.
    pub(crate) fn shown(
        &mut self,
        at: Time,
        stream: StreamId,
        batch: &Batch,
    ) -> Option<(Time, Happening)> {
        let line = self.lines.get_mut(desk::line_of(stream)?)?;
        line.down = line.down.max(at);
        let shown = Happening::Renderer {
            renderer: line.renderer,
            life: line.life,
            fact: Box::new(renderer::Fact::Shown {
                stream,
                batch: batch.clone(),
            }),
        };
        Some((line.down, shown))
    }

    /// What a request was about: the lease whose life an answer tells of.
    pub(crate) fn lease_of(&self, ask: usize) -> Option<(LeaseId, Time)> {
        let ask = &self.asks[ask];
        Some((ask.lease?, ask.asked))
    }

    /// Whether a registrator keeps a lease alive.
    pub(crate) fn owns(&self, lease: LeaseId) -> bool {
        self.sites
            .iter()
            .any(|site| site.registrar.lease == lease.0)
    }

    /// An entry is applied for the first time, with these events.
    pub(crate) fn committed(&mut self, command: &Command, events: &[KeyEvent]) -> Check {
        let Command::Txn(txn) = command else {
            return Ok(());
        };
        let Some(ask) = mark_of(txn) else {
            return Ok(());
        };
        if self.placed.len() <= ask {
            self.placed.resize(ask + 1, false);
        }
        if std::mem::replace(&mut self.placed[ask], true) {
            return broken(
                "a write happens once",
                format!("transaction {ask} of an agent is in the log again"),
            );
        }
        let ordered = self.asks[ask].asked;
        for event in events {
            let key = String::from_utf8_lossy(&event.kv.key);
            match (event.kind, &event.prev) {
                (EventKind::Put, _) => self.kept.put(&key, ordered),
                (EventKind::Delete, Some(prev)) => self.kept.deleted(&key, &prev.value)?,
                (EventKind::Delete, None) => {}
            }
        }
        Ok(())
    }

    /// Nothing goes wrong from now on, and what did is put right.
    pub(crate) fn end_faults(&mut self, now: Time) {
        // Without a last edit what failed last must be put right by itself.
        self.quiet = !self.plan.last_edit;
        for (number, renderer) in self.renderers.iter_mut().enumerate() {
            renderer.end_faults();
            if renderer.is_down() {
                let start = Happening::StartRenderer { renderer: number };
                self.queue.push((now, Event::Agents(start)));
            }
        }
        for (number, site) in self.sites.iter_mut().enumerate() {
            site.engine.up = true;
            site.registrar.paused = 0;
            if site.registrar.is_down() {
                let start = Happening::Start { site: number };
                self.queue.push((now, Event::Agents(start)));
            }
        }
    }

    /// Nothing new is asked for.
    pub(crate) fn quieten(&mut self) {
        self.quiet = true;
    }

    /// What is not yet as it must be at the end.
    pub(crate) fn unsettled(&self, world: &World) -> Check {
        for site in &self.sites {
            site.registrar.unsettled(world, &site.engine)?;
        }
        if self.plan.last_edit {
            self.editor.unsettled()?;
        }
        self.renderers
            .iter()
            .try_for_each(|renderer| renderer.unsettled(world))
    }

    /// Files put in place so far.
    pub(crate) fn placed(&self) -> u64 {
        self.renderers.iter().map(|renderer| renderer.placed).sum()
    }

    /// Transactions ordered so far.
    pub(crate) fn ordered(&self) -> usize {
        self.asks.iter().filter(|ask| ask.marked).count()
    }
}

impl Site {
    /// Something happens to a container.
    fn churn(&mut self, desk: &mut Desk<'_>, site: usize) {
        let next = desk.chance.between(1_000, 2 * desk.plan.churn_every);
        desk.after(next, Happening::Churn { site });
        self.engine.churn(desk, &self.registrar.rules);
    }

    /// Something happens to the registrator's process, unless it is another by now.
    fn tell(&mut self, desk: &mut Desk<'_>, site: usize, life: u64, fact: Fact) {
        let until = self.registrar.paused;
        if until > desk.now && !matches!(fact, Fact::AtEngine { .. }) {
            let fact = Happening::Registrar { site, life, fact };
            desk.after(until - desk.now, fact);
            return;
        }
        self.registrar.tell(desk, &mut self.engine, life, fact);
    }

    /// Something goes wrong.
    fn trouble(&mut self, desk: &mut Desk<'_>, site: usize) {
        let next = desk.chance.between(1_000, 2 * desk.plan.trouble_every);
        desk.after(next, Happening::Trouble { site });
        match desk.chance.below(6) {
            0 | 1 if desk.plan.engine_restarts => {
                self.engine.restart(desk, &self.registrar.rules);
                let back = desk.chance.between(10_000, 5_000_000);
                desk.after(back, Happening::EngineBack { site });
            }
            2 if desk.plan.stream_ends => self.engine.end_stream(desk),
            3 if desk.plan.crashes => {
                self.registrar.crash();
                self.engine.hang_up();
                let back = desk.chance.skewed(10_000, 20_000_000);
                desk.after(back, Happening::Start { site });
            }
            4 if desk.plan.pauses => {
                let pause = desk.chance.skewed(10_000, 20_000_000);
                self.registrar.paused = desk.now + pause;
            }
            5 if desk.plan.breaks => self.registrar.disconnect(desk),
            _ => {}
        }
    }
}

/// Something happens to a confd's process, when it is not paused.
fn tell(
    renderers: &mut [Renderer],
    desk: &mut Desk<'_>,
    number: usize,
    life: u64,
    fact: Box<renderer::Fact>,
) -> Check {
    let renderer = &mut renderers[number];
    if renderer.paused > desk.now && !matches!(*fact, renderer::Fact::Perform(_)) {
        let delay = renderer.paused - desk.now;
        let fact = Happening::Renderer {
            renderer: number,
            life,
            fact,
        };
        desk.after(delay, fact);
        return Ok(());
    }
    renderer.tell(desk, life, *fact)
}

/// Something goes wrong with a confd.
fn trouble(renderer: &mut Renderer, desk: &mut Desk<'_>, number: usize) {
    let next = desk.chance.between(1_000, 2 * desk.plan.trouble_every);
    desk.after(next, Happening::RendererTrouble { renderer: number });
    let start = Happening::StartRenderer { renderer: number };
    match desk.chance.below(8) {
        0 | 1 if desk.plan.crashes => {
            renderer.crash(desk);
            let back = desk.chance.skewed(10_000, 10_000_000);
            desk.after(back, start);
        }
        2 if desk.plan.reboots => {
            renderer.reboot(desk);
            let back = desk.chance.skewed(10_000, 10_000_000);
            desk.after(back, start);
        }
        3 if desk.plan.pauses => {
            renderer.paused = desk.now + desk.chance.skewed(10_000, 20_000_000);
        }
        4 if desk.plan.breaks => renderer.disconnect(desk),
        5 if desk.plan.hand_edits => renderer.edit(desk),
        6 if desk.plan.hand_edits => renderer.new_edition(desk),
        7 if desk.plan.disk_faults => renderer.fail_disk(desk),
        _ => {}
    }
}

/// The number in a transaction's mark.
fn mark_of(txn: &TxnRequest) -> Option<usize> {
    let key = &txn.compare.last()?.keys.start;
    let number = key.strip_prefix(MARK)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}
