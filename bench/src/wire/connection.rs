//! One connection to a server: calls go out, what was heard comes back.
//!
//! Owns the socket, both flow-control windows and the calls under way; never waits (the caller
//! does, see `load`), never knows what the messages mean. Not for requests above [`MESSAGE_BYTES_MAX`].

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::WireError;
use super::fields::Fields;
use super::frame::{self, Head, flag, kind, setting};

/// Largest request: it must fit into a stream's first window whole (RFC 9113 section 6.9.2), so
/// that a call is one write and nothing has to wait in the middle of a message.
const MESSAGE_BYTES_MAX: usize = 60_000;

/// Bytes read at once: several frames of the largest size, few enough to stay in the L2 cache
/// with a hundred connections.
const INBOX_BYTES: usize = 65_536;

/// Longest wait for a server's first SETTINGS frame; every server here sends it at once.
const GREETING_WAIT_MAX: Duration = Duration::from_secs(5);

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// A message of a call that keeps its messages.
    Message {
        /// The call.
        tag: u64,
        /// The message without its gRPC prefix.
        bytes: Vec<u8>,
    },
    /// The call is over. A unary call without a message was refused: a gRPC server sends the
    /// answer of a successful unary call as exactly one message, and none with an error.
    Ended {
        /// The call.
        tag: u64,
        /// Messages that were received.
        messages: u32,
    },
}

/// A call under way.
#[derive(Debug)]
struct Stream {
    tag: u64,
    /// Whether messages are handed out, or only counted.
    keep: bool,
    /// Messages completed.
    messages: u32,
    /// The unfinished message: its prefix and what is there of it (only the prefix if not kept).
    partial: Vec<u8>,
    /// Bytes of the unfinished message that are still to come and not kept.
    skip_bytes: usize,
    /// Bytes the peer still lets us send.
    send_window: i64,
    /// Bytes received since the last WINDOW_UPDATE for this stream.
    received_bytes: i64,
}

/// A call that waits for a window or a free stream.
#[derive(Debug)]
struct Waiting {
    tag: u64,
    path: &'static str,
    message: Vec<u8>,
    keep: bool,
}

