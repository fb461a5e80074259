//! What a run does to its agents: drawn before anything happens.

use crate::chance::Chance;
use crate::clock::Time;
use crate::plan::{MS, SECOND};

/// One world in so many has agents: they cost more than clients do.
const WORLDS: u64 = 3;

/// One of those in so many has confds beside registrators: they cost most, three renders for each edit.
const RENDERED: u64 = 4;

/// Everything fixed for a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Machines with an engine and a registrator.
    pub(crate) sites: usize,
    /// Confds.
    pub(crate) renderers: usize,
    /// Seconds the registrators' leases live.
    pub(crate) ttl_seconds: i64,
    /// Mean time between two changes of containers.
    pub(crate) churn_every: Time,
    /// Mean time between two faults.
    pub(crate) trouble_every: Time,
    /// Engines restart, with their containers or without.
    pub(crate) engine_restarts: bool,
    /// Event streams end.
    pub(crate) stream_ends: bool,
    /// Events are lost without a word.
    pub(crate) lossy: bool,
    /// Agents are killed.
    pub(crate) crashes: bool,
    pub(crate) pauses: bool,
    /// Connections to members break.
    pub(crate) breaks: bool,
    /// Calls to engines that fail, per mille.
    pub(crate) engine_faults: u64,
    /// Largest delay of what an engine says.
    pub(crate) engine_delay_max: Time,
    /// Mean time between two edits of the pair of keys.
    pub(crate) edit_every: Time,
    /// The last edit is made in peace, so that every file changes once more.
    pub(crate) last_edit: bool,
    /// Without it, when the last one is made.
    pub(crate) edits_until: Time,
    /// Machines of confds go down.
    pub(crate) reboots: bool,
    /// Files are edited by hand, and templates change.
    pub(crate) hand_edits: bool,
    /// File operations of confds fail, or are the last of a process.
    pub(crate) disk_faults: bool,
    /// Commands of confds that fail, per mille.
    pub(crate) command_faults: u64,
    /// Clocks run at most this many per mille too fast or too slow.
    pub(crate) skew: u64,
}

impl Plan {
    /// The agents of a world, where it has some. In a world of long leases time runs too fast for them.
    pub(crate) fn draw(
        chance: &mut Chance,
        world: &crate::plan::Plan,
        wanted: bool,
    ) -> Option<Self> {
        let has = chance.once_in(WORLDS) || wanted;
        if !has || world.ttl_seconds.1 > 60 {
            return None;
        }
        let mut often = |times: u64| !chance.once_in(times);
        let (engine_restarts, stream_ends, lossy) = (often(3), often(3), !often(3));
        let (crashes, pauses, breaks) = (often(3), often(3), often(3));
        let (reboots, hand_edits, disk_faults) = (!often(3), often(2), often(2));
        Some(Self {
            sites: chance.place(2) + 1,
            renderers: if wanted || chance.once_in(RENDERED) {
                chance.place(2) + 1
            } else {
                0
            },
            ttl_seconds: i64::try_from(chance.between(4, 15)).unwrap_or(4),
            churn_every: chance.between(50, 2_000) * MS,
            trouble_every: chance.between(1, 8) * SECOND,
            engine_restarts,
            stream_ends,
            lossy,
            crashes,
            pauses,
            breaks,
            engine_faults: [0, 20, 200][chance.place(3)],
            engine_delay_max: [1, 50, 2_000][chance.place(3)] * MS,
            edit_every: chance.between(50, 2_000) * MS,
            last_edit: chance.once_in(2),
            edits_until: chance.below(world.safety),
            reboots,
            hand_edits,
            disk_faults,
            command_faults: [0, 50, 300][chance.place(3)],
            skew: world.skew,
        })
    }
}
