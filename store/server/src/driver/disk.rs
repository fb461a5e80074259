//! The driver's side of the disk: which thread writes.
//!
//! Two thread switches cost a single client as much as half a sync. So when one small append is all
//! there is, and syncs are quick, the driver writes it itself; everything else goes to the disk
//! thread, which works while the driver goes on. Both ways keep the order of appends: the driver
//! writes only when nothing is on its way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store_member::effects::Append;

use crate::disk::log::{DirectLog, Durable};
use crate::disk::{DiskQueue, Order};

/// Entries of an append the driver writes by itself: a handful of clients that take turns. More
/// mean that others wait already, and that overlapping work and sync pays.
const ENTRIES_MAX: usize = 4;

/// The same in bytes: one page, written in no time.
const BYTES_MAX: usize = 4096;

/// Longest smoothed write and sync the driver waits for: reads and other streams wait with it. A
/// local flash disk takes 0.1 ms, with others at work 1 ms; a disk over the network or with a
/// moving head more.
const SYNC_MAX: Duration = Duration::from_millis(2);

/// Part of each new time in the smoothed one.
const SMOOTHING: u32 = 16;

/// After a time above the bound, appends the disk thread gets before the driver tries again.
const PENANCE: u32 = 256;

/// The way to the disk.
pub(crate) struct DriverDisk {
    queue: Arc<DiskQueue>,
    log: Arc<dyn DirectLog>,
    /// Last append given to the disk thread, and last reported durable.
    ordered: u64,
    durable: u64,
    /// Smoothed time of the driver's own appends.
    took: Duration,
    /// Appends to go before the driver may write again.
    penance: u32,
}

impl DriverDisk {
    pub(crate) fn new(queue: Arc<DiskQueue>, log: Arc<dyn DirectLog>) -> Self {
        Self {
            queue,
            log,
            ordered: 0,
            durable: 0,
            took: Duration::ZERO,
            penance: 0,
        }
    }

    /// The disk thread has reported an append durable.
    pub(crate) const fn note_durable(&mut self, number: u64) {
        self.durable = number;
    }

    /// Gives the orders to the disk thread.
    pub(crate) fn order(&mut self, orders: impl IntoIterator<Item = Order>) {
        let ordered = &mut self.ordered;
        let penance = &mut self.penance;
        self.queue.order(orders.into_iter().inspect(|order| {
            if let Order::Append(append) = order {
                *ordered = append.number;
                *penance = penance.saturating_sub(1);
            }
        }));
    }

    /// Writes the append here and now if that is the better way; else it comes back.
    pub(crate) fn append_now(&mut self, append: Append) -> Result<Durable, Append> {
        let bytes: usize = append.entries.iter().map(|entry| entry.body.len()).sum();
        let small = append.entries.len() <= ENTRIES_MAX && bytes <= BYTES_MAX;
        let idle = self.ordered == self.durable;
        if !small || !idle || self.penance > 0 || !append.then.is_empty() {
            return Err(append);
        }
        let began = Instant::now();
        let durable = self.log.append_now(append)?;
        (self.ordered, self.durable) = (durable.number, durable.number);
        self.took = (self.took * (SMOOTHING - 1) + began.elapsed()) / SMOOTHING;
        if self.took > SYNC_MAX {
            self.penance = PENANCE;
            self.took = Duration::ZERO;
        }
        Ok(durable)
    }
}

#[cfg(test)]
mod tests;