/// Stream numbers are already well spread: they are their own hash.
#[derive(Default)]
struct Plain(u64);

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }
    fn write_u32(&mut self, number: u32) {
        // The table takes its buckets from the low bits and a check byte from the high ones.
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A connection.
pub(crate) struct Connection {
    socket: TcpStream,
    authority: String,
    fields: Fields,
    streams: HashMap<u32, Stream, BuildHasherDefault<Plain>>,
    waiting: VecDeque<Waiting>,
    /// Bytes received and not yet taken apart: `inbox[..filled]`.
    inbox: Vec<u8>,
    filled: usize,
    /// Bytes to send: `outbox[sent..]`.
    outbox: Vec<u8>,
    sent: usize,
    /// Next stream to open; odd (RFC 9113 section 5.1.1).
    next_stream: u32,
    /// Streams the peer allows at once.
    streams_max: usize,
    /// What the peer lets a new stream send.
    stream_window: i64,
    /// What the peer still lets the whole connection send.
    send_window: i64,
    /// Bytes received since the last WINDOW_UPDATE for the connection.
    received_bytes: i64,
}

impl Connection {
    /// Connects and waits until the server has said its settings.
    pub(crate) fn connect(address: SocketAddr) -> Result<Connection, WireError> {
        let fail = |source| WireError::Connect { address, source };
        let socket = TcpStream::connect_timeout(&address, GREETING_WAIT_MAX).map_err(fail)?;
        socket.set_nodelay(true).map_err(fail)?;
        socket
            .set_read_timeout(Some(GREETING_WAIT_MAX))
            .map_err(fail)?;
        let mut outbox = frame::PREFACE.to_vec();
        frame::write_settings(
            &mut outbox,
            &[
                (setting::ENABLE_PUSH, 0),
                (setting::STREAM_WINDOW, frame::WINDOW_BYTES_MAX as u32),
            ],
        );
        let grant = frame::WINDOW_BYTES_MAX - frame::WINDOW_BYTES_INITIAL;
        frame::write_window_update(&mut outbox, 0, grant as u32);
        let mut connection = Connection {
            socket,
            authority: address.to_string(),
            fields: Fields::default(),
            streams: HashMap::default(),
            waiting: VecDeque::new(),
            inbox: vec![0; INBOX_BYTES],
            filled: 0,
            outbox,
            sent: 0,
            next_stream: 1,
            // Unknown until the greeting, which is waited for below.
            streams_max: 0,
            stream_window: frame::WINDOW_BYTES_INITIAL,
            send_window: frame::WINDOW_BYTES_INITIAL,
            received_bytes: 0,
        };
        connection.flush()?;
        let mut heard = Vec::new();
        while connection.streams_max == 0 {
            connection.receive_once(&mut heard)?;
        }
        connection.socket.set_nonblocking(true).map_err(fail)?;
        connection.flush()?;
        Ok(connection)
    }

    /// The socket, to wait for.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether [`Connection::flush`] left bytes behind.
    pub(crate) fn wants_to_write(&self) -> bool {
        self.sent < self.outbox.len()
    }

    /// Queues a unary call. Its answer is only counted, unless `keep` asks for it.
    pub(crate) fn call(&mut self, tag: u64, path: &'static str, message: &[u8], keep: bool) {
        debug_assert!(message.len() <= MESSAGE_BYTES_MAX);
        if self.waiting.is_empty() && self.has_room(message.len()) {
            self.start(tag, path, message, keep, true);
        } else {
            self.waiting.push_back(Waiting {
                tag,
                path,
                message: message.to_vec(),
                keep,
            });
        }
    }

    /// Opens a call that stays open, with its first `message`; all it hears is kept. Returns its number.
    pub(crate) fn open(
        &mut self,
        tag: u64,
        path: &'static str,
        message: &[u8],
    ) -> Result<u32, WireError> {
        if !self.waiting.is_empty() || !self.has_room(message.len()) {
            return Err(WireError::Full {
                streams: self.streams.len(),
            });
        }
        let stream = self.next_stream;
        self.start(tag, path, message, true, false);
        Ok(stream)
    }

    /// Queues one more message of an open call. It must fit into the windows: such calls send little, and a server
    /// that takes it gives the room back.
    pub(crate) fn say(&mut self, stream: u32, message: &[u8]) -> Result<(), WireError> {
        debug_assert!(message.len() <= MESSAGE_BYTES_MAX);
        let bytes = window_bytes(message.len());
        let connection_has = self.send_window;
        let open = self.streams.get_mut(&stream).filter(|open| {
            // Nothing may be sent beyond what the peer has granted (RFC 9113 section 6.9.1).
            open.send_window.min(connection_has) >= bytes
        });
        let Some(open) = open else {
            return Err(WireError::NoRoom { stream });
        };
        open.send_window -= bytes;
        self.send_window -= bytes;
        frame::write_message(&mut self.outbox, stream, message, false);
        Ok(())
    }

    /// Sends what is queued, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), WireError> {
        while self.sent < self.outbox.len() {
            match self.socket.write(&self.outbox[self.sent..]) {
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(WireError::Io {
                        operation: "send requests",
                        source,
                    });
                }
            }
        }
        self.outbox.clear();
        self.sent = 0;
        Ok(())
    }

    /// Takes in what has arrived.
    pub(crate) fn receive(&mut self, heard: &mut Vec<Heard>) -> Result<(), WireError> {
        // A read that does not fill the buffer has emptied the socket: no second one is needed.
        while self.receive_once(heard)? {}
        Ok(())
    }

    /// One read; true when there may be more.
    fn receive_once(&mut self, heard: &mut Vec<Heard>) -> Result<bool, WireError> {
        let room = INBOX_BYTES - self.filled;
        let bytes = match self.socket.read(&mut self.inbox[self.filled..]) {
            Ok(0) => return Err(WireError::Closed),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(source) => {
                return Err(WireError::Io {
                    operation: "receive answers",
                    source,
                });
            }
        };
        self.filled += bytes;
        let inbox = std::mem::take(&mut self.inbox);
        let taken = self.take_apart(&inbox[..self.filled], heard);
        self.inbox = inbox;
        let taken = taken?;
        self.inbox.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        self.start_waiting();
        Ok(bytes == room)
    }

    /// Handles the whole frames in `bytes` and says how many bytes they were.
    fn take_apart(&mut self, bytes: &[u8], heard: &mut Vec<Heard>) -> Result<usize, WireError> {
        let mut taken = 0;
        while let Some(head) = Head::read(&bytes[taken..]) {
            if head.payload_bytes > frame::PAYLOAD_BYTES_MAX {
                return Err(WireError::Protocol {
                    what: "a frame above 16,384 bytes",
                });
            }
            let from = taken + frame::HEAD_BYTES;
            let Some(payload) = bytes.get(from..from + head.payload_bytes) else {
                break;
            };
            self.handle(head, payload, heard)?;
            taken = from + head.payload_bytes;
        }
        Ok(taken)
    }

    fn handle(
        &mut self,
        head: Head,
        payload: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Result<(), WireError> {
        match head.kind {
            kind::DATA => self.data(head, payload, heard)?,
            kind::HEADERS if head.flags & flag::END_STREAM != 0 => self.end(head.stream, heard),
            kind::RESET => self.end(head.stream, heard),
            kind::SETTINGS if head.flags & flag::ACK == 0 => self.settings(payload),
            kind::PING if head.flags & flag::ACK == 0 => {
                frame::write_ping_ack(&mut self.outbox, payload);
            }
            kind::WINDOW_UPDATE => self.widen(head.stream, payload)?,
            kind::GO_AWAY => {
                let code = number(payload.get(4..8));
                let reason =
                    String::from_utf8_lossy(payload.get(8..).unwrap_or_default()).into_owned();
                return Err(WireError::GoneAway { code, reason });
            }
            // First HEADERS of an answer, acknowledgements, and what the RFC says to skip.
            _ => {}
        }
        Ok(())
    }

    fn data(
        &mut self,
        head: Head,
        payload: &[u8],
        heard: &mut Vec<Heard>,
    ) -> Result<(), WireError> {
        self.received_bytes += payload.len() as i64;
        grant_when_half_used(&mut self.outbox, 0, &mut self.received_bytes);
        let content = unpad(head, payload)?;
        if let Some(stream) = self.streams.get_mut(&head.stream) {
            stream.received_bytes += payload.len() as i64;
            grant_when_half_used(&mut self.outbox, head.stream, &mut stream.received_bytes);
            stream.take(content, heard);
        }
        if head.flags & flag::END_STREAM != 0 {
            self.end(head.stream, heard);
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, heard: &mut Vec<Heard>) {
        if let Some(ended) = self.streams.remove(&stream) {
            heard.push(Heard::Ended {
                tag: ended.tag,
                messages: ended.messages,
            });
        }
    }

    fn settings(&mut self, payload: &[u8]) {
        if self.streams_max == 0 {
            // No setting = no limit (RFC 9113 section 6.5.2).
            self.streams_max = usize::MAX;
        }
        for entry in payload.chunks_exact(6) {
            let value = number(entry.get(2..6));
            match u16::from_be_bytes([entry[0], entry[1]]) {
                setting::STREAMS_MAX => self.streams_max = (value as usize).max(1),
                setting::STREAM_WINDOW => {
                    let change = i64::from(value) - self.stream_window;
                    self.stream_window = i64::from(value);
                    for stream in self.streams.values_mut() {
                        stream.send_window += change;
                    }
                }
                _ => {}
            }
        }
        frame::write_settings_ack(&mut self.outbox);
    }

    fn widen(&mut self, stream: u32, payload: &[u8]) -> Result<(), WireError> {
        let bytes = i64::from(number(payload.get(..4)) & 0x7fff_ffff);
        if bytes == 0 {
            return Err(WireError::Protocol {
                what: "a window update of 0 bytes",
            });
        }
        if stream == 0 {
            self.send_window += bytes;
        } else if let Some(open) = self.streams.get_mut(&stream) {
            open.send_window += bytes;
        }
        Ok(())
    }

    /// Whether a call with a message of this size can start now.
    fn has_room(&self, message_bytes: usize) -> bool {
        let bytes = window_bytes(message_bytes);
        self.streams.len() < self.streams_max
            && self.send_window >= bytes
            && self.stream_window >= bytes
    }

    fn start(&mut self, tag: u64, path: &'static str, message: &[u8], keep: bool, end: bool) {
        let stream = self.next_stream;
        self.next_stream += 2;
        let at = self.outbox.len();
        Head {
            payload_bytes: 0,
            kind: kind::HEADERS,
            flags: flag::END_HEADERS,
            stream,
        }
        .write(&mut self.outbox);
        self.fields.write(&mut self.outbox, &self.authority, path);
        // The block's length is known only now. It stays far below the 16,384 bytes of a frame.
        let block_bytes = (self.outbox.len() - at - frame::HEAD_BYTES) as u16;
        self.outbox[at + 1..at + 3].copy_from_slice(&block_bytes.to_be_bytes());
        frame::write_message(&mut self.outbox, stream, message, end);
        let bytes = window_bytes(message.len());
        self.send_window -= bytes;
        self.streams.insert(
            stream,
            Stream {
                tag,
                keep,
                messages: 0,
                partial: Vec::new(),
                skip_bytes: 0,
                send_window: self.stream_window - bytes,
                received_bytes: 0,
            },
        );
    }

    /// Starts what waited, in order, as far as it goes.
    fn start_waiting(&mut self) {
        while let Some(first) = self.waiting.pop_front() {
            if !self.has_room(first.message.len()) {
                self.waiting.push_front(first);
                return;
            }
            self.start(first.tag, first.path, &first.message, first.keep, true);
        }
    }
}

impl Stream {
    /// Takes in a piece of the call's bytes.
    fn take(&mut self, mut content: &[u8], heard: &mut Vec<Heard>) {
        while !content.is_empty() {
            if self.skip_bytes > 0 {
                let skipped = self.skip_bytes.min(content.len());
                self.skip_bytes -= skipped;
                content = &content[skipped..];
                if self.skip_bytes == 0 {
                    self.messages += 1;
                }
                continue;
            }
            if !self.keep && self.partial.is_empty() && content.len() >= 5 {
                // The usual case: nothing is copied of an answer that is only counted.
                self.skip(number(content.get(1..5)) as usize);
                content = &content[5..];
                continue;
            }
            let wanted = match self.partial.get(1..5) {
                None => 5 - self.partial.len(),
                Some(length) => 5 + number(Some(length)) as usize - self.partial.len(),
            };
            let (piece, rest) = content.split_at(wanted.min(content.len()));
            self.partial.extend_from_slice(piece);
            content = rest;
            self.complete(heard);
        }
    }

    /// Leaves out the message of `length` bytes that follows.
    fn skip(&mut self, length: usize) {
        self.skip_bytes = length;
        if length == 0 {
            self.messages += 1;
        }
    }

    /// Hands out or drops the message whose bytes are there.
    fn complete(&mut self, heard: &mut Vec<Heard>) {
        let Some(length) = self.partial.get(1..5) else {
            return;
        };
        let length = number(Some(length)) as usize;
        if !self.keep {
            self.partial.clear();
            self.skip(length);
        } else if self.partial.len() == 5 + length {
            let bytes = self.partial[5..].to_vec();
            self.partial.clear();
            self.messages += 1;
            heard.push(Heard::Message {
                tag: self.tag,
                bytes,
            });
        }
    }
}

/// What a message takes of a window: its gRPC prefix counts.
fn window_bytes(message_bytes: usize) -> i64 {
    message_bytes as i64 + 5
}

/// Gives the peer its window back once half is used: a WINDOW_UPDATE per gigabyte, not per frame.
fn grant_when_half_used(outbox: &mut Vec<u8>, stream: u32, received_bytes: &mut i64) {
    if *received_bytes > frame::WINDOW_BYTES_MAX / 2 {
        frame::write_window_update(outbox, stream, *received_bytes as u32);
        *received_bytes = 0;
    }
}

/// Content of a DATA frame without its padding (RFC 9113 section 6.1).
fn unpad(head: Head, payload: &[u8]) -> Result<&[u8], WireError> {
    if head.flags & flag::PADDED == 0 {
        return Ok(payload);
    }
    let broken = WireError::Protocol {
        what: "more padding than frame",
    };
    let Some((padding, rest)) = payload.split_first() else {
        return Err(broken);
    };
    match rest.len().checked_sub(usize::from(*padding)) {
        Some(content) => Ok(&rest[..content]),
        None => Err(broken),
    }
}

/// A big-endian number of four bytes; 0 where the peer cut its frame short.
fn number(bytes: Option<&[u8]>) -> u32 {
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
