//! HTTP/2 frames: the nine bytes in front of each, and the few that a gRPC client sends.
//!
//! Knows byte layouts (RFC 9113 section 4.1 and 6); never knows streams' state or sockets.

/// Bytes in front of every frame (RFC 9113 section 4.1).
pub(crate) const HEAD_BYTES: usize = 9;

/// Largest frame payload both sides accept without asking (RFC 9113 section 6.5.2).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16_384;

/// What a client says first (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Window sizes before anyone changed them (RFC 9113 section 6.9.2).
pub(crate) const WINDOW_BYTES_INITIAL: i64 = 65_535;

/// Largest window there is (RFC 9113 section 6.9.1).
pub(crate) const WINDOW_BYTES_MAX: i64 = 0x7fff_ffff;

/// Frame types (RFC 9113 section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RESET: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GO_AWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
}

/// Frame flags; `ACK` and `END_STREAM` share a bit in different frame types.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
}

/// Settings this client reads or sends (RFC 9113 section 6.5.2).
pub(crate) mod setting {
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const STREAMS_MAX: u16 = 3;
    pub(crate) const STREAM_WINDOW: u16 = 4;
}

/// The head of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes after the head.
    pub(crate) payload_bytes: usize,
    /// One of [`kind`]; unknown ones are skipped, as the RFC asks.
    pub(crate) kind: u8,
    /// Bits of [`flag`].
    pub(crate) flags: u8,
    /// Stream it belongs to; 0 = the connection.
    pub(crate) stream: u32,
}

impl Head {
    /// Reads a head from the start of `bytes`; `None` while fewer than nine are there.
    pub(crate) fn read(bytes: &[u8]) -> Option<Head> {
        let head: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
        Some(Head {
            payload_bytes: u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize,
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff,
        })
    }

    /// Appends the head to `out`.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let length = (self.payload_bytes as u32).to_be_bytes();
        let stream = self.stream.to_be_bytes();
        out.extend_from_slice(&[
            length[1], length[2], length[3], self.kind, self.flags, stream[0], stream[1],
            stream[2], stream[3],
        ]);
    }
}

/// Appends a SETTINGS frame with `settings`.
pub(crate) fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    Head {
        payload_bytes: settings.len() * 6,
        kind: kind::SETTINGS,
        flags: 0,
        stream: 0,
    }
    .write(out);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Appends the acknowledgement of a SETTINGS frame.
pub(crate) fn write_settings_ack(out: &mut Vec<u8>) {
    Head {
        payload_bytes: 0,
        kind: kind::SETTINGS,
        flags: flag::ACK,
        stream: 0,
    }
    .write(out);
}

/// Appends the answer to a PING with its `payload`.
pub(crate) fn write_ping_ack(out: &mut Vec<u8>, payload: &[u8]) {
    Head {
        payload_bytes: payload.len(),
        kind: kind::PING,
        flags: flag::ACK,
        stream: 0,
    }
    .write(out);
    out.extend_from_slice(payload);
}

/// Appends a WINDOW_UPDATE that lets the peer send `bytes` more on `stream`.
pub(crate) fn write_window_update(out: &mut Vec<u8>, stream: u32, bytes: u32) {
    Head {
        payload_bytes: 4,
        kind: kind::WINDOW_UPDATE,
        flags: 0,
        stream,
    }
    .write(out);
    out.extend_from_slice(&bytes.to_be_bytes());
}

/// Appends one gRPC message (five bytes of prefix, then `message`) as DATA frames of `stream`.
pub(crate) fn write_message(out: &mut Vec<u8>, stream: u32, message: &[u8], end: bool) {
    let mut prefix = [0; 5];
    prefix[1..].copy_from_slice(&(message.len() as u32).to_be_bytes());
    let first_bytes = message.len().min(PAYLOAD_BYTES_MAX - prefix.len());
    let (first, rest) = message.split_at(first_bytes);
    let last = |rest: &[u8]| {
        if end && rest.is_empty() {
            flag::END_STREAM
        } else {
            0
        }
    };
    Head {
        payload_bytes: prefix.len() + first.len(),
        kind: kind::DATA,
        flags: last(rest),
        stream,
    }
    .write(out);
    out.extend_from_slice(&prefix);
    out.extend_from_slice(first);
    let pieces = rest.chunks(PAYLOAD_BYTES_MAX);
    let pieces_count = pieces.len();
    for (number, piece) in pieces.enumerate() {
        let remaining = if number + 1 == pieces_count {
            &[][..]
        } else {
            piece
        };
        Head {
            payload_bytes: piece.len(),
            kind: kind::DATA,
            flags: last(remaining),
            stream,
        }
        .write(out);
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_survives_writing_and_reading() {
        let head = Head {
            payload_bytes: 0x01_02_03,
            kind: kind::DATA,
            flags: 9,
            stream: 0x7eff_0001,
        };
        let mut bytes = Vec::new();
        head.write(&mut bytes);
        assert_eq!(bytes.len(), HEAD_BYTES);
        assert_eq!(Head::read(&bytes), Some(head));
        assert_eq!(Head::read(&bytes[..8]), None);
    }

    #[test]
    fn messages_are_cut_at_the_largest_frame() {
        for (message_bytes, frames) in [
            (0, 1),
            (16_379, 1),
            (16_380, 2),
            (16_379 + 16_384, 2),
            (40_000, 3),
        ] {
            let mut out = Vec::new();
            write_message(&mut out, 1, &vec![7; message_bytes], true);
            let mut ends = Vec::new();
            let mut payload_bytes = 0;
            let mut rest = &out[..];
            while let Some(head) = Head::read(rest) {
                assert!(head.payload_bytes <= PAYLOAD_BYTES_MAX);
                ends.push(head.flags == flag::END_STREAM);
                payload_bytes += head.payload_bytes;
                rest = &rest[HEAD_BYTES + head.payload_bytes..];
            }
            assert_eq!(payload_bytes, message_bytes + 5);
            assert_eq!(ends.len(), frames, "{message_bytes}");
            assert_eq!(ends.iter().filter(|end| **end).count(), 1);
            assert_eq!(ends.last(), Some(&true));
        }
    }
}
