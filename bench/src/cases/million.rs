//! A million keys: what they take in memory, and how long a start with them takes after a kill.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::put::EveryPut;
use super::{Bout, Case, CaseError, Figures, Settings};
use crate::contender::Contender;
use crate::cores::Mode;
use crate::load;
use crate::sample::{Meter, Sample};

/// Keys, of [`KEY_BYTES`]; with values of 256 bytes 272 MB as they come.
const KEYS: u64 = 1_000_000;

/// Bytes of a key.
const KEY_BYTES: usize = 16;

/// Loaded by puts, killed, started again.
pub(crate) const MILLION: Case = Case {
    name: "million",
    about: "a million keys of 16 bytes, put one by one by many clients; then kill -9, and process started to first read answered",
    modes: &[Mode::Free],
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::State,
    run: |bout| run(bout),
};

/// Longest wait for a killed process to be gone: its memory is given back first.
const END_WAIT_MAX: Duration = Duration::from_secs(30);

/// How often to look whether it is.
const END_POLL: Duration = Duration::from_millis(1);

fn run(bout: &mut Bout<'_>) -> Result<Sample, CaseError> {
    let settings = Settings {
        keys: KEYS,
        key_bytes: KEY_BYTES,
        ..bout.settings.clone()
    };
    let mut meter = Meter::of(bout.server);
    meter.begin()?;
    load::exhaust(
        &bout.addresses(),
        settings.connections,
        settings.clients,
        &mut EveryPut::new(&settings),
        &mut meter,
    )?;
    let loaded = meter.finish()?;
    bout.server.signal(0, Signal::KILL);
    let killed = Instant::now();
    while !bout.server.has_ended(0) {
        if killed.elapsed() > END_WAIT_MAX {
            return Err(CaseError::Unexpected {
                what: "does not end when it is killed".to_owned(),
            });
        }
        std::thread::sleep(END_POLL);
    }
    let started = Instant::now();
    bout.server.restart(0)?;
    Ok(loaded.with_latency(started.elapsed()))
}
