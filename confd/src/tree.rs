//! Pure: The keys as a template sees them: limited to the resource's `keys`, its prefix stripped, read through
//! functions that record what was read. The functions are those of confd's key store, edge cases included.

use std::collections::{BTreeMap, BTreeSet};

use registrator_catalog::record::Record;
use store_client::mirror::{Entry, KeyRange, Snapshot};

use crate::glob::{Glob, GlobError};
use crate::reads::ReadSet;

/// Which keys a resource may see and how they are named for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Stripped from keys; empty or like `/production`, without a slash at the end.
    prefix: String,
    /// Paths behind the prefix, like `/services`; the root is empty.
    keys: Vec<String>,
    /// Ranges of the store that hold them.
    ranges: Vec<KeyRange>,
}

impl Scope {
    /// `prefix` and `keys` as the resource has them. No keys means an empty view. A key with a slash at the end means
    /// what is below it, which also a user who may read nothing else can watch.
    pub fn new(prefix: &str, keys: &[String]) -> Self {
        Self::within("", prefix, keys)
    }

    /// The same in a space of keys that stands in front of every key; empty for the one that all see.
    pub fn within(space: &str, prefix: &str, keys: &[String]) -> Self {
        let prefix = format!("{space}{}", clean(prefix));
        let range = |key: &String| {
            let slash = if key.ends_with('/') { "/" } else { "" };
            KeyRange::tree(&format!("{prefix}{}{slash}", clean(key)))
        };
        Self {
            ranges: keys.iter().map(range).collect(),
            keys: keys.iter().map(|key| clean(key)).collect(),
            prefix,
        }
    }

    /// The ranges of the store that the view needs.
    pub fn ranges(&self) -> Vec<KeyRange> {
        self.ranges.clone()
    }

    /// The path of a store key in the view; `None` if the view does not show it (outside, or not text).
    pub fn path<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let path = std::str::from_utf8(key)
            .ok()?
            .strip_prefix(self.prefix.as_str())?;
        let shown = path.starts_with('/') && self.keys.iter().any(|key| below(key, path).is_some());
        shown.then_some(path)
    }
}

/// A path with one slash in front and none at the end; the root is empty.
fn clean(path: &str) -> String {
    path.split('/')
        .filter(|name| !name.is_empty())
        .flat_map(|name| ["/", name])
        .collect()
}

/// What follows `directory` in `path`: empty for itself, like `/x` for what is below, `None` for anything else.
fn below<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Path in the view.
    pub key: String,
    /// Value as text.
    pub value: String,
}

/// A nested view: a directory, or a value. A key that is both has its value under the empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A value.
    Leaf(String),
    /// Names and what is below them.
    Directory(BTreeMap<String, Node>),
}

/// A registered instance and the key it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Path in the view.
    pub key: String,
    /// The record.
    pub record: Record,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// The key does not exist.
    #[error("key {key} does not exist")]
    Absent {
        /// Path in the view.
        key: String,
    },
    /// The value is not text.
    #[error("the value of {key} is not UTF-8 text")]
    Binary {
        /// Path in the view.
        key: String,
    },
    /// The pattern does not parse.
    #[error(transparent)]
    Pattern(#[from] GlobError),
}

/// One render's window on one snapshot; it remembers what was read.
#[derive(Debug)]
pub struct Reader {
    snapshot: Snapshot,
    scope: Scope,
    reads: ReadSet,
    /// What was skipped and why, one line each: records that do not parse.
    notes: Vec<String>,
    /// What keys hold that do not exist; none lets a read of one fail.
    default: Option<String>,
    /// The first key that was read, did not exist, and had no default.
    absent: Option<String>,
}

/// What a window has shown.
#[derive(Debug, Default)]
pub struct Seen {
    /// What was read.
    pub reads: ReadSet,
    /// What was skipped and why, one line each.
    pub notes: Vec<String>,
    /// The first key that was read, did not exist, and had no default.
    pub absent: Option<String>,
}

