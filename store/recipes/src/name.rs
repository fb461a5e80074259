//! Names that become one part of a key: of a queue, a barrier, a task, a group and who is in it.

use std::fmt;
use std::str::FromStr;

/// Longest name: long enough for every DNS name, as the registry's names of services.
pub const BYTES_MAX: usize = 253;

/// A part of a key. Invariant: not empty, at most [`BYTES_MAX`] bytes, no slash, no blank and no control character; and
/// neither `.` nor `..` nor a leading `_`, which paths of etcd 2 give a meaning of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let odd = |char: char| char.is_control() || char.is_whitespace();
        let why = if text.is_empty() {
            "is empty"
        } else if text.len() > BYTES_MAX {
            "is longer than 253 bytes"
        } else if text.contains('/') {
            "contains a slash"
        } else if text.chars().any(odd) {
            "contains blanks or control characters"
        } else if text == "." || text == ".." || text.starts_with('_') {
            "has a meaning of its own in paths"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(NameError {
            text: text.chars().take(80).collect(),
            why,
        })
    }
}

/// A text that cannot be part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("name {text:?} {why}")]
pub struct NameError {
    /// The text, cut to 80 characters.
    text: String,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_part_of_a_key() {
        let long = "x".repeat(254);
        for text in ["", "a/b", "a b", "a\n", ".", "..", "_a", &long] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        for text in ["a", "job-1", "über", "a.b", &long[1..]] {
            assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        }
    }
}
