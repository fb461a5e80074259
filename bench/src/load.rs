//! Clients that each ask, wait for the answer and ask again (a closed loop).
//!
//! A client that waits does not ask, so latencies here are those of a system that is exactly as
//! busy as its clients make it; a queue outside of it is not seen.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::lines::Lines;
use crate::process::ProcessError;
use crate::sample::Meter;
use crate::wire::{Heard, WireError};

/// Longest time without any answer before a run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Refused calls, none of them answered, after which a run is given up.
const REFUSALS_ONLY_MAX: u64 = 1000;

/// How many ask, how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Connections.
    pub(crate) connections: usize,
    /// Clients, spread evenly over the connections.
    pub(crate) clients: usize,
    /// Time before anything counts.
    pub(crate) warm_up: Duration,
    /// Time that counts.
    pub(crate) measured: Duration,
}

/// Says what the clients ask.
pub(crate) trait Asker {
    /// Writes the next request into the empty `message` and returns its method's path; `None` when
    /// there is nothing more to ask.
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str>;
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// A connection failed.
    #[error("talk to the server")]
    Wire(#[from] WireError),
    /// The server went away.
    #[error("measure the server")]
    Process(#[from] ProcessError),
    /// No answers.
    #[error("no answer in {} s, {answered} before", SILENCE_MAX.as_secs())]
    Silence {
        /// Answers before.
        answered: u64,
    },
    /// Only refusals.
    #[error("the server refused the first {refused} calls")]
    Refused {
        /// How many.
        refused: u64,
    },
}

/// Lets clients ask until the measured time is over; the unanswered rest is abandoned.
pub(crate) fn measure(
    addresses: &[SocketAddr],
    shape: Shape,
    asker: &mut dyn Asker,
    meter: &mut Meter,
) -> Result<(), LoadError> {
    let mut loop_ = ClosedLoop::connect(addresses, shape.connections, shape.clients)?;
    loop_.ask_all(asker)?;
    let begin = Instant::now() + shape.warm_up;
    loop_.run(asker, meter, |now, _| now >= begin)?;
    meter.begin()?;
    let end = Instant::now() + shape.measured;
    loop_.run(asker, meter, |now, _| now >= end)?;
    Ok(())
}

/// Lets clients ask until the asker has no more, and waits for every answer.
pub(crate) fn exhaust(
    addresses: &[SocketAddr],
    connections: usize,
    clients: usize,
    asker: &mut dyn Asker,
    meter: &mut Meter,
) -> Result<(), LoadError> {
    let mut loop_ = ClosedLoop::connect(addresses, connections, clients)?;
    loop_.ask_all(asker)?;
    loop_.run(asker, meter, |_, asking| asking == 0)
}

struct ClosedLoop {
    lines: Lines,
    /// When each client asked last.
    asked: Vec<Instant>,
    /// Clients that wait for an answer.
    asking: usize,
    answered: u64,
    refused: u64,
    message: Vec<u8>,
}

impl ClosedLoop {
    fn connect(
        addresses: &[SocketAddr],
        connections: usize,
        clients: usize,
    ) -> Result<ClosedLoop, LoadError> {
        Ok(ClosedLoop {
            lines: Lines::connect(addresses, connections.clamp(1, clients.max(1)))?,
            asked: vec![Instant::now(); clients],
            asking: 0,
            answered: 0,
            refused: 0,
            message: Vec::new(),
        })
    }

    fn ask_all(&mut self, asker: &mut dyn Asker) -> Result<(), LoadError> {
        let now = Instant::now();
        for client in 0..self.asked.len() {
            self.ask(asker, client, now);
        }
        self.lines.flush_all()?;
        Ok(())
    }

    fn ask(&mut self, asker: &mut dyn Asker, client: usize, now: Instant) {
        self.message.clear();
        let Some(path) = asker.ask(&mut self.message) else {
            return;
        };
        self.asked[client] = now;
        self.asking += 1;
        let line = client % self.lines.count();
        self.lines
            .get(line)
            .call(client as u64, path, &self.message, false);
    }

    /// Takes answers and asks again until `done(now, clients that wait)`.
    fn run(
        &mut self,
        asker: &mut dyn Asker,
        meter: &mut Meter,
        done: impl Fn(Instant, usize) -> bool,
    ) -> Result<(), LoadError> {
        let mut ready = Vec::new();
        let mut heard = Vec::new();
        let mut last_answer = Instant::now();
        while !done(Instant::now(), self.asking) {
            // 10 ms: how late the end of the measured time may be noticed when all is silent.
            self.lines.wait(Duration::from_millis(10), &mut ready)?;
            if ready.is_empty() && last_answer.elapsed() > SILENCE_MAX {
                return Err(LoadError::Silence {
                    answered: self.answered,
                });
            }
            for line in &ready {
                heard.clear();
                self.lines.get(*line).receive(&mut heard)?;
                let now = Instant::now();
                for said in heard.drain(..) {
                    last_answer = now;
                    self.take(&said, now, asker, meter);
                }
                self.lines.flush(*line)?;
            }
            if self.answered == 0 && self.refused >= REFUSALS_ONLY_MAX {
                return Err(LoadError::Refused {
                    refused: self.refused,
                });
            }
        }
        Ok(())
    }

    fn take(&mut self, said: &Heard, now: Instant, asker: &mut dyn Asker, meter: &mut Meter) {
        let Heard::Ended { tag, messages } = *said else {
            return;
        };
        let client = tag as usize;
        self.asking -= 1;
        if messages == 1 {
            self.answered += 1;
            meter.count(now - self.asked[client]);
        } else {
            self.refused += 1;
            meter.refuse();
        }
        self.ask(asker, client, now);
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
