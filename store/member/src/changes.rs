//! Members come, go and learn where they are known: changes on their way into the log, what follows
//! when one is applied, and what this member says of itself.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{
    ConfChange, ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry as RaftEntry, EntryType,
    Message, MessageType,
};
use store_machine::MemberRecord;
use store_machine::command::{Command, MemberChange};
use store_machine::revision::Index;

use crate::answer::{Body, Failure, Forbidden, MemberInfo};
use crate::effects::{Effects, Envelope, Fatal, Notice};
use crate::election::leads_alone;
use crate::log;
use crate::member::Member;
use crate::membership::View;
use crate::moment::Moment;
use crate::peer::{Declined, PeerMessage};
use crate::proposals::{self, Arrived, Queued};

/// What raft must be told of a change; `None` when voters and learners stay as they are.
fn conf_change(change: &MemberChange) -> Option<(ConfChangeType, u64)> {
    Some(match change {
        MemberChange::Add(member) if member.learner => (ConfChangeType::AddLearnerNode, member.id),
        MemberChange::Add(member) => (ConfChangeType::AddNode, member.id),
        MemberChange::Promote { id } => (ConfChangeType::AddNode, *id),
        MemberChange::Remove { id } => (ConfChangeType::RemoveNode, *id),
        MemberChange::Update { .. } => return None,
    })
}

/// The body of an entry that changes raft's members by one; `context` is what it has the machine do.
pub(crate) fn conf_body(kind: ConfChangeType, id: u64, context: Vec<u8>) -> Vec<u8> {
    let mut single = ConfChangeSingle::default();
    single.set_change_type(kind);
    single.node_id = id;
    let mut conf = ConfChangeV2::default();
    conf.set_changes(vec![single].into());
    conf.context = context.into();
    conf.write_to_bytes().unwrap_or_default()
}

/// Whether a command changes raft's voters or learners, and goes its own way into the log.
pub(crate) fn changes_raft(command: &Command) -> bool {
    matches!(command, Command::Members(change) if conf_change(change).is_some())
}

impl Member {
    /// The members by id, as replicated; what this one says of itself is already part of it.
    #[must_use]
    pub fn members(&self) -> Vec<MemberInfo> {
        let members = self.machine.members().into_iter();
        let mut members: Vec<MemberInfo> = members.map(MemberInfo::from).collect();
        if let Some(own) = self.config.own()
            && let Some(known) = members.iter_mut().find(|member| member.id == own.id)
        {
            known.name.clone_from(&own.name);
            known.client_urls.clone_from(&own.client_urls);
        }
        members
    }

    /// Proposes the next change, one at a time: raft takes none while another is not applied.
    pub(crate) fn propose_change(&mut self, now: Moment, out: &mut Effects) {
        let raft = &self.node.raft;
        if !self.may_propose() || raft.has_pending_conf() || !raft.apply_to_current_term() {
            return;
        }
        let Some(queued) = self.proposals.take_change() else {
            return;
        };
        self.more |= self.proposals.has_changes();
        let Command::Members(change) = &queued.command else {
            return;
        };
        // A change that the machine would refuse goes into the log as well, and is refused there: what this member has
        // applied may be old, if it has slept through its own removal.
        if self.machine.check_change(change).is_ok()
            && let view = self.view(now, change)
            && let Err(forbidden) = view.check(change)
        {
            if matches!(
                forbidden,
                Forbidden::UnstartedMembers | Forbidden::UnhealthyCluster
            ) {
                let shortfall = view.shortfall(change);
                out.notices.push(Notice::TooFew(shortfall));
            }
            self.decline(&queued, Failure::Forbidden(forbidden), out);
            return;
        }
        let Some((kind, id)) = conf_change(change) else {
            return;
        };
        if kind == ConfChangeType::RemoveNode && id == self.config.id && self.steps_aside(now) {
            // The next leader removes it.
            self.proposals.put_back_change(queued);
            return;
        }
        let context = proposals::body(queued.origin, &queued.command);
        let mut entry = RaftEntry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.data = conf_body(kind, id, context).into();
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.config.id;
        message.set_entries(vec![entry].into());
        let index = self.node.raft.raft_log.last_index() + 1;
        let term = self.node.raft.term;
        if self.node.raft.step(message).is_ok() {
            self.proposals.proposed(index, term, queued);
        } else {
            self.proposals.put_back_change(queued);
        }
    }

    /// What the rules of membership look at.
    fn view(&self, now: Moment, change: &MemberChange) -> View {
        let raft = &self.node.raft;
        let heard = self.heard.iter();
        let lately = heard.filter(|(_, at)| now.ms_since(**at) < self.config.election_ms);
        let matched = match change {
            MemberChange::Promote { id } => raft.prs().get(*id).map_or(0, |p| p.matched),
            _ => 0,
        };
        View {
            members: self.machine.members(),
            heard: lately.map(|(id, _)| *id).chain([self.config.id]).collect(),
            last: raft.raft_log.last_index(),
            matched,
            learners_max: self.config.learners_max,
            strict: self.config.strict_reconfig,
        }
    }

