//! Clients that watch: each goes on where it was, at the next member, when its stream ends or has been silent for long.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Error, WatchOptions};
use store_sim::recorded::{Batch, KeyRange, RangeEnd, Revision, WatchId, WatchSpec};

use super::asker::{everything, prefix};
use super::{Clients, KEYS, Stop};
use crate::history::{History, wire};

/// 200 ms without a message, and progress is asked for.
const SILENCE: Duration = Duration::from_millis(200);

/// 3 s without a message although progress was asked for: the member is not there any more.
const SILENCES_MAX: u32 = 15;

/// 3 s: as [`SILENCES_MAX`], for the beginning of a stream.
const OPEN_WITHIN: Duration = Duration::from_secs(3);

pub(super) struct Watcher {
    /// Number in the record.
    number: usize,
    spec: WatchSpec,
    clients: Clients,
    history: History,
    member: usize,
    /// Everything below has been shown. `None` until the first stream says from where on.
    next: Option<i64>,
}

impl Watcher {
    /// Watchers differ by their number: everything from the beginning, competed keys from now on, one key.
    pub(super) fn new(number: usize, clients: Clients, history: History) -> Self {
        let (keys, start) = match number % 3 {
            0 => (everything(), 1),
            1 => (prefix(KEYS), 0),
            _ => (KeyRange::single(Bytes::from(format!("{KEYS}0"))), 1),
        };
        let spec = WatchSpec {
            keys,
            start: Revision(start),
            id: WatchId(0),
            no_put: false,
            no_delete: number % 3 == 2,
            prev_kv: number.is_multiple_of(2),
            progress_notify: true,
            fragment: false,
        };
        Self {
            number: history.watch(spec.clone()),
            spec,
            member: number % clients.members(),
            clients,
            history,
            next: (start > 0).then_some(start),
        }
    }

    pub(super) async fn run(mut self, stop: Arc<Stop>) {
        while !self.follow(&stop).await.unwrap_or(false) {
            self.clients.forget(self.member);
            self.member = (self.member + 1) % self.clients.members();
            super::breathe().await;
        }
        self.history.finish(self.number);
    }

    /// One stream; true = everything has been shown.
    async fn follow(&mut self, stop: &Stop) -> Result<bool, Error> {
        let mut client = self.clients.of(self.member).await?;
        let opening = client.watch(self.spec.keys.start.clone(), Some(self.options()));
        let Ok(opened) = tokio::time::timeout(OPEN_WITHIN, opening).await else {
            return Ok(false);
        };
        let (mut stream, mut silences) = (opened?, 0);
        while silences < SILENCES_MAX {
            // `message` may be dropped between messages: a half-read one stays in the stream.
            let Ok(message) = tokio::time::timeout(SILENCE, stream.message()).await else {
                silences += 1;
                stream.request_progress().await?;
                continue;
            };
            silences = 0;
            let Some(response) = message? else {
                return Ok(false);
            };
            let batch = wire::batch(&response, self.spec.prev_kv);
            self.note(&batch);
            let ended = matches!(batch, Batch::Canceled { .. } | Batch::Compacted { .. });
            self.history.show(self.number, batch);
            if ended {
                return Ok(false);
            }
            if stop.last().is_some_and(|last| self.next > Some(last)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn options(&self) -> WatchOptions {
        let mut options = WatchOptions::new()
            .with_start_revision(self.next.unwrap_or(0))
            .with_progress_notify();
        options = match &self.spec.keys.end {
            RangeEnd::Single => options,
            RangeEnd::Open => options.with_from_key(),
            RangeEnd::Before(end) => options.with_range(end.clone()),
        };
        if self.spec.prev_kv {
            options = options.with_prev_key();
        }
        if self.spec.no_delete {
            options = options.with_filters([etcd_client::WatchFilterType::NoDelete]);
        }
        options
    }

    fn note(&mut self, batch: &Batch) {
        match batch {
            Batch::Created { revision, .. } => {
                self.next.get_or_insert(revision.0 + 1);
            }
            Batch::Events { events, .. } => {
                let last = events
                    .last()
                    .map(|shared| shared.event.kv.mod_revision.0 + 1);
                self.next = self.next.max(last);
            }
            Batch::Progress { revision, .. } if self.next.is_some() => {
                self.next = self.next.max(Some(revision.0 + 1));
            }
            _ => {}
        }
    }
}