impl Reader {
    /// A window on `snapshot`.
    pub fn new(snapshot: Snapshot, scope: Scope) -> Self {
        Self {
            snapshot,
            scope,
            reads: ReadSet::default(),
            notes: Vec::new(),
            default: None,
            absent: None,
        }
    }

    /// The same, in which keys that do not exist hold this.
    #[must_use]
    pub fn with_default(mut self, default: Option<&str>) -> Self {
        self.default = default.map(str::to_owned);
        self
    }

    /// What was read and what was skipped.
    pub fn finish(self) -> Seen {
        Seen {
            reads: self.reads,
            notes: self.notes,
            absent: self.absent,
        }
    }

    /// The revision of the snapshot.
    pub fn revision(&self) -> i64 {
        self.snapshot.revision()
    }

    /// The value of one key.
    ///
    /// # Errors
    /// The key is absent or its value is not text.
    pub fn get(&mut self, path: &str) -> Result<Pair, ReadError> {
        if let Some(pair) = self.find(path)? {
            return Ok(pair);
        }
        let key = rooted(path);
        match &self.default {
            Some(value) => Ok(Pair {
                key,
                value: value.clone(),
            }),
            None => {
                self.absent.get_or_insert_with(|| key.clone());
                Err(ReadError::Absent { key })
            }
        }
    }

    /// The value of one key, if it exists.
    ///
    /// # Errors
    /// Its value is not text.
    pub fn find(&mut self, path: &str) -> Result<Option<Pair>, ReadError> {
        let key = rooted(path);
        self.reads.exact(&key);
        let found = self.entry(&key);
        found.map(|entry| pair(&key, entry)).transpose()
    }

    /// True if the key exists; a directory alone does not count.
    pub fn exists(&mut self, path: &str) -> bool {
        let key = rooted(path);
        self.reads.exact(&key);
        self.entry(&key).is_some()
    }

    /// True if there are keys below the path.
    pub fn exists_dir(&mut self, path: &str) -> bool {
        let directory = clean(path);
        self.reads.names(&directory);
        self.below(&directory).next().is_some()
    }

    /// All pairs whose key matches the pattern, sorted by key.
    ///
    /// # Errors
    /// A bad pattern, or a value that is not text.
    pub fn gets(&mut self, pattern: &str) -> Result<Vec<Pair>, ReadError> {
        let glob = Glob::parse(&rooted(pattern))?;
        self.reads.glob(glob.clone());
        let from = format!("{}{}", self.scope.prefix, glob.literal_prefix());
        self.snapshot
            .prefix(from.as_bytes())
            .filter_map(|(key, entry)| Some((self.scope.path(key)?, entry)))
            .filter(|(path, _)| glob.matches(path))
            .map(|(path, entry)| pair(path, entry))
            .collect()
    }

    /// All values whose key matches the pattern, sorted by value (as confd does).
    ///
    /// # Errors
    /// As [`Reader::gets`].
    pub fn getvs(&mut self, pattern: &str) -> Result<Vec<String>, ReadError> {
        let mut values: Vec<String> = self
            .gets(pattern)?
            .into_iter()
            .map(|pair| pair.value)
            .collect();
        values.sort();
        Ok(values)
    }

    /// The distinct names directly below a path; for a key the last element of its own path.
    pub fn ls(&mut self, path: &str) -> Vec<String> {
        let directory = clean(path);
        self.reads.names(&directory);
        let mut names: BTreeSet<String> = self
            .below(&directory)
            .map(|(rest, _)| first(rest).0.to_owned())
            .collect();
        // A slash at the end asks for the directory only.
        if !path.ends_with('/') && self.entry(&directory).is_some() {
            names.extend(directory.rsplit('/').next().map(str::to_owned));
        }
        names.into_iter().collect()
    }

