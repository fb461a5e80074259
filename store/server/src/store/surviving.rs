//! `--force-new-cluster`: the member that is left goes on alone, with its data and its ids. Written into its log in one
//! batch before it starts, so that a crash leaves all of it or nothing.

use store_member::record::Recovered;
use store_wal::{Disk, Entry, Record, Vote, Wal, WalConfig};

use super::{StartError, recovering};
use crate::disk::log::kind;

/// What the log must say; found before it is opened to be written.
pub(super) struct Survivor {
    entries: Vec<store_member::record::Entry>,
    vote: store_member::record::Vote,
}

/// Reads the folder of a member that is stopped. `None` when there is nobody to do without.
pub(super) fn survivor<D: Disk>(
    disk: &D,
    config: &WalConfig,
) -> Result<Option<Survivor>, StartError> {
    let Some((identity, machine, recovered)) = recovering::whole(disk, config)? else {
        tracing::warn!("--force-new-cluster on a folder without data: a new cluster begins anyway");
        return Ok(None);
    };
    let Some((entries, vote)) = store_member::survivor(identity.member, &machine, &recovered)
    else {
        return Err(StartError::NoSurvivor {
            dir: config.dir.clone(),
        });
    };
    if entries.is_empty() {
        tracing::info!("--force-new-cluster: this member is alone already");
        return Ok(None);
    }
    tracing::warn!(
        lost = entries.len(),
        "--force-new-cluster: all other members are taken out; leave the flag out from now on"
    );
    Ok(Some(Survivor { entries, vote }))
}

impl Survivor {
    /// Writes it, and adds it to what was found.
    pub(super) fn write<D: Disk>(
        self,
        wal: &mut Wal<D>,
        recovered: &mut Recovered,
    ) -> Result<(), StartError> {
        let mut records: Vec<Record> = self
            .entries
            .iter()
            .map(|entry| {
                Record::Entry(Entry {
                    index: entry.index,
                    term: entry.term,
                    kind: kind(entry.kind),
                    body: entry.body.clone(),
                })
            })
            .collect();
        records.push(Record::Vote(Vote {
            term: self.vote.term,
            vote: self.vote.voted_for,
            commit: self.vote.commit,
        }));
        let written = wal.append(&records).and_then(|_| wal.sync());
        written.map_err(StartError::Survivor)?;
        recovered.entries.extend(self.entries);
        recovered.vote = self.vote;
        Ok(())
    }
}
