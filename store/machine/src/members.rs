//! The members as the replicated state knows them. Who votes is raft's business; this is what
//! clients are told.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::MemberChange;
use crate::error::Refusal;

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its id.
    pub id: u64,
    /// Its name; empty until it has started once.
    pub name: String,
    /// Where peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    pub client_urls: Vec<String>,
    /// It does not vote.
    pub learner: bool,
}

/// All members by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Members {
    records: BTreeMap<u64, MemberRecord>,
    /// Ids that were members once. Kept for ever: a member that was away when it was removed must be
    /// told, and must not be let in again.
    removed: BTreeSet<u64>,
}

impl Members {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &MemberRecord> {
        self.records.values()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&MemberRecord> {
        self.records.get(&id)
    }

    pub(crate) const fn removed(&self) -> &BTreeSet<u64> {
        &self.removed
    }

    /// Takes over what a snapshot, or the first entry of a cluster, says.
    pub(crate) fn restore(&mut self, records: Vec<MemberRecord>, removed: Vec<u64>) {
        self.records = records
            .into_iter()
            .map(|record| (record.id, record))
            .collect();
        self.removed = removed.into_iter().collect();
    }

    /// Records name and client addresses; a member not heard of before gets a record.
    pub(crate) fn publish(
        &mut self,
        id: u64,
        name: String,
        client_urls: Vec<String>,
    ) -> Result<(), Refusal> {
        if self.removed.contains(&id) {
            return Err(Refusal::MemberNotFound);
        }
        let record = self.records.entry(id).or_insert_with(|| MemberRecord {
            id,
            ..MemberRecord::default()
        });
        record.name = name;
        record.client_urls = client_urls;
        Ok(())
    }

    /// Whether a change can be made.
    pub(crate) fn check(&self, change: &MemberChange) -> Result<(), Refusal> {
        let known = |id: &u64| self.records.get(id).ok_or(Refusal::MemberNotFound);
        match change {
            MemberChange::Add(member) => {
                if self.records.contains_key(&member.id) || self.removed.contains(&member.id) {
                    return Err(Refusal::MemberExists);
                }
                self.check_urls(member.id, &member.peer_urls)
            }
            MemberChange::Remove { id } => known(id).map(|_| ()),
            MemberChange::Update { id, peer_urls } => {
                known(id)?;
                self.check_urls(*id, peer_urls)
            }
            MemberChange::Promote { id } if known(id)?.learner => Ok(()),
            MemberChange::Promote { .. } => Err(Refusal::NotLearner),
        }
    }

    /// Nobody else may have these addresses.
    fn check_urls(&self, id: u64, urls: &[String]) -> Result<(), Refusal> {
        let mut others = self.records.values().filter(|record| record.id != id);
        if others.any(|other| other.peer_urls.iter().any(|url| urls.contains(url))) {
            return Err(Refusal::PeerUrlExists);
        }
        Ok(())
    }

    /// Makes a change.
    pub(crate) fn change(&mut self, change: MemberChange) -> Result<(), Refusal> {
        self.check(&change)?;
        match change {
            MemberChange::Add(member) => {
                self.records.insert(member.id, member);
            }
            MemberChange::Remove { id } => {
                self.records.remove(&id);
                self.removed.insert(id);
            }
            MemberChange::Update { id, peer_urls } => {
                if let Some(record) = self.records.get_mut(&id) {
                    record.peer_urls = peer_urls;
                }
            }
            MemberChange::Promote { id } => {
                if let Some(record) = self.records.get_mut(&id) {
                    record.learner = false;
                }
            }
        }
        Ok(())
    }
}
