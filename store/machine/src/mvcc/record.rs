//! One version of one key, and its packed form in segments and snapshots.
//!
//! ```text
//! modified | version | modified - created | lease | key length | value length | key … | value …
//! modified | 0       |                              key length |              | key …          (deleted)
//! ```
//! All numbers are varints; a record of a new key takes a dozen bytes beside key and value. The form
//! stands in snapshots on disk: changing it means a new snapshot version.

use bytes::Bytes;

use crate::reply::KeyValue;
use crate::revision::{LeaseId, Revision};
use crate::varint::{len_u64, put_i64, put_u64, read_u64};

/// A put or, with version 0, a delete.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    /// Revision of this put or delete.
    pub(crate) modified: i64,
    /// Revision of the first put since the key did not exist; 0 in a delete.
    pub(crate) created: i64,
    /// Puts since then, 1 on the first; 0 in a delete.
    pub(crate) version: i64,
    pub(crate) lease: LeaseId,
}

impl Record {
    pub(crate) fn deleted(key: Bytes, modified: i64) -> Self {
        Self {
            key,
            value: Bytes::new(),
            modified,
            created: 0,
            version: 0,
            lease: LeaseId::NONE,
        }
    }

    pub(super) fn is_delete(&self) -> bool {
        self.version == 0
    }

    /// Length of the packed form.
    pub(super) fn packed_len(&self) -> usize {
        let lens = len_u64(self.modified as u64)
            + len_u64(self.version as u64)
            + len_u64(self.key.len() as u64)
            + self.key.len();
        if self.is_delete() {
            return lens;
        }
        lens + len_u64((self.modified - self.created) as u64)
            + len_u64(self.lease.0 as u64)
            + len_u64(self.value.len() as u64)
            + self.value.len()
    }

    /// Appends the packed form without the value, which follows it.
    pub(super) fn pack_head(&self, out: &mut Vec<u8>) {
        put_i64(out, self.modified);
        put_i64(out, self.version);
        if !self.is_delete() {
            put_i64(out, self.modified - self.created);
            put_i64(out, self.lease.0);
        }
        put_u64(out, self.key.len() as u64);
        if !self.is_delete() {
            put_u64(out, self.value.len() as u64);
        }
        out.extend_from_slice(&self.key);
    }

    /// Reads the packed form at `*at`, sharing `bytes`, and moves `at` behind it; `None` when it is
    /// not one.
    pub(crate) fn unpack(bytes: &Bytes, at: &mut usize) -> Option<Self> {
        let head = Head::parse(bytes, *at)?;
        let end = head.value + head.value_len;
        if end > bytes.len() {
            return None;
        }
        *at = end;
        let value = bytes.slice(head.value..end);
        Some(Self::new(&head, bytes.slice(head.key..head.value), value))
    }

    pub(super) fn new(head: &Head, key: Bytes, value: Bytes) -> Self {
        Self {
            key,
            value,
            modified: head.modified,
            created: head.created,
            version: head.version,
            lease: head.lease,
        }
    }

    pub(crate) fn into_pair(self) -> KeyValue {
        KeyValue {
            key: self.key,
            create_revision: Revision(self.created),
            mod_revision: Revision(self.modified),
            version: self.version,
            value: self.value,
            lease: self.lease,
        }
    }
}

/// The numbers of a packed record, and where its parts are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) modified: i64,
    pub(super) created: i64,
    pub(super) version: i64,
    pub(super) lease: LeaseId,
    /// Offset of the key.
    pub(super) key: usize,
    /// Offset of the value: the end of the key.
    pub(super) value: usize,
    pub(super) value_len: usize,
}

impl Head {
    /// Reads the numbers at `at`; `None` when they are cut off or impossible. That key and value
    /// lie inside `bytes` is not checked.
    pub(super) fn parse(bytes: &[u8], mut at: usize) -> Option<Self> {
        let at = &mut at;
        let modified = read_i63(bytes, at)?;
        let version = read_i63(bytes, at)?;
        let (mut created, mut lease) = (0, LeaseId::NONE);
        if version > 0 {
            created = modified.checked_sub(read_i63(bytes, at)?)?;
            lease = LeaseId(read_u64(bytes, at)? as i64);
        }
        let key_len = usize::try_from(read_u64(bytes, at)?).ok()?;
        let value_len = if version > 0 {
            usize::try_from(read_u64(bytes, at)?).ok()?
        } else {
            0
        };
        let value = at.checked_add(key_len)?;
        value.checked_add(value_len)?;
        Some(Self {
            modified,
            created,
            version,
            lease,
            key: *at,
            value,
            value_len,
        })
    }
}

fn read_i63(bytes: &[u8], at: &mut usize) -> Option<i64> {
    i64::try_from(read_u64(bytes, at)?).ok()
}
