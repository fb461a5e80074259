//! How long there has been no leader: streams that asked for one end when it is long enough.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::handle::Handle;

/// Election timeouts without a leader after which streams that asked for one end: etcd's three.
const ELECTIONS: u32 = 3;

/// Looks per election timeout: a stream ends at most this part of one late.
const LOOKS: u32 = 4;

/// Tells whether there has been no leader for too long.
#[derive(Clone, Debug)]
pub(crate) struct Absence(watch::Receiver<bool>);

impl Absence {
    /// One to be told, and who tells it: to be run beside the server.
    pub(crate) fn new(handle: Handle, election: Duration) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = watch::channel(false);
        let looks = async move {
            let mut ticks = tokio::time::interval(election / LOOKS);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut led = Instant::now();
            loop {
                tokio::select! {
                    // Safe to cancel: a tick not returned is returned next time.
                    now = ticks.tick() => {
                        if handle.counters().leader.get() != 0 {
                            led = now;
                        }
                        let long = now.duration_since(led) >= election * ELECTIONS;
                        sender.send_if_modified(|was| std::mem::replace(was, long) != long);
                    }
                    // Safe to cancel: it stays closed.
                    () = sender.closed() => return,
                }
            }
        };
        (Self(receiver), looks)
    }

    /// Waits until there has been no leader for too long; for ever when nobody looks any more.
    pub(crate) async fn long(mut self) {
        if self.0.wait_for(|long| *long).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
