//! Large ranges: read a piece at a time, so that others get their turn in between; written a piece at a time, so that
//! the answer is nowhere in memory as a whole; and bounded over all calls.
//!
//! The pieces are of one revision, that of the first, and in the order in which keys lie. What is asked for in another
//! order, or by revisions, is chosen and sorted here. What is in memory meanwhile are the pairs, whose keys and values
//! are the store's own. `budget.rs` says how many, `writing.rs` is their way out. `weighed.rs` is what comes in one piece.

mod budget;
mod weighed;
mod writing;

use bytes::Bytes;
use prost::Message as _;
use store_machine::reply::{KeyValue, RangeReply};
use store_machine::request::{RangeEnd, RangeRequest, SortTarget, TxnOp, TxnRequest};
use store_proto::etcdserverpb as pb;
use tonic::Status;

pub(crate) use self::budget::{Budget, PATIENCE, Part};
pub(crate) use self::weighed::{Weighed, admit, held};
pub(crate) use self::writing::{Writing, Written};
use super::errors::{ApiError, status};
use super::range_stream::after;
use super::{kv, translate};
use crate::call::Call;
use crate::handle::{Answer, Consistency};

/// Pairs that are read in one turn of the driver: about a millisecond.
const PIECE_PAIRS: usize = 4_096;

/// Answers above this are written in pieces: what fits the window of a stream goes out at once anyway.
pub(crate) const LARGE_BYTES: usize = 1 << 20;

/// Bytes of a piece that is written: tonic's size of a frame, doubled.
pub(crate) const FRAME_BYTES: usize = 64 << 10;

/// Largest message that is sent: etcd's bound.
const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// Pairs that are sorted where the call is served: some two milliseconds. More have a thread that may block.
const SORTED_HERE_MAX: usize = 2 * PIECE_PAIRS;

/// Times a range is begun anew because a compaction has overtaken it, before it is read in one go.
const OVERTAKEN_MAX: usize = 4;

/// The bytes of a message, if they may be sent.
fn sendable(bytes: usize) -> Result<usize, Status> {
    if bytes > MESSAGE_BYTES_MAX {
        return Err(Status::resource_exhausted(format!(
            "grpc: trying to send message larger than max ({bytes} vs. {MESSAGE_BYTES_MAX})"
        )));
    }
    Ok(bytes)
}

/// An answer, and its part of the budget.
pub(crate) struct Ranged {
    pub(crate) response: pb::RangeResponse,
    part: Option<Part>,
}

impl Ranged {
    /// Bytes of the message.
    ///
    /// # Errors
    /// What no client could take, in the words of etcd's gRPC.
    pub(crate) fn bytes(&self) -> Result<usize, Status> {
        sendable(self.response.encoded_len())
    }

    /// Whether one with so many bytes is to be written in pieces.
    pub(crate) const fn is_large(bytes: usize) -> bool {
        bytes > LARGE_BYTES
    }

    /// One that takes nothing of the budget.
    #[cfg(test)]
    pub(crate) const fn free(response: pb::RangeResponse) -> Self {
        Self {
            response,
            part: None,
        }
    }

    /// The answer, and what is to be held until it is written.
    pub(crate) fn into_parts(self) -> (pb::RangeResponse, Option<Part>) {
        (self.response, self.part)
    }
}

/// Reads a range.
pub(crate) async fn range(call: Call, request: pb::RangeRequest) -> Result<Ranged, Status> {
    let consistency = kv::range_consistency(&call, request.serializable)?;
    let request = translate::range_request(request)?;
    if !comes_in_pieces(&request) {
        let whole = call.handle().range(request, consistency).await;
        return Ok(ranged(whole.map_err(status)?, None));
    }
    for _ in 0..OVERTAKEN_MAX {
        let first = piece(&request, PIECE_PAIRS);
        let first = call.handle().range(first, consistency).await;
        let mut first = first.map_err(status)?;
        if !first.body.more {
            first.body.more = request.finish(&mut first.body.kvs);
            return Ok(ranged(first, None));
        }
        // In a box: few ranges come here, and all would be larger.
        match Box::pin(rest(&call, &request, first)).await {
            // Somebody compacted meanwhile. Who asked for the latest gets what is that now.
            Err(Unread::Overtaken) => {}
            Err(Unread::Refused(refused)) => return Err(refused),
            Ok(ranged) => return Ok(ranged),
        }
    }
    Box::pin(in_one_go(call, request, consistency)).await
}

