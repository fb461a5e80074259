//! What a run does to its members: drawn from the seed before anything happens ("swarm testing":
//! each run has some kinds of fault and lacks others, which finds more than all of them always).

use crate::chance::Chance;
use crate::clock::Time;

/// A millisecond of the world.
pub(crate) const MS: Time = 1_000;
/// A second of the world.
pub(crate) const SECOND: Time = 1_000 * MS;

/// Everything fixed for a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) members: u64,
    pub(crate) clients: usize,
    pub(crate) watchers: usize,
    /// Length of the phase with faults.
    pub(crate) safety: Time,
    /// Mean time between two faults; 0 = none.
    pub(crate) fault_every: Time,
    pub(crate) kills: bool,
    pub(crate) power_cuts: bool,
    /// Power cuts in the middle of the log's own operations.
    pub(crate) cuts_within: bool,
    pub(crate) partitions: bool,
    pub(crate) one_way: bool,
    pub(crate) pauses: bool,
    pub(crate) slow_disks: bool,
    pub(crate) full_disks: bool,
    pub(crate) failed_syncs: bool,
    /// Messages between members lost and doubled, per mille.
    pub(crate) drop: u64,
    pub(crate) double: u64,
    /// Messages may overtake each other, as no stream transport lets them.
    pub(crate) overtake: bool,
    /// Largest delay of a message.
    pub(crate) delay_max: Time,
    /// Largest time of a sync while the disk is well.
    pub(crate) sync_max: Time,
    /// Clocks run at most this many per mille too fast or too slow.
    pub(crate) skew: u64,
    pub(crate) keys: u64,
    /// Bytes of a value.
    pub(crate) value_bytes: usize,
    /// Seconds leases are granted for, at least and at most.
    pub(crate) ttl_seconds: (i64, i64),
    /// A process that ended is gone for this long at most.
    pub(crate) outage_max: Time,
    pub(crate) snapshot_count: u64,
    /// Entries kept behind a snapshot.
    pub(crate) catch_up_entries: u64,
    pub(crate) segment_bytes: u64,
    /// Bytes of a part of a snapshot that goes to another member.
    pub(crate) snapshot_part_bytes: usize,
    /// Mean time between two wishes of the operator who changes members; 0 = there is none.
    pub(crate) change_every: Time,
    /// Disks may be lost for good, and their members are removed.
    pub(crate) losses: bool,
    /// Longest pause of a client between two requests.
    pub(crate) think_max: Time,
}

impl Plan {
    /// Draws a world in which pauses are all that goes wrong, and answers are late: where known bugs hide
    /// that show only when several things come together.
    pub(crate) fn of_pauses(chance: &mut Chance) -> Self {
        Self {
            members: 3,
            fault_every: 2 * SECOND,
            kills: false,
            power_cuts: false,
            cuts_within: false,
            partitions: false,
            pauses: true,
            slow_disks: false,
            full_disks: false,
            failed_syncs: false,
            change_every: 0,
            clients: 8,
            delay_max: 100 * MS,
            ..Self::draw(chance)
        }
    }

    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let members = [1, 3, 3, 3, 3, 5][chance.place(6)];
        let mut often = |times: u64| !chance.once_in(times);
        let (kills, power_cuts, cuts_within) = (often(3), often(3), often(2));
        let (partitions, one_way, pauses) = (often(3), often(3), often(3));
        let (slow_disks, full_disks, failed_syncs) = (often(2), often(2), often(2));
        let (overtake, noisy) = (often(2), often(3));
        let large = chance.once_in(12);
        // Leases long enough to be recorded with their remaining time, which takes a long run.
        let slow = !large && chance.once_in(12);
        let hurry = if slow { 40 } else { 1 };
        let changes = chance.once_in(2);
        Self {
            value_bytes: if large { 6_000 } else { 8 },
            ttl_seconds: if slow { (290, 700) } else { (2, 5) },
            outage_max: [500 * MS, 5 * SECOND, 30 * SECOND][chance.place(3)],
            members,
            clients: chance.place(8) + 2,
            watchers: chance.place(4) + 1,
            safety: hurry * chance.between(10, 40) * SECOND,
            fault_every: hurry * chance.between(200, 3_000) * MS,
            kills,
            power_cuts,
            cuts_within,
            partitions,
            one_way,
            pauses,
            slow_disks,
            full_disks,
            failed_syncs,
            drop: if noisy { chance.below(50) } else { 0 },
            double: if noisy { chance.below(50) } else { 0 },
            overtake,
            delay_max: [2, 10, 100, 400][chance.place(4)] * MS,
            sync_max: [MS / 4, 2 * MS, 20 * MS][chance.place(3)],
            skew: [0, 10, 100][chance.place(3)],
            keys: chance.between(1, 12),
            snapshot_count: chance.between(20, 400),
            catch_up_entries: [0, 10, 100, 5_000][chance.place(4)],
            segment_bytes: if large {
                256 << 10
            } else {
                [8, 16, 64][chance.place(3)] << 10
            },
            change_every: if changes {
                hurry * chance.between(100, 3_000) * MS
            } else {
                0
            },
            snapshot_part_bytes: [100, 1_000, 256 << 10][chance.place(3)],
            losses: chance.once_in(2),
            think_max: hurry * [5, 20, 100][chance.place(3)] * MS,
        }
    }
}
