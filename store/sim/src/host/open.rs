//! Starting a process on what its disk holds, as `store/server` does, and ending it.

use std::path::Path;

use bytes::Bytes;
use store_machine::Machine;
use store_machine::snapshot::Restore;
use store_member::Member;
use store_member::record::{Entry, EntryKind, Mark, Recovered, Vote, Voters};
use store_wal::sim::{SimDisk, Tear};
use store_wal::{Identity, OpenError, Wal, WalConfig};

use crate::bugs::Bug;
use crate::clock::{Clock, Time};
use crate::host::log::{Log, kind};
use crate::host::{Durable, Host, Life, Shadow, Slot};
use crate::promises::durability;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Stopped,
    /// Killed: what it wrote stays with the operating system.
    Killed,
    /// The power went: what was not synced survives in any part.
    PowerCut(Tear, u64),
}

/// Why a process did not start.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The disk fails, as it was told to; another try may do.
    Io,
    /// What was on the disk is not as it should be.
    Damage(String),
}

impl From<&str> for Refused {
    fn from(what: &str) -> Self {
        Self::Damage(what.to_owned())
    }
}

impl From<String> for Refused {
    fn from(what: String) -> Self {
        Self::Damage(what)
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io { .. } => Self::Io,
            error => Self::Damage(chain(&error)),
        }
    }
}

impl Host {
    /// Opens the folder and the member.
    pub(crate) fn start(&mut self, now: Time, seed: u64, rate_ppm: u64) -> Result<(), Refused> {
        self.life += 1;
        let (wal, found) = self.open_log()?;
        let mut machine = Machine::new(self.config.limits);
        let mut mark = None;
        if let Some(mut snapshot) = found.snapshot {
            let voters = Voters::decode(&snapshot.meta).ok_or("the voters cannot be read")?;
            mark = Some(Mark {
                index: snapshot.index,
                term: snapshot.term,
                voters,
            });
            let mut restore = Restore::new(self.config.limits);
            while let Some(chunk) = snapshot.chunks.next_chunk()? {
                restore.feed(&chunk).map_err(|error| chain(&error))?;
            }
            machine = restore.finish().map_err(|error| chain(&error))?;
            if machine.applied().0 != snapshot.index {
                return Err("the snapshot's state does not fit its mark".into());
            }
        }
        let mut entries = Vec::new();
        for entry in found.entries {
            let kinds = [
                EntryKind::Normal,
                EntryKind::Members,
                EntryKind::MembersJoint,
                EntryKind::Bootstrap,
            ];
            let known = kinds.into_iter().find(|known| kind(*known) == entry.kind);
            entries.push(Entry {
                index: entry.index,
                term: entry.term,
                kind: known.ok_or("an entry of an unknown kind")?,
                body: entry.body,
            });
        }
        if self.bug == Some(Bug::LogForgottenAtRestart) && mark.is_some() {
            entries.clear();
        }
        let vote = found.vote.map_or_else(Vote::default, |vote| Vote {
            term: vote.term,
            voted_for: vote.vote,
            commit: vote.commit,
        });
        let mut shadow = Shadow {
            start: mark.as_ref().map_or((0, 0), |mark| (mark.index, mark.term)),
            ..Shadow::default()
        };
        for entry in &entries {
            let slot = Slot {
                term: entry.term,
                kind: entry.kind,
                body: entry.body.clone(),
            };
            shadow.push(entry.index, slot);
        }
        let recovered = Recovered {
            mark,
            vote,
            entries,
        };
        // What the log says is there, it says is durable.
        let now_durable = Durable {
            terms: recovered
                .entries
                .iter()
                .map(|e| (e.index, e.term))
                .collect(),
            vote,
            snapshot: recovered.mark.as_ref().map_or(0, |mark| mark.index),
        };
        let lost = durability::lost(&self.durable, &now_durable);
        self.durable = now_durable;
        if let Some(lost) = lost.filter(|_| !self.blind) {
            return Err(Refused::Damage(lost));
        }
        self.config.seed = seed;
        let clock = Clock::new(now, rate_ppm);
        let moment = clock.moment(now);
        let member = Member::open(self.config.clone(), machine, recovered, moment);
        let member = member.map_err(|error| chain(&error))?;
        self.up = Some(Life {
            applied: member.machine().applied().0,
            member,
            clock,
            inbox: Vec::new(),
            turn_due: false,
            wake_at: Time::MAX,
            log: Log::new(wal),
            shadow,
            round: Bytes::new(),
            received: None,
            told: (0, 0),
            idle_turns: 0,
            paused: None,
            deferred: Vec::new(),
        });
        Ok(())
    }

    /// The power goes while no process runs.
    pub(crate) fn cut(&mut self, end: End) {
        if let End::PowerCut(tear, seed) = end {
            self.disk = self.disk.after_power_cut(tear, seed);
        }
    }

    fn open_log(&self) -> Result<(Wal<SimDisk>, store_wal::Recovered<SimDisk>), Refused> {
        let identity = Identity {
            cluster: self.config.cluster,
            member: self.id,
        };
        // Every other member has a disk for its log alone.
        let log = self.id.is_multiple_of(2).then_some(Path::new("/log"));
        let mut config = WalConfig::new("/data").with_log(log);
        config.segment_bytes = self.segment_bytes;
        Ok(Wal::open(self.disk.clone(), config, identity)?)
    }

    /// Ends the process.
    pub(crate) fn end(&mut self, end: End) {
        let Some(life) = self.up.take() else {
            self.cut(end);
            return;
        };
        match end {
            End::Stopped => {
                // A disk that fails now has failed; the next start shows what is there.
                let _ = life.log.close();
            }
            End::Killed => {}
            End::PowerCut(..) => self.cut(end),
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
