//! The members as the replicated state knows them. Who votes is raft's business; this is what
//! clients are told.

use std::collections::BTreeMap;

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
}

impl Members {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &MemberRecord> {
        self.records.values()
    }

    /// Takes over what a snapshot says.
    pub(crate) fn restore(&mut self, records: Vec<MemberRecord>) {
        self.records = records
            .into_iter()
            .map(|record| (record.id, record))
            .collect();
    }

    /// Records name and client addresses; a member not heard of before gets a record.
    pub(crate) fn publish(&mut self, id: u64, name: String, client_urls: Vec<String>) {
        let record = self.records.entry(id).or_insert_with(|| MemberRecord {
            id,
            ..MemberRecord::default()
        });
        record.name = name;
        record.client_urls = client_urls;
    }
}