/// Why a range has not been read to its end.
enum Unread {
    /// What was the latest when it was begun is compacted now.
    Overtaken,
    Refused(Status),
}

impl From<Status> for Unread {
    fn from(refused: Status) -> Self {
        Self::Refused(refused)
    }
}

impl From<ApiError> for Unread {
    fn from(refused: ApiError) -> Self {
        Self::Refused(refused.into())
    }
}

/// Reads a range in one turn of the driver, for whom compactions overtake again and again; what that takes is known
/// before.
async fn in_one_go(
    call: Call,
    request: RangeRequest,
    consistency: Consistency,
) -> Result<Ranged, Status> {
    let txn = TxnRequest {
        success: vec![TxnOp::Range(request.clone())],
        ..TxnRequest::default()
    };
    let weight = call.handle().weigh(txn, u64::MAX).await.map_err(status)?;
    let part = call.ranges.take(weight, PATIENCE).await?;
    let whole = call.handle().range(request, consistency).await;
    Ok(ranged(whole.map_err(status)?, Some(part)))
}

fn ranged(answer: Answer<RangeReply>, part: Option<Part>) -> Ranged {
    let header = translate::header(answer.header);
    Ranged {
        response: translate::range_response(header, answer.body),
        part,
    }
}

/// Whether many pairs may have to be looked at.
fn comes_in_pieces(request: &RangeRequest) -> bool {
    let past = request.revision.0 > 0;
    request.keys.end != RangeEnd::Single && request.walk_limit(past) > PIECE_PAIRS + 1
}

/// So many pairs from the begin of the range on, as they lie.
fn piece(request: &RangeRequest, pairs: usize) -> RangeRequest {
    RangeRequest {
        limit: pairs as u64,
        revision: request.revision,
        keys_only: request.keys_only && request.sort_target != SortTarget::Value,
        ..RangeRequest::latest(request.keys.clone())
    }
}

/// Reads on behind the first piece.
async fn rest(
    call: &Call,
    request: &RangeRequest,
    first: Answer<RangeReply>,
) -> Result<Ranged, Unread> {
    let bytes = estimate(request, &first.body);
    let mut part = call.ranges.take(bytes, PATIENCE).await?;
    let RangeReply {
        kvs,
        mut more,
        count,
    } = first.body;
    let mut next = piece(request, PIECE_PAIRS);
    next.uncounted = true;
    if next.revision.0 <= 0 {
        next.revision = first.header.revision;
    }
    let wanted = request.walk_limit(true);
    let mut read = kvs.len();
    let mut last = kvs.last().map(|kv| kv.key.clone());
    let mut chosen = Chosen::new(request.clone());
    chosen.add(kvs);
    while let Some(key) = last.filter(|_| more && read < wanted && !chosen.is_full()) {
        next.keys = after(&key, &next.keys);
        next.limit = (wanted - read).min(PIECE_PAIRS) as u64;
        // That revision is here; asking the cluster again would not make it newer.
        let piece = call.handle().range(next.clone(), Consistency::Serializable);
        match piece.await.map_err(ApiError::from) {
            Ok(piece) => {
                more = piece.body.more;
                read += piece.body.kvs.len();
                last = piece.body.kvs.last().map(|kv| kv.key.clone());
                chosen.add(piece.body.kvs);
            }
            Err(ApiError::Compacted) if request.revision.0 <= 0 => return Err(Unread::Overtaken),
            Err(refused) => return Err(refused.into()),
        }
        if chosen.kvs.len() > chosen.kept_max() {
            chosen = chosen.cut().await?;
        }
        // Those behind may be larger than the first.
        let grown = call.ranges.grow(&mut part, chosen.bytes, PATIENCE);
        grown.await?;
    }
    let chosen = chosen.cut().await?;
    call.ranges.shrink(&mut part, chosen.bytes);
    let (kvs, more) = chosen.finish();
    let whole = Answer {
        header: first.header,
        body: RangeReply { kvs, more, count },
    };
    Ok(ranged(whole, Some(part)))
}

