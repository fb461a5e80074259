//! Times a call, and logs one that took too long with where the time went.

use std::time::{Duration, Instant};

use tonic::Code;

use super::method::Method;

/// Runs from the first look at a call to its answer.
pub(super) struct Stopwatch {
    began: Instant,
    /// When the request had come in whole.
    read: Option<Instant>,
    /// Bytes of the request.
    bytes: usize,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self {
            began: Instant::now(),
            read: None,
            bytes: 0,
        }
    }

    /// The request is here.
    pub(super) fn request_read(&mut self, bytes: usize) {
        self.read = Some(Instant::now());
        self.bytes = bytes;
    }

    /// The answer is made; returns how long that took. What the request asked for is not told: keys may be secrets.
    pub(super) fn stop(
        &self,
        too_long: Duration,
        method: Method,
        code: Code,
        answer_bytes: usize,
    ) -> Duration {
        let now = Instant::now();
        let took = now.duration_since(self.began);
        if too_long.is_zero() || took < too_long {
            return took;
        }
        let read = self.read.unwrap_or(now);
        tracing::warn!(
            method = method.name(),
            took = ?took,
            expected = ?too_long,
            reading_the_request = ?read.duration_since(self.began),
            waiting_for_the_store = ?now.duration_since(read),
            request_bytes = self.bytes,
            response_bytes = answer_bytes,
            ?code,
            "request took too long"
        );
        took
    }
}
