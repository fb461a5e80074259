//! Asks a member and writes down what was asked and told.

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Client, Error, GetOptions};
use store_sim::recorded::{
    Body, Consistency, Failure, Header, KeyRange, RangeEnd, RangeRequest, What,
};

use super::Clients;
use crate::history::{History, wire};

/// Keys that all compete for.
pub(super) const KEY_COUNT: u32 = 8;

/// Milliseconds between an answer and the next request: 300 requests in a second from six clients.
pub(super) const PACE_MS: std::ops::Range<u64> = 10..30;

/// What came of a request, as far as its client knows.
pub(super) type Told = Option<Result<Body, Failure>>;

/// Asks and writes down what is asked.
pub(super) struct Asker {
    pub(super) clients: Clients,
    pub(super) history: History,
}

impl Asker {
    /// Asks a member. `None`: nobody knows what has happened.
    pub(super) async fn ask<F>(
        &mut self,
        member: usize,
        patience: Duration,
        what: What,
        call: impl FnOnce(Client) -> F,
    ) -> Told
    where
        F: Future<Output = Result<(Header, Body), Error>>,
    {
        let client = self.clients.of(member).await.ok()?;
        let number = self.history.ask(what);
        let (header, outcome) = match tokio::time::timeout(patience, call(client)).await {
            Ok(Ok((header, body))) => (header, Ok(body)),
            Ok(Err(error)) => match wire::failure(&error) {
                Some(failure) => (Header::default(), Err(failure)),
                None => (Header::default(), Err(Failure::TimedOut)),
            },
            Err(_) => (Header::default(), Err(Failure::TimedOut)),
        };
        if outcome == Err(Failure::TimedOut) {
            self.clients.forget(member);
            return None;
        }
        self.history.answer(number, member, header, outcome.clone());
        Some(outcome)
    }

    pub(super) async fn range(
        &mut self,
        member: usize,
        patience: Duration,
        range: RangeRequest,
        consistency: Consistency,
    ) -> Told {
        let options = get_options(&range, consistency);
        let key = range.keys.start.clone();
        let call = |mut client: Client| async move {
            let response = client.get(key, Some(options)).await?;
            let header = wire::header(response.header());
            Ok((header, Body::Range(wire::range(&response))))
        };
        let what = What::Range(range, consistency);
        self.ask(member, patience, what, call).await
    }
}

fn get_options(range: &RangeRequest, consistency: Consistency) -> GetOptions {
    let mut options = GetOptions::new().with_limit(i64::try_from(range.limit).unwrap_or(0));
    options = match &range.keys.end {
        RangeEnd::Single => options,
        RangeEnd::Open => options.with_from_key(),
        RangeEnd::Before(end) => options.with_range(end.clone()),
    };
    match consistency {
        Consistency::Linearizable => options,
        Consistency::Serializable => options.with_serializable(),
    }
}

/// Every key there can be.
pub(super) fn everything() -> KeyRange {
    KeyRange {
        start: Bytes::from_static(b"\0"),
        end: RangeEnd::Open,
    }
}

/// Keys that start so.
pub(super) fn prefix(start: &str) -> KeyRange {
    let mut end = start.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    KeyRange {
        start: Bytes::copy_from_slice(start.as_bytes()),
        end: RangeEnd::Before(Bytes::from(end)),
    }
}
