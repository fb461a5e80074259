//! Memory that answers to large ranges may take, over all calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::grpc::errors::ApiError;

/// What the budget is counted in.
const UNIT_BYTES: u64 = 1 << 10;

/// How long a large range waits for others to be done. Longer, and its client gives up first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Memory that answers to large ranges may take together.
pub(crate) struct Budget {
    places: Arc<Semaphore>,
    units: u32,
}

/// What one answer has of it.
pub(crate) struct Part(OwnedSemaphorePermit);

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self {
            places: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// All of it.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.units) * UNIT_BYTES
    }

    /// A part of it; one that is larger than all is all.
    pub(crate) async fn take(&self, bytes: u64, patience: Duration) -> Result<Part, ApiError> {
        self.take_units(self.units(bytes), patience).await.map(Part)
    }

    /// Makes a part at least as large as `bytes`.
    pub(crate) async fn grow(
        &self,
        part: &mut Part,
        bytes: u64,
        patience: Duration,
    ) -> Result<(), ApiError> {
        let missing = (self.units(bytes) as usize).saturating_sub(part.0.num_permits());
        if let Ok(missing @ 1..) = u32::try_from(missing) {
            // Who waits holds something: two may wait for each other, until the first loses its patience.
            part.0.merge(self.take_units(missing, patience).await?);
        }
        Ok(())
    }

    /// Gives back what a part has beyond `bytes`.
    pub(super) fn shrink(&self, part: &mut Part, bytes: u64) {
        let left = part.0.num_permits();
        drop(
            part.0
                .split(left.saturating_sub(self.units(bytes) as usize)),
        );
    }

    fn units(&self, bytes: u64) -> u32 {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        units.min(self.units)
    }

    async fn take_units(
        &self,
        units: u32,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let part = Arc::clone(&self.places).acquire_many_owned(units);
        match tokio::time::timeout(patience, part).await {
            Ok(Ok(part)) => Ok(part),
            // The places are never closed.
            Ok(Err(_)) | Err(_) => Err(ApiError::TooManyRequests),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn who_waits_too_long_for_memory_is_refused() {
        let budget = Budget::new(1 << 20);
        let all = budget.take(u64::MAX, AT_ONCE).await.ok().unwrap();
        let refused = budget.take(UNIT_BYTES, AT_ONCE).await.err();
        assert_eq!(refused, Some(ApiError::TooManyRequests));
        drop(all);
        let half = budget.take(1 << 19, AT_ONCE).await.ok().unwrap();
        let other = budget.take(1 << 19, PATIENCE).await.ok().unwrap();
        drop((half, other));
    }

    #[tokio::test]
    async fn a_part_becomes_what_is_needed() {
        let budget = Budget::new(100 * UNIT_BYTES);
        let free = || budget.places.available_permits();
        let mut part = budget.take(10 * UNIT_BYTES, AT_ONCE).await.ok().unwrap();
        assert_eq!(free(), 90);
        for (bytes, left) in [(1, 90), (20 * UNIT_BYTES - 1, 80), (u64::MAX, 0), (1, 0)] {
            let grown = budget.grow(&mut part, bytes, AT_ONCE).await;
            assert_eq!((grown, free()), (Ok(()), left), "{bytes}");
        }
        budget.shrink(&mut part, 30 * UNIT_BYTES);
        assert_eq!(free(), 70);
        budget.shrink(&mut part, 31 * UNIT_BYTES);
        assert_eq!(free(), 70);
        let other = budget.take(70 * UNIT_BYTES, AT_ONCE).await.ok().unwrap();
        let refused = budget.grow(&mut part, 31 * UNIT_BYTES, AT_ONCE).await;
        assert_eq!(refused, Err(ApiError::TooManyRequests));
        drop((part, other));
        assert_eq!(free(), 100);
    }
}
