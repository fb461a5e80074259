//! Reading a bbolt file whose every byte may be wrong.
//!
//! Believed is nothing but what was checked: a page lies inside the file and says its own id, its elements lie
//! inside it one behind the other, keys ascend over the whole bucket, and no more pages are visited than there
//! are. So a cycle ends, memory stays below the size of the file, and a value is never handed out twice.

use std::io;

use crate::page::{
    BUCKET_BYTES, ELEMENT_BYTES, HEAD_BYTES, Head, META_BYTES, Meta, NoMeta, flag, u32_at, u64_at,
};
use crate::source::Source;

/// bbolt looks for the second meta page at each of these page sizes when the first is damaged.
const PAGE_BYTES_TRIED: std::ops::RangeInclusive<u32> = 9..=16;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Another kind of file.
    #[error("it does not begin like a bbolt file")]
    NotBolt,
    /// bbolt writes numbers as the machine has them.
    #[error("its numbers are big-endian, expected little-endian")]
    ByteOrder,
    /// A format of later days.
    #[error("its bbolt format has version {found}, expected 2")]
    Version {
        /// The one found.
        found: u32,
    },
    /// Both meta pages are unusable.
    #[error("neither of its two meta pages has a checksum that holds")]
    Meta,
    /// The file ends too early.
    #[error("it is cut off after {found} bytes, expected {expected}")]
    CutOff {
        /// Bytes by its meta page.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Something is not as bbolt writes it.
    #[error("expected {expected} in page {page}")]
    Damaged {
        /// Which page.
        page: u64,
        /// What should have been there.
        expected: &'static str,
    },
    /// The system refused.
    #[error("read the file")]
    Io(#[from] io::Error),
}

/// An open file.
#[derive(Debug)]
pub struct Tree<S> {
    source: S,
    meta: Meta,
}

/// A bucket: sorted pairs under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: Vec<u8>,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// In a tree with this root page.
    Tree(u64),
    /// In a small leaf of its own; with the page it stands in.
    Inline { bytes: Vec<u8>, page: u64 },
}

/// Is handed one key with its value after the other; an error ends it.
pub type Visit<'v, E> = dyn FnMut(&[u8], &[u8]) -> Result<(), E> + 'v;

/// A page with its content.
struct Page {
    id: u64,
    bytes: Vec<u8>,
    leaf: bool,
    count: usize,
    /// Next element to look at.
    next: usize,
    /// No element's data may lie before.
    data: usize,
}

impl<S: Source> Tree<S> {
    /// Opens the file.
    ///
    /// # Errors
    /// When it is none, or ends before its last page.
    pub fn open(source: S) -> Result<Self, TreeError> {
        let meta = newest_meta(&source)?;
        let expected = meta.pages.saturating_mul(u64::from(meta.page_bytes));
        let found = source.bytes();
        if expected > found {
            return Err(TreeError::CutOff { expected, found });
        }
        Ok(Self { source, meta })
    }

