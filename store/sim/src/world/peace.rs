//! The two phases of a run: faults, then peace, in which the cluster must heal by itself, serve, and
//! still hold everything it ever acknowledged (liveness).

use store_machine::MemberRecord;
use store_machine::revision::LeaseId;

use crate::host::Host;
use crate::plan::{MS, SECOND};
use crate::promises::{Check, answers, lease, peace, registered};
use crate::world::World;
use crate::world::operator::place_of;

/// In peace a leader must be there, and have served a client, within this: ten of the longest election
/// timeouts, and a client's patience.
const LEADER_WITHIN: u64 = 30 * SECOND;

/// All must be as it should be this long after the last request, and twice the longest lease: an election,
/// and a member's patience.
const SETTLED_WITHIN: u64 = 40 * SECOND;

/// The agents' longest waits on top of it: half a minute between two tries, the time of a crash loop, and a
/// look at everything.
const AGENTS_WITHIN: u64 = 120 * SECOND;

/// A lease that is longer is recorded so often, and late by at most that much after a change of leader.
const CHECKPOINT_SECONDS: u64 = 300;

/// See `store_member::Config::request_timeout_ms`.
const PATIENCE: u64 = 8 * SECOND;

impl World {
    /// The whole run.
    pub(crate) fn live(&mut self) -> Check {
        self.run(self.plan.safety)?;
        self.end_faults();
        self.say(|| String::from("peace"));
        self.until_served()?;
        self.run(self.now + 3 * SECOND)?;
        self.quiet = true;
        if let Some(agents) = &mut self.agents {
            agents.quieten();
        }
        self.say(|| String::from("quiet"));
        let longest = self.plan.ttl_seconds.1.unsigned_abs();
        let late = if longest > CHECKPOINT_SECONDS {
            CHECKPOINT_SECONDS
        } else {
            0
        };
        let agents = if self.agents.is_some() {
            AGENTS_WITHIN
        } else {
            0
        };
        let until = self.now + SETTLED_WITHIN + agents + 2 * (longest + late) * SECOND;
        while self.unsettled().is_err() && self.now < until {
            self.run(self.now + 500 * MS)?;
        }
        self.unsettled()?;
        for host in 0..self.hosts.len() {
            self.look(host)?;
        }
        let term = self.term();
        let ordered = self.agents_ordered();
        // Longer than any member waits for an outcome, by the slowest clock.
        self.run(self.now + PATIENCE)?;
        let there = |host: usize, life: u64| {
            let host = &self.hosts[host];
            host.life == life && host.up.is_some()
        };
        self.memberships.finished(there)?;
        peace::undisturbed(term, self.term())?;
        registered::rests(ordered, self.agents_ordered())?;
        answers::finished(&self.history, there)
    }

    /// The highest term any member is in.
    fn term(&self) -> u64 {
        let members = self.hosts.iter().filter_map(Host::member);
        members
            .map(|member| member.header().term)
            .max()
            .unwrap_or(0)
    }

    fn until_served(&mut self) -> Check {
        let (began, done) = (self.now, self.history.done);
        while self.history.done == done {
            if self.now > began + LEADER_WITHIN {
                return peace::unserved(self.leader().map(|place| place + 1));
            }
            self.run(self.now + 500 * MS)?;
        }
        Ok(())
    }

    /// Whether anybody whom this host's member knows has removed it.
    fn known_as_removed(&self, host: &Host, known: &[MemberRecord]) -> bool {
        known.iter().any(|other| {
            let other = self.hosts[place_of(other.id)].member();
            other.is_some_and(|other| other.machine().is_removed(host.id))
        })
    }

    /// What is not yet as it must be at the end.
    fn unsettled(&self) -> Check {
        let last = self.canon.last();
        for host in &self.hosts {
            let members = &self.canon.model.members;
            if !members.records.contains_key(&host.id) {
                if let Some(member) = host.member() {
                    let known = member.machine().members();
                    let removed = self.known_as_removed(host, &known);
                    peace::gone(host.id, &known, removed)?;
                }
                continue;
            }
            let applied = host.member().map(|member| member.machine().applied().0);
            peace::agreed(host.id, applied, last)?;
        }
        let kept = |lease: LeaseId| self.agents.as_ref().is_some_and(|it| it.owns(lease));
        lease::finished(&self.canon, kept)?;
        for watcher in &self.watchers {
            peace::watched(watcher.connection.is_some() && watcher.shown.next.is_some())?;
            watcher.shown.finished(&self.canon)?;
        }
        match &self.agents {
            Some(agents) => agents.unsettled(self),
            None => Ok(()),
        }
    }
}
