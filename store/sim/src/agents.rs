//! The agents in the same world: container engines with a registrator each, on members that are being
//! broken. The agents' machines are the shipped ones; their shells are written again here, over simulated
//! engines and the members' own requests and answers.
//!
//! Not in every world: whatever is done here is drawn from a chance of its own, so that a world without
//! agents is what it would be if there were none. Start at `agents/registrar.rs`; what must hold is in
//! `promises/registered.rs` and `promises/kept.rs`.

mod desk;
mod engine;
mod plan;
mod registrar;

use store_machine::command::Command;
use store_machine::reply::{Event as KeyEvent, EventKind};
use store_machine::request::TxnRequest;
use store_machine::revision::LeaseId;
use store_member::answer::{Body, Failure, Header};
use store_member::input::Token;

use crate::bugs::Bug;
use crate::chance::Chance;
use crate::clock::Time;
use crate::promises::kept::Kept;
use crate::promises::{Check, broken};
use crate::queue::Event;
use crate::world::World;
use desk::{Ask, Caller, Desk};
use engine::Engine;
use plan::Plan;
use registrar::{Fact, Registrar};

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
        let plan = Plan::draw(&mut chance, world, wanted)?;
        let sites = (0..plan.sites).map(|site| Site {
            engine: Engine::new(site),
            registrar: Registrar::new(site, &plan, bug),
        });
        Some(Self {
            sites: sites.collect(),
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
                let Caller::Registrar { site, life } = desk.asks[ask].from;
                let fact = Fact::Answered {
                    ask,
                    revision: header.revision.0,
                    outcome,
                };
                self.sites[site].tell(&mut desk, site, life, fact);
            }
            Happening::Gone { host, life } => {
                for site in &mut self.sites {
                    site.registrar.gone(&mut desk, host, life);
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
        Ok(())
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
        if until > desk.now && !matches!(fact, Fact::AtEngine(_)) {
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

/// The number in a transaction's mark.
fn mark_of(txn: &TxnRequest) -> Option<usize> {
    let key = &txn.compare.last()?.keys.start;
    let number = key.strip_prefix(MARK)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}
