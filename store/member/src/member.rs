//! The member and its turn: facts in, orders out.
//!
//! [`Member::step`] only notes and answers what can be answered at once; [`Member::settle`] does
//! everything that is worth doing once per turn: propose all that is queued as one batch, begin one
//! read round, take what raft has ready, apply, publish. Raft's disk progress is asynchronous: an
//! entry is applied once raft knows it both committed and durable here.

use std::collections::BTreeMap;

use raft::eraftpb::{Entry as RaftEntry, Message, MessageType};
use raft::{RawNode, StateRole};
use store_machine::Machine;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::revision::Index;
use store_watch::hub::Hub;

use crate::answer::{Body, Failure, Header};
use crate::checks::Checks;
use crate::config::Config;
use crate::counts::Counts;
use crate::effects::{Effects, Envelope, Notice, Reply};
use crate::election::Election;
use crate::expiry::Expiry;
use crate::forwarding::{Asker, Forwarding};
use crate::founding::Founding;
use crate::handover::{Fitness, Handover};
use crate::input::{Input, Token};
use crate::leaving::{Former, Leaving};
use crate::limits;
use crate::log::{self, Log};
use crate::moment::Moment;
use crate::peer::{Answer, PeerMessage};
use crate::persist::Persist;
use crate::proposals::{Proposals, command_bytes};
use crate::random::Random;
use crate::reads::Reads;
use crate::record::{Mark, Recovered, Voters};
use crate::snapshots::Snapshots;
use crate::space::Space;
use crate::transfer::Transfers;

/// Whom this member follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Role {
    term: u64,
    /// 0 = nobody.
    leader: u64,
    leads: bool,
}

/// One store process as a value.
pub struct Member {
    pub(crate) config: Config,
    pub(crate) node: RawNode<Log>,
    pub(crate) machine: Machine,
    pub(crate) hub: Hub,
    pub(crate) proposals: Proposals,
    /// Highest term of an entry applied in this life.
    pub(crate) applied_term: u64,
    pub(crate) reads: Reads,
    pub(crate) forwarding: Forwarding,
    pub(crate) expiry: Expiry,
    pub(crate) space: Space,
    pub(crate) checks: Checks,
    pub(crate) snapshots: Snapshots,
    pub(crate) transfers: Transfers,
    pub(crate) election: Election,
    pub(crate) random: Random,
    /// As of the last look; differences become notices.
    role: Role,
    /// Voter set as of the last entry applied.
    pub(crate) voters: Voters,
    pub(crate) persist: Persist,
    pub(crate) handover: Option<Handover>,
    pub(crate) fitness: Fitness,
    /// It was removed.
    pub(crate) leaving: Option<Leaving>,
    /// Others that were.
    pub(crate) former: Former,
    /// When each peer was heard of last.
    pub(crate) heard: BTreeMap<u64, Moment>,
    /// When to see next whether the others know what this member is called.
    pub(crate) publish_at: Moment,
    /// A compaction has left versions to be removed.
    pub(crate) scrubbing: bool,
    /// Watch streams may have something to be shown.
    pub(crate) watch_dirty: bool,
    pub(crate) next_progress: Moment,
    /// The turn ended before all was done: another should follow at once.
    pub(crate) more: bool,
    pub(crate) counts: Counts,
}

/// A member cannot be opened on what was found.
#[derive(Debug, thiserror::Error)]
#[error("open member {id:016x} on its log")]
pub struct OpenError {
    id: u64,
    #[source]
    source: raft::Error,
}

