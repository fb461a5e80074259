//! What goes wrong, and when it is well again.

use std::io::ErrorKind;

use store_wal::sim::{Operation, Tear};

use crate::host::open::End;
use crate::plan::{MS, SECOND};
use crate::queue::Event;
use crate::world::World;

/// Kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Stop,
    Kill,
    PowerCut,
    /// Power cut in the middle of what the log does next.
    CutWithin,
    /// The power of all goes at once.
    Blackout,
    Partition,
    Pause,
    SlowDisk,
    FullDisk,
    FailedDisk,
    /// A disk is gone for good.
    Loss,
}

impl World {
    /// Something goes wrong.
    pub(crate) fn fault(&mut self) {
        let next = self.chance.between(1, 2 * self.plan.fault_every);
        self.after(next, Event::Fault);
        let mut kinds = Vec::new();
        let plan = &self.plan;
        for (on, kind) in [
            (plan.kills, Fault::Stop),
            (plan.kills, Fault::Kill),
            (plan.power_cuts, Fault::PowerCut),
            (plan.power_cuts && self.chance.once_in(4), Fault::Blackout),
            (plan.cuts_within, Fault::CutWithin),
            (plan.partitions, Fault::Partition),
            (plan.pauses, Fault::Pause),
            (plan.slow_disks, Fault::SlowDisk),
            (plan.full_disks, Fault::FullDisk),
            (plan.failed_syncs, Fault::FailedDisk),
            (plan.losses && plan.change_every > 0, Fault::Loss),
        ] {
            if on {
                kinds.push(kind);
            }
        }
        if kinds.is_empty() {
            return;
        }
        let kind = kinds[self.chance.place(kinds.len())];
        let host = self.victim();
        self.say(|| format!("fault {kind:?} at member {}", host + 1));
        match kind {
            Fault::Stop => self.end(host, End::Stopped),
            Fault::Kill => self.end(host, End::Killed),
            Fault::PowerCut => {
                let end = self.power_cut();
                self.end(host, end);
            }
            Fault::Blackout => {
                for host in 0..self.hosts.len() {
                    let end = self.power_cut();
                    self.end(host, end);
                }
            }
            Fault::CutWithin => {
                let operations = self.chance.below(12);
                self.hosts[host].disk.cut_power_after(operations);
                self.hosts[host].power_going = true;
            }
            Fault::Loss => self.lose(host),
            Fault::Partition => self.partition(),
            Fault::Pause => self.pause(host),
            Fault::SlowDisk => {
                self.hosts[host].sync_max = self.chance.between(10, 2_000) * MS;
                self.disk_well_later(host);
            }
            Fault::FullDisk => {
                let free = self.chance.below(4) * self.plan.segment_bytes / 2;
                self.hosts[host].disk.set_free_bytes(Some(free));
                self.disk_well_later(host);
            }
            Fault::FailedDisk => {
                let nth = self.chance.between(1, 4);
                let kinds = [
                    Operation::Sync,
                    Operation::Sync,
                    Operation::Write,
                    Operation::SyncDir,
                    Operation::Rename,
                    Operation::Create,
                    Operation::Remove,
                ];
                let kind = kinds[self.chance.place(kinds.len())];
                self.hosts[host].disk.fail(kind, nth, ErrorKind::Other);
            }
        }
    }

    /// A member, oftener than not the one that leads.
    fn victim(&mut self) -> usize {
        let leads = self.leader();
        match leads {
            Some(leader) if self.chance.once_in(2) => leader,
            _ => self.chance.place(self.hosts.len()),
        }
    }

    pub(crate) fn power_cut(&mut self) -> End {
        let tear = [Tear::Lose, Tear::Sectors, Tear::Bytes][self.chance.place(3)];
        End::PowerCut(tear, self.chance.next())
    }

    fn partition(&mut self) {
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for host in 0..self.hosts.len() {
            if self.chance.once_in(2) {
                here.push(host);
            } else {
                there.push(host);
            }
        }
        let both = !(self.plan.one_way && self.chance.once_in(2));
        self.net.cut(&here, &there, both);
        let length = self.chance.skewed(100 * MS, 10 * SECOND);
        self.after(length, Event::Heal);
    }

    fn pause(&mut self, host: usize) {
        let now = self.now;
        // Often long enough for others to elect and serve.
        let length = if self.chance.once_in(2) {
            self.chance.between(2 * SECOND, 6 * SECOND)
        } else {
            self.chance.skewed(5 * MS, 15 * SECOND)
        };
        let number = self.hosts[host].life;
        let Some(life) = &mut self.hosts[host].up else {
            return;
        };
        if life.paused.is_none() {
            life.paused = Some(now);
            self.after(length, Event::Resume { host, life: number });
        }
    }

    fn disk_well_later(&mut self, host: usize) {
        let length = self.chance.between(100 * MS, 5 * SECOND);
        self.after(length, Event::DiskWell { host });
    }

    /// A disk is as it should be.
    pub(crate) fn disk_well(&mut self, host: usize) {
        let host = &mut self.hosts[host];
        host.sync_max = self.plan.sync_max;
        host.disk.set_free_bytes(None);
    }

    /// Nothing goes wrong from now on, and what did is put right.
    pub(crate) fn end_faults(&mut self) {
        self.net.well = true;
        self.net.heal();
        self.agents_in_peace();
        for host in 0..self.hosts.len() {
            self.disk_well(host);
            let disk = &self.hosts[host].disk;
            // The faults under way, if any, never come.
            for kind in [
                Operation::Sync,
                Operation::Write,
                Operation::SyncDir,
                Operation::Rename,
                Operation::Create,
                Operation::Remove,
            ] {
                disk.fail(kind, u64::MAX, ErrorKind::Other);
            }
            if self.hosts[host].power_going {
                let end = self.power_cut();
                self.end(host, end);
            }
            self.resume(host);
            if self.hosts[host].up.is_none() {
                self.after(MS, Event::Start { host });
            }
        }
    }
}
