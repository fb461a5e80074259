//! Lets clients in that name the server in a way HTTP/2 does not allow.
//!
//! Go clients of etcd 3.4 and 3.5.0 put what they were configured with into `:authority`, such as
//! `http://127.0.0.1:2379` or `#initially=[…]` (etcd issue 13192). etcd's server takes it; the `h2`
//! crate resets such requests before anybody sees them (h2 issue 442, closed). So the bytes are
//! looked at on their way in, and an authority that `h2` would not parse is replaced by [`STAND_IN`].
//!
//! Header blocks are stateful, so nothing else may change. A client sends its authority as a literal
//! under the fixed name index 1, usually once per connection, and refers to its table entry later.
//! The replacement keeps the kind of literal, so both tables get an entry at the same place; it is
//! not longer, so ours never forgets an entry the client still refers to.
//!
//! ```text
//! frame header            header block
//! len=61 HEADERS flags id  83 86 45 8b.. 41 8e 0b e2 5c.. 5f 8b..
//!  └ less by the difference               │  └──────┴ length and text, replaced by 01 '-'
//!                                         └ literal, to be indexed, name 1 = :authority
//! ```

mod huffman;

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What an authority that cannot be one is replaced by, as a literal of one byte.
const STAND_IN: &[u8] = b"\x01-";

/// How an HTTP/2 connection begins (RFC 9113, 3.4). Anything else is let through unseen.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream of a frame (RFC 9113, 4.1).
const FRAME_HEAD_BYTES: usize = 9;

/// Type of a frame that begins a header block.
const HEADERS: u8 = 1;
/// The block ends in this frame. Blocks over several frames are left alone.
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Largest frame we said we take (RFC 9113, 6.5.2, and the builder's default); `h2` ends the
/// connection on a larger one, so there is no need to hold it back.
const FRAME_BYTES_MAX: usize = 16_384;

/// A connection whose incoming requests have an authority that can be parsed.
pub struct Tolerant<S> {
    inner: S,
    filter: Filter,
    /// Bytes to be read next; empty but after a replacement or a header frame that came in parts.
    ready: Vec<u8>,
    /// How far into `ready` the reader is.
    read: usize,
    /// Until when it must be known which protocol is spoken; nobody else waits for that. Taken away once it is.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Tolerant<S> {
    /// The first bytes, as far as they tell HTTP/2 from anything else, must come within `patience`.
    #[must_use]
    pub fn new(inner: S, patience: Duration) -> Self {
        Self {
            inner,
            filter: Filter::default(),
            ready: Vec::new(),
            read: 0,
            until: Some(Box::pin(sleep(patience))),
        }
    }

    /// Nothing can be read at the moment: an error when that has lasted too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.filter.at, At::Preface(_)) {
            self.until = None;
        }
        let Some(until) = &mut self.until else {
            return Poll::Pending;
        };
        until
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tolerant<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.read < this.ready.len() {
                let part = &this.ready[this.read..];
                let part = &part[..part.len().min(buf.remaining())];
                buf.put_slice(part);
                this.read += part.len();
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.read = 0;
            let before = buf.filled().len();
            match Pin::new(&mut this.inner).poll_read(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => return this.wait(cx),
            }
            let came = &buf.filled()[before..];
            if came.is_empty() {
                // The end. What was held back is the begin of a frame that will not be finished.
                std::mem::swap(&mut this.ready, &mut this.filter.held);
                if this.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if this.filter.passes(came) {
                return Poll::Ready(Ok(()));
            }
            this.filter.pass(came, &mut this.ready);
            buf.set_filled(before);
        }
    }
}

// Vectored writes are not passed on: where they are offered, `h2` writes after every payload of 256
// bytes and more; where not, it gathers answers up to 1,024 bytes and writes once. For reads of
// 256-byte values that is 11 µs of CPU instead of 17 on a server that does nothing else.
impl<S: AsyncWrite + Unpin> AsyncWrite for Tolerant<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Where in the stream of bytes we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So many bytes into the preface.
    Preface(usize),
    /// Between two frames, or inside one with so many bytes to go that nobody need look at.
    Frames(usize),
    /// On a connection that is none of ours to look at.
    Elsewhere,
}

/// Looks at what comes in.
struct Filter {
    at: At,
    /// A frame head, or a header frame, that has not come in whole. Bounded by [`FRAME_BYTES_MAX`]
    /// and one read.
    held: Vec<u8>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            at: At::Preface(0),
            held: Vec::new(),
        }
    }
}

/// What stands at the begin of some bytes of the stream.
enum Piece {
    /// So many bytes that pass as they are.
    Pass(usize),
    /// A header frame with an authority to be replaced: its length, and the literal's place in it.
    Replace(usize, Range<usize>),
    /// Not enough to say.
    More,
}