impl Member {
    /// A member on what the shell found on disk; `machine` holds the state of `recovered.mark`.
    /// The first [`Member::settle`] may already have orders.
    ///
    /// # Errors
    /// When the settings contradict each other (raft's words).
    pub fn open(
        config: Config,
        mut machine: Machine,
        recovered: Recovered,
        now: Moment,
    ) -> Result<Self, OpenError> {
        let mut random = Random::new(config.seed);
        let found = recovered.start();
        let founders = recovered.founders();
        let fresh = found.is_none() && !config.joining;
        let start = found.unwrap_or_else(|| {
            if config.joining {
                Mark::default()
            } else {
                Mark::bootstrap(Founding::of(&config).voters)
            }
        });
        let founding = fresh.then(|| Founding::of(&config));
        if let Some(members) = founders.or_else(|| Some(founding.as_ref()?.members.clone())) {
            machine.found(members);
        }
        let voters = start.voters.clone();
        if machine.applied().0 < start.index {
            machine.pass(Index(start.index));
        }
        let log = Log::open(recovered, &start);
        let mut snapshots = Snapshots::new(start.index);
        snapshots.note_logged(log.bytes());
        let mut election = Election::new(
            config.heartbeat_ms,
            config.election_ms,
            now,
            Random::new(random.next()),
        );
        let (heartbeat_tick, election_tick) = election.ticks(config.heartbeat_ms);
        let raft_config = raft::Config {
            id: config.id,
            election_tick,
            heartbeat_tick,
            applied: machine.applied().0,
            max_size_per_msg: limits::MESSAGE_BYTES_MAX,
            max_inflight_msgs: limits::MESSAGES_IN_FLIGHT_MAX,
            max_committed_size_per_ready: limits::APPLY_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let id = config.id;
        let failed = |source| OpenError { id, source };
        let mut node = RawNode::new(&raft_config, log, &logger).map_err(failed)?;
        let persist = Persist::new(log::vote(&node.raft.hard_state()), founding);
        if voters.voters == [id] {
            // Nobody else can win: no need to wait and see.
            node.campaign().map_err(failed)?;
        }
        election.fix_timeout(&mut node);
        let space = Space::default();
        let at_start = config.check_at_start && !fresh && !config.joining;
        let checks = Checks::new(now, config.check_contents_ms, at_start);
        Ok(Self {
            reads: Reads::new(id, random.next()),
            forwarding: Forwarding::new(random.next()),
            snapshots,
            transfers: Transfers::default(),
            next_progress: now.plus_ms(config.progress_ms),
            checks,
            config,
            node,
            former: Former::new(machine.removed().collect()),
            machine,
            hub: Hub::new(),
            proposals: Proposals::default(),
            applied_term: 0,
            expiry: Expiry::default(),
            space,
            election,
            random,
            role: Role::default(),
            voters,
            persist,
            handover: None,
            fitness: Fitness::default(),
            leaving: None,
            heard: BTreeMap::new(),
            publish_at: Moment::default(),
            // A restored machine may not have finished the scrub of its last compaction.
            scrubbing: true,
            watch_dirty: false,
            more: true,
            counts: Counts::default(),
        })
    }

    /// Takes note of a fact. Orders it calls for at once are added to `out`; the rest comes with
    /// the turn's [`Member::settle`].
    pub fn step(&mut self, now: Moment, input: Input, out: &mut Effects) {
        match input {
            Input::Propose { token, command } => self.propose(now, token, command, out),
            Input::LeaseGrant {
                token,
                id,
                ttl_seconds,
                actor,
            } => {
                let command = self.lease_grant(id, ttl_seconds).by(actor);
                self.propose(now, token, command, out);
            }
            Input::Read {
                token,
                read,
                consistency,
            } => self.read(now, token, read, consistency, out),
            Input::TransferLeadership { token, to } => self.hand_over(now, token, to, out),
            Input::Watch { stream, event } => self.watch(stream, event),
            Input::Synced { number } => self.synced(now, number, out),
            Input::SnapshotSynced => self.snapshot_synced(out),
            Input::SnapshotFailed => {
                self.snapshots.abandon();
                self.transfers.write_failed();
            }
            Input::DiskFull => self.space.note_disk(true),
            Input::DiskFree => self.space.note_disk(false),
            Input::PeerSaid { from, message } => self.peer_said(now, from, message, out),
            Input::PeerUnreachable { member } => self.node.report_unreachable(member),
        }
    }

    /// Ends a turn: everything the facts since the last one call for.
    pub fn settle(&mut self, now: Moment, out: &mut Effects) {
        self.more = false;
        self.election.advance(now, &mut self.node);
        self.note_role(out);
        self.give_up_waiting(now, out);
        self.propose_due(now);
        self.publish_itself(now);
        let proposed = self.propose_queued();
        self.propose_change(now, out);
        self.forward(now, out);
        self.check_members(now, out);
        self.begin_read_round(now);
        self.advance_incoming(out);
        for _ in 0..limits::READIES_PER_TURN_MAX {
            if out.fatal.is_some() || !self.node.has_ready() {
                break;
            }
            self.take_ready(now, out);
        }
        self.more |= self.node.has_ready();
        self.note_role(out);
        if self.leads() && !self.expiry.is_active() && self.node.raft.apply_to_current_term() {
            self.expiry
                .start(now, self.machine.leases(), self.config.election_ms);
        }
        self.note_former(out);
        self.leave_when_removed(now, out);
        self.watch_handover(now, out);
        self.answer_ripe_reads(now, out);
        self.send_snapshots(now, out);
        self.work_in_slices(now, out);
        self.feed_watchers(now, out);
        // More than fits one append, or queued by what was applied just now.
        self.more |= proposed && self.proposals.has_queued();
        self.counts.committed_index = self.node.raft.raft_log.committed;
        self.counts.applied_index = self.machine.applied().0;
        self.counts.proposals_pending = self.proposals.pending() as u64;
    }

    /// When to call [`Member::settle`] even if no fact has arrived.
    #[must_use]
    pub fn next_deadline(&self, now: Moment) -> Moment {
        if self.more {
            return now;
        }
        let expiry = if self.may_decide() {
            self.expiry.next_deadline()
        } else {
            self.expiry.next_given_up()
        };
        self.election
            .next_deadline(&self.node)
            .min(expiry)
            .min(self.proposals.next_deadline())
            .min(self.reads.next_deadline(self.config.election_ms))
            .min(self.forwarding.next_deadline())
            .min(self.transfers.next_deadline())
            .min(self.next_check())
            .min(self.next_slow())
            .min(self.next_handover())
            .min(self.next_leaving())
            .min(self.next_progress)
    }

    /// The header of an answer made now.
    #[must_use]
    pub fn header(&self) -> Header {
        Header {
            cluster: self.config.cluster,
            member: self.config.id,
            revision: self.machine.revision(),
            term: self.node.raft.term,
        }
    }

    /// The state, to look at.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Running numbers, for metrics.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many watch, for metrics.
    #[must_use]
    pub fn watched(&self) -> store_watch::hub::Counts {
        self.hub.counts()
    }

    /// Whether this member leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Whether this member does not vote.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.voters.learners.contains(&self.config.id)
    }

