//! From what a folder held to what it means: the machine of its snapshot, and the entries behind it.

use std::path::Path;

use store_machine::snapshot::Restore;
use store_machine::{Limits, Machine};
use store_member::record::{self, EntryKind, Mark, Recovered, Voters};
use store_wal::{Disk, RealDisk, Wal, WalConfig};

use super::StartError;
use crate::disk::log::kind;

/// What a member that is stopped holds: all entries of its log applied, whether or not others knew of them. Changes
/// nothing in the folder, and keeps stores from starting on it meanwhile. `None` when it is no folder of a member.
///
/// # Errors
/// When a store runs on it, or it is damaged.
pub fn read(
    dir: &Path,
    log_dir: Option<&Path>,
) -> Result<Option<(store_wal::Identity, Machine)>, StartError> {
    let config = WalConfig::new(dir).with_log(log_dir);
    let found = whole(&RealDisk, &config)?;
    Ok(found.map(|(identity, machine, _)| (identity, machine)))
}

/// As [`read`], on any disk, with what the log said.
pub(super) fn whole<D: Disk>(
    disk: &D,
    config: &WalConfig,
) -> Result<Option<(store_wal::Identity, Machine, Recovered)>, StartError> {
    let Some(seen) = Wal::look(disk, config)? else {
        return Ok(None);
    };
    let dir = &config.dir;
    let (mut machine, recovered) = recover(dir, seen.recovered)?;
    store_member::replay(&mut machine, &recovered).map_err(|source| StartError::Replay {
        dir: dir.clone(),
        source,
    })?;
    drop(seen.locks);
    Ok(Some((seen.identity, machine, recovered)))
}

/// Turns what the log held into what the member needs.
pub(super) fn recover<D: Disk>(
    dir: &Path,
    found: store_wal::Recovered<D>,
) -> Result<(Machine, Recovered), StartError> {
    if let Some(cut) = &found.cut {
        tracing::warn!(
            file = %cut.file.display(),
            offset = cut.offset,
            bytes = cut.bytes,
            "removed a torn tail of the log: writes under way at the last crash, never acknowledged"
        );
    }
    for refused in &found.snapshots_refused {
        tracing::warn!("passed over a snapshot: {}", crate::fatal::chain(refused));
    }
    let mut machine = Machine::new(Limits::NONE);
    let mut mark = None;
    if let Some(mut snapshot) = found.snapshot {
        let index = snapshot.index;
        let unreadable = |source| StartError::Snapshot {
            dir: dir.to_owned(),
            index,
            source,
        };
        let unfit = |what| StartError::SnapshotMark {
            dir: dir.to_owned(),
            index,
            what,
        };
        let voters = Voters::decode(&snapshot.meta).ok_or_else(|| unfit("the list of voters"))?;
        mark = Some(Mark {
            index: snapshot.index,
            term: snapshot.term,
            voters,
        });
        let mut restore = Restore::new(Limits::NONE);
        while let Some(chunk) = snapshot.chunks.next_chunk()? {
            restore.feed(&chunk).map_err(unreadable)?;
        }
        machine = restore.finish().map_err(unreadable)?;
        if machine.applied().0 != index {
            return Err(unfit("the index of its state"));
        }
    }
    let entries = found.entries.into_iter().map(|entry| {
        let kinds = [
            EntryKind::Normal,
            EntryKind::Members,
            EntryKind::MembersJoint,
            EntryKind::Bootstrap,
        ];
        let known = kinds.into_iter().find(|known| kind(*known) == entry.kind);
        Ok(record::Entry {
            index: entry.index,
            term: entry.term,
            kind: known.ok_or_else(|| StartError::EntryKind {
                dir: dir.to_owned(),
                index: entry.index,
                kind: entry.kind,
            })?,
            body: entry.body,
        })
    });
    let recovered = Recovered {
        mark,
        vote: found
            .vote
            .map_or_else(record::Vote::default, |vote| record::Vote {
                term: vote.term,
                voted_for: vote.vote,
                commit: vote.commit,
            }),
        entries: entries.collect::<Result<_, StartError>>()?,
    };
    Ok((machine, recovered))
}
