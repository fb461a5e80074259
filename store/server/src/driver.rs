//! The one loop: takes what has arrived, lets the member decide, performs its orders.
//!
//! The [`Member`] belongs to whoever sits at the driver's seat, nearly always one OS thread; nothing in it waits for
//! anything but the inbox. See "the way of one write" in `ARCHITECTURE.md`.

pub(crate) mod disk;
pub(crate) mod inbox;
mod notices;
pub(crate) mod outbox;
pub(crate) mod seat;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use store_machine::auth::Auth;
use store_member::answer::{Failure, Header};
use store_member::effects::{Effects, Fatal};
use store_member::input::{Input, StreamEvent, Token};
use store_member::{Member, Moment};
use store_watch::batch::{Batch, StreamId};
use tokio::sync::{mpsc, oneshot};

use crate::auth::View;
use crate::counters::Counters;
use crate::delays::Cause;
use crate::disk::Order;
use crate::driver::disk::DriverDisk;
use crate::driver::inbox::{Ask, Inbox, Knock, Outcome};
use crate::driver::outbox::Outbox;
use crate::fatal::Exit;

/// Messages of one turn: enough that a batch for the disk is large, few enough that a turn stays
/// below some 10 ms.
const TURN_INPUTS_MAX: usize = 4_096;

/// What the last answers of a member that ends get to reach their clients: many times what writing
/// them to a socket takes.
const FAREWELL: Duration = Duration::from_millis(200);

/// The driver thread's own state.
pub(crate) struct Driver {
    member: Member,
    inbox: Arc<Inbox>,
    disk: DriverDisk,
    outbox: Arc<Outbox>,
    counters: Arc<Counters>,
    auth: Arc<View>,
    /// As last shown to `auth`.
    auth_shown: Arc<Auth>,
    /// [`Moment`] 0.
    epoch: Instant,
    waiting: Waiting,
    streams: HashMap<StreamId, mpsc::UnboundedSender<(Header, Batch)>>,
    effects: Effects,
    /// See [`Driver::warning_above`].
    slow_turn: Duration,
}

impl Driver {
    pub(crate) fn new(
        member: Member,
        inbox: Arc<Inbox>,
        disk: DriverDisk,
        outbox: Arc<Outbox>,
        counters: Arc<Counters>,
        auth: Arc<View>,
        epoch: Instant,
    ) -> Self {
        let auth_shown = Arc::clone(member.machine().auth());
        auth.set(&auth_shown);
        Self {
            member,
            inbox,
            disk,
            outbox,
            counters,
            auth,
            auth_shown,
            epoch,
            waiting: Waiting::default(),
            streams: HashMap::new(),
            effects: Effects::default(),
            slow_turn: Duration::ZERO,
        }
    }

    /// Takes the turns that these messages need, at least one; false when one of them says to stop.
    pub(crate) fn turns(&mut self, knocks: &mut Vec<Knock>) -> bool {
        let began = Instant::now();
        let mut stop = false;
        let mut left = knocks.drain(..);
        loop {
            let now = moment(self.epoch);
            for knock in left.by_ref().take(TURN_INPUTS_MAX) {
                self.counters.inputs.add(1);
                stop |= matches!(knock, Knock::Stop);
                self.tell_member(now, knock);
            }
            self.end_turn(now);
            if left.len() == 0 {
                break;
            }
        }
        drop(left);
        self.publish_counts();
        self.turned(began, began.elapsed());
        !stop
    }

    /// Warns of turns that take longer; zero = never.
    pub(crate) const fn warning_above(mut self, slow_turn: Duration) -> Self {
        self.slow_turn = slow_turn;
        self
    }

    /// Notes how long a turn took.
    fn turned(&self, began: Instant, took: Duration) {
        self.counters.turn.observe(took);
        self.counters.delays.note(Cause::Driver, began, took);
        if !self.slow_turn.is_zero() && took > self.slow_turn {
            self.counters.slow_turns.add(1);
            tracing::warn!(?took, expected = ?self.slow_turn, "a turn of the store took too long");
        }
    }

