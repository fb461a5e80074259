//! Leases as recorded facts: what was granted, what the last checkpoint said, which keys hang on
//! which lease. Never deadlines: those are the leader's, in `store/member`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::error::Refusal;
use crate::keymap::KeyMap;
use crate::quota;
use crate::revision::LeaseId;

/// A lease as recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its id.
    pub id: LeaseId,
    /// Seconds it was granted for.
    pub ttl_seconds: i64,
    /// Seconds it still had at the last checkpoint; 0 = no checkpoint since grant or renewal.
    pub remaining_seconds: i64,
}

/// All leases of the store.
#[derive(Clone)]
pub(crate) struct Leases {
    records: BTreeMap<LeaseId, LeaseRecord>,
    /// Which key hangs on which lease: lease id in eight bytes, key. Invariant: equal to the lease
    /// fields of the current pairs.
    attached: KeyMap<()>,
    /// Highest term a lease command carried. A command of an older one decides nothing.
    term: u64,
}

impl Leases {
    pub(crate) fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            attached: KeyMap::new(),
            term: 0,
        }
    }

    pub(crate) fn get(&self, id: LeaseId) -> Option<LeaseRecord> {
        self.records.get(&id).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LeaseRecord> {
        self.records.values()
    }

    /// Bytes all leases account for.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.records.len() as u64 * quota::LEASE_BYTES
    }

    /// Highest term seen.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// Takes over what a snapshot says; keys are attached as their records arrive.
    pub(crate) fn restore(&mut self, term: u64, records: Vec<LeaseRecord>) {
        self.term = term;
        self.records = records
            .into_iter()
            .map(|record| (record.id, record))
            .collect();
    }

    /// Whether there is no key on a lease that does not exist.
    pub(crate) fn all_attached_exist(&self) -> bool {
        let mut exist = true;
        let mut last = LeaseId::NONE;
        self.attached.walk(&[], |attachment, ()| {
            let id = lease_of(attachment);
            if id != last {
                exist = self.records.contains_key(&id);
                last = id;
            }
            if exist {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        exist
    }

    /// Refuses a put that names a lease nobody granted.
    pub(crate) fn check(&self, id: LeaseId) -> Result<(), Refusal> {
        if id == LeaseId::NONE || self.records.contains_key(&id) {
            Ok(())
        } else {
            Err(Refusal::LeaseNotFound)
        }
    }

    pub(crate) fn grant(&mut self, id: LeaseId, ttl_seconds: i64) -> Result<(), Refusal> {
        if id == LeaseId::NONE {
            return Err(Refusal::LeaseNotFound);
        }
        if self.records.contains_key(&id) {
            return Err(Refusal::LeaseExists);
        }
        self.records.insert(
            id,
            LeaseRecord {
                id,
                ttl_seconds,
                remaining_seconds: 0,
            },
        );
        Ok(())
    }

    /// Refuses what a former leader decided, and remembers the term of the present one.
    pub(crate) fn check_term(&mut self, term: u64) -> Result<(), Refusal> {
        if term != 0 && term < self.term {
            return Err(Refusal::StaleTerm);
        }
        self.term = self.term.max(term);
        Ok(())
    }

    /// Forgets the lease; its keys must be gone.
    pub(crate) fn remove(&mut self, id: LeaseId) {
        self.records.remove(&id);
    }

    pub(crate) fn checkpoint(&mut self, remaining: &[(LeaseId, i64)]) {
        for (id, seconds) in remaining {
            if let Some(record) = self.records.get_mut(id) {
                record.remaining_seconds = (*seconds).max(0);
            }
        }
    }

    /// Moves a key from one lease to another; [`LeaseId::NONE`] stands for no lease.
    pub(crate) fn attach(&mut self, key: &[u8], from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if from != LeaseId::NONE {
            self.attached
                .update(&attachment(from, key), |attached| *attached = None);
        }
        if to != LeaseId::NONE {
            self.attached
                .update(&attachment(to, key), |attached| *attached = Some(()));
        }
    }

    /// Keys on the lease, in key order.
    pub(crate) fn keys(&self, id: LeaseId) -> Vec<Bytes> {
        let prefix = attachment(id, &[]);
        let mut keys = Vec::new();
        self.attached.walk(&prefix, |attachment, ()| {
            match attachment.strip_prefix(&prefix[..]) {
                Some(key) => {
                    keys.push(Bytes::copy_from_slice(key));
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            }
        });
        keys
    }
}

fn lease_of(attachment: &[u8]) -> LeaseId {
    LeaseId(
        attachment
            .first_chunk()
            .map_or(0, |id| i64::from_be_bytes(*id)),
    )
}

fn attachment(id: LeaseId, key: &[u8]) -> Vec<u8> {
    [&id.0.to_be_bytes(), key].concat()
}
