//! Forgets old versions by itself: by age or by count (`--auto-compaction-mode`), and when nothing is said by age and
//! by the room there is, so that history alone never fills the quota.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use store_machine::auth::Actor;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::revision::Revision;
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::Api;
use crate::config::AutoCompaction;
use crate::handle::Failure;

/// Between two compactions by count: etcd's five minutes.
const REVISIONS_PERIOD: Duration = Duration::from_mins(5);

/// Samples of the revision per retention period: a version is kept at most a tenth longer than asked.
const SAMPLES: u32 = 10;

/// Shortest time between two samples, whatever the retention: a compaction is an entry in the log.
const SAMPLE_MIN: Duration = Duration::from_millis(100);

/// Between two samples when nothing is said: the history that is always left, so that a watcher can come back after
/// a short absence.
const BOUNDED_PERIOD: Duration = Duration::from_mins(1);

/// Those samples that are kept: an hour.
const BOUNDED_SAMPLES: usize = 60;

/// Runs until the server closes.
pub(crate) async fn run(api: Arc<Api>, mode: AutoCompaction, quota_bytes: u64) {
    let (period, mut policy) = match mode {
        AutoCompaction::Off => return,
        AutoCompaction::Bounded => (BOUNDED_PERIOD, Policy::Room(VecDeque::new())),
        AutoCompaction::Periodic(retention) => {
            let period = (retention / SAMPLES).max(SAMPLE_MIN);
            (period, Policy::Age(VecDeque::new()))
        }
        AutoCompaction::Revisions(kept) => (REVISIONS_PERIOD, Policy::Count(kept)),
    };
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            // Safe to cancel: it stays cancelled.
            () = api.closing.cancelled() => return,
            // Safe to cancel: a tick not returned is returned next time.
            _ = ticks.tick() => {}
        }
        let counters = api.handle.counters();
        let revision = Revision(i64::try_from(counters.revision.get()).unwrap_or(0));
        let crowded = counters.size_bytes.get() > quota_bytes / 2;
        let target = policy.target(revision, crowded);
        // One member is enough; the others only note what there is.
        let compacted = counters.compacted_revision.get();
        let target = target.filter(|target| target.0.cast_unsigned() > compacted);
        if let Some(target) = target.filter(|_| counters.leader.get() == api.handle.member_id()) {
            compact(&api, target).await;
        }
    }
}

/// What to forget.
enum Policy {
    /// What was overwritten before the oldest of these samples of the revision.
    Age(VecDeque<Revision>),
    /// The same over an hour; all but the last minute while there is little room.
    Room(VecDeque<Revision>),
    /// All but so many revisions.
    Count(u64),
}

impl Policy {
    /// The revision to compact at, now that the store is at `revision` and takes much of its room or not.
    fn target(&mut self, revision: Revision, crowded: bool) -> Option<Revision> {
        match self {
            Self::Age(samples) => oldest(samples, revision, SAMPLES as usize),
            Self::Room(samples) => {
                let kept = if crowded { 1 } else { BOUNDED_SAMPLES };
                oldest(samples, revision, kept)
            }
            Self::Count(kept) => {
                let target = revision.0.checked_sub_unsigned(*kept)?;
                (target > 0).then_some(Revision(target))
            }
        }
    }
}

/// Notes a sample, and gives out the youngest of those that are more than are kept.
fn oldest(samples: &mut VecDeque<Revision>, now: Revision, kept: usize) -> Option<Revision> {
    samples.push_back(now);
    let more = samples.len().saturating_sub(kept);
    samples.drain(..more).next_back()
}

async fn compact(api: &Api, revision: Revision) {
    let command = Command::Compact { revision }.by(Some(Actor::Store));
    match api.handle.propose(command).await {
        Ok(_) => tracing::info!(%revision, "forgot versions overwritten at or below this revision"),
        // Nothing was written since the last time, or a person was faster.
        Err(Failure::Refused(Refusal::Compacted)) => {}
        Err(failure) => {
            tracing::warn!(%revision, ?failure, "failed to forget old versions; tried again later");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_age_the_oldest_sample_decides() {
        let mut policy = Policy::Age(VecDeque::new());
        for tick in 0..10 {
            assert_eq!(policy.target(Revision(100 + tick), true), None);
        }
        assert_eq!(policy.target(Revision(110), true), Some(Revision(100)));
        assert_eq!(policy.target(Revision(200), true), Some(Revision(101)));
    }

    #[test]
    fn unsaid_it_is_an_hour_or_what_there_is_room_for() {
        let mut policy = Policy::Room(VecDeque::new());
        for minute in 0..60 {
            assert_eq!(policy.target(Revision(100 + minute), false), None);
        }
        assert_eq!(policy.target(Revision(160), false), Some(Revision(100)));
        assert_eq!(policy.target(Revision(161), true), Some(Revision(160)));
        assert_eq!(policy.target(Revision(162), true), Some(Revision(161)));
        assert_eq!(policy.target(Revision(163), false), None);
        let mut young = Policy::Room(VecDeque::new());
        assert_eq!(
            young.target(Revision(5), true),
            None,
            "a minute is always left"
        );
    }

    #[test]
    fn by_count_the_newest_are_kept() {
        let mut policy = Policy::Count(10);
        for (revision, wanted) in [(1, None), (10, None), (11, Some(1)), (500, Some(490))] {
            assert_eq!(
                policy.target(Revision(revision), false),
                wanted.map(Revision)
            );
        }
        assert_eq!(Policy::Count(u64::MAX).target(Revision(5), true), None);
    }
}
