//! A snapshot of etcd as a machine.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use store_machine::alarm::Alarm;
use store_machine::reply::KeyValue;
use store_machine::revision::{LeaseId, Revision};
use store_machine::snapshot::{Rebuild, State};
use store_machine::{LeaseRecord, Limits, Machine};

use super::message::{AlarmMember, Lease, Pair};
use super::revision::RevisionKey;
use super::{auth, bucket, meta};
use crate::source::Source;
use crate::tree::{Bucket, Tree, TreeError};

/// Why a file gives no machine.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read as a bbolt file.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A bbolt file of something else.
    #[error("it has no bucket {:?}, which every snapshot of etcd has", String::from_utf8_lossy(.name))]
    Foreign {
        /// The bucket that is missing.
        name: &'static [u8],
    },
    /// A pair is not what etcd writes.
    #[error(
        "expected {expected} at {:02x?} in bucket {:?}", .key, String::from_utf8_lossy(.name)
    )]
    Pair {
        /// The bucket.
        name: &'static [u8],
        /// The pair's key, or its beginning.
        key: Vec<u8>,
        /// What should have been there.
        expected: &'static str,
    },
    /// The parts do not go together.
    #[error("expected {expected}")]
    Whole {
        /// What should have been there.
        expected: &'static str,
    },
}

/// What is shown of a key in an error.
const KEY_BYTES_SHOWN: usize = 32;

impl ImportError {
    pub(super) fn pair(name: &'static [u8], key: &[u8], expected: &'static str) -> Self {
        Self::Pair {
            name,
            key: key[..key.len().min(KEY_BYTES_SHOWN)].to_vec(),
            expected,
        }
    }

    /// What a person can do.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Tree(TreeError::NotBolt) | Self::Foreign { .. } => {
                "give a file that `snapshot save` wrote, or the file member/snap/db of an etcd that is stopped"
            }
            Self::Tree(TreeError::ByteOrder) => {
                "save the snapshot again through a member on a little-endian machine"
            }
            Self::Tree(TreeError::Version { .. }) => {
                "save it with an etcd of the releases 3.4 to 3.7"
            }
            Self::Tree(TreeError::Io(_)) => "check that the file can be read",
            Self::Tree(TreeError::CutOff { .. }) => {
                "copy the file again: saving or copying it was interrupted"
            }
            Self::Tree(_) | Self::Pair { .. } | Self::Whole { .. } => {
                "take another copy of the snapshot, or one from another member"
            }
        }
    }
}

/// What was read.
pub struct Imported {
    /// Holds the file's keys in all their versions, leases and alarms; no members.
    pub machine: Machine,
    /// Keys that hang on a lease which the file does not have; they hang on none now.
    pub detached: u64,
}

/// Reads a snapshot of etcd 3.4 to 3.7. `change` may alter what stands beside the keys: revision and compaction
/// may rise, members may be named.
///
/// # Errors
/// See [`ImportError`].
pub fn import<S: Source>(
    tree: &Tree<S>,
    limits: Limits,
    change: impl FnOnce(&mut State),
) -> Result<Imported, ImportError> {
    let buckets = tree.buckets()?;
    let named = |name: &'static [u8]| buckets.iter().find(|bucket| bucket.name == name);
    let needed = |name| named(name).ok_or(ImportError::Foreign { name });
    let (keys, numbers) = (needed(bucket::KEY)?, needed(bucket::META)?);
    let mut state = State {
        auth: auth::read(tree, &buckets)?,
        leases: leases(tree, named(bucket::LEASE))?,
        alarms: alarms(tree, named(bucket::ALARM))?,
        compacted: compacted(tree, numbers)?,
        ..State::default()
    };
    let orphans = survey(tree, keys, &mut state)?;
    change(&mut state);
    let whole = |expected| ImportError::Whole { expected };
    let mut rebuild = Rebuild::new(limits, state).map_err(whole)?;
    versions(tree, keys, &mut |at, mut pair| {
        if orphans.contains(&at) {
            pair.lease = LeaseId::NONE;
        }
        let added = rebuild.record(pair);
        added.map_err(|expected| ImportError::pair(bucket::KEY, &at.encode(), expected))
    })?;
    Ok(Imported {
        machine: rebuild.finish().map_err(whole)?,
        detached: orphans.len() as u64,
    })
}