    /// When the member next wants a turn.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let now = moment(self.epoch);
        match self.member.next_deadline(now) {
            Moment::NEVER => None,
            deadline => Some(self.epoch + Duration::from_millis(deadline.0)),
        }
    }

    fn tell_member(&mut self, now: Moment, knock: Knock) {
        let input = match knock {
            Knock::Ask { ask, answer } => {
                let token = self.waiting.add(answer);
                match ask {
                    Ask::Propose(command) => Input::Propose { token, command },
                    Ask::LeaseGrant {
                        id,
                        ttl_seconds,
                        actor,
                    } => Input::LeaseGrant {
                        token,
                        id,
                        ttl_seconds,
                        actor,
                    },
                    Ask::TransferLeadership(to) => Input::TransferLeadership { token, to },
                    Ask::Read(read, consistency) => Input::Read {
                        token,
                        read,
                        consistency,
                    },
                }
            }
            Knock::OpenStream {
                stream,
                credit,
                batches,
            } => {
                self.streams.insert(stream, batches);
                Input::Watch {
                    stream,
                    event: StreamEvent::Opened { credit },
                }
            }
            Knock::Stream { stream, event } => {
                if matches!(event, StreamEvent::Closed) {
                    self.streams.remove(&stream);
                }
                Input::Watch { stream, event }
            }
            Knock::Synced(number) => {
                self.disk.note_durable(number);
                Input::Synced { number }
            }
            Knock::Peer { from, message } => Input::PeerSaid { from, message },
            Knock::PeerUnreachable(member) => Input::PeerUnreachable { member },
            Knock::SnapshotSynced => Input::SnapshotSynced,
            Knock::SnapshotFailed => Input::SnapshotFailed,
            Knock::DiskFull => Input::DiskFull,
            Knock::DiskFree => Input::DiskFree,
            Knock::Stop => return,
        };
        self.member.step(now, input, &mut self.effects);
    }

    /// Ends a turn; when the driver has written its append by itself, what that releases is the next.
    fn end_turn(&mut self, now: Moment) {
        self.member.settle(now, &mut self.effects);
        while let Some(number) = self.append_now() {
            self.perform();
            let now = moment(self.epoch);
            let synced = Input::Synced { number };
            self.member.step(now, synced, &mut self.effects);
            self.member.settle(now, &mut self.effects);
        }
        self.perform();
    }

    /// Writes the turn's append, if there is just one and the disk agrees; returns its number.
    fn append_now(&mut self) -> Option<u64> {
        let effects = &mut self.effects;
        if effects.appends.len() != 1 || effects.fatal.is_some() || !self.member.alone() {
            return None;
        }
        match self.disk.append_now(effects.appends.pop()?) {
            Ok(durable) => Some(durable.number),
            Err(append) => {
                effects.appends.push(append);
                None
            }
        }
    }

    /// Performs the orders of a turn; the disk first, so that it works while the rest is done.
    fn perform(&mut self) {
        // Before any reply: who is told that something is allowed or forbidden now may rely on it.
        let auth = self.member.machine().auth();
        if !Arc::ptr_eq(auth, &self.auth_shown) {
            self.auth_shown = Arc::clone(auth);
            self.auth.set(auth);
        }
        let effects = &mut self.effects;
        if !effects.appends.is_empty() || effects.snapshot.is_some() || effects.purge.is_some() {
            let appends = effects.appends.drain(..).map(Order::Append);
            let snapshot = effects.snapshot.take().map(Order::Snapshot);
            let purge = effects.purge.take().map(Order::Purge);
            self.disk.order(appends.chain(snapshot).chain(purge));
        }
        if !effects.sends.is_empty() {
            self.outbox.send(effects.sends.drain(..));
        }
        for reply in effects.replies.drain(..) {
            if let Some(answer) = self.waiting.remove(reply.token) {
                // Whoever asked may have gone.
                let _ = answer.send((reply.header, reply.outcome));
            }
        }
        if !effects.watch.is_empty() {
            let header = self.member.header();
            for (stream, batch) in effects.watch.drain(..) {
                if let Some(batches) = self.streams.get(&stream) {
                    // As above; the stream's end is on its way.
                    let _ = batches.send((header, batch));
                }
            }
        }
        if std::mem::take(&mut effects.end_streams) {
            // Each is closed by its client's side, which hears of it now.
            self.streams.clear();
        }
        for notice in effects.notices.drain(..) {
            notices::log(notice);
        }
        if std::mem::take(&mut effects.members_changed) {
            let former = self.member.former().clone();
            self.outbox.set_members(&self.member.members(), former);
        }
        if let Some(fatal) = effects.fatal.take() {
            self.end(&fatal);
        }
    }

    fn publish_counts(&self) {
        let counts = self.member.counts();
        let machine = self.member.machine();
        let counters = &self.counters;
        counters.turns.add(1);
        counters.work.set(&counts.work);
        let led = counts.leader != 0;
        if led != (counters.leader.get() != 0) {
            counters.delays.note_leader(led, Instant::now());
        }
        if counts.leader != counters.leader.get() {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            let ms = since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
            counters.leader_since_ms.set(ms);
        }
        counters.leader.set(counts.leader);
        counters.term.set(counts.term);
        counters.learner.set(self.member.learns().into());
        counters.published.set(self.member.is_published().into());
        counters.leader_changes.set(counts.leader_changes);
        counters.proposals_committed.set(counts.committed_index);
        counters.proposals_applied.set(counts.applied_index);
        counters.proposals_pending.set(counts.proposals_pending);
        counters.proposals_failed.set(counts.proposals_failed);
        counters.leases_expired.set(counts.leases_expired);
        counters.space_warned.set(counts.space_warned);
        counters.slow_syncs.set(counts.slow_syncs);
        counters.checks.set(counts.checks);
        counters.checks_differing.set(counts.checks_differing);
        counters.revision.set(machine.revision().0.cast_unsigned());
        counters
            .compacted_revision
            .set(machine.compacted().0.cast_unsigned());
        counters.size_bytes.set(machine.size_bytes());
        counters.keys.set(machine.keys());
        let watched = self.member.watched();
        counters.watch_streams.set(watched.streams as u64);
        counters.watchers.set(watched.watchers as u64);
        counters.watchers_lagging.set(watched.lagging as u64);
    }

    /// Ends the process, and says why.
    fn end(&mut self, fatal: &Fatal) -> ! {
        match fatal {
            Fatal::Removed { .. } => {
                // Not a fault of what clients wanted: they hear that they have to go elsewhere.
                self.answer_stopped();
                std::thread::sleep(FAREWELL);
                Exit::Removed.end_because(
                    &fatal.to_string(),
                    Some(
                        "its data is of no use any more: to take part again, it is added as a new \
                         member and started with an empty data folder",
                    ),
                )
            }
            Fatal::LogLost { .. } => Exit::Invariant.end(
                fatal,
                Some(
                    "its data is lost or older than what it has acknowledged: remove the member, add it anew \
                     and start it with an empty data folder",
                ),
            ),
            Fatal::Undecodable { .. } | Fatal::Members { .. } => Exit::Invariant.end(fatal, None),
        }
    }

    /// Tells everybody who waits that it is over, and the disk.
    fn stop(mut self) {
        self.answer_stopped();
        self.disk.order([Order::Stop]);
    }

    /// Nothing is taken any more; whoever waits is told so.
    fn answer_stopped(&mut self) {
        let header = self.member.header();
        for knock in self.inbox.close() {
            if let Knock::Ask { answer, .. } = knock {
                let _ = answer.send((header, Err(Failure::Stopped)));
            }
        }
        for answer in self.waiting.drain() {
            let _ = answer.send((header, Err(Failure::Stopped)));
        }
        self.streams.clear();
    }
}

