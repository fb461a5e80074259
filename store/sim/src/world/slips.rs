//! Known bugs that need the world's hand: what a member says or hears is changed on its way, as a shell with
//! that bug would change it.

use store_machine::command::Command;
use store_member::effects::PeerMessage;
use store_member::input::{Input, Token};

use store_wal::sim::SimDisk;

use crate::bugs::Bug;
use crate::host::Durable;
use crate::plan::MS;
use crate::queue::Event;
use crate::world::World;
use crate::world::operator::place_of;

impl World {
    /// A message leaves; true if a bug keeps it back.
    pub(super) fn slips(&mut self, place: usize, to: u64, message: &PeerMessage) -> bool {
        match (self.bug, message) {
            (Some(Bug::RemovedNotTold), PeerMessage::Removed) => return true,
            (Some(Bug::LearnerCounted), PeerMessage::Raft(_)) => {
                self.count_learner(place, to, message);
            }
            _ => self.note_round(place, message),
        }
        false
    }

    /// A bug: what a learner has counts as if a voter had it.
    fn count_learner(&mut self, place: usize, to: u64, message: &PeerMessage) {
        let members = &self.canon.model.members;
        let learns = members.learners().contains(&(place as u64 + 1));
        let mut voters = members.voters().into_iter();
        let mut message = message.clone();
        if let PeerMessage::Raft(raft) = &mut message
            && format!("{:?}", raft.get_msg_type()) == "MsgAppendResponse"
            && learns
            && !raft.reject
            && let Some(from) = voters.find(|voter| *voter != to)
        {
            raft.from = from;
            let host = place_of(to);
            let event = Event::Deliver {
                from,
                host,
                message,
            };
            self.after(MS, event);
        }
    }

    /// A bug: a disk is empty at a start.
    pub(super) fn wipe(&mut self, place: usize) {
        let host = &mut self.hosts[place];
        if self.bug == Some(Bug::WipedComesBack) && host.life > 0 && self.chance.once_in(3) {
            host.disk = SimDisk::new();
            host.durable = Durable::default();
        }
    }

    /// For the bug below: the round of reads a member has out.
    fn note_round(&mut self, place: usize, message: &PeerMessage) {
        if self.bug == Some(Bug::RoundConfirmedByOldAnswer)
            && let (PeerMessage::Raft(raft), Some(life)) = (message, &mut self.hosts[place].up)
            && format!("{:?}", raft.get_msg_type()) == "MsgHeartbeat"
            && !raft.context.is_empty()
        {
            life.round = raft.context.clone();
        }
    }

    /// A bug: whatever answer to a heartbeat arrives is taken for one to the last.
    pub(super) fn confuse_rounds(&self, place: usize, message: &mut PeerMessage) {
        if self.bug == Some(Bug::RoundConfirmedByOldAnswer)
            && let (PeerMessage::Raft(raft), Some(life)) = (message, &self.hosts[place].up)
            && format!("{:?}", raft.get_msg_type()) == "MsgHeartbeatResponse"
        {
            raft.context = life.round.clone();
        }
    }

    /// A bug: what this member believes to have ended is revoked through whoever leads now.
    pub(super) fn revoke_as_old_leader(&mut self, place: usize) {
        let Some(member) = self.hosts[place].member().filter(|member| member.leads()) else {
            return;
        };
        let leases = member.machine().leases();
        let mut others = (0..self.hosts.len()).filter(|other| *other != place);
        let leads = |other: &usize| self.hosts[*other].member().is_some_and(|m| m.leads());
        let Some(leader) = others.find(leads) else {
            return;
        };
        for lease in leases {
            let command = Command::LeaseRevoke {
                id: lease.id,
                term: 0,
            };
            let token = Token(u64::MAX);
            self.tell(leader, Input::Propose { token, command });
        }
    }
}
