//! Watch streams: what clients ask becomes orders to the hub, batches become answers.
//!
//! Runs inside the task that writes the HTTP/2 stream: a client that does not read is not polled, its
//! batches stay with the hub, and nothing piles up here. Which of the two directions is next is in `exchange.rs`, how events
//! become bytes in `codec.rs`.

pub(crate) mod codec;
mod exchange;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use store_machine::auth::Need;
use store_machine::revision::Revision;
use store_proto::etcdserverpb as pb;
use store_watch::batch::{Batch, CreateRefusal, SharedEvent, WatchId};
use store_watch::watcher::WatchSpec;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use self::codec::{WatchAnswer, encoded};
use self::exchange::{Exchange, Step};
use super::errors::{ApiError, watch_reason};
use super::stream::Messages;
use super::translate;
use crate::call::Call;
use crate::handle::Header;

/// One client's stream.
struct Watching {
    call: Call,
    exchange: Exchange,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Pieces of a batch that was split; empty most of the time.
    pieces: VecDeque<WatchAnswer>,
    /// The status that ends the stream has been given.
    ended: bool,
}

/// Serves one stream until the client leaves or the member goes down.
pub(crate) async fn watch(
    call: Call,
    requests: Messages<pb::WatchRequest>,
) -> impl Stream<Item = Result<WatchAnswer, Status>> + Send {
    let watching = Watching {
        exchange: Exchange::new(call.handle(), requests),
        closing: Box::pin(call.closing.clone().cancelled_owned()),
        call,
        pieces: VecDeque::new(),
        ended: false,
    };
    futures::stream::unfold(watching, async |mut watching| {
        let answer = watching.next().await?;
        Some((answer, watching))
    })
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchAnswer, Status>> {
        while !self.ended {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(Ok(piece));
            }
            tokio::select! {
                biased;
                // Safe to cancel: it stays cancelled.
                () = &mut self.closing => return self.end(ApiError::Stopped.into()),
                // Safe to cancel: see there.
                step = self.exchange.next() => match step {
                    Step::Request(request) => self.take(request).await,
                    Step::Batch(header, batch) => self.split(header, batch),
                    Step::Failed(status) => return self.end(status),
                    Step::Stopped => return self.end(ApiError::Stopped.into()),
                },
            }
        }
        None
    }

    fn end(&mut self, status: Status) -> Option<Result<WatchAnswer, Status>> {
        self.ended = true;
        Some(Err(status))
    }

    async fn take(&mut self, request: pb::WatchRequest) {
        use pb::watch_request::RequestUnion;
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(spec(create)).await,
            Some(RequestUnion::CancelRequest(cancel)) => {
                self.exchange.cancel(WatchId(cancel.watch_id));
            }
            Some(RequestUnion::ProgressRequest(_)) => self.exchange.progress(),
            // A request of a later version: ignored, as in etcd.
            None => {}
        }
    }

    /// Asks for a watcher, if whoever opened the stream may read all it would be shown.
    async fn create(&mut self, spec: WatchSpec) {
        let refused = match self.call.message().await {
            Ok(call) => call
                .require(&Need::Read(&spec.keys.start, &spec.keys.end))
                .err(),
            Err(refused) => Some(refused),
        };
        let Some(refused) = refused else {
            self.exchange.create(spec);
            return;
        };
        let Ok(status) = self.call.handle.status().await else {
            // The member goes down; the stream is told in its next turn.
            return;
        };
        self.pieces.push_back(WatchAnswer {
            head: pb::WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: refused.go_text(),
                ..head(status.header, WatchId::NONE, status.header.revision)
            },
            events: Vec::new(),
            prev_kv: false,
        });
    }

    fn split(&mut self, header: Header, batch: Batch) {
        match batch {
            Batch::Events {
                id,
                revision,
                events,
                prev_kv,
                fragment: true,
            } => {
                let head = head(header, id, revision);
                let bytes_max = self.call.limits.receive_bytes_max;
                self.pieces
                    .extend(fragments(&head, events, prev_kv, bytes_max));
            }
            batch => self.pieces.push_back(answer(header, batch)),
        }
    }
}

