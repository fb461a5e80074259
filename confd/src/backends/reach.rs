//! Pure: Key ranges in the words of stores that know none: beginnings of keys, and paths.

use store_client::mirror::KeyRange;

/// What all keys of a range begin with. Other keys may begin with it, too.
pub(super) fn beginning(range: &KeyRange) -> String {
    let start = &range.start[..];
    let common = match &range.end {
        // All behind the start: only what they share with the last key there can be, which is nothing.
        None => 0,
        Some(end) => {
            let same = start.iter().zip(end.iter()).take_while(|(a, b)| a == b);
            let same = same.count();
            // `/a/` to `/a0`: the end is the first that begins otherwise.
            let next = start.get(same).map(|byte| byte.saturating_add(1));
            let whole = start.len() == same + 1 && end.len() == same + 1;
            same + usize::from(whole && end.get(same).copied() == next)
        }
    };
    // A character that is cut in two belongs to neither side.
    let mut common = common;
    loop {
        match std::str::from_utf8(&start[..common]) {
            Ok(text) => return text.to_owned(),
            Err(error) => common = error.valid_up_to(),
        }
    }
}

/// The path at and below which all keys of a range lie; the root is `/`.
pub(super) fn root(range: &KeyRange) -> String {
    let start = range.start.as_ref();
    let tree = start.strip_suffix(b"/").unwrap_or(start);
    let end = [tree, b"0"].concat();
    let is_tree = range.end.as_ref().is_some_and(|held| held[..] == end[..]);
    let path = match std::str::from_utf8(tree) {
        Ok(path) if is_tree => path.to_owned(),
        _ => {
            let beginning = beginning(range);
            let slash = beginning.rfind('/').unwrap_or(0);
            beginning[..slash].to_owned()
        }
    };
    match path.as_str() {
        "" => "/".to_owned(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(start: &str, end: &str) -> KeyRange {
        KeyRange {
            start: start.to_owned().into(),
            end: Some(end.to_owned().into()),
        }
    }

    #[test]
    fn ranges_in_other_words() {
        for (range, starts, path) in [
            (KeyRange::tree("/app/db"), "/app/db", "/app/db"),
            (KeyRange::tree("/app/db/"), "/app/db/", "/app/db"),
            (KeyRange::tree("/"), "/", "/"),
            (KeyRange::prefix(b""), "", "/"),
            (KeyRange::prefix(b"/a/b"), "/a/b", "/a"),
            (between("/app/a", "/app/c0"), "/app/", "/app"),
            (between("/a", "/c0"), "/", "/"),
            (KeyRange::tree("/ä"), "/ä", "/ä"),
            (between("/é", "/ê0"), "/", "/"),
        ] {
            assert_eq!(beginning(&range), starts, "{range:?}");
            assert_eq!(root(&range), path, "{range:?}");
        }
    }

    #[test]
    fn what_is_in_a_range_begins_so_and_lies_there() {
        let keys = ["/a", "/a/b", "/a/b/c", "/a-b", "/ab", "/b", "/a/bc"];
        for range in [
            KeyRange::tree("/a"),
            KeyRange::tree("/a/"),
            KeyRange::tree("/a/b"),
            between("/a/b", "/ab0"),
        ] {
            for key in keys.iter().filter(|key| range.contains(key.as_bytes())) {
                assert!(key.starts_with(&beginning(&range)), "{key} {range:?}");
                // What sorts between a directory and its content comes along in a range and is nobody's.
                if !key.starts_with("/a-") {
                    assert!(key.starts_with(root(&range).trim_end_matches('/')), "{key}");
                }
            }
        }
    }
}
