//! `wait=true`: answers when something changes, or goes on answering.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Response, StatusCode};
use store_machine::reply::Event;
use store_machine::revision::Revision;
use store_v2::{Code, Error, Params, Scope, told};
use store_watch::batch::{Batch, WatchId};
use store_watch::watcher::WatchSpec;
use tokio_util::sync::CancellationToken;

use super::{Guest, failed, now_ms, with_index};
use crate::api::Api;
use crate::body::Body;
use crate::handle::WatchStream;
use crate::http::{JSON, response};

/// One client that waits.
struct Waiting {
    scope: Scope,
    hub: WatchStream,
    closing: CancellationToken,
    api: Arc<Api>,
    /// It wants no more than one.
    once: bool,
    lines: VecDeque<Bytes>,
    ended: bool,
}

/// Answers at once with the head; what happens comes when it does.
pub(super) async fn serve(
    api: &Arc<Api>,
    guest: &Guest,
    params: &Params,
) -> Result<Response<Body>, Error> {
    let status = guest.handle(api).status().await.map_err(failed)?;
    let (revision, compacted) = (status.header.revision.0, status.body.compacted.0);
    let asked = i64::try_from(params.wait_index).unwrap_or(i64::MAX);
    if asked != 0 && asked < compacted {
        return Err(Error {
            code: Code::EventIndexCleared,
            cause: format!("the requested history has been cleared [{compacted}/{asked}]"),
            index: revision,
        });
    }
    let scope = Scope {
        path: params.path.clone(),
        recursive: params.recursive,
    };
    let hub = guest.handle(api).watch();
    hub.create(WatchSpec {
        keys: scope.keys(),
        start: Revision(if asked == 0 { revision + 1 } else { asked }),
        id: WatchId(0),
        no_put: false,
        no_delete: false,
        prev_kv: true,
        progress_notify: false,
        fragment: false,
    });
    let waiting = Waiting {
        scope,
        hub,
        closing: api.closing.clone(),
        api: Arc::clone(api),
        once: !params.stream,
        lines: VecDeque::new(),
        ended: false,
    };
    api.v2.watchers.fetch_add(1, Relaxed);
    let lines = stream::unfold(waiting, async |mut waiting| {
        let line = waiting.next().await?;
        Some((line, waiting))
    });
    let mut answer = response(StatusCode::OK, JSON, Body::Lines(lines.boxed()));
    with_index(api, &mut answer, revision);
    Ok(answer)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.api.v2.watchers.fetch_sub(1, Relaxed);
    }
}

impl Waiting {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                self.ended |= self.once;
                return Some(line);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                // Safe to cancel: it stays cancelled.
                () = self.closing.cancelled() => return None,
                // Safe to cancel: a batch is either still queued or returned.
                batch = self.hub.next() => self.take(batch?.1)?,
            }
        }
    }

    /// Nothing when there is nothing more to come.
    fn take(&mut self, batch: Batch) -> Option<()> {
        match batch {
            Batch::Events { events, .. } => {
                let events: Vec<&Event> = events.iter().map(|shared| &shared.event).collect();
                let mut answers = told(&self.scope, &events, now_ms());
                if self.once {
                    answers.truncate(1);
                }
                let lines = answers.iter().map(|answer| Bytes::from(answer.json()));
                self.lines.extend(lines);
                Some(())
            }
            Batch::Compacted { .. } | Batch::Refused { .. } | Batch::Canceled { .. } => None,
            Batch::Created { .. } | Batch::Progress { .. } => Some(()),
        }
    }
}
