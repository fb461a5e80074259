//! Snapshots beside the log: begun, finished and marked, dropped when there are more than enough.

use super::Wal;
use crate::disk::Disk;
use crate::error::{OpenError, WalError};
use crate::folder::Folder;
use crate::format::{Item, Mark, MarkKind};
use crate::snapshot::{RecoveredSnapshot, SnapshotWriter};

impl<D: Disk> Wal<D> {
    /// Begins a snapshot of everything up to entry `index`, of `term`.
    ///
    /// # Errors
    /// `NoSpace` and `TooLarge`: there is no snapshot, the log is not harmed. Others are fatal.
    pub fn snapshot_begin(
        &mut self,
        index: u64,
        term: u64,
        meta: &[u8],
    ) -> Result<SnapshotWriter<D>, WalError> {
        self.check()?;
        SnapshotWriter::create(&self.disk, &self.folder, self.identity, (index, term), meta)
    }

    /// Makes the snapshot durable and the one to start from, and syncs the log. One that does not continue
    /// the log (it came from another member) replaces it: the next entry is `index + 1`. One that is
    /// older than the newest is dropped.
    ///
    /// # Errors
    /// `NoSpace`: the snapshot is given up, the log is not harmed. Others are fatal.
    pub fn snapshot_finish(&mut self, writer: SnapshotWriter<D>) -> Result<(), WalError> {
        self.check()?;
        let mark = Mark {
            index: writer.index,
            term: writer.term,
        };
        if self.mark.is_some_and(|newest| newest.index >= mark.index) {
            return Ok(());
        }
        let kind = if self.terms.of(mark.index) == Some(mark.term) {
            MarkKind::Continues
        } else {
            MarkKind::Replaces
        };
        let item = Item::Mark(mark, kind);
        self.make_room(item.bytes())?;
        writer.finish(&self.folder)?;
        self.write_frame(std::iter::once(item))?;
        self.sync()?;
        self.mark = Some(mark);
        if kind == MarkKind::Replaces {
            self.terms.restart(mark.index + 1);
        }
        self.terms.forget_below(mark.index);
        self.drop_snapshots()
    }

    /// Removes the oldest snapshots beyond the bound.
    fn drop_snapshots(&mut self) -> Result<(), WalError> {
        let dir = self.folder.snapshots();
        let names = self
            .disk
            .list(&dir)
            .map_err(|e| WalError::io("list", &dir, e))?;
        let found = Folder::snapshot_names(&names);
        let extra = found.len().saturating_sub(self.snapshots_max);
        for (index, term) in &found[..extra] {
            let path = self.folder.snapshot(*term, *index);
            self.disk
                .remove(&path)
                .map_err(|e| WalError::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// Opens the newest snapshot, to send it to another member.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn snapshot(&self) -> Result<Option<RecoveredSnapshot<D>>, OpenError> {
        self.mark
            .map(|mark| {
                RecoveredSnapshot::open(
                    &self.disk,
                    &self.folder,
                    self.identity,
                    (mark.index, mark.term),
                )
            })
            .transpose()
    }
}
