//! The world: hosts, clients, watchers, the network and the queue of what happens next, in one thread.
//!
//! Takes one event after the other and lets it happen. What a member's orders come to is in
//! `world/perform.rs`, what it has applied in `world/applied.rs`, what its disk does in `world/disk.rs`, what clients do in
//! `world/clients.rs`, who changes members in `world/operator.rs`, the peace after the faults in
//! `world/peace.rs`. One generator decides everything, so that a seed is a run.

mod agents;
mod applied;
mod clients;
mod disk;
mod operator;
mod peace;
mod perform;
mod slips;

use std::collections::BTreeMap;

use store_machine::{Limits, MemberRecord};
use store_member::Config;
use store_member::answer::MemberInfo;
use store_member::effects::{Effects, PeerMessage};
use store_member::input::{Input, StreamEvent};
use store_watch::batch::StreamId;

use crate::agents::Agents;
use crate::bugs::Bug;
use crate::chance::Chance;
use crate::clock::Time;
use crate::history::History;
use crate::host::open::{End, Refused};
use crate::host::{Fate, Host};
use crate::model::Members;
use crate::net::Net;
use crate::plan::{MS, Plan, SECOND};
use crate::promises::election::Elections;
use crate::promises::lease;
use crate::promises::log_matching::Logs;
use crate::promises::membership::Memberships;
use crate::promises::state::States;
use crate::promises::{Canon, Check, broken};
use crate::queue::{Event, Queue};
use crate::run::Options;
use crate::watcher::Watcher;
use crate::workload::{Client, Workload};

/// Ticks of work a driver takes between an arrival and its turn, at most, in microseconds.
const TURN_DELAY_MAX: Time = 50;

/// See the module.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) now: Time,
    /// Events that have happened.
    pub(crate) steps: u64,
    queue: Queue,
    pub(crate) hosts: Vec<Host>,
    pub(crate) net: Net,
    clients: Vec<Client>,
    watchers: Vec<Watcher>,
    /// Which watcher a stream belongs to.
    streams: BTreeMap<StreamId, usize>,
    streams_made: u64,
    workload: Workload,
    pub(crate) history: History,
    pub(crate) canon: Canon,
    pub(crate) memberships: Memberships,
    pub(crate) elections: Elections,
    logs: Logs,
    states: States,
    pub(crate) leases: lease::Promises,
    /// Clients ask nothing new.
    quiet: bool,
    pub(crate) faults: u64,
    pub(crate) transfers: u64,
    agents: Option<Agents>,
    effects: Effects,
    bug: Option<Bug>,
    trace: bool,
    blind: bool,
}

