//! Large ranges: read a piece at a time, so that others get their turn in between; written a piece at a time, so that
//! the answer is nowhere in memory as a whole; and bounded over all calls.
//!
//! The pieces are of one revision, that of the first. What is in memory meanwhile are the pairs, whose keys and values
//! are the store's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::message;
use store_machine::reply::{KeyValue, RangeReply};
use store_machine::request::{RangeEnd, RangeRequest, SortOrder, SortTarget};
use store_proto::etcdserverpb as pb;
use store_proto::mvccpb;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::errors::{ApiError, status};
use super::range_stream::after;
use super::unary::PREFIX_BYTES;
use super::{kv, translate};
use crate::call::Call;
use crate::handle::{Answer, Consistency};

/// Pairs that are read in one turn of the driver: about a millisecond.
const PIECE_PAIRS: u64 = 4_096;

/// Answers above this are written in pieces: what fits the window of a stream goes out at once anyway.
const LARGE_BYTES: usize = 1 << 20;

/// Bytes of a piece that is written: tonic's size of a frame, doubled.
const FRAME_BYTES: usize = 64 << 10;

/// What a pair costs beside its key and value: its place in the answer, and in the list it is made from.
const PAIR_BYTES: u64 = 256;

/// What the budget is counted in.
const UNIT_BYTES: u64 = 1 << 10;

/// How long a large range waits for others to be done. Longer, and its client gives up first.
const PATIENCE: Duration = Duration::from_secs(3);

/// Largest message that is sent: etcd's bound.
const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// Field of the pairs in `RangeResponse`.
const KVS: u32 = 2;

