//! The links to the other members: one long-lived stream each way, on one thread of their own.
//!
//! Whoever has something to say dials; a stream carries messages from the member that dialled to the
//! one that accepted, and nothing back but the answer to its greeting (`hello.rs`). `inquiry.rs` is
//! what one that is to join asks, `lanes.rs` what waits for a stream, `link.rs` the way out, `reception.rs` the way in, `frame.rs` the bytes.
//! A message may be lost, late or doubled, as raft expects; it is never damaged or put in another
//! cluster's ears.
//!
//! The thread is not the clients': heartbeats do not wait for requests.

mod backoff;
pub(crate) mod directory;
mod frame;
mod hello;
pub(crate) mod inquiry;
pub(crate) mod lanes;
mod link;
mod message;
mod reception;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use store_transport::Bound;
use store_transport::tls::Keeper;
use store_wal::Identity;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::directory::{Directory, Others};
use self::lanes::Lanes;
use self::link::Link;
use self::reception::Reception;
use crate::config::address::Address;
use crate::counters::PeerCounters;
use crate::driver::inbox::Inbox;
use crate::fatal::EndsWithThread;

/// Where peers come in.
#[derive(Debug)]
pub struct PeerDoor {
    /// The port.
    pub bound: Bound,
    /// Over TLS only.
    pub secure: bool,
}

/// Another member.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: u64,
    /// For people.
    pub(crate) name: String,
    /// Where it listens for us.
    pub(crate) urls: Vec<Address>,
    pub(crate) lanes: Lanes,
    pub(crate) counters: Arc<PeerCounters>,
}

/// The running links. Dropped without [`Peers::stop`], they end in the background.
#[derive(Debug)]
pub(crate) struct Peers {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Peers {
    /// Starts to listen and to dial.
    ///
    /// # Errors
    /// When the system refuses a thread or a poll.
    pub(crate) fn start(
        own: Identity,
        doors: Vec<PeerDoor>,
        tls: Option<Arc<Keeper>>,
        directory: Arc<Directory>,
        inbox: Arc<Inbox>,
    ) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let doors = {
            let _entered = runtime.enter();
            let doors = doors
                .into_iter()
                .map(|door| Ok((door.bound.listen()?, door.secure)));
            doors.collect::<std::io::Result<Vec<_>>>()?
        };
        let name = "store-peers";
        let stopped = stop.clone();
        let run = async move {
            // What a ping says: the time since this.
            let epoch = Instant::now();
            let mut changes = directory.changes();
            let reception = Reception::new(own, directory, Arc::clone(&inbox), epoch);
            let reception = Arc::new(reception);
            let mut tasks = JoinSet::new();
            let receives = Arc::clone(&reception);
            for (listener, secure) in doors {
                let tls = tls.as_ref().filter(|_| secure).cloned();
                tasks.spawn(reception::accept(listener, tls, Arc::clone(&reception)));
            }
            let mut links = Links::default();
            loop {
                tokio::select! {
                    // Safe to cancel: it stays cancelled.
                    () = stopped.cancelled() => return,
                    // Safe to cancel: a change not seen stays one.
                    Ok(()) = changes.changed() => {
                        let others = changes.borrow_and_update().clone();
                        receives.end_former();
                        links.follow(&others, |peer| {
                            let link = Link::new(own, peer, tls.clone(), Arc::clone(&inbox), epoch);
                            tasks.spawn(link.run())
                        });
                    }
                    // Safe to cancel: a task not returned stays in the set. They end when they are
                    // told to, or by a panic, which is this thread's then.
                    Some(Err(ended)) = tasks.join_next() => {
                        if let Ok(panic) = ended.try_into_panic() {
                            std::panic::resume_unwind(panic);
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _guard = EndsWithThread(name);
                runtime.block_on(run);
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends all streams and lets go of the ports.
    pub(crate) fn stop(mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process already.
            let _ = thread.join();
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The links that run.
#[derive(Default)]
struct Links(BTreeMap<u64, (Arc<Peer>, AbortHandle)>);

impl Links {
    /// Ends the links to members that are gone or elsewhere, starts those that are missing.
    fn follow(&mut self, others: &Others, mut start: impl FnMut(Arc<Peer>) -> AbortHandle) {
        self.0.retain(|id, (peer, link)| {
            let stays = others.get(id).is_some_and(|now| Arc::ptr_eq(now, peer));
            if !stays {
                link.abort();
                peer.counters.connected.set(0);
            }
            stays
        });
        for (id, peer) in others {
            // One without an address cannot be dialled.
            if !self.0.contains_key(id) && !peer.urls.is_empty() {
                let link = start(Arc::clone(peer));
                self.0.insert(*id, (Arc::clone(peer), link));
            }
        }
    }
}

#[cfg(test)]
mod tests;
