//! A snapshot on its way to the disk: a thread of its own, because some hundred megabytes must not
//! stand between an append and its sync. It touches the log only to begin and to finish.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use store_machine::snapshot::SnapshotCursor;
use store_member::effects::Snapshot;
use store_wal::{Disk, SnapshotWriter, WalError};

use crate::counters::Counters;
use crate::disk::lock;
use crate::disk::log::Log;
use crate::driver::inbox::{Inbox, Knock};
use crate::fatal::{EndsWithThread, Exit, chain};

/// Bytes written between two looks at whether to stop: a fraction of a millisecond.
const CHUNK_BYTES: usize = 256 << 10;

/// A snapshot being written.
pub(crate) struct SnapshotTask {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// What the thread works on.
struct Work<D: Disk> {
    log: Arc<Mutex<Log<D>>>,
    inbox: Arc<Inbox>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    began: Instant,
}

impl SnapshotTask {
    /// Begins; the outcome is told to the driver. `None` when it came to nothing at once.
    pub(crate) fn begin<D: Disk>(
        log: &Arc<Mutex<Log<D>>>,
        inbox: &Arc<Inbox>,
        counters: &Arc<Counters>,
        snapshot: Snapshot,
    ) -> Option<Self> {
        let Snapshot { mark, content } = snapshot;
        let voters = mark.voters.encode();
        let begun = lock(log)
            .wal()
            .snapshot_begin(mark.index, mark.term, &voters);
        let writer = match begun {
            Ok(writer) => writer,
            Err(error) => {
                give_up(inbox, &error);
                return None;
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            log: Arc::clone(log),
            inbox: Arc::clone(inbox),
            counters: Arc::clone(counters),
            stop: Arc::clone(&stop),
            began: Instant::now(),
        };
        let name = "store-snapshot";
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _guard = EndsWithThread(name);
                work.run(writer, content);
            });
        match thread {
            Ok(thread) => Some(Self { stop, thread }),
            Err(error) => {
                tracing::warn!("the snapshot is given up: failed to start its thread: {error}");
                inbox.tell(Knock::SnapshotFailed);
                None
            }
        }
    }

    /// Gives it up, if it is not finished, and waits until nothing of it is going on.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic there has ended the process already.
        let _ = self.thread.join();
    }
}

impl<D: Disk> Work<D> {
    fn run(self, mut writer: SnapshotWriter<D>, mut content: SnapshotCursor) {
        while let Some(chunk) = content.chunk(CHUNK_BYTES) {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = writer.write(&chunk) {
                drop(writer);
                give_up(&self.inbox, &error);
                return;
            }
        }
        let finished = lock(&self.log).wal().snapshot_finish(writer);
        match finished {
            Ok(()) => {
                self.counters.snapshot.observe(self.began.elapsed());
                self.inbox.tell(Knock::SnapshotSynced);
            }
            Err(error) => give_up(&self.inbox, &error),
        }
    }
}

/// A snapshot that cannot be written is tried again later: it only spares log. Unless the disk has
/// failed.
fn give_up(inbox: &Inbox, error: &WalError) {
    if error.is_fatal() {
        Exit::DiskFailed.end(error, error.hint().as_deref());
    }
    tracing::warn!(
        hint = error.hint(),
        "the snapshot is given up: failed to {}",
        chain(error)
    );
    inbox.tell(Knock::SnapshotFailed);
}