/// Memory that answers to large ranges may take together.
pub(crate) struct Budget {
    places: Arc<Semaphore>,
    units: u32,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self {
            places: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// A part of it; one that is larger than all is all.
    async fn take(&self, bytes: u64, patience: Duration) -> Result<OwnedSemaphorePermit, ApiError> {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        let part = Arc::clone(&self.places).acquire_many_owned(units.min(self.units));
        let part = tokio::time::timeout(patience, part).await;
        match part {
            Ok(Ok(part)) => Ok(part),
            // The places are never closed.
            Ok(Err(_)) | Err(_) => Err(ApiError::TooManyRequests),
        }
    }
}

/// An answer, and its part of the budget.
pub(crate) struct Ranged {
    pub(crate) response: pb::RangeResponse,
    part: Option<OwnedSemaphorePermit>,
}

/// Reads a range.
pub(crate) async fn range(call: Call, request: pb::RangeRequest) -> Result<Ranged, Status> {
    let consistency = kv::range_consistency(&call, request.serializable)?;
    let request = translate::range_request(request)?;
    let whole = if comes_in_pieces(&request) {
        let first = RangeRequest {
            limit: PIECE_PAIRS,
            ..request.clone()
        };
        let first = call.handle().range(first, consistency).await;
        let first = first.map_err(status)?;
        if first.body.more {
            // In a box: few ranges come here, and all would be larger.
            return Box::pin(rest(call, request, consistency, first)).await;
        }
        first
    } else {
        let whole = call.handle().range(request, consistency).await;
        whole.map_err(status)?
    };
    Ok(ranged(whole, None))
}

fn ranged(answer: Answer<RangeReply>, part: Option<OwnedSemaphorePermit>) -> Ranged {
    let header = translate::header(answer.header);
    Ranged {
        response: translate::range_response(header, answer.body),
        part,
    }
}

/// Whether pairs come in the order in which they lie, and may be many.
fn comes_in_pieces(request: &RangeRequest) -> bool {
    let filters = [
        request.mod_revision_min,
        request.mod_revision_max,
        request.create_revision_min,
        request.create_revision_max,
    ];
    request.keys.end != RangeEnd::Single
        && (request.limit == 0 || request.limit > PIECE_PAIRS)
        && !request.count_only
        && request.sort_target == SortTarget::Key
        && request.sort_order != SortOrder::Descend
        && filters == [0; 4]
}

/// Reads on behind the first piece.
async fn rest(
    call: Call,
    request: RangeRequest,
    consistency: Consistency,
    first: Answer<RangeReply>,
) -> Result<Ranged, Status> {
    let bytes = estimate(&request, &first.body);
    let part = call.ranges.take(bytes, PATIENCE).await?;
    let mut whole = first;
    let mut next = request.clone();
    next.uncounted = true;
    if next.revision.0 <= 0 {
        next.revision = whole.header.revision;
    }
    while whole.body.more {
        let read = whole.body.kvs.len() as u64;
        let left = request.limit.saturating_sub(read);
        if request.limit > 0 && left == 0 {
            break;
        }
        let Some(last) = whole.body.kvs.last() else {
            break;
        };
        next.keys = after(&last.key, &next.keys);
        next.limit = if request.limit > 0 {
            left.min(PIECE_PAIRS)
        } else {
            PIECE_PAIRS
        };
        // That revision is here; asking the cluster again would not make it newer.
        let piece = call.handle().range(next.clone(), Consistency::Serializable);
        match piece.await.map_err(ApiError::from) {
            Ok(piece) => {
                whole.body.kvs.extend(piece.body.kvs);
                whole.body.more = piece.body.more;
            }
            // Somebody compacted meanwhile. Who asked for the latest gets it, in one piece.
            Err(ApiError::Compacted) if request.revision.0 <= 0 => {
                let again = call.handle().range(request, consistency).await;
                return Ok(ranged(again.map_err(status)?, Some(part)));
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok(ranged(whole, Some(part)))
}

/// Bytes the answer will take, by what its first piece takes.
fn estimate(request: &RangeRequest, first: &RangeReply) -> u64 {
    let bytes = |kv: &KeyValue| (kv.key.len() + kv.value.len()) as u64 + PAIR_BYTES;
    let read: u64 = first.kvs.iter().map(bytes).sum();
    let pairs = match request.limit {
        0 => first.count,
        limit => limit.min(first.count),
    };
    let of_first = (first.kvs.len() as u64).max(1);
    (read / of_first).saturating_mul(pairs)
}

/// A large answer on its way out.
pub(crate) struct Writing {
    /// What goes before the pairs: the prefix of the message and the header.
    head: Bytes,
    kvs: std::vec::IntoIter<mvccpb::KeyValue>,
    /// What comes behind them: whether there are more, and the count.
    tail: Bytes,
    /// Held until all has been written.
    _part: Option<OwnedSemaphorePermit>,
}

/// How an answer is written.
pub(crate) enum Written {
    /// At once.
    Whole(pb::RangeResponse),
    /// In pieces; with the bytes there are of them.
    Pieces(Box<Writing>, usize),
}

impl Ranged {
    /// Sets out to write it.
    ///
    /// # Errors
    /// What no client could take, in the words of etcd's gRPC.
    pub(crate) fn written(self) -> Result<Written, Status> {
        let bytes = self.response.encoded_len();
        if bytes <= LARGE_BYTES {
            return Ok(Written::Whole(self.response));
        }
        let prefix = u32::try_from(bytes)
            .ok()
            .filter(|_| bytes <= MESSAGE_BYTES_MAX);
        let Some(prefix) = prefix else {
            return Err(Status::resource_exhausted(format!(
                "grpc: trying to send message larger than max ({bytes} vs. {MESSAGE_BYTES_MAX})"
            )));
        };
        let pb::RangeResponse {
            header,
            kvs,
            more,
            count,
        } = self.response;
        let mut head = BytesMut::new();
        head.put_u8(0);
        head.put_u32(prefix);
        let only = |header, more, count| pb::RangeResponse {
            header,
            kvs: Vec::new(),
            more,
            count,
        };
        only(header, false, 0).encode_raw(&mut head);
        let writing = Writing {
            head: head.freeze(),
            kvs: kvs.into_iter(),
            tail: only(None, more, count).encode_to_vec().into(),
            _part: self.part,
        };
        Ok(Written::Pieces(Box::new(writing), PREFIX_BYTES + bytes))
    }
}

impl Writing {
    /// The next piece; `None` after the last.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::from(std::mem::take(&mut self.head));
        while out.len() < FRAME_BYTES {
            let Some(kv) = self.kvs.next() else {
                out.extend_from_slice(&std::mem::take(&mut self.tail));
                break;
            };
            message::encode(KVS, &kv, &mut out);
        }
        (!out.is_empty()).then(|| out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use store_machine::revision::Revision;

    use super::*;

    #[test]
    fn pieces_are_the_message() {
        for (pairs, bytes) in [(1, 2 << 20), (5_000, 300), (20_000, 60)] {
            let kvs = (0..pairs).map(|at| mvccpb::KeyValue {
                key: Bytes::from(format!("k{at}")),
                value: vec![b'v'; bytes].into(),
                mod_revision: at,
                ..Default::default()
            });
            let response = pb::RangeResponse {
                header: Some(pb::ResponseHeader {
                    revision: 7,
                    ..Default::default()
                }),
                kvs: kvs.collect(),
                more: true,
                count: pairs + 1,
            };
            let whole = response.encode_to_vec();
            let ranged = Ranged {
                response,
                part: None,
            };
            let Written::Pieces(mut writing, length) = ranged.written().unwrap() else {
                panic!("{pairs} of {bytes} are large");
            };
            let mut joined = Vec::new();
            let mut pieces = 0;
            while let Some(piece) = writing.next() {
                assert!(piece.len() <= FRAME_BYTES + bytes + 64);
                joined.extend_from_slice(&piece);
                pieces += 1;
            }
            assert_eq!(joined.len(), length);
            assert_eq!(
                joined[1..5],
                u32::try_from(whole.len()).unwrap().to_be_bytes()
            );
            assert!(joined[5..] == whole, "{pairs} of {bytes}");
            assert!(pairs == 1 || pieces > 10);
        }
        let small = Ranged {
            response: pb::RangeResponse::default(),
            part: None,
        };
        assert!(matches!(small.written().unwrap(), Written::Whole(_)));
    }

    #[test]
    fn an_answer_is_estimated_by_its_first_piece() {
        let kv = |bytes: usize| KeyValue {
            key: Bytes::from_static(b"k"),
            value: vec![0; bytes - 1].into(),
            mod_revision: Revision(2),
            ..Default::default()
        };
        let first = RangeReply {
            kvs: vec![kv(100), kv(300)],
            more: true,
            count: 1_000,
        };
        let all = RangeRequest::latest(translate::key_range(
            Bytes::from_static(b"a"),
            Bytes::from_static(b"\0"),
        ));
        assert_eq!(estimate(&all, &first), (200 + PAIR_BYTES) * 1_000);
        let some = RangeRequest { limit: 10, ..all };
        assert_eq!(estimate(&some, &first), (200 + PAIR_BYTES) * 10);
    }

    #[tokio::test]
    async fn who_waits_too_long_for_memory_is_refused() {
        let budget = Budget::new(1 << 20);
        let at_once = Duration::ZERO;
        let all = budget.take(u64::MAX, at_once).await.unwrap();
        assert_eq!(
            budget.take(UNIT_BYTES, at_once).await.unwrap_err(),
            ApiError::TooManyRequests
        );
        drop(all);
        let half = budget.take(1 << 19, at_once).await.unwrap();
        let other = budget.take(1 << 19, PATIENCE).await.unwrap();
        drop((half, other));
    }
}