/// The pairs for the answer among those read so far.
struct Chosen {
    request: RangeRequest,
    kvs: Vec<KeyValue>,
    /// What they take in memory.
    bytes: u64,
    /// The limit has cut some.
    more: bool,
}

impl Chosen {
    const fn new(request: RangeRequest) -> Self {
        Self {
            request,
            kvs: Vec::new(),
            bytes: 0,
            more: false,
        }
    }

    /// Adds what was read behind all before.
    fn add(&mut self, mut kvs: Vec<KeyValue>) {
        if self.request.filters() {
            kvs.retain(|kv| self.request.passes(kv));
        }
        self.bytes += kvs.iter().map(KeyValue::weight).sum::<u64>();
        if self.kvs.is_empty() {
            self.kvs = kvs;
        } else {
            self.kvs.append(&mut kvs);
        }
    }

    /// Whether no further pair could come into the answer.
    fn is_full(&self) -> bool {
        let limit = self.request.limit;
        limit > 0 && !self.request.sorts() && self.kvs.len() as u64 > limit
    }

    /// Pairs that are kept before those beyond the limit are dropped: as many again as stay, so that sorting them is
    /// little beside reading them.
    fn kept_max(&self) -> usize {
        kept_max(&self.request)
    }

    /// Sorts them and drops those beyond the limit.
    async fn cut(self) -> Result<Self, Status> {
        if !self.request.sorts() || self.kvs.len() <= SORTED_HERE_MAX {
            return Ok(self.cut_here());
        }
        let cut = tokio::task::spawn_blocking(|| self.cut_here()).await;
        cut.map_err(|error| Status::internal(format!("sort a range: {error}")))
    }

    fn cut_here(mut self) -> Self {
        if self.request.sort_and_cut(&mut self.kvs) {
            self.more = true;
            self.bytes = self.kvs.iter().map(KeyValue::weight).sum();
        }
        self
    }

    /// What goes into the answer, and whether there is more.
    fn finish(mut self) -> (Vec<KeyValue>, bool) {
        if self.request.keys_only {
            for kv in &mut self.kvs {
                kv.value = Bytes::new();
            }
        }
        (self.kvs, self.more)
    }
}

/// See [`Chosen::kept_max`].
fn kept_max(request: &RangeRequest) -> usize {
    match usize::try_from(request.limit) {
        Ok(limit @ 1..) => limit.max(PIECE_PAIRS).saturating_mul(2),
        Ok(0) | Err(_) => usize::MAX,
    }
}

/// Bytes the pairs will take, by what those of the first piece take. Of how many revisions let through nobody knows
/// before: as if they were all.
fn estimate(request: &RangeRequest, first: &RangeReply) -> u64 {
    let read: u64 = first.kvs.iter().map(KeyValue::weight).sum();
    let kept = kept_max(request).saturating_add(PIECE_PAIRS);
    let pairs = request.walk_limit(true).min(kept) as u64;
    let of_first = (first.kvs.len() as u64).max(1);
    (read / of_first).saturating_mul(pairs.min(first.count))
}

#[cfg(test)]
mod tests {
    use store_machine::request::SortOrder;
    use store_machine::revision::Revision;
    use store_machine::weigh::PAIR_BYTES;

    use super::*;

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
        let some = RangeRequest {
            limit: 10,
            ..all.clone()
        };
        assert_eq!(estimate(&some, &first), (200 + PAIR_BYTES) * 11);
        // Whatever the limit, all of them are looked at; no more are kept than twice the limit and a piece.
        let first = RangeReply {
            count: 1_000_000,
            ..first
        };
        let sorted = RangeRequest {
            sort_target: SortTarget::Mod,
            sort_order: SortOrder::Descend,
            ..some
        };
        let pairs = 3 * PIECE_PAIRS as u64;
        assert_eq!(estimate(&sorted, &first), (200 + PAIR_BYTES) * pairs);
        let unlimited = RangeRequest { limit: 0, ..sorted };
        assert_eq!(estimate(&unlimited, &first), (200 + PAIR_BYTES) * 1_000_000);
    }
}
