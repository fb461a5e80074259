//! The members in a few lines, as the replicated state must know them (etcd's rules of membership: an id
//! is used once, no two members share a peer address, only a learner is promoted).

use std::collections::{BTreeMap, BTreeSet};

use store_machine::MemberRecord;
use store_machine::command::MemberChange;
use store_machine::error::Refusal;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    pub(crate) records: BTreeMap<u64, MemberRecord>,
    pub(crate) removed: BTreeSet<u64>,
}

impl Members {
    pub(crate) fn founded(records: impl IntoIterator<Item = MemberRecord>) -> Self {
        Self {
            records: records.into_iter().map(|it| (it.id, it)).collect(),
            removed: BTreeSet::new(),
        }
    }

    /// Ids that vote.
    pub(crate) fn voters(&self) -> Vec<u64> {
        let votes = self.records.values().filter(|record| !record.learner);
        votes.map(|record| record.id).collect()
    }

    /// Ids that learn.
    pub(crate) fn learners(&self) -> Vec<u64> {
        let learns = self.records.values().filter(|record| record.learner);
        learns.map(|record| record.id).collect()
    }

    pub(crate) fn list(&self) -> Vec<MemberRecord> {
        self.records.values().cloned().collect()
    }

    /// Why a change is refused here, if it is.
    pub(crate) fn refusal(&self, change: &MemberChange) -> Option<Refusal> {
        let (id, urls) = match change {
            MemberChange::Add(member) => {
                if self.records.contains_key(&member.id) || self.removed.contains(&member.id) {
                    return Some(Refusal::MemberExists);
                }
                (member.id, &member.peer_urls[..])
            }
            MemberChange::Update { id, peer_urls } => (*id, &peer_urls[..]),
            MemberChange::Remove { id } | MemberChange::Promote { id } => (*id, &[][..]),
        };
        let known = self.records.get(&id);
        if known.is_none() && !matches!(change, MemberChange::Add(_)) {
            return Some(Refusal::MemberNotFound);
        }
        if matches!(change, MemberChange::Promote { .. }) && known.is_some_and(|it| !it.learner) {
            return Some(Refusal::NotLearner);
        }
        let others = self.records.values().filter(|record| record.id != id);
        let taken = |it: &MemberRecord| it.peer_urls.iter().any(|url| urls.contains(url));
        others
            .into_iter()
            .any(taken)
            .then_some(Refusal::PeerUrlExists)
    }

    pub(crate) fn change(&mut self, change: &MemberChange) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(change) {
            return Err(refusal);
        }
        match change {
            MemberChange::Add(member) => {
                self.records.insert(member.id, member.clone());
            }
            MemberChange::Remove { id } => {
                self.records.remove(id);
                self.removed.insert(*id);
            }
            MemberChange::Update { id, peer_urls } => {
                let record = self.records.entry(*id);
                record.and_modify(|record| record.peer_urls.clone_from(peer_urls));
            }
            MemberChange::Promote { id } => {
                let record = self.records.entry(*id);
                record.and_modify(|record| record.learner = false);
            }
        }
        Ok(())
    }

    /// A member has said what it is called.
    pub(crate) fn publish(&mut self, id: u64, name: &str, urls: &[String]) -> Result<(), Refusal> {
        if self.removed.contains(&id) {
            return Err(Refusal::MemberNotFound);
        }
        let record = self.records.entry(id).or_default();
        record.id = id;
        name.clone_into(&mut record.name);
        record.client_urls = urls.to_vec();
        Ok(())
    }
}
