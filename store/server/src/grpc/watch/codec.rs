//! Watch answers on the wire: events are encoded once, whoever comes first, and spliced in for every
//! further watcher.
//!
//! A `WatchResponse` ends with its repeated field 11. So an answer is the head, encoded as usual,
//! followed by one ready-made "tag, length, event" per event.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use store_machine::reply::EventKind;
use store_proto::etcdserverpb as pb;
use store_proto::mvccpb;
use store_watch::batch::SharedEvent;
use tonic::Status;
use tonic::codec::{BufferSettings, EncodeBuf, Encoder};

use crate::grpc::services::Answer;
use crate::grpc::{stream, translate};

/// Number of the field `events` in `WatchResponse`.
const EVENTS: u32 = 11;

/// One `WatchResponse`.
#[derive(Clone, Debug)]
pub(crate) struct WatchAnswer {
    /// All but the events.
    pub(crate) head: pb::WatchResponse,
    /// The events.
    pub(crate) events: Vec<Arc<SharedEvent>>,
    /// Show the previous pairs.
    pub(crate) prev_kv: bool,
}

impl WatchAnswer {
    /// Appends the encoded answer.
    fn encode(&self, out: &mut impl bytes::BufMut) {
        debug_assert!(self.head.events.is_empty(), "events go beside the head");
        self.head.encode_raw(out);
        for event in &self.events {
            out.put_slice(encoded(event, self.prev_kv));
        }
    }
}

/// The event as an element of `WatchResponse.events`, tag and length included.
pub(crate) fn encoded(event: &SharedEvent, prev_kv: bool) -> &Bytes {
    let prev_kv = prev_kv && event.event.prev.is_some();
    let slot = if prev_kv {
        &event.encoded_with_prev
    } else {
        &event.encoded
    };
    slot.get_or_init(|| {
        let wire = message(event, prev_kv);
        let bytes = wire.encoded_len();
        let mut out = BytesMut::with_capacity(1 + encoded_len_varint(bytes as u64) + bytes);
        encode_key(EVENTS, WireType::LengthDelimited, &mut out);
        encode_varint(bytes as u64, &mut out);
        wire.encode_raw(&mut out);
        out.freeze()
    })
}

/// The event as the protos have it.
fn message(event: &SharedEvent, prev_kv: bool) -> mvccpb::Event {
    let event = &event.event;
    mvccpb::Event {
        r#type: match event.kind {
            EventKind::Put => mvccpb::event::EventType::Put,
            EventKind::Delete => mvccpb::event::EventType::Delete,
        }
        .into(),
        kv: Some(translate::key_value(event.kv.clone())),
        prev_kv: event
            .prev
            .clone()
            .filter(|_| prev_kv)
            .map(translate::key_value),
    }
}

impl Answer for WatchAnswer {
    type Encoder = WatchAnswers;
    type Message = pb::WatchResponse;

    fn into_message(self) -> pb::WatchResponse {
        let events = self.events.iter();
        pb::WatchResponse {
            events: events.map(|event| message(event, self.prev_kv)).collect(),
            ..self.head
        }
    }
}

/// Writes answers into tonic's buffer.
#[derive(Default)]
pub(crate) struct WatchAnswers;

impl Encoder for WatchAnswers {
    type Item = WatchAnswer;
    type Error = Status;

    fn encode(&mut self, answer: WatchAnswer, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        answer.encode(dst);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        stream::buffers()
    }
}

#[cfg(test)]
impl WatchAnswer {
    /// What a client decodes.
    pub(crate) fn decoded(&self) -> pb::WatchResponse {
        let mut out = Vec::new();
        self.encode(&mut out);
        pb::WatchResponse::decode(&out[..]).expect("an encoded answer can be decoded")
    }
}
