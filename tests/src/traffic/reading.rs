//! Clients that only read: all along, and once more when all is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Error, WatchOptions};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use store_sim::recorded::{
    Body, Consistency, Event, KeyRange, RangeRequest, Revision, WatchId, WatchSpec,
};

use super::asker::{Asker, KEY_COUNT, PACE_MS, everything, prefix};
use super::{Clients, KEYS, Stop};
use crate::history::{History, wire};

/// Milliseconds a reader waits: shorter than an election takes.
const READER_PATIENCE_MS: std::ops::Range<u64> = 50..300;

/// 5 s: what is asked at the end is asked of members that serve.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// A client that only reads, always at one member, and never waits for long: whatever a member that is cut off or wakes
/// up answers first was asked a moment ago.
pub(super) struct Reader {
    member: usize,
    asker: Asker,
    chance: SmallRng,
}

impl Reader {
    pub(super) fn new(member: usize, clients: Clients, history: History) -> Self {
        Self {
            member,
            asker: Asker { clients, history },
            chance: SmallRng::seed_from_u64(member as u64),
        }
    }

    pub(super) async fn run(mut self, stop: Arc<Stop>) {
        while !stop.quiet() {
            let key = format!("{KEYS}{}", self.chance.random_range(0..KEY_COUNT));
            let range = RangeRequest::latest(KeyRange::single(Bytes::from(key)));
            let patience = Duration::from_millis(self.chance.random_range(READER_PATIENCE_MS));
            self.asker
                .range(self.member, patience, range, Consistency::Linearizable)
                .await;
            let pace = self.chance.random_range(PACE_MS);
            tokio::time::sleep(Duration::from_millis(pace)).await;
        }
    }
}

/// Looks at what is left when all is over.
pub(super) struct Look {
    asker: Asker,
}

impl Look {
    pub(super) fn new(clients: Clients, history: History) -> Self {
        Self {
            asker: Asker { clients, history },
        }
    }

    /// A read that is asked until it is answered.
    async fn read(
        &mut self,
        member: usize,
        keys: KeyRange,
        consistency: Consistency,
    ) -> (i64, usize) {
        loop {
            let range = RangeRequest::latest(keys.clone());
            let history = self.asker.history.clone();
            let told = self
                .asker
                .range(member, LAST_PATIENCE, range, consistency)
                .await;
            if let Some(Ok(Body::Range(reply))) = told {
                return (history.known(), reply.kvs.len());
            }
            super::breathe().await;
        }
    }

    /// Every lease that nobody keeps alive ends.
    pub(super) async fn until_leases_are_gone(&mut self, start: &str) {
        while self
            .read(0, prefix(start), Consistency::Linearizable)
            .await
            .1
            > 0
        {
            super::breathe().await;
        }
    }

    /// The revision all members have come to, by a linearizable read of each.
    pub(super) async fn last_revision(&mut self) -> i64 {
        let mut last = 0;
        for member in 0..self.asker.clients.members() {
            last = self
                .read(member, everything(), Consistency::Linearizable)
                .await
                .0;
        }
        last
    }

    /// What each member shows of all that has happened, and what it holds; the events of the first.
    pub(super) async fn everything(&mut self, last: i64) -> Result<Vec<Event>, String> {
        let mut log = None;
        for member in 0..self.asker.clients.members() {
            let events = self
                .log_of(member, last)
                .await
                .map_err(|cause| format!("member {member}: {cause}"))?;
            log.get_or_insert(events);
            self.read(member, everything(), Consistency::Serializable)
                .await;
        }
        Ok(log.unwrap_or_default())
    }

    async fn log_of(&mut self, member: usize, last: i64) -> Result<Vec<Event>, Error> {
        let history = self.asker.history.clone();
        let watcher = history.watch(WatchSpec {
            keys: everything(),
            start: Revision(1),
            id: WatchId(0),
            no_put: false,
            no_delete: false,
            prev_kv: true,
            progress_notify: false,
            fragment: false,
        });
        let mut client = self.asker.clients.of(member).await?;
        let options = WatchOptions::new()
            .with_all_keys()
            .with_start_revision(1)
            .with_prev_key();
        let mut stream = client.watch("", Some(options)).await?;
        let mut events: Vec<Event> = Vec::new();
        // An empty store is at revision 1.
        while events.last().map_or(1, |event| event.kv.mod_revision.0) < last {
            let Some(response) = stream.message().await? else {
                break;
            };
            history.show(watcher, wire::batch(&response, true));
            events.extend(response.events().iter().map(wire::event));
        }
        history.finish(watcher);
        Ok(events)
    }
}
