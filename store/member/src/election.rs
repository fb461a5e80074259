//! Ticks and election jitter: turns the shell's time into raft's, and raft's thread-wide
//! randomness into the member's own.

use raft::{RawNode, StateRole, Storage};

use crate::limits::{TICKS_PER_HEARTBEAT, TICKS_PER_TURN_MAX};
use crate::moment::Moment;
use crate::random::Random;

/// Raft's clock.
pub(crate) struct Election {
    /// Length of a tick; at least 1.
    tick_ms: u64,
    /// Up to where ticks have been counted. Moves only in `advance`.
    ticked: Moment,
    /// Bounds of the election timeout, in ticks.
    timeout_ticks: (u64, u64),
    random: Random,
    /// What the present timeout was drawn for; a change calls for a new one.
    drawn_for: (u64, StateRole),
    /// The present timeout, in ticks.
    timeout: usize,
}

impl Election {
    pub(crate) fn new(heartbeat_ms: u64, election_ms: u64, now: Moment, random: Random) -> Self {
        let tick_ms = (heartbeat_ms / TICKS_PER_HEARTBEAT).max(1);
        let least = (election_ms / tick_ms).max(1);
        let mut election = Self {
            tick_ms,
            ticked: now,
            timeout_ticks: (least, 2 * least),
            random,
            drawn_for: (0, StateRole::Follower),
            timeout: 0,
        };
        election.draw();
        election
    }

    /// Ticks that a heartbeat, and that the shortest election timeout, take.
    pub(crate) fn ticks(&self, heartbeat_ms: u64) -> (usize, usize) {
        let ticks = |ticks: u64| usize::try_from(ticks).unwrap_or(usize::MAX);
        (
            ticks((heartbeat_ms / self.tick_ms).max(1)),
            ticks(self.timeout_ticks.0),
        )
    }

    fn draw(&mut self) {
        let (from, to) = self.timeout_ticks;
        self.timeout = usize::try_from(self.random.between(from, to)).unwrap_or(usize::MAX);
    }

    /// Gives raft the ticks that have passed. After a pause it gets a few and the rest is forgotten.
    pub(crate) fn advance<S: Storage>(&mut self, now: Moment, node: &mut RawNode<S>) {
        let due = now.ms_since(self.ticked) / self.tick_ms;
        if due == 0 {
            return;
        }
        if due > TICKS_PER_TURN_MAX {
            self.ticked = now;
        } else {
            self.ticked = self.ticked.plus_ms(due * self.tick_ms);
        }
        if leads_alone(node) {
            // Nobody to send heartbeats to and nobody who could take the lead away.
            return;
        }
        for _ in 0..due.min(TICKS_PER_TURN_MAX) {
            node.tick();
            if node.raft.election_elapsed == 0 {
                // A campaign has begun: the next one waits for another while.
                self.draw();
            }
            self.fix_timeout(node);
        }
    }

    /// Puts the member's own timeout in place of the one raft may just have drawn. To be called
    /// after everything that can change raft's role or term.
    pub(crate) fn fix_timeout<S: Storage>(&mut self, node: &mut RawNode<S>) {
        let state = (node.raft.term, node.raft.state);
        if state != self.drawn_for {
            self.drawn_for = state;
            self.draw();
        }
        node.raft.set_randomized_election_timeout(self.timeout);
    }

    /// When raft next has something to do by itself.
    pub(crate) fn next_deadline<S: Storage>(&self, node: &RawNode<S>) -> Moment {
        if leads_alone(node) {
            return Moment::NEVER;
        }
        let raft = &node.raft;
        let ticks = if raft.state == StateRole::Leader {
            let heartbeat = raft
                .heartbeat_timeout()
                .saturating_sub(raft.heartbeat_elapsed());
            let check = raft
                .election_timeout()
                .saturating_sub(raft.election_elapsed);
            heartbeat.min(check)
        } else {
            self.timeout.saturating_sub(raft.election_elapsed)
        };
        self.ticked
            .plus_ms((ticks as u64).clamp(1, TICKS_PER_TURN_MAX) * self.tick_ms)
    }
}

/// Whether this member leads a cluster of which it is the only voter and the only member.
pub(crate) fn leads_alone<S: Storage>(node: &RawNode<S>) -> bool {
    node.raft.state == StateRole::Leader
        && node.raft.prs().is_singleton()
        && node.raft.prs().iter().count() == 1
}
