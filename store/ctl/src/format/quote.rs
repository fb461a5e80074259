//! Bytes as text in double quotes, as Go's `%q` writes them: what can be printed as it is, the rest escaped.

use std::fmt::Write as _;

/// `bytes` in quotes.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut text, character);
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

fn push(text: &mut String, character: char) {
    let number = u32::from(character);
    let _ = match character {
        '"' | '\\' => write!(text, "\\{character}"),
        '\x07' => write!(text, "\\a"),
        '\x08' => write!(text, "\\b"),
        '\x0c' => write!(text, "\\f"),
        '\n' => write!(text, "\\n"),
        '\r' => write!(text, "\\r"),
        '\t' => write!(text, "\\t"),
        '\x0b' => write!(text, "\\v"),
        '\0'..='\x1f' | '\x7f' => write!(text, "\\x{number:02x}"),
        ' '..='~' => write!(text, "{character}"),
        _ if character.is_control() || character.is_whitespace() => {
            if number < 0x1_0000 {
                write!(text, "\\u{number:04x}")
            } else {
                write!(text, "\\U{number:08x}")
            }
        }
        _ => write!(text, "{character}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        for (bytes, text) in [
            (&b"a b"[..], r#""a b""#),
            (b"\xff\x00z", r#""\xff\x00z""#),
            (b"x\n\"y\\", r#""x\n\"y\\""#),
            ("é\u{2028}\x7f".as_bytes(), r#""é\u2028\x7f""#),
        ] {
            assert_eq!(quoted(bytes), text);
        }
    }
}
