//! A range in pieces, all at one revision.
//!
//! Only one piece is in memory at a time, and the next is not read before the client has room for
//! it. A compaction above the revision meanwhile ends the stream with etcd's error.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::Stream;
use store_machine::reply::{KeyValue, RangeReply};
use store_machine::request::{KeyRange, RangeRequest};
use store_proto::etcdserverpb as pb;
use tonic::Status;

use super::errors::{ApiError, status};
use super::{kv, translate};
use crate::call::Call;
use crate::handle::{Consistency, Header};

/// Pairs of the first piece, as in etcd: enough to learn how large they are.
const FIRST_PAIRS: u64 = 10;

/// What is still to be read.
struct Reading {
    call: Call,
    /// The next piece; its limit is that of the piece.
    request: RangeRequest,
    consistency: Consistency,
    /// Pairs the client still wants; `None` = all.
    wanted: Option<u64>,
    /// Pairs to read next; follows the size of what was read.
    pairs: u64,
    /// Keys in the whole range, known with the first piece.
    count: Option<u64>,
    done: bool,
}

/// Opens the stream.
pub(crate) async fn range_stream(
    call: Call,
    request: pb::RangeRequest,
) -> Result<impl Stream<Item = Result<pb::RangeStreamResponse, Status>> + Send, Status> {
    use pb::range_request::{SortOrder, SortTarget};
    let order = (request.sort_order(), request.sort_target());
    let consistency = kv::range_consistency(&call, request.serializable)?;
    let request = translate::range_request(request)?;
    if !matches!(
        order,
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key)
    ) {
        return Err(ApiError::StreamSorted.into());
    }
    let filters = [
        request.mod_revision_min,
        request.mod_revision_max,
        request.create_revision_min,
        request.create_revision_max,
    ];
    if filters != [0; 4] {
        return Err(ApiError::StreamFiltered.into());
    }
    let reading = Reading {
        call,
        consistency,
        wanted: (request.limit > 0).then_some(request.limit),
        pairs: FIRST_PAIRS,
        count: None,
        done: false,
        request,
    };
    Ok(futures::stream::unfold(reading, async |mut reading| {
        if reading.done {
            return None;
        }
        let piece = reading.next().await;
        reading.done |= piece.is_err();
        Some((piece, reading))
    }))
}

impl Reading {
    async fn next(&mut self) -> Result<pb::RangeStreamResponse, Status> {
        let pairs = self
            .wanted
            .map_or(self.pairs, |wanted| wanted.min(self.pairs));
        let request = RangeRequest {
            limit: pairs,
            uncounted: self.count.is_some(),
            ..self.request.clone()
        };
        let answer = self.call.handle().range(request, self.consistency);
        let answer = answer.await.map_err(status)?;
        let response = self.took(answer.header, answer.body);
        Ok(pb::RangeStreamResponse {
            range_response: Some(response),
        })
    }

    /// Makes a piece the answer it is, and sets out what to read next.
    fn took(&mut self, header: Header, reply: RangeReply) -> pb::RangeResponse {
        let read = reply.kvs.len() as u64;
        if let Some(wanted) = &mut self.wanted {
            *wanted = wanted.saturating_sub(read);
        }
        let count = *self.count.get_or_insert(reply.count);
        let last = reply.kvs.last().map(|kv| kv.key.clone());
        match last {
            Some(last) if reply.more && self.wanted != Some(0) => {
                self.pairs = next_pairs(self.pairs, &reply.kvs, self.call.limits.request_bytes_max);
                self.request.keys = after(&last, &self.request.keys);
                if self.request.revision.0 <= 0 {
                    self.request.revision = header.revision;
                }
                // That revision is here now; asking the cluster again would not make it newer.
                self.consistency = Consistency::Serializable;
                // Header, more and count come with the last piece.
                pb::RangeResponse {
                    header: None,
                    more: false,
                    count: 0,
                    ..translate::range_response(pb::ResponseHeader::default(), reply)
                }
            }
            _ => {
                self.done = true;
                let reply = RangeReply { count, ..reply };
                translate::range_response(translate::header(header), reply)
            }
        }
    }
}

/// The rest of a range behind `last`.
pub(super) fn after(last: &Bytes, keys: &KeyRange) -> KeyRange {
    let mut start = BytesMut::with_capacity(last.len() + 1);
    start.put_slice(last);
    start.put_u8(0);
    KeyRange {
        start: start.freeze(),
        end: keys.end.clone(),
    }
}

/// Twice as many pairs after a piece of less than half the size aimed at, half as many after one that
/// was larger than it.
fn next_pairs(pairs: u64, read: &[KeyValue], bytes_aim: usize) -> u64 {
    let bytes: usize = read.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
    if bytes <= bytes_aim / 2 {
        pairs.saturating_mul(2)
    } else if bytes > bytes_aim {
        (pairs / 2).max(1)
    } else {
        pairs
    }
}

#[cfg(test)]
mod tests {
    use store_machine::request::RangeEnd;
    use store_machine::revision::Revision;

    use super::*;

    #[test]
    fn pieces_follow_the_size_of_what_was_read() {
        let pair = |bytes: usize| KeyValue {
            key: Bytes::from_static(b"k"),
            value: vec![0; bytes - 1].into(),
            mod_revision: Revision(2),
            ..Default::default()
        };
        for (pairs, read, wanted) in [
            (10, vec![], 20),
            (10, vec![pair(500)], 20),
            (10, vec![pair(501)], 10),
            (10, vec![pair(500), pair(500)], 10),
            (10, vec![pair(1001)], 5),
            (1, vec![pair(5000)], 1),
        ] {
            assert_eq!(next_pairs(pairs, &read, 1000), wanted);
        }
    }

    #[test]
    fn the_rest_of_a_range_begins_behind_the_last_key() {
        let keys = KeyRange {
            start: Bytes::from_static(b"a"),
            end: RangeEnd::Open,
        };
        let rest = after(&Bytes::from_static(b"b"), &keys);
        assert_eq!(&rest.start[..], b"b\0");
        assert_eq!(rest.end, RangeEnd::Open);
    }
}