impl World {
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let Options { bug, trace, blind } = options;
        let mut chance = Chance::new(seed);
        let plan = match bug {
            Some(Bug::RoundConfirmedByOldAnswer) => Plan::of_pauses(&mut chance),
            _ => Plan::draw(&mut chance),
        };
        let founders = (1..=plan.members).map(|id| MemberRecord {
            id,
            name: format!("m{id}"),
            peer_urls: vec![format!("p{id}")],
            client_urls: if plan.members == 1 {
                vec![format!("c{id}")]
            } else {
                Vec::new()
            },
            learner: false,
        });
        let founders = Members::founded(founders);
        let watchers = (0..plan.watchers)
            .map(|_| Watcher::draw(&mut chance))
            .collect();
        let clients = (0..plan.clients).map(|_| Client {
            host: chance.place(usize::try_from(plan.members).unwrap_or(1)),
            waits_for: None,
            lease: None,
        });
        let mut world = Self {
            clients: clients.collect(),
            now: 0,
            steps: 0,
            queue: Queue::default(),
            hosts: Vec::new(),
            net: Net::default(),
            watchers,
            streams: BTreeMap::new(),
            streams_made: 0,
            workload: Workload::default(),
            history: History::default(),
            canon: Canon::new(founders.clone()),
            memberships: Memberships::new(founders),
            elections: Elections::default(),
            logs: Logs::default(),
            states: States::default(),
            leases: lease::Promises::default(),
            quiet: false,
            faults: 0,
            transfers: 0,
            agents: Agents::draw(seed, &plan, bug),
            effects: Effects::default(),
            bug,
            trace,
            blind,
            plan,
            chance,
        };
        for id in 1..=world.plan.members {
            let mut config = world.config_of(id);
            config.members = (1..=world.plan.members).map(World::named).collect();
            world.hosts.push(world.new_host(id, config));
        }
        world.say(|| String::from("a new world"));
        world.begin();
        world
    }

    /// What every member is told, and what this one says of itself.
    fn config_of(&self, id: u64) -> Config {
        Config {
            members: vec![World::named(id)],
            snapshot_count: self.plan.snapshot_count,
            catch_up_entries: self.plan.catch_up_entries,
            progress_ms: 3_000,
            snapshot_part_bytes: self.plan.snapshot_part_bytes,
            limits: Limits {
                quota_bytes: u64::MAX,
            },
            ..Config::new(7, id, 0)
        }
    }

    fn named(id: u64) -> MemberInfo {
        MemberInfo {
            id,
            name: format!("m{id}"),
            peer_urls: vec![format!("p{id}")],
            client_urls: vec![format!("c{id}")],
            learner: false,
        }
    }

    fn begin(&mut self) {
        if self.trace {
            eprintln!("{:#?}", self.plan);
        }
        for host in 0..self.hosts.len() {
            let delay = self.chance.below(100 * MS);
            self.after(delay, Event::Start { host });
        }
        for client in 0..self.clients.len() {
            let delay = self.chance.below(SECOND);
            self.after(delay, Event::Client { client });
        }
        for watcher in 0..self.watchers.len() {
            let delay = self.chance.below(3 * SECOND);
            self.after(delay, Event::Watcher { watcher });
        }
        let agents = self.agents.as_mut().map(Agents::begin);
        for (at, event) in agents.unwrap_or_default() {
            self.queue.push(at, event);
        }
        self.after(2 * SECOND, Event::Fault);
        if self.plan.change_every > 0 {
            self.after(3 * SECOND, Event::Operator);
        }
    }

    /// Adds a line to the trace.
    pub(crate) fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>12} {:>8}  {}", self.now, self.steps, line());
        }
    }

    pub(crate) fn after(&mut self, delay: Time, event: Event) {
        self.queue.push(self.now + delay, event);
    }

    /// The member that leads in the highest term, by its own word.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leading = self.hosts.iter().enumerate().filter_map(|(place, host)| {
            let member = host.member().filter(|member| member.leads())?;
            Some((member.counts().term, place))
        });
        leading.max().map(|(_, place)| place)
    }

    /// Lets everything happen that happens before `until`.
    pub(crate) fn run(&mut self, until: Time) -> Check {
        while self.now < until {
            let Some((at, event)) = self.queue.pop() else {
                break;
            };
            self.now = at;
            self.steps += 1;
            self.happen(event)?;
        }
        Ok(())
    }

    /// What is meant for a process that is paused waits; what is meant for one that is gone is nothing.
    fn meets(&mut self, host: usize, meant: Option<u64>, event: Event) -> Option<Event> {
        let host = &mut self.hosts[host];
        let number = host.life;
        let life = host.up.as_mut()?;
        if meant.is_some_and(|meant| meant != number) {
            return None;
        }
        if life.paused.is_some() {
            life.deferred.push(event);
            return None;
        }
        Some(event)
    }

    fn happen(&mut self, event: Event) -> Check {
        let (host, meant) = match &event {
            Event::Turn { host, life }
            | Event::Wake { host, life }
            | Event::Disk { host, life }
            | Event::SyncEnd { host, life }
            | Event::Snapshot { host, life }
            | Event::Stream { host, life, .. } => (*host, Some(*life)),
            Event::Deliver { host, .. }
            | Event::Request { host, .. }
            | Event::Ask { host, .. }
            | Event::Wish { host, .. } => (*host, None),
            _ => return self.happen_outside(event),
        };
        let Some(event) = self.meets(host, meant, event) else {
            return Ok(());
        };
        match event {
            Event::Turn { .. } => self.turn(host),
            Event::Wake { .. } => {
                self.wake(host);
                Ok(())
            }
            Event::Disk { .. } => self.disk(host),
            Event::SyncEnd { .. } => self.sync_end(host),
            Event::Snapshot { .. } => {
                self.snapshot_step(host);
                Ok(())
            }
            Event::Stream { stream, event, .. } => {
                self.tell(host, Input::Watch { stream, event });
                Ok(())
            }
            Event::Deliver {
                from, mut message, ..
            } => {
                self.confuse_rounds(host, &mut message);
                self.say(|| format!("{from} to {}: {}", host + 1, brief(&message)));
                self.tell(host, Input::PeerSaid { from, message });
                Ok(())
            }
            Event::Request { op, .. } => {
                self.request(host, op);
                Ok(())
            }
            Event::Ask { ask, .. } => {
                self.ask(host, ask);
                Ok(())
            }
            Event::Wish { order, .. } => {
                self.wish_arrives(host, order);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What does not happen to a process.
    fn happen_outside(&mut self, event: Event) -> Check {
        match event {
            Event::Answer {
                op,
                header,
                outcome,
            } => self.answer(op, header.revision.0, &outcome),
            Event::Client { client } => self.client(client),
            Event::Timeout { client, op } => self.timeout(client, op),
            Event::Shown {
                watcher,
                stream,
                batch,
            } => return self.shown(watcher, stream, &batch),
            Event::StreamEnd { watcher, stream } => self.stream_ended(watcher, stream),
            Event::Watcher { watcher } => self.watcher(watcher),
            Event::Fault if !self.net.well => {
                self.faults += 1;
                self.fault();
            }
            Event::Operator => self.operator(),
            Event::Start { host } | Event::Joins { host } => return self.start(host),
            Event::Resume { host, life } if self.hosts[host].life == life => self.resume(host),
            Event::DiskWell { host } => self.disk_well(host),
            Event::Heal => self.net.heal(),
            Event::Agents(happening) => return self.agents_happen(happening),
            _ => {}
        }
        Ok(())
    }

    /// A fact arrives at a member; its driver takes it with all others in a moment.
    fn tell(&mut self, host: usize, input: Input) {
        let number = self.hosts[host].life;
        let Some(life) = &mut self.hosts[host].up else {
            return;
        };
        life.inbox.push(input);
        if !std::mem::replace(&mut life.turn_due, true) {
            let delay = self.chance.between(1, TURN_DELAY_MAX);
            self.after(delay, Event::Turn { host, life: number });
        }
    }

    /// A turn without facts.
    fn wake(&mut self, host: usize) {
        let now = self.now;
        let Some(wanted) = self.hosts[host].next_wake(now) else {
            return;
        };
        let number = self.hosts[host].life;
        let Some(life) = &mut self.hosts[host].up else {
            return;
        };
        if life.wake_at > now {
            // An earlier one took its place.
            return;
        }
        life.wake_at = Time::MAX;
        if wanted > now {
            self.wake_later(host, wanted);
        } else if !std::mem::replace(&mut life.turn_due, true) {
            self.after(0, Event::Turn { host, life: number });
        }
    }

    fn wake_later(&mut self, host: usize, at: Time) {
        let number = self.hosts[host].life;
        if let Some(life) = &mut self.hosts[host].up
            && at < life.wake_at
        {
            life.wake_at = at;
            self.queue.push(at, Event::Wake { host, life: number });
        }
    }

    /// Ends a process; another starts in a while.
    pub(crate) fn end(&mut self, place: usize, end: End) {
        let end = if std::mem::take(&mut self.hosts[place].power_going) {
            self.power_cut()
        } else {
            end
        };
        self.say(|| format!("member {} ends: {end:?}", place + 1));
        let host = &mut self.hosts[place];
        let ran = host.up.is_some();
        let number = host.life;
        host.end(end);
        self.cut_streams(place, number);
        if ran {
            let longest = if self.net.well {
                100 * MS
            } else {
                self.plan.outage_max
            };
            let delay = self.chance.skewed(10 * MS, longest);
            self.after(delay, Event::Start { host: place });
        }
    }

    fn start(&mut self, place: usize) -> Check {
        if self.hosts[place].up.is_some() || self.hosts[place].fate != Fate::Runs {
            return Ok(());
        }
        self.wipe(place);
        let seed = self.chance.next();
        let skew = self.plan.skew * 1_000;
        let rate = self.chance.between(1_000_000 - skew, 1_000_000 + skew);
        let now = self.now;
        match self.hosts[place].start(now, seed, rate) {
            Ok(()) => {
                self.say(|| {
                    let member = self.hosts[place].member();
                    format!("member {} starts: {member:?}", place + 1)
                });
                self.look(place)?;
                if let Some(life) = &self.hosts[place].up {
                    let elections = &self.elections;
                    self.logs
                        .forget(life.shadow.last(), |term| elections.led(term));
                }
                self.tell(place, Input::DiskFree);
                self.disk_after(place, 0);
                Ok(())
            }
            Err(Refused::Io) => {
                if std::mem::take(&mut self.hosts[place].power_going) {
                    let end = self.power_cut();
                    self.hosts[place].cut(end);
                }
                let delay = self.chance.between(10 * MS, SECOND);
                self.after(delay, Event::Start { host: place });
                Ok(())
            }
            Err(Refused::Damage(what)) => broken(
                "what was synced is there after a restart",
                format!("member {}: {what}", place + 1),
            ),
        }
    }

    /// A paused process goes on: what happened to it meanwhile happens now.
    pub(crate) fn resume(&mut self, place: usize) {
        let now = self.now;
        let Some(life) = &mut self.hosts[place].up else {
            return;
        };
        let Some(since) = life.paused.take() else {
            return;
        };
        let deferred = std::mem::take(&mut life.deferred);
        // What the network held back comes at its pace, each link in order; the rest is there at once.
        let gap = self.chance.skewed(0, 20 * MS);
        let mut links: BTreeMap<u64, Time> = BTreeMap::new();
        for event in deferred {
            match &event {
                Event::Deliver { from, .. } => {
                    let last = links.entry(*from).or_insert(now);
                    *last += self.chance.between(0, gap);
                    let at = *last;
                    self.queue.push(at, event);
                }
                // What arrives just now has come after it.
                _ => self.queue.push_ahead(now, event),
            }
        }
        self.say(|| format!("member {} goes on after {} µs", place + 1, now - since));
        if self.bug == Some(Bug::OldLeaderRevokes) && now - since > 3 * SECOND {
            self.revoke_as_old_leader(place);
        }
    }

    /// A watch stream's event goes to the process it is to.
    fn tell_stream(&mut self, watcher: usize, event: StreamEvent) {
        let delay = self.chance.skewed(50, self.plan.delay_max);
        let Some(connection) = &mut self.watchers[watcher].connection else {
            return;
        };
        connection.up = connection.up.max(self.now + delay);
        let (host, life, stream) = (connection.host, connection.life, connection.stream);
        self.queue.push(
            connection.up,
            Event::Stream {
                host,
                life,
                stream,
                event,
            },
        );
    }
}

/// A message in a few words.
fn brief(message: &PeerMessage) -> String {
    let PeerMessage::Raft(raft) = message else {
        return format!("{message:?}");
    };
    format!(
        "{:?} term {} log {}/{} entries {} commit {} reject {} hint {}",
        raft.get_msg_type(),
        raft.term,
        raft.index,
        raft.log_term,
        raft.entries.len(),
        raft.commit,
        raft.reject,
        raft.reject_hint
    )
}
