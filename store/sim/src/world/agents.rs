//! What passes between the agents and the members.

use store_member::answer::{Body, Failure, Header};
use store_member::input::Token;

use crate::agents::{Agents, Happening, ask_of};
use crate::host::Fate;
use crate::promises::Check;
use crate::queue::Event;
use crate::world::World;

impl World {
    /// Something happens to an agent or around it.
    pub(super) fn agents_happen(&mut self, happening: Happening) -> Check {
        let Some(mut agents) = self.agents.take() else {
            return Ok(());
        };
        let done = agents.happen(self, happening);
        for (at, event) in agents.take_queue() {
            self.queue.push(at, event);
        }
        self.agents = Some(agents);
        done
    }

    /// An agent's request arrives at a member.
    pub(super) fn ask(&mut self, host: usize, ask: usize) {
        let input = self.agents.as_mut().and_then(|agents| agents.input(ask));
        if let Some(input) = input {
            self.tell(host, input);
        }
    }

    /// Whether an answer is to an agent; it is on its way then.
    pub(super) fn agent_answered(
        &mut self,
        token: Token,
        header: Header,
        outcome: &Result<Body, Failure>,
    ) -> bool {
        let Some(ask) = ask_of(token) else {
            return false;
        };
        let Some(agents) = &self.agents else {
            return true;
        };
        let alive = match outcome {
            Ok(Body::KeepAlive(seconds)) => Some(*seconds).filter(|seconds| *seconds > 0),
            Ok(Body::Applied(store_machine::reply::Reply::LeaseGrant { ttl_seconds, .. })) => {
                Some(*ttl_seconds)
            }
            _ => None,
        };
        if let (Some(seconds), Some((lease, asked))) = (alive, agents.lease_of(ask)) {
            self.leases.told(lease, seconds, asked);
        }
        if self.net.well || !self.chance.per_mille(self.plan.drop) {
            let delay = self.client_delay();
            let answered = Happening::Answered {
                ask,
                header,
                outcome: outcome.clone(),
            };
            self.after(delay, Event::Agents(answered));
        }
        true
    }

    /// Nothing goes wrong for agents from now on, and what did is put right.
    pub(crate) fn agents_in_peace(&mut self) {
        let Some(agents) = &mut self.agents else {
            return;
        };
        agents.end_faults(self.now);
        for (at, event) in agents.take_queue() {
            self.queue.push(at, event);
        }
    }

    /// Agents that have converged write nothing any more: transactions ordered so far.
    pub(crate) fn agents_ordered(&self) -> usize {
        self.agents.as_ref().map_or(0, Agents::ordered)
    }

    /// Files that agents have put in place.
    pub(crate) fn agents_placed(&self) -> u64 {
        self.agents.as_ref().map_or(0, Agents::placed)
    }

    /// Hosts a client may try.
    pub(crate) fn used_hosts(&self) -> Vec<usize> {
        let used = |place: &usize| {
            self.hosts[*place].fate == Fate::Runs && (!self.net.well || self.is_member(*place))
        };
        (0..self.hosts.len()).filter(used).collect()
    }
}
