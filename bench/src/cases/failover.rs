//! The leader of three goes away: how long does nobody's write succeed?
//!
//! Both members that stay are asked to write every few milliseconds, whether or not earlier writes are answered: a
//! write that was handed to the lost leader says nothing about the next. An operation is one change of
//! leader, its latency the longest time without an acknowledged write.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::Signal;
use store_proto::etcdserverpb::{StatusRequest, StatusResponse};

use super::put::PutTemplate;
use super::{Bout, Case, CaseError, Figures, PUT};
use crate::contender::{Contender, Server, ask_once};
use crate::cores::Mode;
use crate::lines::Lines;
use crate::sample::{Meter, Sample};
use crate::wire::Heard;

/// The leader dies.
pub(crate) const KILLED: Case = Case {
    name: "failover",
    about: "kill -9 of the leader of three; longest time without an acknowledged write at the other two",
    modes: &[Mode::Free],
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 3,
    figures: Figures::Gaps,
    run: |bout| run(bout, Signal::KILL),
};

/// The leader is asked to end.
pub(crate) const ENDED: Case = Case {
    name: "handover",
    about: "SIGTERM to the leader of three; longest time without an acknowledged write at the other two",
    run: |bout| run(bout, Signal::TERM),
    ..KILLED
};

/// Changes of leader per run: each takes some four seconds, most of them for the members to come to rest.
const CHANGES: usize = 5;

/// Time between two writes at a member, and so the error of the figures: 1 % of an election timeout.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Streams a member may have open without an answer: a server may allow no more than 100 (RFC 9113, section 6.5.2).
const OPEN_MAX: usize = 90;

/// Connections to each member: with [`OPEN_MAX`] room for nine seconds of writes that are not answered, more than etcd
/// lets a write wait.
const LINES_PER_MEMBER: usize = 10;

/// Longest wait for anything: no store takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time members have to come to rest: several heartbeats.
const REST: Duration = Duration::from_millis(500);

/// Writes that must succeed before the leader goes and after it is gone.
const STEADY: u32 = 20;

const STATUS: &str = "/etcdserverpb.Maintenance/Status";

fn run(bout: &mut Bout<'_>, signal: Signal) -> Result<Sample, CaseError> {
    let template = PutTemplate::new(bout.settings);
    let mut meter = Meter::of_times(bout.server);
    meter.begin()?;
    for number in 0..CHANGES {
        let leader = leader(bout.server)?;
        let mut others = bout.addresses();
        others.remove(leader);
        let mut probe = Probe::new(&others, template.clone())?;
        probe.until("writes succeed", |probe| probe.acknowledged >= STEADY)?;
        // Changes begin at different moments between two heartbeats.
        std::thread::sleep(Duration::from_millis(17 * number as u64));
        probe.forget();
        bout.server.signal(leader, signal);
        let server = &mut *bout.server;
        probe.until("the leader is gone", |_| server.has_ended(leader))?;
        let gone = probe.asked;
        probe.until("writes succeed again", |probe| {
            probe.newest > gone && probe.acknowledged >= STEADY
        })?;
        meter.count(probe.longest);
        drop(probe);
        bout.server.restart(leader)?;
    }
    Ok(meter.finish()?)
}

/// The place of the member that all follow, once they have for a while.
pub(super) fn leader(server: &Server) -> Result<usize, CaseError> {
    let begin = Instant::now();
    let mut since: Option<(u64, Instant)> = None;
    loop {
        let statuses: Vec<Option<StatusResponse>> =
            server.addresses().into_iter().map(status).collect();
        let leaders: Vec<u64> = statuses
            .iter()
            .flatten()
            .map(|status| status.leader)
            .collect();
        let agreed =
            leaders.len() == statuses.len() && leaders.iter().all(|leader| *leader == leaders[0]);
        let id = leaders
            .first()
            .copied()
            .filter(|leader| agreed && *leader != 0);
        since = match (id, since) {
            (Some(id), Some((before, at))) if id == before => Some((id, at)),
            (Some(id), _) => Some((id, Instant::now())),
            (None, _) => None,
        };
        let rested = since.filter(|(_, at)| at.elapsed() >= REST);
        let is = |status: &Option<StatusResponse>, id| {
            status
                .as_ref()
                .and_then(|status| status.header.as_ref())
                .is_some_and(|header| header.member_id == id)
        };
        if let Some(place) =
            rested.and_then(|(id, _)| statuses.iter().position(|status| is(status, id)))
        {
            return Ok(place);
        }
        if begin.elapsed() > PATIENCE {
            let what = format!("members do not agree on a leader: {leaders:?}");
            return Err(CaseError::Unexpected { what });
        }
        std::thread::sleep(ASK_EVERY);
    }
}

pub(super) fn status(address: SocketAddr) -> Option<StatusResponse> {
    let bytes = ask_once(address, STATUS, &StatusRequest::default().encode_to_vec())?;
    StatusResponse::decode(&bytes[..]).ok()
}

/// Writes at some members all the time.
struct Probe {
    lines: Lines,
    /// Lines go to them in turn.
    members: usize,
    template: PutTemplate,
    /// Writes asked for; a write's tag is its number.
    asked: u64,
    /// By line.
    open: Vec<usize>,
    next: Instant,
    /// Highest number of an acknowledged write.
    newest: u64,
    acknowledged: u32,
    last: Instant,
    longest: Duration,
}

impl Probe {
    fn new(addresses: &[SocketAddr], template: PutTemplate) -> Result<Self, CaseError> {
        let now = Instant::now();
        let lines = Lines::connect(addresses, addresses.len() * LINES_PER_MEMBER)?;
        Ok(Self {
            open: (0..lines.count()).map(|_| 0).collect(),
            lines,
            members: addresses.len(),
            template,
            asked: 0,
            next: now,
            newest: 0,
            acknowledged: 0,
            last: now,
            longest: Duration::ZERO,
        })
    }

    /// What comes counts from now on.
    fn forget(&mut self) {
        self.acknowledged = 0;
        self.longest = Duration::ZERO;
        self.last = Instant::now();
    }

    fn until(
        &mut self,
        what: &'static str,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<(), CaseError> {
        let begin = Instant::now();
        while !done(self) {
            self.turn()?;
            if begin.elapsed() > PATIENCE {
                let what = format!("does not come to where {what}");
                return Err(CaseError::Unexpected { what });
            }
        }
        Ok(())
    }

    /// Asks if it is time to, and takes what has come.
    fn turn(&mut self) -> Result<(), CaseError> {
        let now = Instant::now();
        if now >= self.next {
            self.next = now + ASK_EVERY;
            for member in 0..self.members {
                let mut lines = (member..self.open.len()).step_by(self.members);
                if let Some(line) = lines.find(|line| self.open[*line] < OPEN_MAX) {
                    let mut message = Vec::new();
                    self.asked += 1;
                    self.template.write(&mut message, self.asked);
                    self.lines.get(line).call(self.asked, PUT, &message, false);
                    self.open[line] += 1;
                }
            }
        }
        self.lines.flush_all()?;
        let mut ready = Vec::new();
        self.lines
            .wait(self.next.saturating_duration_since(now), &mut ready)?;
        let mut heard = Vec::new();
        for line in ready {
            self.lines.get(line).receive(&mut heard)?;
            for said in heard.drain(..) {
                if let Heard::Ended { tag, messages } = said {
                    self.open[line] -= 1;
                    if messages == 1 {
                        self.take(tag);
                    }
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, tag: u64) {
        let now = Instant::now();
        self.newest = self.newest.max(tag);
        self.acknowledged += 1;
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }
}
