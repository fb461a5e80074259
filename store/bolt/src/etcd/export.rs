//! A snapshot of the machine as etcd's, piece by piece.

use std::collections::BTreeMap;

use prost::Message as _;
use store_machine::reply::KeyValue;
use store_machine::revision::Revision;
use store_machine::snapshot::{SnapshotCursor, State};

use super::message::{AlarmMember, Lease, Pair};
use super::metadata::{Member, Voters, json, member_key};
use super::revision::Numbering;
use super::{auth, bucket, meta};
use crate::loader::Loader;

/// A snapshot on its way out in etcd's form; sized before the first byte, and never more than a few pages of it
/// in memory. Owns all it needs, as the cursor does.
#[derive(Debug)]
pub struct Export {
    pairs: Pairs,
    loader: Loader,
    bytes: u64,
    term: u64,
    ended: bool,
}

/// The pairs that are written, in their order.
#[derive(Debug)]
struct Pairs {
    content: SnapshotCursor,
    state: State,
    numbering: Numbering,
    /// Highest revision among them.
    revision: i64,
}

impl Export {
    /// Goes through the snapshot once, to know where everything will be: takes time in proportion to its
    /// records, a hundred nanoseconds each. `term` is that of the last entry it contains.
    #[must_use]
    pub fn new(content: SnapshotCursor, term: u64) -> Self {
        let mut loader = Loader::dry();
        let mut pairs = Pairs::new(content.clone());
        loader.bucket(bucket::KEY);
        while pairs.write(&mut loader) {}
        pairs.end(&mut loader, term);
        let layout = loader.finish();
        let mut loader = Loader::writing(layout);
        loader.bucket(bucket::KEY);
        Self {
            pairs: Pairs::new(content),
            loader,
            bytes: layout.bytes(),
            term,
            ended: false,
        }
    }

    /// Length of the whole, without the checksum behind it.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next piece, of about `bytes_aim` bytes or what a single pair takes; `None` after the last.
    pub fn piece(&mut self, bytes_aim: usize) -> Option<Vec<u8>> {
        while self.loader.ready() < bytes_aim && !self.ended {
            if !self.pairs.write(&mut self.loader) {
                self.pairs.end(&mut self.loader, self.term);
                self.loader.finish();
                self.ended = true;
            }
        }
        let piece = self.loader.take();
        (!piece.is_empty()).then_some(piece)
    }
}

impl Pairs {
    fn new(content: SnapshotCursor) -> Self {
        Self {
            state: content.state(),
            content,
            numbering: Numbering::default(),
            revision: 0,
        }
    }

    /// Writes some versions of keys; false when there are no more.
    fn write(&mut self, loader: &mut Loader) -> bool {
        let Some(records) = self.content.records() else {
            return false;
        };
        for record in records {
            self.version(loader, record);
        }
        true
    }

    fn version(&mut self, loader: &mut Loader, record: KeyValue) {
        let (main, deleted) = (record.mod_revision.0, record.version == 0);
        self.revision = main;
        let key = self.numbering.next(main, deleted).encode();
        let pair = Pair::from(record);
        loader.put(&key, pair.encoded_len(), |out| pair.encode_raw(out));
    }

    /// Writes everything behind the keys.
    fn end(&mut self, loader: &mut Loader, term: u64) {
        let state = &self.state;
        let revision = state.revision.0;
        // etcd takes the last key's revision for the current one, or the last compaction if that is higher; an
        // empty version is how its own tools raise it.
        if revision > self.revision.max(state.compacted).max(Revision::FIRST.0) {
            let key = self.numbering.next(revision, false).encode();
            loader.put(&key, 0, |_| {});
        }
        let voters = json(&Voters::of(&state.members));
        let mut numbers = Small::from([
            (
                meta::CONSISTENT_INDEX.to_vec(),
                state.applied.0.to_be_bytes().to_vec(),
            ),
            (meta::TERM.to_vec(), term.to_be_bytes().to_vec()),
            (meta::VOTERS.to_vec(), voters),
        ]);
        if state.compacted > 0 {
            let mut compacted = state.compacted.to_be_bytes().to_vec();
            compacted.push(b'_');
            compacted.extend_from_slice(&0_i64.to_be_bytes());
            numbers.insert(meta::COMPACTING.to_vec(), compacted.clone());
            numbers.insert(meta::COMPACTED.to_vec(), compacted);
        }
        write(loader, bucket::META, &numbers);
        let leases = state.leases.iter().map(|lease| {
            let key = lease.id.0.to_be_bytes().to_vec();
            (key, Lease::from(*lease).encode_to_vec())
        });
        write(loader, bucket::LEASE, &leases.collect());
        let alarms = state.alarms.iter().map(|alarm| {
            let alarm = AlarmMember::from(*alarm);
            (alarm.encode_to_vec(), Vec::new())
        });
        write(loader, bucket::ALARM, &alarms.collect());
        let members = state
            .members
            .iter()
            .map(|member| (member_key(member.id), json(&Member::from(member))));
        write(loader, bucket::MEMBERS, &members.collect());
        let removed = state
            .removed
            .iter()
            .map(|id| (member_key(*id), b"removed".to_vec()));
        write(loader, bucket::MEMBERS_REMOVED, &removed.collect());
        write(loader, bucket::CLUSTER, &Small::new());
        auth::write(loader, &state.auth);
    }
}

/// Pairs that are few, in the order a bucket wants them.
pub(super) type Small = BTreeMap<Vec<u8>, Vec<u8>>;

/// Writes a bucket of few pairs.
pub(super) fn write(loader: &mut Loader, name: &[u8], pairs: &Small) {
    loader.bucket(name);
    for (key, value) in pairs {
        loader.put(key, value.len(), |out| out.extend_from_slice(value));
    }
}
