//! The tree of keys of an etcd 2, and what requests do to it: the rules of etcd's `v2store`, without watchers. A request
//! that was refused changes nothing here as it changed nothing there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::message::{Method, Request};

/// Moments before 2000-01-01 mean never, in nanoseconds since 1970.
const MOMENT_MIN: i128 = 946_684_800_000_000_000;

/// A file or a directory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) created: u64,
    pub(crate) modified: u64,
    /// Nanoseconds since 1970.
    pub(crate) ends: Option<i128>,
    pub(crate) content: Content,
}

/// What a node holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    File(Bytes),
    Dir(BTreeMap<Vec<u8>, Node>),
}

/// The whole tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    root: Node,
    /// Index of the last change.
    pub(crate) index: u64,
    /// All nodes that end, the next one first.
    ending: BTreeSet<(i128, Names)>,
}

/// A path: the names that lead to a node.
type Names = Vec<Vec<u8>>;

/// The request is refused.
struct Refused;

impl Node {
    fn dir(index: u64, ends: Option<i128>) -> Self {
        Self {
            created: index,
            modified: index,
            ends,
            content: Content::Dir(BTreeMap::new()),
        }
    }

    const fn is_dir(&self) -> bool {
        matches!(self.content, Content::Dir(_))
    }

    /// What is in it; nothing in a file.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&Vec<u8>, &Self)> {
        let children = match &self.content {
            Content::Dir(children) => Some(children),
            Content::File(_) => None,
        };
        children.into_iter().flatten()
    }

    fn child(&mut self, name: &[u8]) -> Option<&mut Self> {
        match &mut self.content {
            Content::Dir(children) => children.get_mut(name),
            Content::File(_) => None,
        }
    }

    /// As etcd compares: what is not given fits.
    fn fits(&self, request: &Request) -> bool {
        let Content::File(value) = &self.content else {
            return false;
        };
        (request.prev_index == 0 || self.modified == request.prev_index)
            && (request.prev_value.is_empty() || *value == request.prev_value)
    }
}

impl Tree {
    /// That of an etcd that begins.
    pub(super) fn new() -> Self {
        Self {
            root: Node::dir(0, None),
            index: 0,
            ending: BTreeSet::new(),
        }
    }

