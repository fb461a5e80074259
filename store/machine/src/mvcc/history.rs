//! All records in the order of their revisions, and where each of them is.
//!
//! New records stay young for a moment: as they came, sharing the buffer that brought them (a log
//! entry, a request). When 64 KiB have gathered they are copied, once, into a packed [`Segment`]. So
//! a single small survivor never pins a large buffer, a record costs a dozen bytes beside key and
//! value, and no allocation is made per put.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::record::Record;
use super::segment::{Dropped, Segment};

/// Packed bytes of a segment. 64 KiB: large enough that what belongs to a segment rather than to
/// its records (about 250 bytes) does not count, small enough that packing one takes microseconds
/// and that a reader who holds on to a slice pins little. Tests cross the bound often.
const SEGMENT_BYTES: usize = if cfg!(test) { 400 } else { 64 << 10 };

/// Values from here on are not copied but go on sharing the buffer that brought them. 64 KiB: it is
/// small against what it brings, unless many of its keys were overwritten since; with etcd's
/// limit of 1.5 MiB per request, at most 24 times the value is pinned.
const LARGE_VALUE_BYTES: usize = if cfg!(test) { 100 } else { 64 << 10 };

/// Address of a record; stable while the record is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    segment: u32,
    /// Address within the segment; the top bit says that the record is a delete, so that walks
    /// over the keys need not look at it.
    at: u32,
}

const DELETE_BIT: u32 = 1 << 31;

impl Place {
    fn new(segment: u32, at: u32, record: &Record) -> Self {
        Self {
            segment,
            at: if record.is_delete() {
                at | DELETE_BIT
            } else {
                at
            },
        }
    }

    pub(super) fn is_delete(self) -> bool {
        self.at & DELETE_BIT != 0
    }
}

/// Whether the value is kept in the buffer it came in.
pub(super) fn shares(record: &Record) -> bool {
    record.value.len() >= LARGE_VALUE_BYTES
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// By the segment number in a [`Place`]; `None` where there is none, or it is still young.
    segments: Vec<Option<Arc<Segment>>>,
    /// Numbers not in use.
    free: Vec<u32>,
    /// Number of each segment by (first revision, serial).
    order: BTreeMap<(i64, u64), u32>,
    serial: u64,
    young: Young,
}

/// The records not yet packed.
#[derive(Clone, Debug, Default)]
struct Young {
    /// Number of the segment they will be.
    segment: u32,
    /// With their addresses, ascending.
    records: Vec<(u32, Record)>,
    packed_bytes: usize,
    /// Addresses of those not needed any more.
    dropped: BTreeSet<u32>,
}

impl Young {
    fn read(&self, at: u32) -> Record {
        match self.records.binary_search_by_key(&at, |(at, _)| *at) {
            Ok(position) => self.records[position].1.clone(),
            Err(_) => panic!("no young record at {at}"),
        }
    }
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            segments: vec![None],
            free: Vec::new(),
            order: BTreeMap::new(),
            serial: 0,
            young: Young::default(),
        }
    }

    /// Adds a record; its revision is not below any added before.
    pub(super) fn append(&mut self, record: Record) -> Place {
        if shares(&record) {
            return self.append_large(record);
        }
        let len = record.packed_len();
        if self.young.packed_bytes + len > SEGMENT_BYTES {
            self.seal();
        }
        let at = self.young.packed_bytes as u32;
        let place = Place::new(self.young.segment, at, &record);
        self.young.packed_bytes += len;
        self.young.records.push((at, record));
        place
    }

    fn append_large(&mut self, record: Record) -> Place {
        self.seal();
        let number = self.number();
        let place = Place::new(number, 0, &record);
        let segment = Segment::large(record, self.serial());
        self.insert(number, segment);
        place
    }

    /// Packs the young records.
    fn seal(&mut self) {
        let young = std::mem::take(&mut self.young);
        if young.dropped.len() == young.records.len() {
            // Nothing or nothing needed: the number serves again.
            self.young.segment = young.segment;
            return;
        }
        self.young.segment = self.number();
        self.young.records = Vec::with_capacity(young.records.len());
        let segment = Segment::pack(&young.records, &young.dropped, self.serial());
        self.insert(young.segment, segment);
    }

    fn insert(&mut self, number: u32, segment: Segment) {
        self.order.insert((segment.first, segment.serial), number);
        self.segments[number as usize] = Some(Arc::new(segment));
    }

    /// A segment number not in use.
    fn number(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.segments.push(None);
            self.segments.len() as u32 - 1
        })
    }

    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// The record at a place that was not dropped.
    pub(super) fn read(&self, place: Place) -> Record {
        let at = place.at & !DELETE_BIT;
        match &self.segments[place.segment as usize] {
            Some(segment) => segment.read(at),
            None => self.young.read(at),
        }
    }

    /// Gives a record up; its place means nothing from now on. Returns how many others were moved.
    pub(super) fn drop_record(&mut self, place: Place) -> usize {
        let at = place.at & !DELETE_BIT;
        let Some(segment) = &mut self.segments[place.segment as usize] else {
            self.young.dropped.insert(at);
            return 0;
        };
        // A snapshot in progress may share the segment; it goes on seeing it as it was.
        let segment = Arc::make_mut(segment);
        match segment.drop_record(at) {
            Dropped::Kept { moved } => moved,
            Dropped::Last => {
                self.order.remove(&(segment.first, segment.serial));
                self.segments[place.segment as usize] = None;
                self.free.push(place.segment);
                0
            }
        }
    }

    /// Visits the kept records from revision `from` on in the order they were written.
    pub(super) fn walk(&self, from: i64, visit: &mut dyn FnMut(Place, Record) -> ControlFlow<()>) {
        // The segment before the first that starts at `from` may hold it as well.
        let before = self.order.range(..(from, 0)).next_back();
        let mut flow = ControlFlow::Continue(());
        for number in before
            .into_iter()
            .chain(self.order.range((from, 0)..))
            .map(|(_, n)| *n)
        {
            let Some(segment) = &self.segments[number as usize] else {
                continue;
            };
            segment.walk(from, |at, record| {
                flow = visit(Place::new(number, at, &record), record);
                flow
            });
            if flow.is_break() {
                return;
            }
        }
        for (at, record) in &self.young.records {
            if record.modified >= from
                && !self.young.dropped.contains(at)
                && visit(Place::new(self.young.segment, *at, record), record.clone()).is_break()
            {
                return;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        let held = |segment: &Arc<Segment>| segment.held_bytes();
        self.segments.iter().flatten().map(held).sum::<usize>() + self.young.packed_bytes
    }

    #[cfg(test)]
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// All segments in order, the young records packed as the last of them: shares what is packed
    /// already, and does not change when the history does.
    pub(super) fn freeze(&self) -> Vec<Arc<Segment>> {
        let packed = self
            .order
            .values()
            .filter_map(|number| self.segments[*number as usize].clone());
        let young = (self.young.dropped.len() < self.young.records.len()).then(|| {
            Arc::new(Segment::pack(
                &self.young.records,
                &self.young.dropped,
                self.serial + 1,
            ))
        });
        packed.chain(young).collect()
    }
}