    /// A proposal does not go into the log.
    pub(crate) fn decline(&mut self, queued: &Queued, failure: Failure, out: &mut Effects) {
        if let Some(token) = queued.token {
            self.reply(token, Err(failure), out);
        } else if let Some(origin) = queued.origin {
            out.sends.push(Envelope {
                to: origin.member,
                message: PeerMessage::Declined(Box::new(Declined {
                    life: origin.life,
                    proposals: vec![(origin.number, failure)],
                })),
            });
        }
    }

    /// An entry that is for raft is being applied: with a change of ours in it, or alone.
    pub(crate) fn apply_change(&mut self, entry: &RaftEntry, out: &mut Effects) {
        let index = Index(entry.index);
        let conf = match read_conf(entry) {
            Ok(conf) => conf,
            Err(reason) => return self.unreadable(entry, reason, out),
        };
        if conf.context.is_empty() {
            self.machine.pass(index);
            self.apply_conf(entry, &conf, out);
            return;
        }
        let (token, command) = match self.proposals.arrive(entry.index, entry.term) {
            Some(Arrived { token, command }) => (token, command),
            None => match proposals::decode(conf.context.clone()) {
                Ok((origin, command)) => (self.returned(origin), command),
                Err(error) => return self.unreadable(entry, error.to_string(), out),
            },
        };
        let reply = self.machine.apply(index, command).reply;
        // Refused, it changes nothing, here as with all others.
        if reply.is_ok() {
            self.apply_conf(entry, &conf, out);
            out.members_changed = true;
        }
        if let Some(token) = token {
            let outcome = reply.map(Body::Applied).map_err(Failure::Refused);
            self.reply(token, outcome, out);
        }
    }

    fn apply_conf(&mut self, entry: &RaftEntry, conf: &ConfChangeV2, out: &mut Effects) {
        match self.node.apply_conf_change(conf) {
            Ok(state) => {
                self.voters = log::voters(&state);
                self.record_members(entry.index);
            }
            Err(error) => self.unreadable(entry, error.to_string(), out),
        }
    }

    fn unreadable(&self, entry: &RaftEntry, reason: String, out: &mut Effects) {
        out.fatal = Some(Fatal::Members {
            index: entry.index,
            reason,
        });
    }

    /// Whether this member is the only one.
    #[must_use]
    pub fn alone(&self) -> bool {
        leads_alone(&self.node)
    }

    /// Whether the members know what this one is called and how clients reach it.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.config.own().is_none_or(|own| {
            let known = self.machine.member(own.id);
            let same = |it: &MemberRecord| it.name == own.name && it.client_urls == own.client_urls;
            own.name.is_empty() || known.is_some_and(same)
        })
    }

    /// Says to the others what this member is called and how clients reach it, until they know.
    pub(crate) fn publish_itself(&mut self, now: Moment) {
        if now < self.publish_at || !self.is_led() || self.machine.applied().0 == 0 {
            return;
        }
        self.publish_at = Moment::NEVER;
        let Some(own) = self.config.own() else {
            return;
        };
        if self.is_published() {
            return;
        }
        let command = Command::MemberPublish {
            id: own.id,
            name: own.name.clone(),
            client_urls: own.client_urls.clone(),
        };
        // Looked at again by then.
        self.publish_at = now.plus_ms(self.config.request_timeout_ms());
        self.proposals.queue(None, self.publish_at, command);
    }
}

/// The bytes of the command in the body of an entry that changes members; `None` where raft alone is meant.
#[must_use]
pub fn change_in(body: &Bytes) -> Option<Bytes> {
    let conf = ConfChangeV2::parse_from_carllerche_bytes(body).ok()?;
    proposals::command_in(&conf.context)
}

/// Reads either form of raft's; ours is always the second.
fn read_conf(entry: &RaftEntry) -> Result<ConfChangeV2, String> {
    if entry.get_entry_type() != EntryType::EntryConfChange {
        let conf = ConfChangeV2::parse_from_carllerche_bytes(&entry.data);
        return conf.map_err(|error| error.to_string());
    }
    let old = ConfChange::parse_from_bytes(&entry.data).map_err(|error| error.to_string())?;
    let mut single = ConfChangeSingle::default();
    single.set_change_type(old.get_change_type());
    single.node_id = old.node_id;
    let mut conf = ConfChangeV2::default();
    conf.set_changes(vec![single].into());
    Ok(conf)
}
