//! Forgets old versions by itself: by age or by count (`--auto-compaction-mode`).

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

/// Runs until the server closes.
pub(crate) async fn run(api: Arc<Api>, mode: AutoCompaction) {
    let (period, mut policy) = match mode {
        AutoCompaction::Off => return,
        AutoCompaction::Periodic(retention) => (retention / SAMPLES, Policy::Age(VecDeque::new())),
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
        let revision = Revision(i64::try_from(api.handle.counters().revision.get()).unwrap_or(0));
        if let Some(target) = policy.target(revision) {
            compact(&api, target).await;
        }
    }
}

/// What to forget.
enum Policy {
    /// What was overwritten before the oldest of these samples of the revision.
    Age(VecDeque<Revision>),
    /// All but so many revisions.
    Count(u64),
}

impl Policy {
    /// The revision to compact at, now that the store is at `revision`.
    fn target(&mut self, revision: Revision) -> Option<Revision> {
        match self {
            Self::Age(samples) => {
                samples.push_back(revision);
                if samples.len() <= SAMPLES as usize {
                    return None;
                }
                samples.pop_front()
            }
            Self::Count(kept) => {
                let target = revision.0.checked_sub_unsigned(*kept)?;
                (target > 0).then_some(Revision(target))
            }
        }
    }
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
            assert_eq!(policy.target(Revision(100 + tick)), None);
        }
        assert_eq!(policy.target(Revision(110)), Some(Revision(100)));
        assert_eq!(policy.target(Revision(200)), Some(Revision(101)));
    }

    #[test]
    fn by_count_the_newest_are_kept() {
        let mut policy = Policy::Count(10);
        for (revision, wanted) in [(1, None), (10, None), (11, Some(1)), (500, Some(490))] {
            assert_eq!(policy.target(Revision(revision)), wanted.map(Revision));
        }
        assert_eq!(Policy::Count(u64::MAX).target(Revision(5)), None);
    }
}
