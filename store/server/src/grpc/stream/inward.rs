//! What comes in over a stream. Between messages it may stand still for ever, as watches and renewals do; a message that
//! was begun goes on, and has room in memory, or the stream ends.
//!
//! Knows where messages begin and end (gRPC's "length-prefixed message"), and nothing of what is in them.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::StreamBody;
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use crate::api::Api;
use crate::grpc::account::{InwardAccount, Tally};
use crate::grpc::unary::{PREFIX_BYTES, too_large};
use crate::intake::Intake;

/// How many messages a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// One, at once, and that there will be no more.
    One,
    /// As many as it likes, whenever it likes.
    Many,
}

/// Requests on their way in.
struct Inward {
    body: Incoming,
    api: Arc<Api>,
    account: InwardAccount,
    says: Says,
    framing: Framing,
    /// For the message that is half there.
    room: Option<OwnedSemaphorePermit>,
    ended: bool,
}

/// The body of a request, with its bounds.
pub(super) fn bounded(
    body: Incoming,
    api: Arc<Api>,
    account: InwardAccount,
    says: Says,
) -> impl Body<Data = Bytes, Error = Status> + Send + 'static {
    let inward = Inward {
        body,
        api,
        account,
        says,
        framing: Framing::default(),
        room: None,
        ended: false,
    };
    StreamBody::new(stream::unfold(inward, async |mut inward| {
        if inward.ended {
            return None;
        }
        let piece = inward.next().await.transpose();
        inward.ended = !matches!(piece, Some(Ok(_)));
        Some((piece?.map(Frame::data), inward))
    }))
}

impl Inward {
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        let awaited = self.says == Says::One || self.framing.is_within();
        let piece = if awaited {
            self.api.intake.piece(&mut self.body).await?
        } else {
            Intake::piece_in_time(&mut self.body).await?
        };
        let Some(piece) = piece else {
            return Ok(None);
        };
        let whole = self.framing.pass(&piece);
        if whole.count > 0 {
            self.account.received(whole);
            self.room = None;
        }
        let bytes = self.framing.bytes();
        let bytes_max = self.api.limits.receive_bytes_max;
        if bytes > bytes_max {
            return Err(too_large(bytes, bytes_max));
        }
        if bytes > 0 && self.room.is_none() {
            self.room = Some(self.api.intake.room(bytes).await?);
        }
        Ok(Some(piece))
    }
}

/// Where in a message the bytes so far end.
#[derive(Debug, Default)]
struct Framing {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that are there; 0 between messages.
    seen: usize,
    /// Bytes of the message that are to come.
    left: usize,
}

impl Framing {
    /// Goes on over `bytes`; tells the messages that end in them.
    fn pass(&mut self, mut bytes: &[u8]) -> Tally {
        let mut whole = Tally::default();
        while !bytes.is_empty() {
            if self.seen < PREFIX_BYTES {
                let (more, behind) = bytes.split_at(bytes.len().min(PREFIX_BYTES - self.seen));
                self.prefix[self.seen..][..more.len()].copy_from_slice(more);
                self.seen += more.len();
                self.left = self.bytes();
                bytes = behind;
            }
            if self.seen == PREFIX_BYTES {
                let more = bytes.len().min(self.left);
                self.left -= more;
                bytes = &bytes[more..];
                if self.left == 0 {
                    whole.add(self.bytes());
                    self.seen = 0;
                }
            }
        }
        whole
    }

    /// Whether a message has begun and not ended.
    const fn is_within(&self) -> bool {
        self.seen > 0
    }

    /// Bytes of the message that has begun, as far as its prefix is known.
    const fn bytes(&self) -> usize {
        let [_, a, b, c, d] = self.prefix;
        if self.seen < PREFIX_BYTES {
            return 0;
        }
        u32::from_be_bytes([a, b, c, d]) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let sizes = [0, 1, 300, 0, 7];
        let mut wire = Vec::new();
        // Where nothing is half there.
        let mut between = vec![0];
        for size in sizes {
            wire.push(0);
            wire.extend(u32::try_from(size).unwrap().to_be_bytes());
            wire.extend(vec![b'm'; size]);
            between.push(wire.len());
        }
        for step in 1..=wire.len() {
            let mut framing = Framing::default();
            let (mut passed, mut whole) = (0, Tally::default());
            for piece in wire.chunks(step) {
                let some = framing.pass(piece);
                whole.count += some.count;
                whole.bytes += some.bytes;
                passed += piece.len();
                assert_eq!(framing.is_within(), !between.contains(&passed), "{step}");
            }
            assert_eq!((whole.count, whole.bytes), (5, 308), "{step}");
        }
        let mut framing = Framing::default();
        framing.pass(b"\0\0\0\x01");
        assert_eq!(framing.bytes(), 0);
        framing.pass(b"\x02");
        assert_eq!((framing.bytes(), framing.left), (258, 258));
    }
}
