//! What clients and watchers do, and what they are told.

use store_member::Member;
use store_member::answer::{Body, Consistency, Failure};
use store_member::input::StreamEvent;
use store_watch::batch::{Batch, StreamId};

use crate::agents::Happening;
use crate::bugs::Bug;
use crate::clock::Time;
use crate::history::{OpId, What};
use crate::plan::{MS, SECOND};
use crate::promises::Check;
use crate::queue::Event;
use crate::watcher::Connection;
use crate::world::World;
use crate::world::perform::done;

/// Responses a watcher can take at first.
const CREDIT: usize = 4;

impl World {
    /// Delay between a client and a member.
    pub(super) fn client_delay(&mut self) -> Time {
        let longest = if self.net.well {
            MS
        } else {
            self.plan.delay_max
        };
        self.chance.skewed(50, longest)
    }

    /// A client asks its next question.
    pub(super) fn client(&mut self, number: usize) {
        if self.quiet || self.clients[number].waits_for.is_some() {
            return;
        }
        let revision = self.canon.model.revision();
        let client = &mut self.clients[number];
        let what = self.workload.next(
            &self.plan,
            &mut self.chance,
            &self.history,
            client,
            revision,
        );
        let op = self.history.ask(self.now, number, what);
        client.waits_for = Some(op);
        let host = client.host;
        if self.net.well || !self.chance.per_mille(self.plan.drop) {
            let delay = self.client_delay();
            self.after(delay, Event::Request { host, op });
        }
        // Shorter than the members' own patience most of the time, so that answers come too late.
        let patience = self.chance.between(300 * MS, 8 * SECOND);
        self.after(patience, Event::Timeout { client: number, op });
    }

    /// A request arrives at a member.
    pub(super) fn request(&mut self, host: usize, op: OpId) {
        let mut what = self.history.ops[op.0].what.clone();
        let leads = self.hosts[host].member().is_some_and(Member::leads);
        let careless = match self.bug {
            Some(Bug::ReadWithoutRound) => leads,
            Some(Bug::ReadFromFollower) => !leads,
            _ => false,
        };
        if careless && let What::Range(_, consistency) | What::Txn(_, consistency) = &mut what {
            *consistency = Consistency::Serializable;
        }
        let asked_of = (host, self.hosts[host].life);
        self.history.ops[op.0].asked_of = Some(asked_of);
        self.tell(host, what.input(op));
    }

    /// An answer arrives, perhaps too late for its client to wait for it.
    pub(super) fn answer(&mut self, id: OpId, revision: i64, outcome: &Result<Body, Failure>) {
        let client = self.history.ops[id.0].client;
        if matches!(outcome, Ok(_) | Err(Failure::Refused(_))) {
            self.history.learn(id, revision);
            self.history.done += u64::from(done(outcome));
        }
        if self.clients[client].waits_for != Some(id) {
            return;
        }
        self.clients[client].waits_for = None;
        match outcome {
            Ok(Body::KeepAlive(0)) => self.clients[client].lease = None,
            Err(failure) if !matches!(failure, Failure::Refused(_)) => self.go_elsewhere(client),
            _ => {}
        }
        self.think(client);
    }

    pub(super) fn timeout(&mut self, client: usize, op: OpId) {
        if self.clients[client].waits_for == Some(op) {
            self.clients[client].waits_for = None;
            self.go_elsewhere(client);
            self.think(client);
        }
    }

    fn go_elsewhere(&mut self, client: usize) {
        self.clients[client].host = self.some_host();
    }

    fn think(&mut self, client: usize) {
        let delay = self.chance.skewed(100, self.plan.think_max);
        self.after(delay, Event::Client { client });
    }

    /// A watcher looks after its connection.
    pub(super) fn watcher(&mut self, number: usize) {
        let delay = self.chance.between(50 * MS, 2 * SECOND);
        self.after(delay, Event::Watcher { watcher: number });
        let Some(connection) = &mut self.watchers[number].connection else {
            self.connect(number);
            return;
        };
        let owed = std::mem::take(&mut connection.owed);
        let host = connection.host;
        if owed > 0 {
            self.tell_stream(number, StreamEvent::Credit(owed));
        }
        // Who was removed and does not know it shows nothing new.
        let leaves = self.net.well && !self.is_member(host);
        match self.chance.below(10) {
            draw if leaves || (draw == 0 && !self.quiet) => {
                self.tell_stream(number, StreamEvent::Closed);
                self.watchers[number].connection = None;
                self.connect(number);
            }
            1..4 => self.tell_stream(number, StreamEvent::Progress),
            _ => {}
        }
    }

    fn connect(&mut self, number: usize) {
        let host = self.some_host();
        if self.hosts[host].up.is_none() {
            return;
        }
        self.streams_made += 1;
        let stream = StreamId(self.streams_made);
        self.streams.insert(stream, number);
        self.watchers[number].connection = Some(Connection {
            host,
            life: self.hosts[host].life,
            stream,
            owed: 0,
            up: self.now,
            down: self.now,
        });
        let mut spec = self.watchers[number].spec();
        if self.bug == Some(Bug::ResumeSkipsOne) && spec.start.0 > 0 {
            spec.start = spec.start.next();
        }
        self.tell_stream(number, StreamEvent::Opened { credit: CREDIT });
        self.tell_stream(number, StreamEvent::Create(spec));
    }

    /// Events shown to all watchers.
    pub(crate) fn shown_events(&self) -> u64 {
        self.watchers
            .iter()
            .map(|watcher| watcher.shown.events)
            .sum()
    }

    /// A process is gone, and its streams with it.
    pub(super) fn cut_streams(&mut self, host: usize, life: u64) {
        let gone = Happening::Gone { host, life };
        self.after(MS, Event::Agents(gone));
        for watcher in 0..self.watchers.len() {
            let Some(connection) = self.watchers[watcher].connection else {
                continue;
            };
            if connection.host == host && connection.life == life {
                let at = connection.down.max(self.now + MS);
                let stream = connection.stream;
                self.queue.push(at, Event::StreamEnd { watcher, stream });
            }
        }
    }

    pub(super) fn stream_ended(&mut self, watcher: usize, stream: StreamId) {
        let here = |connection: &Connection| connection.stream == stream;
        if self.watchers[watcher].connection.as_ref().is_some_and(here) {
            self.watchers[watcher].connection = None;
            self.streams.remove(&stream);
            self.connect(watcher);
        }
    }

    /// A batch arrives at its watcher.
    pub(super) fn shown(&mut self, number: usize, stream: StreamId, batch: &Batch) -> Check {
        let watcher = &mut self.watchers[number];
        let Some(connection) = &mut watcher.connection else {
            return Ok(());
        };
        if connection.stream != stream {
            return Ok(());
        }
        watcher.shown.take(&self.canon, batch)?;
        connection.owed += 1;
        let ended = matches!(batch, Batch::Compacted { .. } | Batch::Refused { .. });
        let starves = self.chance.once_in(3);
        if ended {
            self.tell_stream(number, StreamEvent::Closed);
            self.watchers[number].connection = None;
            self.connect(number);
        } else if !starves {
            let owed = std::mem::take(&mut connection.owed);
            self.tell_stream(number, StreamEvent::Credit(owed));
        }
        Ok(())
    }
}