    /// The distinct names directly below a path that have keys below themselves.
    pub fn lsdir(&mut self, path: &str) -> Vec<String> {
        let directory = clean(path);
        self.reads.names(&directory);
        let names: BTreeSet<String> = self
            .below(&directory)
            .filter_map(|(rest, _)| {
                let (name, deeper) = first(rest);
                (!deeper.is_empty()).then(|| name.to_owned())
            })
            .collect();
        names.into_iter().collect()
    }

    /// Everything below a path as nested names.
    ///
    /// # Errors
    /// A value that is not text.
    pub fn tree(&mut self, path: &str) -> Result<Node, ReadError> {
        let directory = clean(path);
        self.reads.tree(&directory);
        let mut root = BTreeMap::new();
        for (rest, entry) in self.below(&directory) {
            let value = pair(rest, entry)?.value;
            plant(&mut root, rest, value);
        }
        Ok(Node::Directory(root))
    }

    /// Native records of one service, or of all, below `root`; sorted by service and instance. A record that does not
    /// parse is left out with a note: one bad writer must not take down everybody's configuration.
    pub fn services(&mut self, root: &str, name: Option<&str>) -> Vec<Registration> {
        let root = clean(root);
        let directory = match name {
            Some(name) => format!("{root}{}", clean(name)),
            None => root,
        };
        self.reads.tree(&directory);
        let mut found = Vec::new();
        let mut notes = Vec::new();
        for (rest, entry) in self.below(&directory) {
            let key = format!("{directory}{rest}");
            match Record::from_json(&entry.value) {
                Ok(record) => found.push(Registration { key, record }),
                Err(error) => notes.push(format!("{key} left out: {error}")),
            }
        }
        self.notes.extend(notes);
        found.sort_by(|a, b| {
            (&a.record.name, &a.record.instance, &a.key).cmp(&(
                &b.record.name,
                &b.record.instance,
                &b.key,
            ))
        });
        found
    }

    fn entry(&self, path: &str) -> Option<&Entry> {
        let key = format!("{}{path}", self.scope.prefix);
        self.scope.path(key.as_bytes())?;
        self.snapshot.get(key.as_bytes())
    }

    /// Entries below a clean directory with their path relative to it, like `/a/b`, in key order.
    fn below<'a>(
        &'a self,
        directory: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Entry)> + use<'a> {
        let from = format!("{}{directory}/", self.scope.prefix);
        let skip = directory.len();
        let scope = &self.scope;
        let start = from.clone();
        self.snapshot
            .iter_from(from.as_bytes())
            .take_while(move |(key, _)| key.starts_with(start.as_bytes()))
            .filter_map(move |(key, entry)| Some((&scope.path(key)?[skip..], entry)))
            // `/a/` itself has no name below `/a`.
            .filter(|(rest, _)| rest.len() > 1)
    }
}

/// Templates may leave out the first slash.
fn rooted(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn pair(key: &str, entry: &Entry) -> Result<Pair, ReadError> {
    match std::str::from_utf8(&entry.value) {
        Ok(value) => Ok(Pair {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        Err(_) => Err(ReadError::Binary {
            key: key.to_owned(),
        }),
    }
}

/// Splits `/a/b/c` into `a` and `/b/c`.
fn first(rest: &str) -> (&str, &str) {
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

fn plant(directory: &mut BTreeMap<String, Node>, rest: &str, value: String) {
    let (name, deeper) = first(rest);
    if deeper.is_empty() {
        // In key order a value comes before what is below it.
        directory.insert(name.to_owned(), Node::Leaf(value));
        return;
    }
    let node = directory
        .entry(name.to_owned())
        .or_insert_with(|| Node::Directory(BTreeMap::new()));
    if let Node::Leaf(own) = node {
        *node = Node::Directory(BTreeMap::from([(
            String::new(),
            Node::Leaf(std::mem::take(own)),
        )]));
    }
    if let Node::Directory(inner) = node {
        plant(inner, deeper, value);
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
