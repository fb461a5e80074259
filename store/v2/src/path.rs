//! Paths of version 2 and the keys they stand for.

use bytes::Bytes;
use store_machine::request::{KeyRange, RangeEnd};

/// An absolute, clean path: `/`, or names that are not empty, `.` or `..`, each after a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// Cleans what a URL says as Go's `path.Clean` does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name => names.push(name),
            }
        }
        Self(format!("/{}", names.join("/")))
    }

    /// Whether it is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One name further.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let slash = if self.is_root() { "" } else { "/" };
        Self(format!("{}{slash}{name}", self.0))
    }

    /// The key of the file.
    #[must_use]
    pub fn key(&self) -> Bytes {
        Bytes::from(self.0.clone())
    }

    /// The key that a directory has when it was made: with a slash at the end.
    #[must_use]
    pub fn marker(&self) -> Bytes {
        if self.is_root() {
            self.key()
        } else {
            Bytes::from(format!("{}/", self.0))
        }
    }

    /// All keys of the directory, its marker first.
    #[must_use]
    pub fn below(&self) -> KeyRange {
        let start = self.marker();
        let mut end = start.to_vec();
        // The byte behind the slash: the first that is not below.
        if let Some(last) = end.last_mut() {
            *last = b'/' + 1;
        }
        KeyRange {
            start,
            end: RangeEnd::Before(end.into()),
        }
    }

    /// The directories that lead to it, the uppermost first, without `/` and itself.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = Self> {
        let slashes = self.0.char_indices().skip(1);
        let ends = slashes.filter(|(_, character)| *character == '/');
        ends.map(|(at, _)| Self(self.0[..at].to_owned()))
    }

    /// The path a key stands for, and whether it is a directory's marker; nothing for keys that no path names.
    pub(crate) fn of_key(key: &[u8]) -> Option<(Self, bool)> {
        let text = std::str::from_utf8(key).ok()?;
        let rest = text.strip_prefix('/')?;
        let (names, marker) = match rest.strip_suffix('/') {
            Some(names) => (names, true),
            None => (rest, false),
        };
        let clean = names
            .split('/')
            .all(|name| !matches!(name, "" | "." | ".."));
        clean.then(|| (Self(format!("/{names}")), marker))
    }

    /// Whether a name below `base` is hidden: begins with an underscore.
    pub(crate) fn is_hidden_below(&self, base: &Self) -> bool {
        let start = base.marker();
        let rest = self.0.as_bytes().strip_prefix(&start[..]);
        rest.is_some_and(|rest| {
            rest.split(|byte| *byte == b'/')
                .any(|name| name.first() == Some(&b'_'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (text, wanted) in [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("/a//b/./c/../d/", "/a/b/d"),
            ("/..", "/"),
        ] {
            assert_eq!(Path::parse(text).as_str(), wanted, "{text}");
        }
    }

    #[test]
    fn keys_have_a_path_or_none() {
        for (key, wanted) in [
            (&b"/a/b"[..], Some(("/a/b", false))),
            (b"/a/", Some(("/a", true))),
            (b"a", None),
            (b"/", None),
            (b"//a", None),
            (b"/a//b", None),
            (b"/a/./b", None),
            (b"/\xff", None),
        ] {
            let found = Path::of_key(key);
            let found = found
                .as_ref()
                .map(|(path, marker)| (path.as_str(), *marker));
            assert_eq!(found, wanted, "{key:?}");
        }
    }

    #[test]
    fn names_may_be_hidden() {
        let hidden = |path: &str, base: &str| Path::parse(path).is_hidden_below(&Path::parse(base));
        assert!(hidden("/_a/b", "/"));
        assert!(hidden("/a/_b", "/a"));
        assert!(!hidden("/_a/b", "/_a"));
        assert!(!hidden("/a", "/a"));
        let ancestors: Vec<_> = Path::parse("/a/b/c").ancestors().collect();
        assert_eq!(ancestors, [Path::parse("/a"), Path::parse("/a/b")]);
    }
}
