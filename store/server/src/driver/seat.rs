//! Who takes a turn: the driver's own thread, or whoever asks when nothing else goes on.
//!
//! Waking the thread and being woken by it costs a lone client as much as its sync (some 30 µs each on a virtual
//! machine). So who brings one request to a driver that sleeps, at a time when requests come one by one, takes the seat
//! and the turn himself. Everybody else leaves his request in the inbox, where the thread finds many at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use futures::future::{BoxFuture, Either, Ready, ready};
use store_member::answer::Failure;
use tokio::sync::oneshot;

use crate::driver::Driver;
use crate::driver::inbox::{Ask, Inbox, Knock, Outcome};
use crate::fatal::EndsWithThread;

/// Done at once, or after others had the core.
pub(crate) type Asking<'a> = Either<Ready<Result<(), Failure>>, BoxFuture<'a, Result<(), Failure>>>;

/// The driver's seat; shared by its thread and the handles.
pub(crate) struct Seat {
    inbox: Arc<Inbox>,
    /// `None` once it has stopped: its folder is let go, whoever still holds a handle.
    driver: Mutex<Option<Driver>>,
    /// Requests that came while it was quiet.
    asked: AtomicU64,
}

impl Seat {
    pub(crate) fn new(inbox: Arc<Inbox>, driver: Driver) -> Self {
        Self {
            inbox,
            driver: Mutex::new(Some(driver)),
            asked: AtomicU64::new(0),
        }
    }

    /// The driver thread: takes turns until told to stop; then everybody who waits is told so.
    pub(crate) fn run(&self) {
        let mut knocks = Vec::new();
        loop {
            let mut seat = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(driver) = seat.as_mut() else {
                return;
            };
            self.inbox.take(&mut knocks);
            if !driver.turns(&mut knocks) {
                if let Some(driver) = seat.take() {
                    driver.stop();
                }
                return;
            }
            let until = driver.wake_at();
            drop(seat);
            self.inbox.wait(until);
        }
    }

    /// Leaves a request of about `bytes`, or takes the turn it needs. Dropping the future before it has returned may give
    /// the request up.
    pub(crate) fn ask(&self, ask: Ask, bytes: u64, answer: oneshot::Sender<Outcome>) -> Asking<'_> {
        if self.inbox.is_quiet() {
            // Boxed: what it holds while it lets others go on would be in the future of every call.
            Either::Right(Box::pin(self.ask_in_quiet(ask, bytes, answer)))
        } else {
            Either::Left(ready(self.inbox.ask(ask, bytes, answer)))
        }
    }

    async fn ask_in_quiet(
        &self,
        ask: Ask,
        bytes: u64,
        answer: oneshot::Sender<Outcome>,
    ) -> Result<(), Failure> {
        if self.is_alone().await
            && let Some(mut seat) = self.free()
        {
            let Some(driver) = seat.as_mut() else {
                return Err(Failure::Stopped);
            };
            // A runtime would catch the panic of a task and go on with half a turn.
            let guard = EndsWithThread("driver");
            driver.turns(&mut vec![Knock::Ask { ask, answer }]);
            drop(guard);
            let until = driver.wake_at();
            drop(seat);
            self.inbox.wake_by(until);
            return Ok(());
        }
        self.inbox.ask(ask, bytes, answer)
    }

    /// Whether nobody else has a request when everybody who was ready has had the core: a thousand clients that find the
    /// driver asleep would else take a turn and a sync each, one after the other, since who waits for a disk does not
    /// read what the others have sent.
    async fn is_alone(&self) -> bool {
        let mine = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::task::yield_now().await;
        self.asked.load(Ordering::Relaxed) == mine && self.inbox.is_quiet()
    }

    /// The seat, if nobody sits there.
    fn free(&self) -> Option<MutexGuard<'_, Option<Driver>>> {
        match self.driver.try_lock() {
            Ok(seat) => Some(seat),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
