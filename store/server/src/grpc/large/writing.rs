//! A large answer on its way out over gRPC: written a piece at a time, so that its bytes are nowhere in memory as a whole.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::message;
use store_proto::etcdserverpb as pb;
use store_proto::mvccpb;
use tonic::Status;

use super::budget::Part;
use super::{FRAME_BYTES, Ranged};

/// Field of the pairs in `RangeResponse`.
const KVS: u32 = 2;

/// A large answer on its way out.
pub(crate) struct Writing {
    /// What goes before the pairs: the prefix of the message and the header.
    head: Bytes,
    kvs: std::vec::IntoIter<mvccpb::KeyValue>,
    /// What comes behind them: whether there are more, and the count.
    tail: Bytes,
    /// Held until all has been written.
    _part: Option<Part>,
}

/// How an answer is written.
pub(crate) enum Written {
    /// At once.
    Whole(pb::RangeResponse),
    /// In pieces; with the bytes of the message.
    Pieces(Box<Writing>, usize),
}

impl Ranged {
    /// Sets out to write it.
    ///
    /// # Errors
    /// What no client could take, in the words of etcd's gRPC.
    pub(crate) fn written(self) -> Result<Written, Status> {
        let bytes = self.bytes()?;
        if !Self::is_large(bytes) {
            return Ok(Written::Whole(self.response));
        }
        // What may be sent is far below.
        let prefix = u32::try_from(bytes).unwrap_or(u32::MAX);
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
        Ok(Written::Pieces(Box::new(writing), bytes))
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
    use super::*;
    use crate::grpc::unary::PREFIX_BYTES;

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
            let ranged = Ranged::free(response);
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
            assert_eq!(joined.len(), PREFIX_BYTES + length);
            assert_eq!(
                joined[1..5],
                u32::try_from(whole.len()).unwrap().to_be_bytes()
            );
            assert!(joined[5..] == whole, "{pairs} of {bytes}");
            assert!(pairs == 1 || pieces > 10);
        }
        let small = Ranged::free(pb::RangeResponse::default());
        assert!(matches!(small.written().unwrap(), Written::Whole(_)));
    }
}
