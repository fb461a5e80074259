//! Numbers in few bytes: LEB128 varints, and a reader that shares the buffer it reads.
//!
//! Owns the byte form of integers and of length-prefixed byte strings for commands, records and
//! snapshots. Knows nothing of what they mean.

use bytes::Bytes;

/// A 64-bit number takes at most ten groups of seven bits.
const VARINT_BYTES_MAX: usize = 10;

/// Appends `value`, seven bits per byte, lowest first; the top bit says that more follow.
pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// As [`put_u64`], of the two's complement: negative numbers are legal but take ten bytes.
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, value as u64);
}

/// Bytes that [`put_u64`] appends.
pub(crate) const fn len_u64(value: u64) -> usize {
    // One byte per started group of seven bits; zero takes one as well.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends the length of `bytes` and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a number at `*at` and moves `at` behind it; `None` (with `at` unmoved) when it is cut off
/// or too long. Only the shortest form is a number, so that equal bytes mean equal values and back.
pub(crate) fn read_u64(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let rest = bytes.get(*at..)?;
    let mut value = 0u64;
    for (position, &byte) in rest.iter().take(VARINT_BYTES_MAX).enumerate() {
        let group = u64::from(byte & 0x7f);
        if position == VARINT_BYTES_MAX - 1 && group > 1 {
            return None;
        }
        value |= group << (7 * position);
        if byte & 0x80 == 0 {
            if byte == 0 && position > 0 {
                return None;
            }
            *at += position + 1;
            return Some(value);
        }
    }
    None
}

/// Reads through a shared buffer; slices it hands out share it.
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Offset of the next unread byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes not yet read.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        read_u64(&self.bytes, &mut self.at)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.u64().map(|value| value as i64)
    }

    /// The next `len` bytes, sharing the buffer.
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        if len > self.left() {
            return None;
        }
        let taken = self.bytes.slice(self.at..self.at + len);
        self.at += len;
        Some(taken)
    }

    /// A length and that many bytes.
    pub(crate) fn bytes(&mut self) -> Option<Bytes> {
        let start = self.at;
        let taken = self
            .u64()
            .and_then(|len| usize::try_from(len).ok())
            .and_then(|len| self.take(len));
        if taken.is_none() {
            self.at = start;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_comes_back() {
        let table: &[(u64, usize)] = &[
            (0, 1),
            (1, 1),
            (0x7f, 1),
            (0x80, 2),
            (0x3fff, 2),
            (0x4000, 3),
            (u64::from(u32::MAX), 5),
            (i64::MAX as u64, 9),
            (1 << 63, 10),
            (u64::MAX, 10),
        ];
        for &(value, len) in table {
            let mut out = vec![0xaa];
            put_u64(&mut out, value);
            assert_eq!((out.len() - 1, len_u64(value)), (len, len), "{value}");
            let mut at = 1;
            assert_eq!(read_u64(&out, &mut at), Some(value));
            assert_eq!(at, out.len());
        }
    }

    #[test]
    fn cut_long_and_padded_forms_are_no_numbers() {
        let table: &[&[u8]] = &[
            &[],
            &[0x80],
            &[0x80, 0x00],
            &[0xff; 9],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ];
        for bytes in table {
            let mut at = 0;
            assert_eq!(read_u64(bytes, &mut at), None, "{bytes:?}");
            assert_eq!(at, 0);
        }
    }

    #[test]
    fn a_length_beyond_the_end_takes_nothing() {
        let mut reader = Reader::new(Bytes::from_static(&[3, b'a', b'b']));
        assert_eq!(reader.bytes(), None);
        assert_eq!(reader.at(), 0);
    }
}
