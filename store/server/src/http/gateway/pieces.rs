//! A large answer on its way out as JSON: written a piece at a time, so that its text is nowhere in memory as a whole.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use store_proto::etcdserverpb as pb;
use store_proto::mvccpb;

use crate::body::Body;
use crate::grpc::large::{FRAME_BYTES, Part, Ranged};

/// The text of an answer, from front to back.
struct Pieces {
    /// What goes before the pairs: their message without its end, and the begin of their list.
    head: Bytes,
    kvs: std::vec::IntoIter<mvccpb::KeyValue>,
    /// What comes behind them: whether there are more, and the count.
    tail: Bytes,
    /// A pair has been written.
    begun: bool,
    /// Held until all has been written.
    _part: Option<Part>,
}

/// The body of an answer.
///
/// # Errors
/// It could not be written as JSON.
pub(super) fn body(ranged: Ranged) -> serde_json::Result<Body> {
    Ok(Body::Lines(stream::iter(Pieces::new(ranged)?).boxed()))
}

impl Pieces {
    fn new(ranged: Ranged) -> serde_json::Result<Self> {
        let (response, part) = ranged.into_parts();
        let pb::RangeResponse {
            header,
            kvs,
            more,
            count,
        } = response;
        let only = |header, more, count| pb::RangeResponse {
            header,
            kvs: Vec::new(),
            more,
            count,
        };
        let before = fields(&only(header, false, 0))?;
        let behind = fields(&only(None, more, count))?;
        let comma = |text: &str| if text.is_empty() { "" } else { "," };
        Ok(Self {
            head: format!("{{{before}{}\"kvs\":[", comma(&before)).into(),
            kvs: kvs.into_iter(),
            tail: format!("]{}{behind}}}", comma(&behind)).into(),
            begun: false,
            _part: part,
        })
    }
}

/// The fields of a message, without what is around them.
fn fields(message: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(message)?;
    let fields = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    Ok(fields.unwrap_or_default().to_owned())
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::from(std::mem::take(&mut self.head));
        while out.len() < FRAME_BYTES {
            let Some(kv) = self.kvs.next() else {
                out.extend_from_slice(&std::mem::take(&mut self.tail));
                break;
            };
            if std::mem::replace(&mut self.begun, true) {
                out.put_u8(b',');
            }
            if let Err(error) = serde_json::to_writer((&mut out).writer(), &kv) {
                // Only a map with keys that are no strings could do this; there is none.
                tracing::error!(%error, "a pair could not be written as JSON");
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_message() {
        for (pairs, bytes, more, count, revision) in [
            (1, 2 << 20, true, 9, 7),
            (5_000, 300, false, 5_000, 7),
            (20_000, 60, true, 30_000, 0),
            (1, 2, false, 0, 7),
            (0, 0, false, 0, 7),
        ] {
            let kvs = (0..pairs).map(|at| mvccpb::KeyValue {
                key: Bytes::from(format!("k{at}")),
                value: vec![b'v'; bytes].into(),
                mod_revision: at,
                ..Default::default()
            });
            let header = pb::ResponseHeader {
                revision,
                ..Default::default()
            };
            let response = pb::RangeResponse {
                header: (revision > 0).then_some(header),
                kvs: kvs.collect(),
                more,
                count,
            };
            let whole = serde_json::to_value(&response).unwrap();
            let text = serde_json::to_string(&response).unwrap();
            let pieces: Vec<Bytes> = Pieces::new(Ranged::free(response)).unwrap().collect();
            let joined = pieces.concat();
            if pairs == 0 {
                // An empty list is as good as none.
                assert_eq!(joined, br#"{"header":{"revision":"7"},"kvs":[]}"#);
                continue;
            }
            assert!(joined == text.as_bytes(), "{pairs} of {bytes}");
            assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&joined).unwrap(),
                whole
            );
            for piece in &pieces {
                assert!(piece.len() <= FRAME_BYTES + 2 * bytes + 200);
            }
        }
    }
}