/// Visits all versions of all keys in the order they were written; the last revision.
fn versions<S: Source>(
    tree: &Tree<S>,
    keys: &Bucket,
    visit: &mut dyn FnMut(RevisionKey, KeyValue) -> Result<(), ImportError>,
) -> Result<i64, ImportError> {
    let mut last = 0;
    tree.walk(keys, &mut |key, value| {
        let damaged = |expected| ImportError::pair(bucket::KEY, key, expected);
        let at = RevisionKey::decode(key).ok_or_else(|| damaged("a revision"))?;
        last = at.main;
        if value.is_empty() {
            // etcd's tools leave one behind when they raise the revision.
            return Ok(());
        }
        let value = Bytes::copy_from_slice(value);
        let pair = Pair::decode(value).map_err(|_| damaged("a key with its value"))?;
        if pair.key.is_empty() {
            return Err(damaged("a key that is not empty"));
        }
        let pair = if at.deleted {
            KeyValue {
                key: pair.key,
                mod_revision: Revision(at.main),
                ..KeyValue::default()
            }
        } else {
            KeyValue::from(pair)
        };
        if pair.mod_revision.0 != at.main || (!at.deleted && pair.version < 1) {
            return Err(damaged("a key with the revision it stands under"));
        }
        visit(at, pair)
    })?;
    Ok(last)
}

/// Finds the current revision, and the versions that are current but hang on a lease that there is not.
fn survey<S: Source>(
    tree: &Tree<S>,
    keys: &Bucket,
    state: &mut State,
) -> Result<BTreeSet<RevisionKey>, ImportError> {
    let leases: BTreeSet<LeaseId> = state.leases.iter().map(|lease| lease.id).collect();
    let mut orphans: BTreeMap<Bytes, RevisionKey> = BTreeMap::new();
    let last = versions(tree, keys, &mut |at, pair| {
        if pair.lease == LeaseId::NONE || leases.contains(&pair.lease) {
            orphans.remove(&pair.key);
        } else {
            orphans.insert(pair.key, at);
        }
        Ok(())
    })?;
    state.revision = Revision(last.max(state.compacted).max(Revision::FIRST.0));
    Ok(orphans.into_values().collect())
}

fn leases<S: Source>(
    tree: &Tree<S>,
    bucket: Option<&Bucket>,
) -> Result<Vec<LeaseRecord>, ImportError> {
    let mut leases = Vec::new();
    let Some(bucket) = bucket else {
        return Ok(leases);
    };
    tree.walk(bucket, &mut |key, value| {
        let lease = Lease::decode(value).ok().and_then(Lease::record);
        match lease {
            Some(lease) if lease.id.0.to_be_bytes() == key => leases.push(lease),
            _ => {
                return Err(ImportError::pair(
                    bucket::LEASE,
                    key,
                    "a lease under its id",
                ));
            }
        }
        Ok(())
    })?;
    leases.sort_unstable_by_key(|lease| lease.id);
    Ok(leases)
}

fn alarms<S: Source>(tree: &Tree<S>, bucket: Option<&Bucket>) -> Result<Vec<Alarm>, ImportError> {
    let mut alarms = Vec::new();
    let Some(bucket) = bucket else {
        return Ok(alarms);
    };
    tree.walk(bucket, &mut |key, _| {
        match AlarmMember::decode(key) {
            // One of a kind that is not known binds nobody here.
            Ok(alarm) => alarms.extend(alarm.alarm()),
            Err(_) => return Err(ImportError::pair(bucket::ALARM, key, "an alarm")),
        }
        Ok(())
    })?;
    Ok(alarms)
}

/// The last compaction, finished or only begun: both forbid reads below.
fn compacted<S: Source>(tree: &Tree<S>, numbers: &Bucket) -> Result<i64, ImportError> {
    let mut compacted = -1;
    tree.walk(numbers, &mut |key, value| {
        if key == meta::COMPACTED || key == meta::COMPACTING {
            let revision = RevisionKey::decode(value);
            let revision =
                revision.ok_or_else(|| ImportError::pair(bucket::META, key, "a revision"))?;
            compacted = compacted.max(revision.main);
        }
        Ok::<(), ImportError>(())
    })?;
    Ok(compacted)
}
