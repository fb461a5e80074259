//! Request header fields in HPACK (RFC 7541): spelled out once per connection, then one byte each.
//!
//! That is what real gRPC clients do, so a server is asked to decode what it would in earnest.
//! Responses' fields are not decoded at all: nothing here needs them, and skipping costs nothing.

/// Entries of the static table that requests use (RFC 7541 appendix A).
mod fixed {
    pub(super) const AUTHORITY: u8 = 1;
    pub(super) const METHOD_POST: u8 = 3;
    pub(super) const PATH: u8 = 4;
    pub(super) const SCHEME_HTTP: u8 = 6;
    pub(super) const CONTENT_TYPE: u8 = 31;
    pub(super) const USER_AGENT: u8 = 58;
}

/// First index of the dynamic table (RFC 7541 section 2.3.3).
const DYNAMIC_FIRST: usize = 62;

/// Bytes of dynamic table both sides start with (RFC 9113 section 6.5.2), and what one entry
/// costs beside its text (RFC 7541 section 4.1).
const TABLE_BYTES_MAX: usize = 4096;
const ENTRY_BYTES: usize = 32;

/// What this client remembers of the table that the server keeps for it.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// Entries in the order they were sent: the last one has the lowest index.
    entries: Vec<(u8, String)>,
    /// Bytes the entries count for. Invariant: at most [`TABLE_BYTES_MAX`], so none is ever evicted.
    bytes: usize,
}

impl Fields {
    /// Appends the block of a gRPC request for `path` at `authority`.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, authority: &str, path: &str) {
        out.push(0x80 | fixed::METHOD_POST);
        out.push(0x80 | fixed::SCHEME_HTTP);
        self.field(out, fixed::AUTHORITY, authority);
        self.field(out, fixed::PATH, path);
        self.field(out, fixed::CONTENT_TYPE, "application/grpc");
        // 0 = a name the static table does not have; the only one needed is `te`.
        self.field(out, 0, "trailers");
        self.field(out, fixed::USER_AGENT, "muster-bench");
    }

    fn field(&mut self, out: &mut Vec<u8>, name: u8, value: &str) {
        let found = self
            .entries
            .iter()
            .rposition(|(n, v)| *n == name && v == value);
        if let Some(position) = found {
            let index = DYNAMIC_FIRST + (self.entries.len() - 1 - position);
            // Below 127 the index fits into the first byte (RFC 7541 section 5.1); a connection
            // of this client sends far fewer than 65 different fields.
            out.push(0x80 | index as u8);
            return;
        }
        let entry_bytes = ENTRY_BYTES + "te".len() + name_bytes(name) + value.len();
        let remember = self.bytes + entry_bytes <= TABLE_BYTES_MAX && self.entries.len() < 60;
        // With incremental indexing (section 6.2.1), or without where the table is full (6.2.2).
        if remember {
            out.push(0x40 | name);
            self.bytes += entry_bytes;
            self.entries.push((name, value.to_owned()));
        } else if name < 15 {
            out.push(name);
        } else {
            out.extend_from_slice(&[15, name - 15]);
        }
        if name == 0 {
            text(out, "te");
        }
        text(out, value);
    }
}

/// Length of a static name; an upper bound is enough, it only guards the table's size.
fn name_bytes(name: u8) -> usize {
    if name == 0 { 0 } else { "content-type".len() }
}

/// A string without Huffman coding (RFC 7541 section 5.2).
fn text(out: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 127 {
        out.push(length as u8);
    } else {
        out.push(127);
        length -= 127;
        while length >= 128 {
            out.push((length % 128) as u8 | 0x80);
            length /= 128;
        }
        out.push(length as u8);
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_request_is_seven_bytes() {
        let mut fields = Fields::default();
        let mut first = Vec::new();
        fields.write(&mut first, "127.0.0.1:2379", "/etcdserverpb.KV/Put");
        let mut second = Vec::new();
        fields.write(&mut second, "127.0.0.1:2379", "/etcdserverpb.KV/Put");
        assert!(first.len() > 60);
        // Five remembered fields, the first sent has the highest index.
        assert_eq!(
            second,
            [
                0x83,
                0x86,
                0x80 | 66,
                0x80 | 65,
                0x80 | 64,
                0x80 | 63,
                0x80 | 62
            ]
        );
    }

    #[test]
    fn another_path_shifts_the_indices() {
        let mut fields = Fields::default();
        let mut out = Vec::new();
        fields.write(&mut out, "a", "/one");
        out.clear();
        fields.write(&mut out, "a", "/two");
        assert_eq!(out[2], 0x80 | 66);
        assert_eq!(&out[3..9], [0x40 | fixed::PATH, 4, b'/', b't', b'w', b'o']);
        assert_eq!(&out[9..], [0x80 | 65, 0x80 | 64, 0x80 | 63]);
    }

    #[test]
    fn long_texts_have_a_long_length() {
        let mut out = Vec::new();
        text(&mut out, &"x".repeat(127 + 300));
        assert_eq!(&out[..3], [127, (300 % 128) as u8 | 0x80, 2]);
    }

    #[test]
    fn a_full_table_is_left_alone() {
        let mut fields = Fields::default();
        let mut out = Vec::new();
        for number in 0..200 {
            fields.write(&mut out, "a", &format!("/service/{number}"));
        }
        assert!(fields.bytes <= TABLE_BYTES_MAX);
        assert!(fields.entries.len() <= 60);
    }
}