    /// Whether a linearizable request would be served: a leader is known and, where it is this
    /// member, has committed in its term; and nothing is known to be wrong with this member.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.is_led() && !self.checks.apart()
    }

    /// Whether a read round may begin.
    pub(crate) fn is_led(&self) -> bool {
        if self.leaving.is_some() {
            // Those who are left may decide without it.
            false
        } else if self.leads() {
            self.node.raft.commit_to_current_term()
        } else {
            self.node.raft.leader_id != raft::INVALID_ID
        }
    }

    pub(crate) fn reply(&self, token: Token, outcome: Result<Body, Failure>, out: &mut Effects) {
        out.replies.push(Reply {
            token,
            header: self.header(),
            outcome,
        });
    }

    /// Answers whoever has asked.
    pub(crate) fn answer(&self, asker: Asker, outcome: Result<Body, Failure>, out: &mut Effects) {
        match asker {
            Asker::Client(token) => self.reply(token, outcome, out),
            Asker::Peer {
                member,
                life,
                number,
            } => out.sends.push(Envelope {
                to: member,
                message: PeerMessage::Answer(Box::new(Answer {
                    life,
                    number,
                    outcome,
                })),
            }),
        }
    }

    /// Term and leader, as rounds of reads remember them.
    pub(crate) const fn under(&self) -> (u64, u64) {
        (self.node.raft.r.term, self.node.raft.r.leader_id)
    }

    fn propose(&mut self, now: Moment, token: Token, command: Command, out: &mut Effects) {
        if let Some(failure) = self.refuses()
            && !Self::is_of_repair(&command)
        {
            return self.reply(token, Err(failure), out);
        }
        if !self.takes(&command) {
            self.reply(token, Err(Failure::Refused(Refusal::NoSpace)), out);
            return;
        }
        if !self.proposals.admits() {
            self.reply(token, Err(Failure::TooManyRequests), out);
            return;
        }
        let deadline = now.plus_ms(self.config.request_timeout_ms());
        self.proposals.queue(Some(token), deadline, command);
    }

    /// Notices a change of leader or term, with what follows from it.
    fn note_role(&mut self, out: &mut Effects) {
        let raft = &self.node.raft;
        let role = Role {
            term: raft.term,
            leader: raft.leader_id,
            leads: raft.state == StateRole::Leader,
        };
        if role == self.role {
            return;
        }
        let before = std::mem::replace(&mut self.role, role);
        let term = role.leads.then_some(role.term);
        self.proposals.note_role(before.leads, term);
        self.refuse_without_room(out);
        if before.leads {
            let mut lost = Vec::new();
            self.expiry.stop(|asker| lost.push(asker));
            for asker in lost {
                self.answer(asker, Err(Failure::LeaderChanged), out);
            }
            self.space.forget();
            self.forwarding.forget_senders();
        }
        if role.leads {
            out.notices.push(Notice::Leads { term: role.term });
        } else if role.leader == raft::INVALID_ID {
            out.notices.push(Notice::Leaderless { term: role.term });
        } else {
            out.notices.push(Notice::Follows {
                leader: role.leader,
                term: role.term,
            });
        }
        if before.leader != role.leader && role.leader != raft::INVALID_ID {
            self.counts.leader_changes += 1;
        }
        self.counts.leader = role.leader;
        self.counts.term = role.term;
    }

    fn give_up_waiting(&mut self, now: Moment, out: &mut Effects) {
        let mut given_up = Vec::new();
        if self.proposals.next_deadline() <= now {
            let mut unproposed = Vec::new();
            self.proposals.give_up(
                now,
                |token| unproposed.push((token, Failure::NoLeader)),
                |token| given_up.push((token, Failure::TimedOut)),
            );
            given_up.append(&mut unproposed);
            self.counts.proposals_failed += given_up.len() as u64;
        }
        for (token, failure) in given_up {
            self.reply(token, Err(failure), out);
        }
        let mut late = Vec::new();
        self.reads.give_up(now, |asker| late.push(asker));
        self.expiry.give_up(now, |asker| late.push(asker));
        self.forwarding
            .give_up(now, |token| late.push(Asker::Client(token)));
        for asker in late {
            self.answer(asker, Err(Failure::TimedOut), out);
        }
        self.reads.check(now, self.under(), self.config.election_ms);
    }

    /// Whether a proposal would enter the log now.
    pub(crate) fn may_propose(&self) -> bool {
        self.leads() && self.node.raft.lead_transferee.is_none()
    }

    /// Whether the leader may propose what it wants itself. Before all of earlier terms is applied, it
    /// does not know the leases for sure.
    fn may_decide(&self) -> bool {
        self.may_propose() && self.expiry.is_active() && self.space.has_room()
    }

    /// What the leader itself wants: ends of leases, their checkpoints, the quota alarm.
    fn propose_due(&mut self, now: Moment) {
        if !self.may_decide() {
            return;
        }
        let term = self.node.raft.term;
        let proposals = &mut self.proposals;
        let mut bytes = 0;
        let mut queue = |command| {
            bytes += command_bytes(&command);
            proposals.queue(None, Moment::NEVER, command);
        };
        self.expiry
            .due(now, |id| queue(Command::LeaseRevoke { id, term }));
        self.expiry.due_checkpoint(now, |remaining| {
            queue(Command::LeaseCheckpoint { remaining, term });
        });
        let quota_bytes = self.config.limits.quota_bytes;
        if let Some(command) = self.space.wants(self.config.id, &self.machine, quota_bytes) {
            queue(command);
        }
        self.space.spend(bytes);
    }

    /// Hands queued proposals to raft; false when it would not have them now.
    fn propose_queued(&mut self) -> bool {
        if !self.may_propose() {
            return false;
        }
        self.proposals.sort_changes();
        if !self.proposals.has_queued() {
            return true;
        }
        let node = &mut self.node;
        let first_index = node.raft.raft_log.last_index() + 1;
        let term = node.raft.term;
        let propose = |entries: Vec<RaftEntry>| {
            let mut message = Message::default();
            message.set_msg_type(MessageType::MsgPropose);
            message.from = node.raft.id;
            message.set_entries(entries.into());
            node.raft.step(message).is_ok()
        };
        self.proposals.propose(first_index, term, propose)
    }

    fn begin_read_round(&mut self, now: Moment) {
        if self.is_led()
            && let Some(context) = self.reads.begin(now, self.under())
        {
            self.node.read_index(context);
        }
    }

    /// Work that must not hold up a turn: a slice of each.
    fn work_in_slices(&mut self, now: Moment, out: &mut Effects) {
        if self.scrubbing {
            self.scrubbing = !self.machine.scrub(limits::SCRUB_RECORDS_PER_TURN);
            self.more |= self.scrubbing;
        }
        self.work_on_audit(out);
        let quota_bytes = self.config.limits.quota_bytes;
        self.more |= self.may_decide() && self.space.is_due(&self.machine, quota_bytes);
        out.notices.extend(self.space.warning(&self.machine));
        self.counts.space_warned = self.space.warned();
        self.begin_snapshot(now, out);
        self.trim_log();
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.config.id)
            .field("role", &self.role)
            .field("applied", &self.machine.applied())
            .field("revision", &self.machine.revision())
            .finish_non_exhaustive()
    }
}
