//! The books kept on gRPC calls: what `/metrics` says about them.
//!
//! Plain atomics in a fixed table, one row per method; nothing is allocated or locked per call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;
use tonic::Code;

use super::method::Method;
use super::unary::PREFIX_BYTES;
use crate::body::GRPC_STATUS;
use crate::counters::Histogram;

/// gRPC knows the codes 0 to 16.
const CODES: usize = 17;

/// Names of the codes as etcd's metrics spell them.
const CODE_NAMES: [&str; CODES] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The name of a code, by number.
pub(crate) fn code_name(code: usize) -> &'static str {
    CODE_NAMES.get(code).copied().unwrap_or("Unknown")
}

/// Counters of one method.
#[derive(Default)]
pub(crate) struct MethodCounters {
    /// Calls begun.
    pub(crate) started: AtomicU64,
    /// Calls ended, by code.
    pub(crate) handled: [AtomicU64; CODES],
    /// Messages from clients.
    pub(crate) received: AtomicU64,
    /// Messages to clients.
    pub(crate) sent: AtomicU64,
    /// How long calls took; empty unless they are [timed](Accounts::timed).
    pub(crate) took: Histogram,
}

/// Counters of all methods.
#[derive(Default)]
pub(crate) struct Accounts {
    methods: Vec<MethodCounters>,
    /// `--metrics=extensive`: calls are timed by method.
    pub(crate) timed: bool,
    /// Bytes of messages from clients, without what goes before each on the wire: etcd counts what it decodes.
    pub(crate) received_bytes: AtomicU64,
    /// Bytes of messages to clients, counted in the same way.
    pub(crate) sent_bytes: AtomicU64,
    /// Requests over the JSON gateway.
    pub(crate) gateway_requests: AtomicU64,
    /// Times of `Hash` and `HashKV`.
    pub(crate) hash: Histogram,
    /// See [`Accounts::hash`].
    pub(crate) hash_kv: Histogram,
    /// Times of snapshots that were sent whole.
    pub(crate) snapshots: Histogram,
    /// Outcomes of the checks behind `/livez` and `/readyz`.
    pub(crate) checks: CheckAccounts,
    /// Learners that became voters on this member's word, and those that did not.
    pub(crate) promoted: AtomicU64,
    /// See [`Accounts::promoted`].
    pub(crate) not_promoted: AtomicU64,
    /// Questions to `/health` answered with yes.
    pub(crate) health_success: AtomicU64,
    /// Questions to `/health` answered with no.
    pub(crate) health_failures: AtomicU64,
}

impl Accounts {
    /// All at zero.
    pub(crate) fn new(timed: bool) -> Self {
        Self {
            methods: Method::ALL.iter().map(|_| Default::default()).collect(),
            timed,
            ..Default::default()
        }
    }

    /// The counters of one method.
    pub(crate) fn of(&self, method: Method) -> &MethodCounters {
        &self.methods[method as usize]
    }

    /// A unary call has come in whole.
    pub(crate) fn unary_received(&self, method: Method, bytes: usize) {
        self.of(method).received.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// A unary call has its answer.
    pub(crate) fn unary_answered(&self, method: Method, code: Code, bytes: usize, took: Duration) {
        let counters = self.of(method);
        if self.timed {
            counters.took.observe(took);
        }
        counters.handled[code as usize].fetch_add(1, Relaxed);
        if code == Code::Ok {
            counters.sent.fetch_add(1, Relaxed);
            self.sent_bytes.fetch_add(bytes as u64, Relaxed);
        }
    }
}

/// How checks of health ended.
#[derive(Default)]
pub(crate) struct CheckAccounts(Mutex<BTreeMap<(&'static str, &'static str), CheckCounters>>);

/// How one check ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckCounters {
    /// The last time it went well.
    pub(crate) well: bool,
    /// How often it did.
    pub(crate) succeeded: u64,
    /// How often it did not.
    pub(crate) failed: u64,
}

