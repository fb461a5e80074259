//! [pure] What makes two watchers one upstream: the range, and whether the pair before each change is shown.

use bytes::Bytes;
use store_proto::etcdserverpb::WatchCreateRequest;

/// A range of keys as a watcher names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    key: Bytes,
    end: Bytes,
    prev_kv: bool,
}

impl Range {
    pub(super) fn of(create: &WatchCreateRequest) -> Self {
        Self {
            key: create.key.clone(),
            end: create.range_end.clone(),
            prev_kv: create.prev_kv,
        }
    }

    /// The request for a feed. Without filters, because those of its watchers differ; with progress, because it tells how
    /// far a quiet feed is; whole revisions, because a piece says nothing of how far it is.
    pub(super) fn create(&self, id: i64, start_revision: i64) -> WatchCreateRequest {
        WatchCreateRequest {
            key: self.key.clone(),
            range_end: self.end.clone(),
            start_revision,
            progress_notify: true,
            prev_kv: self.prev_kv,
            watch_id: id,
            ..WatchCreateRequest::default()
        }
    }
}
