//! The bytes of bbolt's pages, as its source defines them (go.etcd.io/bbolt, `page.go`, `db.go`, `bucket.go`),
//! in little-endian order.
//!
//! ```text
//! page      id 8 | flags 2 | count 2 | overflow 4 | content, over 1 + overflow pages
//! branch    count × (position 4 | key length 4 | page 8), keys
//! leaf      count × (flags 4 | position 4 | key length 4 | value length 4), keys and values
//!           a position counts from the beginning of its own element
//! meta      magic 4 | version 4 | page size 4 | flags 4 | root bucket 16 | freelist 8 | pages 8 | transaction 8 |
//!           FNV-1a of all that, 8
//! bucket    root page 8 | sequence 8; with root page 0 its only page, a leaf, follows
//! ```

/// Before every page's content.
pub(crate) const HEAD_BYTES: usize = 16;
/// An element of a branch or leaf.
pub(crate) const ELEMENT_BYTES: usize = 16;
/// Content of a meta page.
pub(crate) const META_BYTES: usize = 64;
/// A bucket as its parent's value.
pub(crate) const BUCKET_BYTES: usize = 16;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Smallest and largest page; bbolt takes the system's page size, which lies between.
const PAGE_BYTES_MIN: u32 = 512;
const PAGE_BYTES_MAX: u32 = 64 << 10;

/// What a page is.
pub(crate) mod flag {
    pub(crate) const BRANCH: u16 = 0x01;
    pub(crate) const LEAF: u16 = 0x02;
    pub(crate) const META: u16 = 0x04;
    pub(crate) const FREELIST: u16 = 0x10;
    /// Of a leaf's element: its value is a bucket.
    pub(crate) const BUCKET: u32 = 0x01;
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The head of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) id: u64,
    pub(crate) flags: u16,
    pub(crate) count: u16,
    /// Pages that belong to it beside the first.
    pub(crate) overflow: u32,
}

impl Head {
    pub(crate) fn encode(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.flags.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..].copy_from_slice(&self.overflow.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            id: u64_at(bytes, 0)?,
            flags: u16_at(bytes, 8)?,
            count: u16_at(bytes, 10)?,
            overflow: u32_at(bytes, 12)?,
        })
    }
}

/// A meta page: where everything begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_bytes: u32,
    /// Root page of the bucket of buckets.
    pub(crate) root: u64,
    pub(crate) freelist: u64,
    /// Pages in use, free ones included; the next id to give.
    pub(crate) pages: u64,
    /// The newer of two metas counts.
    pub(crate) transaction: u64,
}

/// Why bytes are no meta page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMeta {
    /// They do not begin like one.
    Foreign,
    /// Written by a machine of the other byte order.
    ByteOrder,
    /// A version of bbolt that is not known.
    Version(u32),
    /// Its checksum or page size does not hold.
    Damaged,
}

impl Meta {
    pub(crate) fn encode(self) -> [u8; META_BYTES] {
        let mut bytes = [0; META_BYTES];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.page_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.root.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.freelist.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.pages.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.transaction.to_le_bytes());
        let checksum = fnv_1a(&bytes[..56]);
        bytes[56..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the content of a meta page.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, NoMeta> {
        match u32_at(bytes, 0) {
            Some(MAGIC) => {}
            Some(magic) if magic.swap_bytes() == MAGIC => return Err(NoMeta::ByteOrder),
            _ => return Err(NoMeta::Foreign),
        }
        match u32_at(bytes, 4) {
            Some(VERSION) => {}
            Some(other) => return Err(NoMeta::Version(other)),
            None => return Err(NoMeta::Damaged),
        }
        let read = || {
            let sum = fnv_1a(bytes.get(..56)?);
            let page_bytes = u32_at(bytes, 8)?;
            let sane = sum == u64_at(bytes, 56)?
                && page_bytes.is_power_of_two()
                && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes);
            sane.then_some(Self {
                page_bytes,
                root: u64_at(bytes, 16)?,
                freelist: u64_at(bytes, 32)?,
                pages: u64_at(bytes, 40)?,
                transaction: u64_at(bytes, 48)?,
            })
        };
        read().ok_or(NoMeta::Damaged)
    }
}

/// The 64-bit checksum of Fowler, Noll and Vo, variant 1a.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
