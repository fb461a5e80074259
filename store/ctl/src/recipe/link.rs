//! The way to the store for what outlasts a member: a request that a member could not answer is asked again, of the next
//! one, until it is answered or patience ends. Only for requests that may be carried out twice.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store_client::backoff::Backoff;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Response, Status};

use crate::connect::{ANSWER_BYTES_MAX, Connection, LATE, to};
use crate::failure::Failure;
use crate::flags::Globals;

/// First wait before the next member is asked. 50 ms: a leader that changes is back within a few.
const RETRY_FLOOR: Duration = Duration::from_millis(50);
/// Longest wait: this much later than the store one is back at most.
const RETRY_CEILING: Duration = Duration::from_secs(1);

/// How long to go on asking.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Not at all: for what must not be done twice.
    Once,
    /// As long as a short command may take.
    Short,
    /// For ever; somebody else decides when it is enough.
    Endless,
}

/// A connection that is made anew when it breaks. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    globals: Arc<Globals>,
    current: Arc<Mutex<Current>>,
}

#[derive(Debug)]
struct Current {
    connection: Connection,
    /// Which one it is, counted from 0: who finds that it is broken replaces that one, not a later one.
    number: usize,
}

impl Link {
    /// # Errors
    /// No member can be reached while a short command lasts.
    pub(crate) async fn open(globals: &Globals) -> Result<Self, Failure> {
        let connection = to(&globals.endpoints, globals).await?;
        Ok(Self {
            globals: Arc::new(globals.clone()),
            current: Arc::new(Mutex::new(Current {
                connection,
                number: 0,
            })),
        })
    }

    /// The flags it was made with.
    pub(crate) fn globals(&self) -> &Globals {
        &self.globals
    }

    /// The connection in use, and its number.
    pub(crate) fn connection(&self) -> (Connection, usize) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.connection.clone(), current.number)
    }

    /// Connects to another member than the one that connection led to, unless somebody has already. One that cannot be
    /// reached is found out by the next request.
    pub(crate) async fn replace(&self, number: usize) {
        if self.connection().1 != number {
            return;
        }
        let mut endpoints = self.globals.endpoints.clone();
        let next = (number + 1).checked_rem(endpoints.len()).unwrap_or(0);
        endpoints.rotate_left(next);
        // Safe to cancel: until it is there the old one stays.
        if let Ok(connection) = to(&endpoints, &self.globals).await {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.number == number {
                *current = Current {
                    connection,
                    number: number + 1,
                };
            }
        }
    }

    /// The answer of whichever member gives one.
    ///
    /// # Errors
    /// The store refuses it, or patience has ended.
    pub(crate) async fn ask<T, F>(
        &self,
        patience: Patience,
        call: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let begun = Instant::now();
        let limit = self.globals.command_timeout;
        let mut backoff = backoff();
        loop {
            let (connection, number) = self.connection();
            // Safe to cancel: what is asked may be asked twice.
            let reason = match timeout(limit, call(connection)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if !may_pass(&status) => return Err(status.into()),
                Ok(Err(status)) => status.message().to_owned(),
                Err(_) => "the member does not answer".to_owned(),
            };
            match patience {
                Patience::Once => {
                    let hint = "the store may have done it: look before it is done again";
                    return Err(Failure::error(reason).hint(hint));
                }
                Patience::Short if begun.elapsed() >= limit => {
                    return Err(Failure::error(LATE).hint(reason));
                }
                Patience::Short | Patience::Endless => {}
            }
            sleep(backoff.delay()).await;
            self.replace(number).await;
        }
    }

    /// # Errors
    /// As [`Link::ask`].
    pub(crate) async fn range(
        &self,
        patience: Patience,
        request: RangeRequest,
    ) -> Result<RangeResponse, Failure> {
        self.ask(patience, |connection| {
            let request = request.clone();
            async move { kv(connection).range(request).await }
        })
        .await
    }

    /// Only for transactions whose conditions make the second one harmless.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub(crate) async fn txn(
        &self,
        patience: Patience,
        request: TxnRequest,
    ) -> Result<TxnResponse, Failure> {
        self.ask(patience, |connection| {
            let request = request.clone();
            async move { kv(connection).txn(request).await }
        })
        .await
    }
}

/// Waits between two tries.
pub(crate) fn backoff() -> Backoff {
    Backoff::new(RETRY_FLOOR, RETRY_CEILING, rand::random())
}

/// Whether another member, or the same one a little later, may answer. A store that is full, or refuses what it is asked,
/// goes on doing so.
pub(crate) fn may_pass(status: &Status) -> bool {
    let passing = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled
    ) || status.message().contains("too many requests");
    // A connection that breaks under a request is told as an inner error.
    passing || (status.code() == Code::Internal && status.metadata().is_empty())
}

fn kv(connection: Connection) -> KvClient<Connection> {
    KvClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX)
}
