//! Streams that each say something, wait for the answer and say the next (a closed loop, as `load` is for calls).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::cases::CaseError;
use crate::lines::Lines;
use crate::load::{LoadError, Shape};
use crate::sample::Meter;
use crate::wire::Heard;

/// Longest time without any answer before a run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Says what streams say.
pub(crate) trait Talker {
    /// The method all streams call.
    fn path(&self) -> &'static str;

    /// Writes what stream `number` says next into the empty `message`; false when it has no more to say.
    fn say(&mut self, number: usize, message: &mut Vec<u8>) -> bool;

    /// Looks at an answer: whether it is the one to what was said.
    fn answered(&mut self, number: usize, bytes: &[u8]) -> Result<bool, CaseError>;
}

/// Lets streams talk until the measured time is over.
pub(crate) fn measure(
    addresses: &[SocketAddr],
    shape: Shape,
    talker: &mut dyn Talker,
    meter: &mut Meter,
) -> Result<(), CaseError> {
    let mut talk = Talk::open(addresses, shape.connections, shape.clients, talker)?;
    let begin = Instant::now() + shape.warm_up;
    talk.run(talker, meter, |now, _| now >= begin)?;
    meter.begin()?;
    let end = Instant::now() + shape.measured;
    talk.run(talker, meter, |now, _| now >= end)
}

/// Streams that are open, and stay so as long as this lives.
struct Talk {
    lines: Lines,
    /// By stream, the number its connection knows it by.
    streams: Vec<u32>,
    /// When each said something last.
    said: Vec<Instant>,
    /// Streams that wait for an answer.
    waiting: usize,
    answered: u64,
    message: Vec<u8>,
}

impl Talk {
    /// Opens `streams` spread over `connections`, each with the first thing it says.
    fn open(
        addresses: &[SocketAddr],
        connections: usize,
        streams: usize,
        talker: &mut dyn Talker,
    ) -> Result<Talk, CaseError> {
        let lines = Lines::connect(addresses, connections.clamp(1, streams.max(1)))?;
        let mut talk = Talk {
            lines,
            streams: Vec::with_capacity(streams),
            said: vec![Instant::now(); streams],
            waiting: 0,
            answered: 0,
            message: Vec::new(),
        };
        for number in 0..streams {
            talk.message.clear();
            talker.say(number, &mut talk.message);
            let line = number % talk.lines.count();
            let tag = number as u64;
            let line = talk.lines.get(line);
            talk.streams
                .push(line.open(tag, talker.path(), &talk.message)?);
            talk.said[number] = Instant::now();
            talk.waiting += 1;
        }
        talk.lines.flush_all()?;
        Ok(talk)
    }

    /// Lets them talk until `done(now, streams that wait)`.
    fn run(
        &mut self,
        talker: &mut dyn Talker,
        meter: &mut Meter,
        done: impl Fn(Instant, usize) -> bool,
    ) -> Result<(), CaseError> {
        let (mut ready, mut heard) = (Vec::new(), Vec::new());
        let mut last_answer = Instant::now();
        while !done(Instant::now(), self.waiting) {
            // 10 ms: how late the end of the measured time may be noticed when all is silent.
            self.lines.wait(Duration::from_millis(10), &mut ready)?;
            if ready.is_empty() && last_answer.elapsed() > SILENCE_MAX {
                let answered = self.answered;
                return Err(LoadError::Silence { answered }.into());
            }
            for line in &ready {
                heard.clear();
                self.lines.get(*line).receive(&mut heard)?;
                let now = Instant::now();
                for said in heard.drain(..) {
                    last_answer = now;
                    self.take(*line, &said, now, talker, meter)?;
                }
                self.lines.flush(*line)?;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        line: usize,
        said: &Heard,
        now: Instant,
        talker: &mut dyn Talker,
        meter: &mut Meter,
    ) -> Result<(), CaseError> {
        let (tag, bytes) = match said {
            Heard::Message { tag, bytes } => (*tag, bytes),
            Heard::Ended { tag, .. } => {
                return Err(CaseError::Unexpected {
                    what: format!("ended stream {tag}"),
                });
            }
        };
        let number = tag as usize;
        if !talker.answered(number, bytes)? {
            return Ok(());
        }
        self.answered += 1;
        self.waiting -= 1;
        meter.count(now - self.said[number]);
        self.message.clear();
        if talker.say(number, &mut self.message) {
            self.lines
                .get(line)
                .say(self.streams[number], &self.message)?;
            self.said[number] = now;
            self.waiting += 1;
        }
        Ok(())
    }
}
