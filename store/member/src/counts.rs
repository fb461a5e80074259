//! Running numbers of a member, for metrics.

use store_machine::reply::{Applied, EventKind, Reply, TxnOpReply, TxnReply};

/// Since the member was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Leader changes seen.
    pub leader_changes: u64,
    /// Entries known to be committed: the highest index.
    pub committed_index: u64,
    /// Entries applied: the highest index.
    pub applied_index: u64,
    /// Proposals that ended without being applied, or with unknown outcome.
    pub proposals_failed: u64,
    /// Proposals without an outcome now.
    pub proposals_pending: u64,
    /// Leases revoked because their time was up.
    pub leases_expired: u64,
    /// Share of the quota, in percent, that has been warned of; 0 = none.
    pub space_warned: u64,
    /// Times the disk kept appends waiting for too long, until it had caught up.
    pub slow_syncs: u64,
    /// Comparisons of members this one made as leader.
    pub checks: u64,
    /// Those in which some member differed.
    pub checks_differing: u64,
    /// What the store was made to do.
    pub work: Work,
    /// Id of the leader; 0 = none.
    pub leader: u64,
    /// Raft term.
    pub term: u64,
}

/// What commands and reads did, on this member, since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Pairs that were put.
    pub puts: u64,
    /// Bytes of keys and values of those.
    pub put_bytes: u64,
    /// Deletes of a key or a range, whatever they found.
    pub deletes: u64,
    /// Ranges that were read.
    pub ranges: u64,
    /// Transactions.
    pub txns: u64,
    /// Events, as watchers are shown them.
    pub events: u64,
    /// Leases that were granted.
    pub leases_granted: u64,
    /// Leases that ended, by time or by a client.
    pub leases_revoked: u64,
    /// Renewals of leases; only a leader has any.
    pub leases_renewed: u64,
}

impl Work {
    /// Counts what a command did.
    pub(crate) fn applied(&mut self, applied: &Applied) {
        self.events += applied.events.len() as u64;
        for event in &applied.events {
            if event.kind == EventKind::Put {
                self.puts += 1;
                self.put_bytes += (event.kv.key.len() + event.kv.value.len()) as u64;
            }
        }
        match &applied.reply {
            Ok(Reply::Delete(_)) => self.deletes += 1,
            Ok(Reply::Txn(reply)) => self.txn(reply),
            Ok(Reply::LeaseGrant { .. }) => self.leases_granted += 1,
            Ok(Reply::LeaseRevoke) => self.leases_revoked += 1,
            _ => {}
        }
    }

    /// Counts a transaction, all but its puts.
    pub(crate) fn txn(&mut self, reply: &TxnReply) {
        self.txns += 1;
        for reply in &reply.replies {
            match reply {
                TxnOpReply::Range(_) => self.ranges += 1,
                TxnOpReply::Delete(_) => self.deletes += 1,
                TxnOpReply::Txn(nested) => self.txn(nested),
                TxnOpReply::Put(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use store_machine::reply::{DeleteReply, PutReply, RangeReply};
    use store_machine::revision::Revision;

    use super::*;

    #[test]
    fn nested_operations_count() {
        let nested = TxnReply {
            replies: vec![
                TxnOpReply::Range(RangeReply::default()),
                TxnOpReply::Put(PutReply::default()),
            ],
            ..TxnReply::default()
        };
        let txn = TxnReply {
            replies: vec![
                TxnOpReply::Txn(nested),
                TxnOpReply::Delete(DeleteReply::default()),
                TxnOpReply::Range(RangeReply::default()),
            ],
            ..TxnReply::default()
        };
        let mut work = Work::default();
        work.applied(&Applied {
            revision: Revision(2),
            reply: Ok(Reply::Txn(txn)),
            events: Vec::new(),
        });
        let wanted = Work {
            txns: 2,
            ranges: 2,
            deletes: 1,
            ..Work::default()
        };
        assert_eq!(work, wanted);
    }
}