    /// Where it is read from.
    #[must_use]
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Bytes of all pages; behind them, snapshots have a checksum.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.meta.pages * u64::from(self.meta.page_bytes)
    }

    /// All buckets, by name.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn buckets(&self) -> Result<Vec<Bucket>, TreeError> {
        let mut buckets = Vec::new();
        let root = Content::Tree(self.meta.root);
        self.elements(&root, &mut |element| {
            let damaged = |expected| TreeError::Damaged {
                page: element.page,
                expected,
            };
            if element.flags & flag::BUCKET == 0 {
                return Err(damaged("nothing but buckets at the root"));
            }
            let root = u64_at(element.value, 0)
                .filter(|_| element.value.len() >= BUCKET_BYTES)
                .ok_or_else(|| damaged("a whole bucket"))?;
            let content = match root {
                0 => Content::Inline {
                    bytes: element.value[BUCKET_BYTES..].to_vec(),
                    page: element.page,
                },
                root => Content::Tree(root),
            };
            buckets.push(Bucket {
                name: element.key.to_vec(),
                content,
            });
            Ok(())
        })?;
        Ok(buckets)
    }

    /// Visits every pair of the bucket by key.
    ///
    /// # Errors
    /// When the file is damaged, and what `visit` fails with.
    pub fn walk<E: From<TreeError>>(
        &self,
        bucket: &Bucket,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), E> {
        self.elements(&bucket.content, &mut |element| {
            if element.flags & flag::BUCKET != 0 {
                return Err(E::from(TreeError::Damaged {
                    page: element.page,
                    expected: "no bucket inside a bucket",
                }));
            }
            visit(element.key, element.value)
        })
    }

    fn elements<E: From<TreeError>>(
        &self,
        content: &Content,
        visit: &mut dyn FnMut(Element<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pages_left = self.meta.pages;
        let root = match content {
            Content::Tree(root) => self.page(*root, &mut pages_left)?,
            Content::Inline { bytes, page } => Page::inline(bytes.clone(), *page)?,
        };
        let mut last: Option<Vec<u8>> = None;
        let mut path = vec![root];
        while let Some(page) = path.last_mut() {
            if page.leaf {
                while let Some(element) = page.next_leaf()? {
                    let ascends = last.as_deref().is_none_or(|last| last < element.key);
                    if !ascends {
                        return Err(element.damaged("keys in ascending order").into());
                    }
                    let last = last.get_or_insert_default();
                    last.clear();
                    last.extend_from_slice(element.key);
                    visit(element)?;
                }
                path.pop();
                continue;
            }
            match page.next_child()? {
                Some(child) => {
                    let from = page.id;
                    let child = self.page(child, &mut pages_left)?;
                    if child.count == 0 {
                        return Err(TreeError::Damaged {
                            page: from,
                            expected: "no empty page below",
                        }
                        .into());
                    }
                    path.push(child);
                }
                None => {
                    path.pop();
                }
            }
        }
        Ok(())
    }

    /// Reads a branch or leaf.
    fn page(&self, id: u64, pages_left: &mut u64) -> Result<Page, TreeError> {
        let damaged = |expected| TreeError::Damaged { page: id, expected };
        if id < 2 || id >= self.meta.pages {
            return Err(damaged("an id of a page of the file"));
        }
        let page_bytes = u64::from(self.meta.page_bytes);
        let mut head = [0; HEAD_BYTES];
        self.source.read_at(&mut head, id * page_bytes)?;
        let head = Head::decode(&head).ok_or_else(|| damaged("a head"))?;
        if head.id != id {
            return Err(damaged("its own id"));
        }
        let pages = 1 + u64::from(head.overflow);
        if pages > self.meta.pages - id {
            return Err(damaged("no more overflow than the file has pages"));
        }
        *pages_left = pages_left
            .checked_sub(pages)
            .ok_or_else(|| damaged("each page in one place of the tree"))?;
        let length = usize::try_from(pages * page_bytes)
            .map_err(|_| damaged("a page that fits into memory"))?;
        let mut bytes = vec![0; length];
        self.source.read_at(&mut bytes, id * page_bytes)?;
        Page::new(id, bytes, head)
    }
}

