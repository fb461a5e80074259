//! Times a call, and logs one that took too long with where the time went.

use std::time::{Duration, Instant};

use tonic::Code;

use super::method::Method;
use crate::api::Api;

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
        api: &Api,
        method: Method,
        code: Code,
        answer_bytes: usize,
    ) -> Duration {
        let now = Instant::now();
        let took = now.duration_since(self.began);
        let too_long = api.slow_call;
        if too_long.is_zero() || took < too_long {
            return took;
        }
        let read = self.read.unwrap_or(now);
        let spent = api.handle.counters().delays.between(read, now);
        tracing::warn!(
            method = method.name(),
            took = ?took,
            expected = ?too_long,
            reading_the_request = ?read.duration_since(self.began),
            waiting_for_the_store = ?now.duration_since(read),
            while_the_store_was_busy = ?spent.driver,
            while_the_disk_was_slow = ?spent.disk,
            while_there_was_no_leader = ?spent.leaderless,
            request_bytes = self.bytes,
            response_bytes = answer_bytes,
            ?code,
            "request took too long"
        );
        took
    }
}
