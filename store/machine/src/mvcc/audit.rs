//! Hashing the keyspace as it lies in memory at one revision, slice by slice, while writes go on.
//!
//! Versions above the revision are passed over, so what is written meanwhile does not matter; a
//! compaction meanwhile would, and ends the audit. What the scrub has yet to drop does not count.

use std::ops::ControlFlow;

use super::Keyspace;
use crate::checksum::mix;
use crate::revision::Revision;

/// Sums into which an audit sorts what it finds, by revision: enough that three audits, each of the
/// first sum that differed in the one before, name one among 262,144 revisions.
pub const AUDIT_SUMS: usize = 64;

/// An audit under way.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Versions up to here count.
    at: Revision,
    /// Last compaction when it began, -1 for none.
    compacted: i64,
    /// Those of these revisions are summed.
    from: Revision,
    to: Revision,
    /// First key not yet done, and how many of its versions are.
    next: Vec<u8>,
    versions_done: usize,
    sums: Vec<u64>,
}

/// How far an audit has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditStep {
    /// There is more.
    Going,
    /// The sums, by revision: see [`sum_bounds`].
    Done(Vec<u64>),
    /// What it was to look at has been compacted.
    Compacted,
}

/// First and last revision that sum number `place` of an audit of `from..=to` stands for.
#[must_use]
pub const fn sum_bounds(from: Revision, to: Revision, place: usize) -> (Revision, Revision) {
    let width = sum_width(from, to);
    let first = from.0.saturating_add(width.saturating_mul(place as i64));
    let last = first.saturating_add(width - 1);
    (
        Revision(first),
        Revision(if last < to.0 { last } else { to.0 }),
    )
}

const fn sum_width(from: Revision, to: Revision) -> i64 {
    let revisions = to.0.saturating_sub(from.0).saturating_add(1);
    let width = revisions / AUDIT_SUMS as i64
        + if revisions % AUDIT_SUMS as i64 > 0 {
            1
        } else {
            0
        };
    if width < 1 { 1 } else { width }
}

impl Keyspace {
    /// Begins an audit of the versions of `from..=to` as they are now.
    pub(crate) fn audit_begin(&self, from: Revision, to: Revision) -> Audit {
        Audit {
            at: self.revision,
            compacted: self.compacted,
            from,
            to,
            next: Vec::new(),
            versions_done: 0,
            sums: vec![0; AUDIT_SUMS],
        }
    }

    /// Goes on, for about `records_max` keys and versions or `bytes_max` bytes.
    pub(crate) fn audit(
        &self,
        audit: &mut Audit,
        records_max: usize,
        bytes_max: usize,
    ) -> AuditStep {
        if self.compacted != audit.compacted {
            return AuditStep::Compacted;
        }
        let (mut records_left, mut bytes_left) = (records_max.max(1), bytes_max.max(1));
        let (width, mut head) = (sum_width(audit.from, audit.to), Vec::new());
        let from = std::mem::take(&mut audit.next);
        let done_before = std::mem::take(&mut audit.versions_done);
        let mut stopped = None;
        self.index.walk(&from, |key, versions| {
            if records_left == 0 || bytes_left == 0 {
                stopped = Some((key.to_vec(), 0));
                return ControlFlow::Break(());
            }
            // Counted from the first one kept: the scrub moves the others away meanwhile.
            let done = if key == &from[..] { done_before } else { 0 };
            let kept = versions.from(versions.superseded(audit.compacted) + done);
            let counted = kept.take_while(|version| version.modified <= audit.at.0);
            for (done, version) in (done..).zip(counted) {
                if records_left == 0 || bytes_left == 0 {
                    stopped = Some((key.to_vec(), done));
                    return ControlFlow::Break(());
                }
                records_left -= 1;
                if !(audit.from.0..=audit.to.0).contains(&version.modified) {
                    continue;
                }
                let record = self.history.read(version.place);
                head.clear();
                record.pack_head(&mut head);
                let crc = crc32c::crc32c(key);
                let crc = crc32c::crc32c_append(crc, &head);
                let crc = crc32c::crc32c_append(crc, &record.value);
                bytes_left = bytes_left.saturating_sub(key.len() + head.len() + record.value.len());
                let place = (version.modified - audit.from.0) / width;
                // The sum does not depend on the order, each record's share on all of its bits.
                let sum = &mut audit.sums[place as usize];
                *sum = sum.wrapping_add(mix(u64::from(crc) << 32 | u64::from(crc32c::crc32c(key))));
            }
            records_left = records_left.saturating_sub(1);
            ControlFlow::Continue(())
        });
        match stopped {
            Some((next, done)) => {
                (audit.next, audit.versions_done) = (next, done);
                AuditStep::Going
            }
            None => AuditStep::Done(std::mem::take(&mut audit.sums)),
        }
    }
}