/// What the client wants, in the hub's words.
fn spec(create: pb::WatchCreateRequest) -> WatchSpec {
    use pb::watch_create_request::FilterType;
    let filters = |wanted: FilterType| create.filters.contains(&wanted.into());
    let no_put = filters(FilterType::Noput);
    let no_delete = filters(FilterType::Nodelete);
    let start = if create.key.is_empty() {
        Bytes::from_static(&[0])
    } else {
        create.key
    };
    WatchSpec {
        keys: translate::key_range(start, create.range_end),
        start: Revision(create.start_revision),
        id: WatchId(create.watch_id),
        no_put,
        no_delete,
        prev_kv: create.prev_kv,
        progress_notify: create.progress_notify,
        fragment: create.fragment,
    }
}

/// An answer without events, under the revision the hub gave it.
fn head(header: Header, id: WatchId, revision: Revision) -> pb::WatchResponse {
    pb::WatchResponse {
        header: Some(translate::header(Header { revision, ..header })),
        watch_id: id.0,
        ..Default::default()
    }
}

fn answer(header: Header, batch: Batch) -> WatchAnswer {
    let none = |head| WatchAnswer {
        head,
        events: Vec::new(),
        prev_kv: false,
    };
    match batch {
        Batch::Created { id, revision } => none(pb::WatchResponse {
            created: true,
            ..head(header, id, revision)
        }),
        Batch::Refused { reason, revision } => none(pb::WatchResponse {
            created: true,
            canceled: true,
            cancel_reason: match reason {
                CreateRefusal::EmptyRange => watch_reason::EMPTY_RANGE,
                CreateRefusal::Compacted => watch_reason::COMPACTED,
                CreateRefusal::DuplicateId => watch_reason::DUPLICATE_ID,
            }
            .to_owned(),
            ..head(header, WatchId::NONE, revision)
        }),
        Batch::Canceled { id, revision } => none(pb::WatchResponse {
            canceled: true,
            ..head(header, id, revision)
        }),
        // etcd leaves the revision of this header at zero and gives no reason.
        Batch::Compacted { id, compacted } => none(pb::WatchResponse {
            canceled: true,
            compact_revision: compacted.0,
            ..head(header, id, Revision(0))
        }),
        Batch::Progress { id, revision } => none(head(header, id, revision)),
        Batch::Events {
            id,
            revision,
            events,
            prev_kv,
            ..
        } => WatchAnswer {
            head: head(header, id, revision),
            events,
            prev_kv,
        },
    }
}

/// Splits events over answers of less than `bytes_max`, one event at least in each; all but the last
/// say that more follows.
fn fragments(
    head: &pb::WatchResponse,
    events: Vec<Arc<SharedEvent>>,
    prev_kv: bool,
    bytes_max: usize,
) -> VecDeque<WatchAnswer> {
    // Longest form of the head: it only gains the `fragment` flag.
    let head_bytes = prost::Message::encoded_len(head) + 2;
    let piece = |events| WatchAnswer {
        head: head.clone(),
        events,
        prev_kv,
    };
    let mut pieces = VecDeque::new();
    let mut current = Vec::new();
    let mut bytes = head_bytes;
    for event in events {
        let event_bytes = encoded(&event, prev_kv).len();
        if !current.is_empty() && bytes + event_bytes >= bytes_max {
            pieces.push_back(piece(std::mem::take(&mut current)));
            bytes = head_bytes;
        }
        bytes += event_bytes;
        current.push(event);
    }
    for piece in &mut pieces {
        piece.head.fragment = true;
    }
    pieces.push_back(piece(current));
    pieces
}

#[cfg(test)]
mod tests;