    /// As etcd saves it; the error says what was expected.
    pub(super) fn of_json(bytes: &[u8]) -> Result<Self, &'static str> {
        let saved: Value = serde_json::from_slice(bytes).map_err(|_| "JSON")?;
        let index = saved["CurrentIndex"].as_u64().ok_or("its index")?;
        let mut tree = Self {
            root: Node::dir(0, None),
            index,
            ending: BTreeSet::new(),
        };
        tree.root = tree.node(&saved["Root"], &mut Vec::new())?;
        if tree.root.is_dir() {
            Ok(tree)
        } else {
            Err("a directory at its root")
        }
    }

    fn node(&mut self, saved: &Value, names: &mut Names) -> Result<Node, &'static str> {
        let number = |name: &str| saved[name].as_u64().ok_or("the indexes of a node");
        let ends = saved["ExpireTime"].as_str().ok_or("the end of a node")?;
        let ends = OffsetDateTime::parse(ends, &Rfc3339).map_err(|_| "a moment")?;
        let ends = Some(ends.unix_timestamp_nanos()).filter(|ends| *ends >= MOMENT_MIN);
        let content = match &saved["Children"] {
            Value::Object(children) => {
                let mut nodes = BTreeMap::new();
                for (name, child) in children {
                    names.push(name.clone().into_bytes());
                    let child = self.node(child, names)?;
                    nodes.insert(names.pop().unwrap_or_default(), child);
                }
                Content::Dir(nodes)
            }
            Value::Null => {
                let value = saved["Value"].as_str().ok_or("the value of a file")?;
                Content::File(Bytes::copy_from_slice(value.as_bytes()))
            }
            _ => return Err("what a directory holds"),
        };
        if let Some(ends) = ends {
            self.ending.insert((ends, names.clone()));
        }
        Ok(Node {
            created: number("CreatedIndex")?,
            modified: number("ModifiedIndex")?,
            ends,
            content,
        })
    }

    /// The node at that path.
    pub(crate) fn get(&self, path: &str) -> Option<&Node> {
        let mut node = &self.root;
        for name in names(path.as_bytes()) {
            node = match &node.content {
                Content::Dir(children) => children.get(&name)?,
                Content::File(_) => return None,
            };
        }
        Some(node)
    }

    fn find(&mut self, path: &[Vec<u8>]) -> Option<&mut Node> {
        let mut node = &mut self.root;
        for name in path {
            node = node.child(name)?;
        }
        Some(node)
    }

    /// A file that is not there yet, empty.
    pub(super) fn make(&mut self, path: &str) {
        let _ = self.create(names(path.as_bytes()), &Request::default(), false);
    }

    /// A file that is there, changed.
    pub(super) fn touch(&mut self, path: &str) {
        let _ = self.update(names(path.as_bytes()), &Request::default());
    }

    /// Whatever is there, gone.
    pub(super) fn drop_all(&mut self, path: &str) {
        let request = Request {
            recursive: true,
            ..Request::default()
        };
        let _ = self.delete(&names(path.as_bytes()), &request);
    }

    /// Does what a request says.
    pub(super) fn perform(&mut self, method: Method, request: &Request) {
        let path = names(&request.path);
        let conditional = request.prev_index > 0 || !request.prev_value.is_empty();
        // What was refused then is refused now.
        let _ = match (method, request.prev_exist) {
            (Method::Get, _) => Ok(()),
            (Method::Sync, _) => {
                self.end_until(i128::from(request.time));
                Ok(())
            }
            (Method::Post, _) => {
                let name = format!("{:020}", self.index + 1).into_bytes();
                let path = path.into_iter().chain([name]).collect();
                self.create(path, request, false)
            }
            (Method::Delete, _) if conditional => self.compare_and_delete(&path, request),
            (Method::Delete, _) => self.delete(&path, request),
            (Method::Put, Some(false)) => self.create(path, request, false),
            (Method::Put, Some(true)) if !conditional => self.update(path, request),
            (Method::Put, None) if !conditional => self.set(path, request),
            (Method::Put, _) => self.compare_and_swap(path, request),
        };
    }

    /// Makes the node, and the directories that lead to it; `replace` takes a file's place.
    fn create(&mut self, path: Names, request: &Request, replace: bool) -> Result<(), Refused> {
        changeable(&path)?;
        let next = self.index + 1;
        let ends = ends(request).filter(|ends| *ends >= MOMENT_MIN);
        let Some((name, above)) = path.split_last() else {
            return Err(Refused);
        };
        let mut parent = &mut self.root;
        for name in above {
            let Content::Dir(children) = &mut parent.content else {
                return Err(Refused);
            };
            let child = children.entry(name.clone());
            parent = child.or_insert_with(|| Node::dir(next, None));
        }
        let Content::Dir(children) = &mut parent.content else {
            return Err(Refused);
        };
        let node = if request.dir {
            Node::dir(next, ends)
        } else {
            Node {
                content: Content::File(request.value.clone()),
                ..Node::dir(next, ends)
            }
        };
        let before = match children.get(name) {
            Some(before) if !replace || before.is_dir() => return Err(Refused),
            Some(before) => before.ends,
            None => None,
        };
        children.insert(name.clone(), node);
        self.index = next;
        self.note_end(path, before, ends);
        Ok(())
    }

    fn set(&mut self, path: Names, request: &Request) -> Result<(), Refused> {
        if request.refresh != Some(true) {
            return self.create(path, request, true);
        }
        let Some(Node {
            content: Content::File(value),
            ..
        }) = self.find(&path)
        else {
            return Err(Refused);
        };
        let value = value.clone();
        let request = Request {
            value,
            ..request.clone()
        };
        self.create(path, &request, true)
    }

    fn update(&mut self, path: Names, request: &Request) -> Result<(), Refused> {
        changeable(&path)?;
        let next = self.index + 1;
        let node = self.find(&path).ok_or(Refused)?;
        match &mut node.content {
            // A directory's index stays.
            Content::Dir(_) if request.value.is_empty() => {}
            Content::Dir(_) => return Err(Refused),
            Content::File(value) => {
                if request.refresh != Some(true) {
                    *value = request.value.clone();
                }
                node.modified = next;
            }
        }
        let (before, after) = (node.ends, ends(request));
        node.ends = after;
        self.index = next;
        self.note_end(path, before, after);
        Ok(())
    }

    fn compare_and_swap(&mut self, path: Names, request: &Request) -> Result<(), Refused> {
        changeable(&path)?;
        let node = self.find(&path).ok_or(Refused)?;
        if node.fits(request) {
            self.update(path, request)
        } else {
            Err(Refused)
        }
    }

    fn compare_and_delete(&mut self, path: &[Vec<u8>], request: &Request) -> Result<(), Refused> {
        let node = self.find(path).ok_or(Refused)?;
        if node.fits(request) {
            self.delete(path, &Request::default())
        } else {
            Err(Refused)
        }
    }

    fn delete(&mut self, path: &[Vec<u8>], request: &Request) -> Result<(), Refused> {
        changeable(path)?;
        let node = self.find(path).ok_or(Refused)?;
        if let Content::Dir(children) = &node.content
            && !(request.recursive || request.dir && children.is_empty())
        {
            return Err(Refused);
        }
        self.take_out(path);
        self.index += 1;
        Ok(())
    }

    fn take_out(&mut self, path: &[Vec<u8>]) {
        let Some((name, above)) = path.split_last() else {
            return;
        };
        let Some(Node {
            content: Content::Dir(children),
            ..
        }) = self.find(above)
        else {
            return;
        };
        if let Some(node) = children.remove(name) {
            self.forget_ends(&node, &mut path.to_vec());
        }
    }

    fn forget_ends(&mut self, node: &Node, path: &mut Names) {
        if let Some(ends) = node.ends {
            self.ending.remove(&(ends, path.clone()));
        }
        for (name, child) in node.children() {
            path.push(name.clone());
            self.forget_ends(child, path);
            path.pop();
        }
    }

    fn note_end(&mut self, path: Names, before: Option<i128>, after: Option<i128>) {
        if let Some(before) = before {
            self.ending.remove(&(before, path.clone()));
        }
        if let Some(after) = after {
            self.ending.insert((after, path));
        }
    }

    /// Each node that ends is a change, and takes all with it that is below.
    fn end_until(&mut self, moment: i128) {
        while let Some((ends, _)) = self.ending.first()
            && *ends <= moment
            && let Some((_, path)) = self.ending.pop_first()
        {
            self.index += 1;
            self.take_out(&path);
        }
    }
}

fn ends(request: &Request) -> Option<i128> {
    (request.expiration != 0).then(|| i128::from(request.expiration))
}

/// The root, that of the cluster's own keys and that of all others stay as they are.
fn changeable(path: &[Vec<u8>]) -> Result<(), Refused> {
    match path {
        [] => Err(Refused),
        [name] if name == b"0" || name == b"1" => Err(Refused),
        _ => Ok(()),
    }
}

/// As Go's `path.Clean` takes it apart.
fn names(path: &[u8]) -> Names {
    let mut names = Names::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name.to_vec()),
        }
    }
    names
}
