//! The disk alone: how fast could anything durable be, one record at a time?

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustix::fs::FallocateFlags;

use super::{Bout, Case, CaseError, Figures};
use crate::contender::Contender;
use crate::cores::Mode;
use crate::sample::{Meter, Sample};

/// What a log record takes beside key and value: header, checksum, raft entry. About what both
/// stores add; a few bytes more or less make no difference to a sync.
const RECORD_BYTES_EXTRA: usize = 24;

/// Size of the preallocated file, as a log segment: 64 MiB. Records start over at its end.
const FILE_BYTES: u64 = 64 << 20;

/// A record written and synced, one after the other.
pub(crate) const DISK: Case = Case {
    name: "sync",
    about: "write of one record into a preallocated file and fdatasync, one at a time",
    modes: &[Mode::Free],
    contenders: &[Contender::Disk],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout),
};

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let fail = |operation| move |source| CaseError::File { operation, source };
    let settings = bout.settings;
    let path = bout.server.folder().join("sync");
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(fail("create the file to sync"))?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES).map_err(|error| {
        CaseError::File {
            operation: "preallocate the file to sync",
            source: error.into(),
        }
    })?;
    let record = vec![0x5a; settings.key_bytes + settings.value_bytes + RECORD_BYTES_EXTRA];
    let mut meter = Meter::of(bout.server);
    let mut at = 0;
    let begin = Instant::now() + settings.warm_up();
    let end = begin + settings.measured();
    let mut began = false;
    loop {
        let start = Instant::now();
        if start >= end {
            break;
        }
        if !began && start >= begin {
            began = true;
            meter.begin()?;
        }
        file.write_all_at(&record, at)
            .map_err(fail("write a record"))?;
        file.sync_data().map_err(fail("sync a record"))?;
        meter.count(start.elapsed());
        at = (at + record.len() as u64) % (FILE_BYTES - record.len() as u64);
    }
    Ok(meter.finish()?)
}
