//! Writing a bbolt file from pairs that come sorted: each page once, front to back, never more in memory than
//! one page of each level.
//!
//! A file begins with where everything is, which is known only at its end. So it is loaded twice: a dry run
//! counts pages, and with the [`Layout`] it finds the second run writes. Both do the same, so the bytes agree.
//!
//! ```text
//! page 0, 1   meta        2   freelist, empty        3 …   leaves and branches as they fill up, the root last
//! ```

use std::collections::BTreeMap;

use crate::page::{BUCKET_BYTES, ELEMENT_BYTES, HEAD_BYTES, Head, Meta, flag};

/// The page size of nearly every machine etcd runs on; it reads files of any.
const PAGE_BYTES: usize = 4096;
/// Behind the meta pages and the freelist.
const FIRST_PAGE: u64 = 3;
const FREELIST_PAGE: u64 = 2;

/// Where what is in a file: all that a dry run finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pages: u64,
    root: u64,
    page_bytes: usize,
}

impl Layout {
    /// Length of the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.pages * self.page_bytes as u64
    }
}

/// A file being written; see the module.
#[derive(Debug)]
pub struct Loader {
    page_bytes: usize,
    /// `None` in a dry run.
    layout: Option<Layout>,
    out: Vec<u8>,
    /// Id of the next page.
    next: u64,
    /// The open page of each level of the bucket, leaves first.
    levels: Vec<Node>,
    /// The bucket being loaded.
    name: Option<Vec<u8>>,
    /// Root pages of those before; `None` for one without pairs.
    roots: BTreeMap<Vec<u8>, Option<u64>>,
}

/// A page that still fills up.
#[derive(Debug, Default)]
struct Node {
    elements: Vec<Element>,
    data: Vec<u8>,
    data_bytes: usize,
    /// Key of its first element.
    first: Vec<u8>,
    /// There is one before it on its level, and so a level above.
    follows: bool,
}

#[derive(Clone, Copy, Debug)]
struct Element {
    /// Of a leaf's element.
    flags: u32,
    /// Of a branch's element.
    child: u64,
    key_bytes: usize,
    value_bytes: usize,
}

impl Loader {
    /// A run that only counts.
    #[must_use]
    pub fn dry() -> Self {
        Self::new(PAGE_BYTES, None)
    }

    /// The run that writes, after a dry one with the same pairs.
    #[must_use]
    pub fn writing(layout: Layout) -> Self {
        let mut loader = Self::new(layout.page_bytes, Some(layout));
        for transaction in 0..2 {
            let head = Head {
                id: transaction,
                flags: flag::META,
                count: 0,
                overflow: 0,
            };
            let meta = Meta {
                page_bytes: u32::try_from(layout.page_bytes).unwrap_or(u32::MAX),
                root: layout.root,
                freelist: FREELIST_PAGE,
                pages: layout.pages,
                transaction,
            };
            loader.out.extend_from_slice(&head.encode());
            loader.out.extend_from_slice(&meta.encode());
            loader.pad();
        }
        let head = Head {
            id: FREELIST_PAGE,
            flags: flag::FREELIST,
            count: 0,
            overflow: 0,
        };
        loader.out.extend_from_slice(&head.encode());
        loader.pad();
        loader
    }

    pub(crate) const fn new(page_bytes: usize, layout: Option<Layout>) -> Self {
        Self {
            page_bytes,
            layout,
            out: Vec::new(),
            next: FIRST_PAGE,
            levels: Vec::new(),
            name: None,
            roots: BTreeMap::new(),
        }
    }

    /// Begins a bucket; what is put from now on is in it. Buckets come in any order.
    pub fn bucket(&mut self, name: &[u8]) {
        self.end_bucket();
        self.name = Some(name.to_vec());
    }

    /// Adds a pair, whose key is above those before it in the bucket. `write` appends the value, which has
    /// `value_bytes`; a dry run does not ask for it.
    pub fn put(&mut self, key: &[u8], value_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.add_pair(key, 0, value_bytes, write);
    }

