//! Pure: What a render has read, so that only renders a change can affect are repeated.
//!
//! A template is a function of what it read. If no changed key is in the set, the output cannot change; this also holds
//! for a render that failed, since it read everything that led to the failure.

use std::collections::BTreeSet;

use store_client::mirror::ChangeKind;

use crate::glob::Glob;

/// Reads of one render, as paths of the resource's view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// Single keys, present or not.
    exact: BTreeSet<String>,
    /// Patterns whose matching keys were read.
    globs: BTreeSet<Glob>,
    /// Paths below which the names were listed, not the values.
    names: BTreeSet<String>,
    /// Paths whose whole subtree was read.
    trees: BTreeSet<String>,
}

/// One of the things a render has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read<'a> {
    /// A key, present or not.
    Key(&'a str),
    /// The keys of a pattern.
    Pattern(&'a Glob),
    /// The names below a path.
    Names(&'a str),
    /// Everything below a path.
    Tree(&'a str),
}

impl ReadSet {
    /// All of it, in order.
    pub fn entries(&self) -> impl Iterator<Item = Read<'_>> {
        let keys = self.exact.iter().map(|path| Read::Key(path));
        let patterns = self.globs.iter().map(Read::Pattern);
        let names = self.names.iter().map(|path| Read::Names(path));
        let trees = self.trees.iter().map(|path| Read::Tree(path));
        keys.chain(patterns).chain(names).chain(trees)
    }

    /// One key was read, or found absent.
    pub fn exact(&mut self, path: &str) {
        self.exact.insert(path.to_owned());
    }

    /// All keys that match were read.
    pub fn glob(&mut self, glob: Glob) {
        self.globs.insert(glob);
    }

    /// The names at and below `path` were listed.
    pub fn names(&mut self, path: &str) {
        self.names.insert(trimmed(path).to_owned());
    }

    /// Everything at and below `path` was read.
    pub fn tree(&mut self, path: &str) {
        self.trees.insert(trimmed(path).to_owned());
    }

    /// Joins two sets.
    pub fn join(&mut self, other: Self) {
        self.exact.extend(other.exact);
        self.globs.extend(other.globs);
        self.names.extend(other.names);
        self.trees.extend(other.trees);
    }

    /// True if a change of `path` can change what was read.
    pub fn matches(&self, path: &str, kind: ChangeKind) -> bool {
        let existence = match kind {
            ChangeKind::Rewritten => return false,
            ChangeKind::Modified => false,
            ChangeKind::Created | ChangeKind::Deleted => true,
        };
        self.exact.contains(path)
            || self.globs.iter().any(|glob| glob.matches(path))
            || within(&self.trees, path)
            || (existence && within(&self.names, path))
    }
}

/// `/a/` and `/a` name the same directory; the root is the empty path.
fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// True if `path` or a directory above it is in the set.
fn within(set: &BTreeSet<String>, path: &str) -> bool {
    if set.is_empty() {
        return false;
    }
    let mut at = trimmed(path);
    loop {
        if set.contains(at) {
            return true;
        }
        match at.rfind('/') {
            Some(slash) => at = &at[..slash],
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wakes_whom() {
        use ChangeKind::{Created, Deleted, Modified, Rewritten};
        let mut reads = ReadSet::default();
        reads.exact("/one");
        reads.glob(Glob::parse("/glob/*").unwrap());
        reads.names("/names/");
        reads.tree("/tree");
        for (path, kind, wanted) in [
            ("/one", Modified, true),
            ("/one", Created, true),
            ("/one", Rewritten, false),
            ("/one/below", Created, false),
            ("/glob/x", Deleted, true),
            ("/glob/x/y", Created, false),
            ("/names/a", Created, true),
            ("/names/a/b", Deleted, true),
            ("/names/a", Modified, false),
            ("/names", Created, true),
            ("/namesake", Created, false),
            ("/tree", Modified, true),
            ("/tree/a/b", Modified, true),
            ("/treehouse", Modified, false),
            ("/other", Created, false),
        ] {
            assert_eq!(reads.matches(path, kind), wanted, "{path} {kind:?}");
        }
        assert!(!ReadSet::default().matches("/one", Created));
    }

    #[test]
    fn the_root_holds_everything() {
        let mut reads = ReadSet::default();
        reads.tree("/");
        assert!(reads.matches("/a/b", ChangeKind::Modified));
    }
}
