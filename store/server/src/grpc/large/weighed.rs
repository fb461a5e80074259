//! Large answers that come in one piece: of transactions, and of deletes that tell what they deleted. Such an answer is
//! made when the transaction is applied, at which no member may refuse; so it is weighed before, and has its part of the
//! budget or nothing happens.

use bytes::Bytes;
use store_machine::request::{RangeEnd, RangeRequest, TxnOp, TxnRequest};
use tonic::Status;

use super::budget::{self, Part};
use super::{LARGE_BYTES, sendable};
use crate::body::Body;
use crate::call::Call;
use crate::grpc::errors::{ApiError, status};
use crate::grpc::unary::framed;

/// Answers of at most so many pairs are not weighed: what guarded writes ask for, 6 MiB where all are the largest there are.
const LIGHT_PAIRS: u64 = 4;

/// How often the pairs of such an answer are in memory: as they were read, and as bytes of the message.
const COPIES: u64 = 2;

/// An answer, and its part of the budget.
pub(crate) struct Weighed<R> {
    response: R,
    part: Option<Part>,
}

impl<R> Weighed<R> {
    pub(crate) const fn new(response: R, part: Option<Part>) -> Self {
        Self { response, part }
    }

    /// The answer, and what is to be held until it is written.
    pub(crate) fn into_parts(self) -> (R, Option<Part>) {
        (self.response, self.part)
    }
}

impl<R: prost::Message> Weighed<R> {
    /// The body over gRPC, with the length of the message.
    ///
    /// # Errors
    /// What no client could take, in the words of etcd's gRPC.
    pub(crate) fn written(self) -> Result<(Body, usize), Status> {
        let bytes = sendable(self.response.encoded_len())?;
        let message = framed(&self.response);
        drop(self.response);
        Ok((Body::Message(held(message, self.part)), bytes))
    }
}

/// Bytes that hold a part of the budget for as long as they are anywhere.
pub(crate) fn held(bytes: Bytes, part: Option<Part>) -> Bytes {
    struct Held(
        Bytes,
        #[expect(dead_code, reason = "given back when it goes")] Part,
    );
    impl AsRef<[u8]> for Held {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    match part {
        Some(part) => Bytes::from_owner(Held(bytes, part)),
        None => bytes,
    }
}

/// Gives the answer to a transaction its part of the budget, as far as it needs one. By the time it is made others may
/// have written more: as much as is written while one proposal is on its way.
///
/// # Errors
/// There is no room. One answer that is larger than all of the budget has it for itself, if it is that of one range:
/// then it is no larger than what is stored.
pub(crate) async fn admit(call: &Call, txn: &TxnRequest) -> Result<Option<Part>, Status> {
    let demand = Demand::of(txn);
    if demand.ranges == 0 && demand.pairs <= LIGHT_PAIRS {
        return Ok(None);
    }
    // In a box: few transactions come here, and all would be larger.
    Box::pin(async {
        let all = call.ranges.bytes();
        let weight = call.handle().weigh(txn.clone(), all / COPIES).await;
        let bytes = weight.map_err(status)?.saturating_mul(COPIES);
        if bytes <= LARGE_BYTES as u64 {
            return Ok(None);
        }
        if bytes >= all && demand.ranges > 1 {
            return Err(ApiError::TooManyRequests.into());
        }
        let part = call.ranges.take(bytes, budget::PATIENCE).await?;
        Ok(Some(part))
    })
    .await
}

/// What the answer to a transaction holds at most, whatever there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Demand {
    /// Pairs, where that can be told.
    pairs: u64,
    /// Ranges whose end nobody knows.
    ranges: u64,
}

impl Demand {
    fn of(txn: &TxnRequest) -> Self {
        let branch = |ops: &[TxnOp]| {
            ops.iter().fold(Self::default(), |sum, op| {
                let op = Self::of_op(op);
                Self {
                    pairs: sum.pairs.saturating_add(op.pairs),
                    ranges: sum.ranges.saturating_add(op.ranges),
                }
            })
        };
        let (success, failure) = (branch(&txn.success), branch(&txn.failure));
        Self {
            pairs: success.pairs.max(failure.pairs),
            ranges: success.ranges.max(failure.ranges),
        }
    }

    fn of_op(op: &TxnOp) -> Self {
        match op {
            TxnOp::Range(range) => Self::of_range(range),
            TxnOp::Put(put) => Self::pairs(put.prev_kv.into()),
            TxnOp::Delete(delete) if !delete.prev_kv => Self::default(),
            TxnOp::Delete(delete) if delete.keys.end == RangeEnd::Single => Self::pairs(1),
            TxnOp::Delete(_) => Self::range(),
            TxnOp::Txn(nested) => Self::of(nested),
        }
    }

    fn of_range(range: &RangeRequest) -> Self {
        if range.keys.end == RangeEnd::Single {
            return Self::pairs(u64::from(!range.count_only));
        }
        match range.walk_limit(range.revision.0 > 0) {
            usize::MAX => Self::range(),
            limit => Self::pairs(limit as u64),
        }
    }

    const fn pairs(pairs: u64) -> Self {
        Self { pairs, ranges: 0 }
    }

    const fn range() -> Self {
        Self {
            pairs: 0,
            ranges: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use store_machine::request::{DeleteRequest, KeyRange, SortOrder, SortTarget};
    use store_machine::revision::Revision;

    use super::*;

    const ALL: KeyRange = KeyRange {
        start: Bytes::from_static(b"a"),
        end: RangeEnd::Open,
    };

    const ONE: KeyRange = KeyRange::single(Bytes::from_static(b"a"));

    #[test]
    fn only_what_may_be_large_is_weighed() {
        let latest = RangeRequest::latest;
        let range = TxnOp::Range;
        let delete = |keys, prev_kv| TxnOp::Delete(DeleteRequest { keys, prev_kv });
        let limited = |limit| RangeRequest {
            limit,
            ..latest(ALL)
        };
        let sorted = RangeRequest {
            sort_target: SortTarget::Create,
            sort_order: SortOrder::Ascend,
            ..limited(1)
        };
        let past = RangeRequest {
            revision: Revision(7),
            ..limited(2)
        };
        let counted = RangeRequest {
            count_only: true,
            ..latest(ALL)
        };
        for (op, pairs, ranges) in [
            (range(latest(ONE)), 1_u64, 0_u64),
            (range(latest(ALL)), 0, 1),
            (range(limited(1)), 2, 0),
            (range(past), 3, 0),
            (range(sorted), 0, 1),
            (range(counted), 0, 0),
            (delete(ONE, true), 1, 0),
            (delete(ALL, true), 0, 1),
            (delete(ALL, false), 0, 0),
        ] {
            let txn = |success: usize, failure: usize| TxnRequest {
                success: vec![op.clone(); success],
                failure: vec![op.clone(); failure],
                ..TxnRequest::default()
            };
            let times = |times| Demand {
                pairs: pairs * times,
                ranges: ranges * times,
            };
            assert_eq!(Demand::of(&txn(1, 0)), times(1), "{op:?}");
            assert_eq!(Demand::of(&txn(3, 2)), times(3), "{op:?}");
            let nested = TxnRequest {
                failure: vec![TxnOp::Txn(txn(1, 2)), op.clone()],
                ..TxnRequest::default()
            };
            assert_eq!(Demand::of(&nested), times(3), "{op:?}");
        }
    }
}
