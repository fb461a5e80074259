//! Half-open key ranges and their normal form: sorted, disjoint, not touching.
//!
//! With ranges in normal form each key belongs to exactly one watcher, so all events of a key arrive through one
//! ordered stream.

use bytes::Bytes;

/// Keys from `start` (inclusive) to `end` (exclusive; `None` means to the last key there can be).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// First key of the range.
    pub start: Bytes,
    /// First key behind the range, `None` for an open end.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Exactly one key.
    pub fn key(key: &[u8]) -> Self {
        let mut end = key.to_vec();
        end.push(0);
        Self {
            start: Bytes::copy_from_slice(key),
            end: Some(end.into()),
        }
    }

    /// All keys that begin with `prefix`; an empty prefix means all keys.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self {
            start: Bytes::copy_from_slice(prefix),
            end: prefix_end(prefix),
        }
    }

    /// The key itself and everything below it as a path: `/a` and `/a/…`, but not `/ab`. With a slash at the end only
    /// what is below.
    ///
    /// One range also where two would be exact: `/a-b` sorts between `/a` and `/a/` and comes along, which the reader
    /// leaves out. With two watches every change would have to wait for a fence.
    pub fn tree(path: &str) -> Self {
        let clean = path.trim_end_matches('/');
        if clean.is_empty() || clean.len() < path.len() {
            return Self::prefix(format!("{clean}/").as_bytes());
        }
        // The character behind the slash.
        Self {
            start: Bytes::copy_from_slice(path.as_bytes()),
            end: Some(format!("{path}0").into()),
        }
    }

    /// True if `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && self.end.as_ref().is_none_or(|end| key < &end[..])
    }

    /// `key` and `range_end` as the etcd messages spell this range.
    pub fn to_wire(&self) -> (Vec<u8>, Vec<u8>) {
        // An empty key is not allowed on the wire; one zero byte is the smallest key there is.
        let key = if self.start.is_empty() {
            vec![0]
        } else {
            self.start.to_vec()
        };
        let range_end = match &self.end {
            None => vec![0],
            Some(end)
                if end.len() == key.len() + 1 && end.starts_with(&key) && end.ends_with(&[0]) =>
            {
                Vec::new()
            }
            Some(end) => end.to_vec(),
        };
        (key, range_end)
    }

    /// Brings ranges into normal form: sorted, empty ones dropped, overlapping and touching ones joined.
    pub fn normalise(mut ranges: Vec<Self>) -> Vec<Self> {
        ranges.retain(|range| range.end.as_ref().is_none_or(|end| *end > range.start));
        ranges.sort();
        let mut joined: Vec<Self> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| range.start <= *end) => {
                    last.end = match (last.end.take(), range.end) {
                        (Some(a), Some(b)) => Some(a.max(b)),
                        _ => None,
                    };
                }
                _ => joined.push(range),
            }
        }
        joined
    }
}

/// The first key behind all keys that begin with `prefix`; `None` when there is none (empty, or all bytes 0xff).
fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let keep = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ranges: &[KeyRange]) -> Vec<String> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).replace('\0', "~");
        ranges
            .iter()
            .map(|range| {
                format!(
                    "{}..{}",
                    text(&range.start),
                    range.end.as_ref().map_or(String::new(), text)
                )
            })
            .collect()
    }

    #[test]
    fn wire_form_of_each_kind() {
        for (range, key, end) in [
            (KeyRange::key(b"/a"), &b"/a"[..], &b""[..]),
            (KeyRange::prefix(b"/a/"), b"/a/", b"/a0"),
            (KeyRange::prefix(b""), b"\0", b"\0"),
            (KeyRange::prefix(b"a\xff"), b"a\xff", b"b"),
            (KeyRange::prefix(b"\xff"), b"\xff", b"\0"),
        ] {
            assert_eq!(range.to_wire(), (key.to_vec(), end.to_vec()), "{range:?}");
        }
    }

    #[test]
    fn normal_form() {
        let tree = |path| KeyRange::tree(path);
        for (given, wanted) in [
            (vec![tree("/a")], vec!["/a../a0"]),
            (vec![tree("/a/")], vec!["/a/../a0"]),
            (vec![tree("/")], vec!["/..0"]),
            (vec![tree("/a"), tree("/a/b")], vec!["/a../a0"]),
            (
                vec![tree("/b"), tree("/a/"), tree("/b")],
                vec!["/a/../a0", "/b../b0"],
            ),
            (
                vec![KeyRange::prefix(b"a"), KeyRange::prefix(b"b")],
                vec!["a..c"],
            ),
            (
                vec![KeyRange::prefix(b"a"), KeyRange::prefix(b"")],
                vec![".."],
            ),
            (
                vec![KeyRange {
                    start: Bytes::from("b"),
                    end: Some(Bytes::from("a")),
                }],
                vec![],
            ),
        ] {
            assert_eq!(shown(&KeyRange::normalise(given)), wanted);
        }
    }

    #[test]
    fn a_tree_holds_what_is_below_a_path() {
        let inside = |path, key: &str| KeyRange::tree(path).contains(key.as_bytes());
        assert!(inside("/a", "/a") && inside("/a", "/a/b") && inside("/a", "/a/"));
        assert!(!inside("/a", "/ab") && !inside("/a", "/") && !inside("/a", "/a0"));
        assert!(!inside("/a/", "/a") && inside("/a/", "/a/b") && inside("/", "/x"));
    }
}
