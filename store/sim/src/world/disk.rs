//! When the disk thread of a member and its snapshot thread have their turns, and how long a sync takes.

use crate::bugs::Bug;
use crate::clock::Time;
use crate::host::log::Next;
use crate::host::open::End;
use crate::plan::MS;
use crate::promises::Check;
use crate::queue::Event;
use crate::world::World;

impl World {
    /// The disk thread looks at its queue.
    pub(super) fn disk(&mut self, place: usize) -> Check {
        let bug = self.bug;
        let host = &mut self.hosts[place];
        let (number, sync_max) = (host.life, host.sync_max);
        let Some(life) = &mut host.up else {
            return Ok(());
        };
        life.log.due = false;
        if life.log.syncing {
            return Ok(());
        }
        let mut facts = Vec::new();
        let next = life.log.begin(bug, &mut facts);
        let early = if matches!(next, Next::Syncs) {
            life.log.early(bug, &mut facts)
        } else {
            Vec::new()
        };
        for fact in facts {
            self.tell(place, fact);
        }
        self.send(place, early)?;
        match next {
            Next::Idle => {}
            Next::Syncs => {
                let took = self.chance.skewed(sync_max / 10 + 1, sync_max);
                let event = Event::SyncEnd {
                    host: place,
                    life: number,
                };
                self.after(took, event);
            }
            Next::Again(delay) => self.disk_after(place, delay),
            Next::Fails => self.disk_failed(place),
        }
        Ok(())
    }

    pub(super) fn disk_after(&mut self, place: usize, delay: Time) {
        let number = self.hosts[place].life;
        let Some(life) = &mut self.hosts[place].up else {
            return;
        };
        if !life.log.syncing && !std::mem::replace(&mut life.log.due, true) {
            let event = Event::Disk {
                host: place,
                life: number,
            };
            self.after(delay, event);
        }
    }

    pub(super) fn sync_end(&mut self, place: usize) -> Check {
        let bug = self.bug;
        let host = &mut self.hosts[place];
        let Some(life) = &mut host.up else {
            return Ok(());
        };
        let mut facts = Vec::new();
        match life.log.end(bug, &mut host.durable, &mut facts) {
            Ok(released) => {
                for fact in facts {
                    // A bug has told already.
                    if bug != Some(Bug::AckBeforeDurable) {
                        self.tell(place, fact);
                    }
                }
                self.send(place, released)?;
                self.disk_after(place, 0);
            }
            Err(_) => self.disk_failed(place),
        }
        Ok(())
    }

    pub(super) fn snapshot_step(&mut self, place: usize) {
        let bug = self.bug;
        let host = &mut self.hosts[place];
        let number = host.life;
        let Some(life) = &mut host.up else { return };
        match life.log.snapshot_step(bug, &mut host.durable) {
            Ok((fact, more)) => {
                if let Some(fact) = fact {
                    self.tell(place, fact);
                }
                if more {
                    let delay = self.chance.between(100, 2 * MS);
                    let event = Event::Snapshot {
                        host: place,
                        life: number,
                    };
                    self.after(delay, event);
                }
            }
            Err(_) => self.disk_failed(place),
        }
    }

    /// A failed write or sync ends the process; so does the power when it goes.
    pub(super) fn disk_failed(&mut self, place: usize) {
        self.say(|| format!("the disk of member {} fails: its process ends", place + 1));
        self.end(place, End::Killed);
    }
}
