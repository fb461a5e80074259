//! How messages become bytes of a stream: length, checksum, kind, content.
//!
//! ```text
//! 4 bytes  length of kind and content, big endian
//! 4 bytes  CRC-32C of kind and content, big endian
//! 1 byte   kind: 0 a message, 1 a ping, 2 a pong
//! …        content: a message's bytes; of ping and pong eight bytes that come back as they are
//! ```

use bytes::{Buf as _, Bytes, BytesMut};
use store_member::peer::PeerMessage;

/// Length and checksum.
const HEAD_BYTES: usize = 8;

/// Longest frame that is read: a segment of the log, which holds the largest entry twice. More is
/// no frame of ours.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 20;

/// From this size on a message shares the buffer it was read into. Smaller ones are copied out, so
/// that a small value kept for long does not keep a large buffer.
const SHARED_BYTES_MIN: usize = 16 << 10;

const MESSAGE: u8 = 0;
const PING: u8 = 1;
const PONG: u8 = 2;

/// What a stream carries.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    Message(PeerMessage),
    /// To be answered by a pong with the same number.
    Ping(u64),
    Pong(u64),
}

/// A stream says what is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes: between 1 and {FRAME_BYTES_MAX} are possible")]
    Length(usize),
    #[error("a frame whose checksum does not fit")]
    Checksum,
    #[error("a frame of kind {0} that cannot be read")]
    Content(u8),
}

impl Frame {
    /// Adds it to what is to be written.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD_BYTES]);
        match self {
            Self::Message(said) => {
                out.push(MESSAGE);
                out.extend_from_slice(&said.encode());
            }
            Self::Ping(number) => {
                out.push(PING);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Pong(number) => {
                out.push(PONG);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        let body = &out[start + HEAD_BYTES..];
        // The member bounds its messages far below; a longer one would be refused over there.
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let checksum = crc32c::crc32c(body);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        out[start + 4..start + HEAD_BYTES].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Bytes of kind and content of the frame that `buffer` begins with, as far as they are known: 0 before.
    pub(super) fn announced(buffer: &[u8]) -> usize {
        let length = buffer.first_chunk::<4>();
        length.map_or(0, |length| u32::from_be_bytes(*length) as usize)
    }

    /// Takes the next whole frame out of `buffer`; `None` while there is none.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let Some((head, rest)) = buffer.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [a, b, c, d, checksum @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(1..=FRAME_BYTES_MAX).contains(&length) {
            return Err(FrameError::Length(length));
        }
        let Some(body) = rest.get(..length) else {
            // The buffer grows as bytes arrive, not by what a head claims.
            return Ok(None);
        };
        if crc32c::crc32c(body) != u32::from_be_bytes(checksum) {
            return Err(FrameError::Checksum);
        }
        let kind = body[0];
        buffer.advance(HEAD_BYTES + 1);
        let content = if length >= SHARED_BYTES_MIN {
            buffer.split_to(length - 1).freeze()
        } else {
            let copied = Bytes::copy_from_slice(&buffer[..length - 1]);
            buffer.advance(length - 1);
            copied
        };
        let frame = match kind {
            MESSAGE => PeerMessage::decode(content).ok().map(Self::Message),
            PING => number(&content).map(Self::Ping),
            PONG => number(&content).map(Self::Pong),
            _ => None,
        };
        frame.map(Some).ok_or(FrameError::Content(kind))
    }
}

fn number(content: &[u8]) -> Option<u64> {
    content.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::message::samples;

    fn written(frames: &[Frame]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            frame.write(&mut out);
        }
        out
    }

    fn frames() -> Vec<Frame> {
        vec![
            Frame::Ping(7),
            Frame::Message(samples::heartbeat(2, 1)),
            Frame::Message(samples::append(2, 1, 100)),
            Frame::Message(samples::append(2, 1, 2 * SHARED_BYTES_MIN)),
            Frame::Pong(u64::MAX),
        ]
    }

    #[test]
    fn frames_are_read_as_written_however_they_arrive() {
        let bytes = written(&frames());
        for step in [1, 7, 1000, bytes.len()] {
            let mut buffer = BytesMut::new();
            let mut read = Vec::new();
            for part in bytes.chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(frame) = Frame::take(&mut buffer).unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, frames(), "in steps of {step}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let bytes = written(&[Frame::Message(samples::append(2, 1, 20))]);
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 0x10;
            let mut buffer = BytesMut::from(&changed[..]);
            // A longer frame than was written is waited for, and cut off by the pings' deadline.
            let read = Frame::take(&mut buffer);
            assert!(
                matches!(read, Err(_) | Ok(None)),
                "byte {position}: {read:?}"
            );
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let head = |length: u32, body: &[u8]| {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend_from_slice(&crc32c::crc32c(body).to_be_bytes());
            bytes.extend_from_slice(body);
            BytesMut::from(&bytes[..])
        };
        for (mut bytes, wanted) in [
            (head(0, &[]), FrameError::Length(0)),
            (head(u32::MAX, &[]), FrameError::Length(u32::MAX as usize)),
            (head(1, &[9]), FrameError::Content(9)),
            (head(3, &[PING, 0, 0]), FrameError::Content(PING)),
            (head(3, &[MESSAGE, 255, 255]), FrameError::Content(MESSAGE)),
        ] {
            assert_eq!(Frame::take(&mut bytes), Err(wanted));
        }
    }
}