fn newest_meta(source: &impl Source) -> Result<Meta, TreeError> {
    let at = |offset: u64| -> Result<Result<Meta, NoMeta>, TreeError> {
        let mut bytes = [0; HEAD_BYTES + META_BYTES];
        match source.read_at(&mut bytes, offset) {
            Ok(()) => Ok(Meta::decode(&bytes[HEAD_BYTES..])),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(NoMeta::Foreign)),
            Err(error) => Err(error.into()),
        }
    };
    let first = at(0)?;
    let second = match first {
        Ok(meta) => at(u64::from(meta.page_bytes))?.ok(),
        Err(_) => {
            let mut found = None;
            for exponent in PAGE_BYTES_TRIED {
                let page_bytes = 1 << exponent;
                let meta = at(page_bytes)?.ok();
                found = found.or(meta.filter(|meta| u64::from(meta.page_bytes) == page_bytes));
            }
            found
        }
    };
    match (first, second) {
        (Ok(first), Some(second)) if second.transaction > first.transaction => Ok(second),
        (Ok(meta), _) | (Err(_), Some(meta)) => Ok(meta),
        (Err(NoMeta::Foreign), None) => Err(TreeError::NotBolt),
        (Err(NoMeta::ByteOrder), None) => Err(TreeError::ByteOrder),
        (Err(NoMeta::Version(found)), None) => Err(TreeError::Version { found }),
        (Err(NoMeta::Damaged), None) => Err(TreeError::Meta),
    }
}

/// A pair of a leaf.
struct Element<'a> {
    page: u64,
    flags: u32,
    key: &'a [u8],
    value: &'a [u8],
}

impl Element<'_> {
    const fn damaged(&self, expected: &'static str) -> TreeError {
        TreeError::Damaged {
            page: self.page,
            expected,
        }
    }
}

impl Page {
    fn new(id: u64, bytes: Vec<u8>, head: Head) -> Result<Self, TreeError> {
        let damaged = |expected| TreeError::Damaged { page: id, expected };
        let leaf = match head.flags {
            flag::LEAF => true,
            flag::BRANCH => false,
            _ => return Err(damaged("a branch or a leaf")),
        };
        let count = usize::from(head.count);
        let data = HEAD_BYTES + count * ELEMENT_BYTES;
        if data > bytes.len() {
            return Err(damaged("as many elements as fit"));
        }
        Ok(Self {
            id,
            bytes,
            leaf,
            count,
            next: 0,
            data,
        })
    }

    fn inline(bytes: Vec<u8>, page: u64) -> Result<Self, TreeError> {
        let damaged = |expected| TreeError::Damaged { page, expected };
        let head = Head::decode(&bytes).ok_or_else(|| damaged("a whole bucket"))?;
        if head.flags != flag::LEAF {
            return Err(damaged("a leaf in a bucket of its own"));
        }
        Self::new(page, bytes, head)
    }

    /// Offset of the next element.
    fn element(&mut self) -> Option<usize> {
        if self.next == self.count {
            return None;
        }
        self.next += 1;
        Some(HEAD_BYTES + (self.next - 1) * ELEMENT_BYTES)
    }

    /// Two stretches of data of these lengths at `position` behind the element at `at`.
    fn stretches(
        &mut self,
        at: usize,
        position: u32,
        lengths: [u32; 2],
    ) -> Option<[std::ops::Range<usize>; 2]> {
        let key = at.checked_add(position as usize)?;
        let value = key.checked_add(lengths[0] as usize)?;
        let end = value.checked_add(lengths[1] as usize)?;
        if key < self.data || end > self.bytes.len() {
            return None;
        }
        self.data = end;
        Some([key..value, value..end])
    }

    fn next_leaf(&mut self) -> Result<Option<Element<'_>>, TreeError> {
        let Some(at) = self.element() else {
            return Ok(None);
        };
        let field = |field: usize| u32_at(&self.bytes, at + 4 * field).unwrap_or(u32::MAX);
        let (flags, position, lengths) = (field(0), field(1), [field(2), field(3)]);
        let page = self.id;
        let [key, value] = self
            .stretches(at, position, lengths)
            .ok_or(TreeError::Damaged {
                page,
                expected: "keys and values inside the page, one behind the other",
            })?;
        Ok(Some(Element {
            page,
            flags,
            key: &self.bytes[key],
            value: &self.bytes[value],
        }))
    }

    fn next_child(&mut self) -> Result<Option<u64>, TreeError> {
        let Some(at) = self.element() else {
            return Ok(None);
        };
        let child = u64_at(&self.bytes, at + 8).unwrap_or_default();
        Ok(Some(child))
    }
}
