//! What snapshots cost: one saved by a client while others write, what those feel of it, and one sent to a member that
//! has missed more than the others keep of their logs.
//!
//! How much there is to save is keys times bytes of a value (`--keys`, `--value-bytes`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::process::Signal;
use store_proto::etcdserverpb::{SnapshotRequest, SnapshotResponse, StatusResponse};

use super::beside::beside;
use super::failover::{leader, status};
use super::put::{EveryPut, RandomPuts};
use super::{BOTH_MODES, Bout, Case, CaseError, Figures};
use crate::contender::Contender;
use crate::cores::Mode;
use crate::lines::Lines;
use crate::load;
use crate::sample::{Meter, Sample};
use crate::wire::Heard;

/// A snapshot of everything, again and again.
pub(crate) const SAVE: Case = Case {
    name: "snapshot-save",
    about: "snapshots of all keys saved one after the other while many clients put; asked for to last byte received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::Gaps,
    run: |bout| {
        let mut meter = Meter::of_times(bout.server);
        let mut unmeasured = Meter::idle();
        meter.begin()?;
        for took in puts(bout, &mut unmeasured, true)? {
            meter.count(took);
        }
        Ok(meter.finish()?)
    },
};

/// The puts meanwhile.
pub(crate) const PUT_WHILE: Case = Case {
    name: "put-while-saving",
    about: "durable put of a random key, many clients, while snapshots of all keys are saved one after the other; request sent to answer received",
    figures: Figures::Named,
    run: |bout| {
        let mut meter = Meter::of(bout.server);
        puts(bout, &mut meter, true)?;
        Ok(meter.finish()?)
    },
    ..SAVE
};

/// The same without snapshots.
pub(crate) const PUT_BEFORE: Case = Case {
    name: "put-not-saving",
    about: "durable put of a random key, many clients, all keys there and no snapshot asked for; request sent to answer received",
    figures: Figures::Named,
    run: |bout| {
        let mut meter = Meter::of(bout.server);
        puts(bout, &mut meter, false)?;
        Ok(meter.finish()?)
    },
    ..SAVE
};

/// A member that was away.
pub(crate) const CATCH_UP: Case = Case {
    name: "catch-up",
    about: "a member of three that has missed three puts of every key starts again; start to everything applied",
    modes: &[Mode::Free],
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 3,
    figures: Figures::Gaps,
    run: catch_up,
};

const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

/// Times every key is put while a member is away: with 100,000 keys more than a contender keeps of its log.
const MISSED: usize = 3;

/// Longest wait for anything: no store takes so long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Time between two looks at a member that catches up, and so the error of the figures.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Has many clients put into a store that holds every key, while snapshots are saved or not; what each of them took.
fn puts(bout: &Bout<'_>, meter: &mut Meter, saving: bool) -> Result<Vec<Duration>, CaseError> {
    let settings = bout.settings;
    let address = bout.server.address();
    bout.load()?;
    let mut random = RandomPuts::new(settings, bout.seed);
    beside(
        |stop| match saving {
            true => save_until(address, stop),
            false => Ok(Vec::new()),
        },
        || bout.load_for(settings.connections, settings.clients, &mut random, meter),
    )
}

fn fill(bout: &Bout<'_>, addresses: &[SocketAddr]) -> Result<(), CaseError> {
    let settings = bout.settings;
    let mut every = EveryPut::new(settings);
    let (connections, clients) = (settings.connections, settings.clients);
    let mut unmeasured = Meter::idle();
    load::exhaust(addresses, connections, clients, &mut every, &mut unmeasured)?;
    Ok(())
}

/// Saves one snapshot after the other, and the last one to its end.
fn save_until(address: SocketAddr, stop: &AtomicBool) -> Result<Vec<Duration>, CaseError> {
    let mut took = Vec::new();
    let mut lines = Lines::connect(&[address], 1)?;
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        save(&mut lines)?;
        took.push(begin.elapsed());
    }
    Ok(took)
}

fn save(lines: &mut Lines) -> Result<(), CaseError> {
    let begin = Instant::now();
    let request = SnapshotRequest {}.encode_to_vec();
    lines.get(0).call(0, SNAPSHOT, &request, true);
    let mut left = None;
    let (mut ready, mut heard) = (Vec::new(), Vec::new());
    loop {
        lines.flush_all()?;
        lines.wait(LOOK_EVERY, &mut ready)?;
        lines.get(0).receive(&mut heard)?;
        for said in heard.drain(..) {
            match said {
                Heard::Message { bytes, .. } => {
                    let part = SnapshotResponse::decode(&bytes[..]);
                    left = part.ok().map(|part| part.remaining_bytes);
                }
                Heard::Ended { .. } if left == Some(0) => return Ok(()),
                Heard::Ended { messages, .. } => {
                    return Err(CaseError::Unexpected {
                        what: format!(
                            "ended a snapshot after {messages} parts, {left:?} bytes before its end"
                        ),
                    });
                }
            }
        }
        if begin.elapsed() > PATIENCE {
            return Err(CaseError::Unexpected {
                what: "does not come to the end of a snapshot".to_owned(),
            });
        }
    }
}

fn catch_up(bout: &mut Bout<'_>) -> Result<Sample, CaseError> {
    let mut meter = Meter::of_times(bout.server);
    let leader = leader(bout.server)?;
    let mut others = bout.addresses();
    let away = (leader + 1) % others.len();
    let address = others.remove(away);
    bout.server.signal(away, Signal::KILL);
    wait("end a member", || Some(bout.server.has_ended(away)))?;
    for _ in 0..MISSED {
        fill(bout, &others)?;
    }
    let index = |address| status(address).map(|status: StatusResponse| status.raft_applied_index);
    let last = others.iter().filter_map(|&address| index(address)).max();
    meter.begin()?;
    let begin = Instant::now();
    bout.server.restart(away)?;
    wait("catch up", || Some(index(address)? >= last?))?;
    meter.count(begin.elapsed());
    Ok(meter.finish()?)
}

fn wait(what: &str, mut done: impl FnMut() -> Option<bool>) -> Result<(), CaseError> {
    let begin = Instant::now();
    while done() != Some(true) {
        if begin.elapsed() > PATIENCE {
            let what = format!("does not {what}");
            return Err(CaseError::Unexpected { what });
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