    /// Bytes that can be taken.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.out.len()
    }

    /// Takes the bytes written since the last time, in the order of the file.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Ends the file; the last bytes are ready then.
    ///
    /// # Panics
    /// When what was written is not what the dry run counted.
    pub fn finish(&mut self) -> Layout {
        self.end_bucket();
        for (name, root) in std::mem::take(&mut self.roots) {
            // A bucket without pairs carries its only, empty, page with it, as bbolt writes it.
            let value_bytes = BUCKET_BYTES + root.map_or(HEAD_BYTES, |_| 0);
            self.add_pair(&name, flag::BUCKET, value_bytes, |out| {
                out.extend_from_slice(&root.unwrap_or(0).to_le_bytes());
                out.extend_from_slice(&0_u64.to_le_bytes());
                if root.is_none() {
                    let head = Head {
                        id: 0,
                        flags: flag::LEAF,
                        count: 0,
                        overflow: 0,
                    };
                    out.extend_from_slice(&head.encode());
                }
            });
        }
        let root = self.end_tree().unwrap_or_else(|| self.empty_leaf());
        let found = Layout {
            pages: self.next,
            root,
            page_bytes: self.page_bytes,
        };
        if let Some(layout) = self.layout {
            assert_eq!(layout, found, "the dry run and the run that wrote differ");
        }
        found
    }

    fn end_bucket(&mut self) {
        if let Some(name) = self.name.take() {
            let root = self.end_tree();
            self.roots.insert(name, root);
        }
    }

    fn add_pair(
        &mut self,
        key: &[u8],
        flags: u32,
        value_bytes: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let element = Element {
            flags,
            child: 0,
            key_bytes: key.len(),
            value_bytes,
        };
        self.add(0, key, element);
        if self.layout.is_some() {
            let data = &mut self.levels[0].data;
            let before = data.len();
            write(data);
            assert_eq!(data.len() - before, value_bytes, "length of a value");
        }
    }

    /// Adds an element and its key to the open page of a level; a full one is written before.
    fn add(&mut self, level: usize, key: &[u8], element: Element) {
        if self.levels.len() == level {
            self.levels.push(Node::default());
        }
        let node = &self.levels[level];
        let bytes = node.bytes() + ELEMENT_BYTES + element.key_bytes + element.value_bytes;
        let full = bytes > self.page_bytes || node.elements.len() == usize::from(u16::MAX);
        if full && !node.elements.is_empty() {
            self.close(level);
        }
        let node = &mut self.levels[level];
        if node.elements.is_empty() {
            node.first.clear();
            node.first.extend_from_slice(key);
        }
        node.elements.push(element);
        node.data_bytes += element.key_bytes + element.value_bytes;
        if self.layout.is_some() {
            node.data.extend_from_slice(key);
        }
    }

    /// Writes the open page of a level and names it to the level above.
    fn close(&mut self, level: usize) {
        let child = self.write(level);
        let node = &mut self.levels[level];
        node.follows = true;
        let first = std::mem::take(&mut node.first);
        let element = Element {
            flags: 0,
            child,
            key_bytes: first.len(),
            value_bytes: 0,
        };
        self.add(level + 1, &first, element);
    }

    /// Writes what is open of the tree; its root page, `None` when nothing was put.
    fn end_tree(&mut self) -> Option<u64> {
        let mut level = 0;
        while level < self.levels.len() {
            if !self.levels[level].follows {
                let root = self.write(level);
                self.levels.clear();
                return Some(root);
            }
            if !self.levels[level].elements.is_empty() {
                self.close(level);
            }
            level += 1;
        }
        None
    }

    /// Writes the open page of a level and empties it; its id.
    fn write(&mut self, level: usize) -> u64 {
        let id = self.next;
        let node = &mut self.levels[level];
        let bytes = node.bytes();
        let pages = bytes.div_ceil(self.page_bytes);
        self.next += pages as u64;
        let elements = std::mem::take(&mut node.elements);
        node.data_bytes = 0;
        if self.layout.is_none() {
            return id;
        }
        let head = Head {
            id,
            flags: if level == 0 { flag::LEAF } else { flag::BRANCH },
            // Below its largest value by `add`; a value beyond four GiB is none a store takes.
            count: u16::try_from(elements.len()).unwrap_or(u16::MAX),
            overflow: u32::try_from(pages - 1).unwrap_or(u32::MAX),
        };
        self.out.extend_from_slice(&head.encode());
        let mut position = elements.len() * ELEMENT_BYTES;
        for element in &elements {
            let [position_field, key_bytes, value_bytes] =
                [position, element.key_bytes, element.value_bytes]
                    .map(|length| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
            if level == 0 {
                self.out.extend_from_slice(&element.flags.to_le_bytes());
                self.out.extend_from_slice(&position_field);
                self.out.extend_from_slice(&key_bytes);
                self.out.extend_from_slice(&value_bytes);
            } else {
                self.out.extend_from_slice(&position_field);
                self.out.extend_from_slice(&key_bytes);
                self.out.extend_from_slice(&element.child.to_le_bytes());
            }
            position += element.key_bytes + element.value_bytes;
            position -= ELEMENT_BYTES;
        }
        self.out.append(&mut self.levels[level].data);
        self.pad();
        id
    }

    /// A tree of nothing.
    fn empty_leaf(&mut self) -> u64 {
        self.levels.push(Node::default());
        let id = self.write(0);
        self.levels.clear();
        id
    }

    /// Fills the page up.
    fn pad(&mut self) {
        let length = self.out.len().next_multiple_of(self.page_bytes);
        self.out.resize(length, 0);
    }
}

impl Node {
    fn bytes(&self) -> usize {
        HEAD_BYTES + self.elements.len() * ELEMENT_BYTES + self.data_bytes
    }
}