impl CheckAccounts {
    /// A check of a probe has been made.
    pub(crate) fn note(&self, probe: &'static str, check: &'static str, well: bool) {
        let mut checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = checks.entry((probe, check)).or_default();
        counters.well = well;
        counters.succeeded += u64::from(well);
        counters.failed += u64::from(!well);
    }

    /// Those that have been made, by probe and check.
    pub(crate) fn all(&self) -> BTreeMap<(&'static str, &'static str), CheckCounters> {
        let checks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        checks.clone()
    }
}

/// Messages that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    /// Of all of them, without their prefixes.
    pub(crate) bytes: u64,
}

impl Tally {
    /// One of so many bytes.
    pub(crate) const fn one(bytes: usize) -> Self {
        Self {
            count: 1,
            bytes: bytes as u64,
        }
    }

    /// Adds another.
    pub(crate) const fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
    }

    /// Those in a frame that is made of whole messages.
    fn within(mut frame: &[u8]) -> Self {
        let mut messages = Self::default();
        while let Some((&[_, a, b, c, d], behind)) = frame.split_first_chunk::<PREFIX_BYTES>() {
            let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
            messages.add(bytes);
            frame = behind.get(bytes..).unwrap_or_default();
        }
        messages
    }
}

/// Follows one stream until it is dropped.
pub(crate) struct StreamAccount {
    accounts: Arc<Accounts>,
    method: Method,
    /// How it ended; a stream dropped before was cancelled.
    code: Option<Code>,
    began: Instant,
}

impl StreamAccount {
    /// A call begins.
    pub(crate) fn new(accounts: &Arc<Accounts>, method: Method) -> Self {
        accounts.of(method).started.fetch_add(1, Relaxed);
        Self {
            accounts: Arc::clone(accounts),
            method,
            code: None,
            began: Instant::now(),
        }
    }

    /// What comes in over it, for where that is read.
    pub(crate) fn inward(&self) -> InwardAccount {
        InwardAccount {
            accounts: Arc::clone(&self.accounts),
            method: self.method,
        }
    }

    /// The stream has opened, or was refused with these headers.
    pub(crate) fn opened(&mut self, headers: &HeaderMap) {
        self.note(headers);
    }

    fn note(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(GRPC_STATUS) {
            self.ended(Code::from_bytes(status.as_bytes()));
        }
    }

    /// It has ended; how it ended first counts.
    pub(crate) fn ended(&mut self, code: Code) {
        self.code.get_or_insert(code);
    }

    /// A frame goes out. Those of data hold whole messages, often many.
    pub(crate) fn sent_frame(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.sent(Tally::within(data));
        } else if let Some(trailers) = frame.trailers_ref() {
            self.note(trailers);
        }
    }

    /// Messages go out.
    pub(crate) fn sent(&self, messages: Tally) {
        let sent = &self.accounts.of(self.method).sent;
        sent.fetch_add(messages.count, Relaxed);
        let bytes = &self.accounts.sent_bytes;
        bytes.fetch_add(messages.bytes, Relaxed);
    }
}

/// What comes in over a stream.
pub(crate) struct InwardAccount {
    accounts: Arc<Accounts>,
    method: Method,
}

impl InwardAccount {
    /// Messages have come in whole.
    pub(crate) fn received(&self, messages: Tally) {
        let received = &self.accounts.of(self.method).received;
        received.fetch_add(messages.count, Relaxed);
        let bytes = &self.accounts.received_bytes;
        bytes.fetch_add(messages.bytes, Relaxed);
    }
}

impl Drop for StreamAccount {
    fn drop(&mut self) {
        let counters = self.accounts.of(self.method);
        let code = self.code.unwrap_or(Code::Cancelled);
        counters.handled[code as usize].fetch_add(1, Relaxed);
        if self.accounts.timed {
            counters.took.observe(self.began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_without_their_prefixes() {
        for (frame, count, bytes) in [
            (&b""[..], 0, 0),
            (b"\0\0\0\0\0", 1, 0),
            (b"\0\0\0\0\x03abc", 1, 3),
            (b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x01d", 3, 4),
        ] {
            assert_eq!(Tally::within(frame), Tally { count, bytes }, "{frame:?}");
        }
    }
}
