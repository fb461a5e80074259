//! Small reads, alone and beside one who asks for every key again and again.
//!
//! How much there is to ask for is keys times bytes of a value (`--keys`, `--value-bytes`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use store_proto::etcdserverpb::RangeRequest;

use super::range::RandomReads;
use super::{BOTH_MODES, Bout, Case, CaseError, Figures, RANGE};
use crate::contender::Contender;
use crate::lines::Lines;
use crate::load::LoadError;
use crate::sample::{Meter, Sample};
use crate::wire::Heard;

/// Clients with small reads, each on a connection of its own: few enough that they do not queue for each other.
const CLIENTS: usize = 10;

/// Longest wait for an answer with every key.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to sleep for bytes of an answer at most.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What small reads take when nothing else is asked.
pub(crate) const ALONE: Case = Case {
    name: "read-alone",
    about: "linearizable read of one random key, ten clients, nothing else asked; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::Named,
    run: |bout| {
        let mut meter = Meter::of(bout.server);
        reads(bout, &mut meter, false)?;
        Ok(meter.finish()?)
    },
};

/// What they take beside a large one, and what memory that costs.
pub(crate) const BESIDE: Case = Case {
    name: "read-beside-all",
    about: "the same while one client reads every key in one answer, again and again; request sent to answer received",
    run: |bout| {
        let mut meter = Meter::of(bout.server);
        reads(bout, &mut meter, true)?;
        Ok(meter.finish()?)
    },
    ..ALONE
};

/// What the large one takes meanwhile.
pub(crate) const WHOLE: Case = Case {
    name: "read-all",
    about: "every key in one answer, one after the other, while ten clients read one key each; asked for to last byte received",
    figures: Figures::Gaps,
    run: whole,
    ..ALONE
};

fn whole(bout: &mut Bout<'_>) -> Result<Sample, CaseError> {
    let mut meter = Meter::of_times(bout.server);
    let mut unmeasured = Meter::idle();
    meter.begin()?;
    for took in reads(bout, &mut unmeasured, true)? {
        meter.count(took);
    }
    Ok(meter.finish()?)
}

/// Measures small reads, beside a large one or not; what each of the large ones took.
fn reads(bout: &Bout<'_>, meter: &mut Meter, large: bool) -> Result<Vec<Duration>, CaseError> {
    let settings = bout.settings;
    bout.load()?;
    let address = bout.server.address();
    let mut small = RandomReads::new(settings.key_bytes, settings.keys, bout.seed, |key| {
        RangeRequest {
            key,
            ..RangeRequest::default()
        }
    });
    beside(
        |stop| match large {
            true => ask_until(address, stop),
            false => Ok(Vec::new()),
        },
        || bout.load_for(CLIENTS, CLIENTS, &mut small, meter),
    )
}

/// Lets `other` run in a thread of its own until `measured` is done.
pub(crate) fn beside<T: Send>(
    other: impl FnOnce(&AtomicBool) -> Result<T, CaseError> + Send,
    measured: impl FnOnce() -> Result<(), LoadError>,
) -> Result<T, CaseError> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| other(&stop));
        let measured = measured();
        stop.store(true, Ordering::Relaxed);
        let done = other.join().unwrap_or_else(|_| {
            Err(CaseError::Unexpected {
                what: "was asked by a thread that panicked".to_owned(),
            })
        });
        measured?;
        done
    })
}

/// Asks for every key, one answer after the other, and waits for the last.
fn ask_until(address: SocketAddr, stop: &AtomicBool) -> Result<Vec<Duration>, CaseError> {
    let mut took = Vec::new();
    let mut lines = Lines::connect(&[address], 1)?;
    // Every key is a digit and more, and ':' follows the last digit.
    let request = RangeRequest {
        key: Bytes::from_static(b"0"),
        range_end: Bytes::from_static(b":"),
        ..RangeRequest::default()
    };
    let request = request.encode_to_vec();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        lines.get(0).call(0, RANGE, &request, false);
        wait(&mut lines)?;
        took.push(begin.elapsed());
    }
    Ok(took)
}

/// Waits until the call on the first connection is answered.
fn wait(lines: &mut Lines) -> Result<(), CaseError> {
    let begin = Instant::now();
    let (mut ready, mut heard) = (Vec::new(), Vec::new());
    while begin.elapsed() < PATIENCE {
        lines.flush_all()?;
        lines.wait(LOOK_EVERY, &mut ready)?;
        lines.get(0).receive(&mut heard)?;
        match heard.pop() {
            Some(Heard::Ended { messages: 1, .. }) => return Ok(()),
            Some(Heard::Ended { .. }) => {
                return Err(CaseError::Unexpected {
                    what: "refused a read of every key".to_owned(),
                });
            }
            Some(Heard::Message { .. }) | None => {}
        }
    }
    Err(CaseError::Unexpected {
        what: "does not come to the end of a read of every key".to_owned(),
    })
}