impl Filter {
    /// True, having moved on, when all these bytes pass as they are: nearly always.
    fn passes(&mut self, bytes: &[u8]) -> bool {
        if !self.held.is_empty() {
            return false;
        }
        let begin = self.at;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.next(rest) {
                Piece::Pass(pass) => rest = &rest[pass..],
                Piece::Replace(..) | Piece::More => {
                    self.at = begin;
                    return false;
                }
            }
        }
        true
    }

    /// Appends to `out` what may be read of these bytes and of those held back before.
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while !rest.is_empty() {
            match self.next(rest) {
                Piece::Pass(pass) => {
                    out.extend_from_slice(&rest[..pass]);
                    rest = &rest[pass..];
                }
                Piece::Replace(frame, literal) => {
                    let shorter = frame - FRAME_HEAD_BYTES - literal.len() + STAND_IN.len();
                    // A frame's length has three bytes.
                    out.extend_from_slice(&(shorter as u32).to_be_bytes()[1..]);
                    out.extend_from_slice(&rest[3..literal.start]);
                    out.extend_from_slice(STAND_IN);
                    out.extend_from_slice(&rest[literal.end..frame]);
                    rest = &rest[frame..];
                }
                Piece::More => {
                    self.held = rest.to_vec();
                    return;
                }
            }
        }
    }

    /// What `bytes`, which are not empty, begin with; moves on past it.
    fn next(&mut self, bytes: &[u8]) -> Piece {
        match self.at {
            At::Elsewhere => Piece::Pass(bytes.len()),
            At::Preface(seen) => {
                let part = &PREFACE[seen..];
                let part = &part[..part.len().min(bytes.len())];
                self.at = if !bytes.starts_with(part) {
                    At::Elsewhere
                } else if seen + part.len() == PREFACE.len() {
                    At::Frames(0)
                } else {
                    At::Preface(seen + part.len())
                };
                Piece::Pass(part.len())
            }
            At::Frames(0) => self.frame(bytes),
            At::Frames(to_go) => {
                let pass = to_go.min(bytes.len());
                self.at = At::Frames(to_go - pass);
                Piece::Pass(pass)
            }
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> Piece {
        let Some(&[a, b, c, kind, flags, ..]) = bytes.first_chunk::<FRAME_HEAD_BYTES>() else {
            return Piece::More;
        };
        let payload = u32::from_be_bytes([0, a, b, c]) as usize;
        let frame = FRAME_HEAD_BYTES + payload;
        if kind != HEADERS || flags & END_HEADERS == 0 || payload > FRAME_BYTES_MAX {
            let pass = frame.min(bytes.len());
            self.at = At::Frames(frame - pass);
            return Piece::Pass(pass);
        }
        let Some(whole) = bytes.get(..frame) else {
            return Piece::More;
        };
        match impossible_authority(whole, flags) {
            Some(literal) => Piece::Replace(frame, literal),
            None => Piece::Pass(frame),
        }
    }
}

/// Where in a header frame an authority stands that cannot be parsed. Nothing for a frame that is
/// broken: that is for `h2` to say.
fn impossible_authority(frame: &[u8], flags: u8) -> Option<Range<usize>> {
    let mut at = FRAME_HEAD_BYTES;
    let mut end = frame.len();
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*frame.get(at)?))?;
        at += 1;
    }
    if flags & PRIORITY != 0 {
        at += 5;
    }
    let mut fields = Fields {
        block: frame.get(..end)?,
        at,
    };
    let (huffman, literal, text) = fields.authority()?;
    let text = &frame[text];
    let possible = if huffman {
        huffman::decode(text).is_some_and(|text| Authority::try_from(&text[..]).is_ok())
    } else {
        Authority::try_from(text).is_ok()
    };
    (!possible).then_some(literal)
}

/// Walks over the fields of a header block without understanding more than where they end
/// (RFC 7541, section 6).
struct Fields<'b> {
    block: &'b [u8],
    at: usize,
}

impl Fields<'_> {
    /// The value of the field whose name is number 1: whether it is Huffman-coded, its place with and
    /// without its length.
    fn authority(&mut self) -> Option<(bool, Range<usize>, Range<usize>)> {
        while let Some(&first) = self.block.get(self.at) {
            let name_bits = match first {
                // Indexed field, or a new size of the table: a number and nothing else.
                0x80.. => {
                    self.number(7)?;
                    continue;
                }
                0x20..0x40 => {
                    self.number(5)?;
                    continue;
                }
                0x40..0x80 => 6,
                0x00..0x20 => 4,
            };
            let name = self.number(name_bits)?;
            if name == 0 {
                self.text()?;
            }
            let begin = self.at;
            let (huffman, text) = self.text()?;
            if name == 1 {
                return Some((huffman, begin..self.at, text));
            }
        }
        None
    }

    /// A number in the low bits of the next byte and, if they are all ones, in those that follow.
    fn number(&mut self, bits: u32) -> Option<usize> {
        let mask = (1_usize << bits) - 1;
        let mut number = usize::from(*self.block.get(self.at)?) & mask;
        self.at += 1;
        if number < mask {
            return Some(number);
        }
        // Three more bytes say more than any frame holds.
        for shift in [0, 7, 14] {
            let byte = usize::from(*self.block.get(self.at)?);
            self.at += 1;
            number += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A text: whether it is Huffman-coded, and its place.
    fn text(&mut self) -> Option<(bool, Range<usize>)> {
        let huffman = self.block.get(self.at)? & 0x80 != 0;
        let length = self.number(7)?;
        let text = self.at..self.at.checked_add(length)?;
        self.block.get(text.clone())?;
        self.at = text.end;
        Some((huffman, text))
    }
}

#[cfg(test)]
mod tests;
