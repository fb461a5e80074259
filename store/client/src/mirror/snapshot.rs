//! An immutable sorted map of keys at one revision, cheap to clone and cheap to derive the next one from.
//!
//! Entries stand in pages of bounded size, pages in a spine; both are shared between snapshots and copied only when a
//! shared one changes. A clone costs one reference count; a change while a clone is alive costs one page and the spine
//! (10,000 keys: 5 KiB and about 200 pointers), without a clone alive it happens in place.

use std::sync::Arc;

use bytes::Bytes;

/// Entries of a page before it is split. 64: a page copy (64 × 80 bytes) costs about as much as copying the spine of a
/// 10,000-key snapshot, so neither dominates at the sizes an agent mirrors.
const PAGE_ENTRIES_MAX: usize = 64;

/// What the store holds for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value, as stored.
    pub value: Bytes,
    /// Revision that created the key (the fencing token of a lock).
    pub create_revision: i64,
    /// Revision of the last write to the key. Invariant: at most the revision of the snapshot that holds it.
    pub mod_revision: i64,
}

type Page = Vec<(Bytes, Entry)>;

/// All mirrored keys as they were at one revision.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    revision: i64,
    /// Invariant: no page is empty, pages and the entries in them are in key order without duplicates.
    pages: Arc<Vec<Arc<Page>>>,
    len: usize,
}

impl Snapshot {
    /// Builds a snapshot from entries in any order; of several entries for one key the last one counts.
    pub fn from_entries(revision: i64, mut entries: Vec<(Bytes, Entry)>) -> Self {
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            entries.reverse();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.dedup_by(|later, kept| later.0 == kept.0);
        }
        let len = entries.len();
        let mut pages = Vec::with_capacity(len.div_ceil(PAGE_ENTRIES_MAX));
        let mut rest = entries.into_iter();
        loop {
            let page: Page = rest.by_ref().take(PAGE_ENTRIES_MAX).collect();
            if page.is_empty() {
                break;
            }
            pages.push(Arc::new(page));
        }
        Self {
            revision,
            pages: Arc::new(pages),
            len,
        }
    }

    /// The revision at which every mirrored key is as shown here.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no key is mirrored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry of one key.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        let page = self.pages.get(self.page_of(key))?;
        let at = page
            .binary_search_by(|(have, _)| have.as_ref().cmp(key))
            .ok()?;
        Some(&page[at].1)
    }

    /// All entries in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Entry)> {
        self.pages
            .iter()
            .flat_map(|page| page.iter().map(|(key, entry)| (key, entry)))
    }

    /// Entries whose key is at least `start`, in key order. Finding the first costs O(log n).
    pub fn iter_from<'a>(
        &'a self,
        start: &[u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Entry)> + use<'a> {
        let first = self.page_of(start);
        let skip = self.pages.get(first).map_or(0, |page| {
            page.partition_point(|(key, _)| key.as_ref() < start)
        });
        let pages = self.pages.get(first..).unwrap_or_default();
        pages
            .iter()
            .flat_map(|page| page.iter())
            .skip(skip)
            .map(|(key, entry)| (key, entry))
    }

    /// Entries whose key begins with `prefix`, in key order.
    pub fn prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Bytes, &'a Entry)> {
        self.iter_from(prefix)
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub(super) fn set_revision(&mut self, revision: i64) {
        self.revision = revision;
    }

    /// Sets one key; returns what stood there before.
    pub(super) fn insert(&mut self, key: Bytes, entry: Entry) -> Option<Entry> {
        let at = self.page_of(&key);
        let pages = Arc::make_mut(&mut self.pages);
        // A key behind all others joins the last page.
        let at = if at == pages.len() {
            at.saturating_sub(1)
        } else {
            at
        };
        let Some(page) = pages.get_mut(at) else {
            pages.push(Arc::new(vec![(key, entry)]));
            self.len += 1;
            return None;
        };
        let page = Arc::make_mut(page);
        match page.binary_search_by(|(have, _)| have.cmp(&key)) {
            Ok(found) => Some(std::mem::replace(&mut page[found].1, entry)),
            Err(free) => {
                page.insert(free, (key, entry));
                self.len += 1;
                if page.len() > PAGE_ENTRIES_MAX {
                    let upper = page.split_off(page.len() / 2);
                    pages.insert(at + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Removes one key; returns what stood there before.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let at = self.page_of(key);
        // Look before copying: a delete of an absent key must not unshare anything.
        let found = self
            .pages
            .get(at)?
            .binary_search_by(|(have, _)| have.as_ref().cmp(key))
            .ok()?;
        let pages = Arc::make_mut(&mut self.pages);
        let page = Arc::make_mut(&mut pages[at]);
        let (_, entry) = page.remove(found);
        self.len -= 1;
        if page.is_empty() {
            pages.remove(at);
        } else if !join_with_next(pages, at)
            && let Some(before) = at.checked_sub(1)
        {
            join_with_next(pages, before);
        }
        Some(entry)
    }

    /// Index of the only page that may hold `key`; the number of pages if `key` lies behind all of them.
    fn page_of(&self, key: &[u8]) -> usize {
        self.pages
            .partition_point(|page| page.last().is_some_and(|(last, _)| last.as_ref() < key))
    }
}

/// Joins a page with the one behind it if both are small. Joining below half keeps the spine short after mass deletes and
/// cannot cause a split at once.
fn join_with_next(pages: &mut Vec<Arc<Page>>, at: usize) -> bool {
    let small = pages
        .get(at + 1)
        .is_some_and(|next| pages[at].len() + next.len() <= PAGE_ENTRIES_MAX / 2);
    if small {
        let next = pages.remove(at + 1);
        Arc::make_mut(&mut pages[at]).extend(next.iter().cloned());
    }
    small
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
