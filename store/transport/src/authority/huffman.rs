//! Huffman-coded texts of HTTP/2 headers (RFC 7541, appendix B), as far as they are printable ASCII.

/// The code is canonical: by length in bits, then by value. So the symbols of each length, in order,
/// are the whole table. Longer codes are for bytes that stand in no name of a host.
const SYMBOLS: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

/// The text, or nothing when it holds a byte outside the table.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 2);
    let mut code = 0_u32;
    let mut bits = 0_u32;
    for byte in coded {
        for shift in (0..8).rev() {
            code = code << 1 | u32::from(byte >> shift & 1);
            bits += 1;
            if let Some(symbol) = symbol(code, bits) {
                text.push(symbol);
                (code, bits) = (0, 0);
            } else if bits > 15 {
                return None;
            }
        }
    }
    // What is left over is padding: the first bits of the longest code, which are all ones.
    (bits < 8 && code == (1 << bits) - 1).then_some(text)
}

/// The symbol whose code this is.
fn symbol(code: u32, bits: u32) -> Option<u8> {
    let mut first = 0;
    let mut length = 0;
    for (symbols_bits, symbols) in SYMBOLS {
        first <<= symbols_bits - length;
        length = symbols_bits;
        if bits == length {
            let at = code.checked_sub(first)?;
            return symbols.get(at as usize).copied();
        }
        first += symbols.len() as u32;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn examples_of_the_standard() {
        for (coded, wanted) in [
            (&b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"[..], "www.example.com"),
            (b"\xa8\xeb\x10\x64\x9c\xbf", "no-cache"),
            (b"\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f", "custom-key"),
            (b"\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf", "custom-value"),
            (b"\x64\x02", "302"),
            (
                b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                b"\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3",
                "https://www.example.com",
            ),
        ] {
            assert_eq!(decode(coded).as_deref(), Some(wanted.as_bytes()));
        }
        assert_eq!(decode(b"").as_deref(), Some(&b""[..]));
        for broken in [&b"\x00\x00\xff\xff\xff\xff"[..], b"\xff", b"\x64\x00"] {
            assert_ne!(decode(broken).as_deref(), Some(&b"302"[..]), "{broken:?}");
        }
        assert_eq!(decode(b"\xff\xff\xff\xff"), None);
    }
}