/// Requests without an answer. A token is a place here (low half) and how often it has been used
/// (high half), so that no token comes twice.
#[derive(Default)]
struct Waiting {
    places: Vec<(u32, Option<oneshot::Sender<Outcome>>)>,
    free: Vec<u32>,
}

impl Waiting {
    fn add(&mut self, answer: oneshot::Sender<Outcome>) -> Token {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            // Bounded far below by the inbox and the member.
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let (uses, slot) = &mut self.places[place as usize];
        *uses = uses.wrapping_add(1);
        *slot = Some(answer);
        Token(u64::from(*uses) << 32 | u64::from(place))
    }

    fn remove(&mut self, token: Token) -> Option<oneshot::Sender<Outcome>> {
        let place = u32::try_from(token.0 & u64::from(u32::MAX)).ok()?;
        let (uses, slot) = self.places.get_mut(place as usize)?;
        if u64::from(*uses) != token.0 >> 32 {
            return None;
        }
        let answer = slot.take()?;
        self.free.push(place);
        Some(answer)
    }

    fn drain(&mut self) -> impl Iterator<Item = oneshot::Sender<Outcome>> + '_ {
        self.places.drain(..).filter_map(|(_, answer)| answer)
    }
}

/// Milliseconds since the store started.
pub(crate) fn moment(epoch: Instant) -> Moment {
    Moment(u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
}
