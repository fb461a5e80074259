//! The files below `member/wal`: one row of records, cut into files of 64 MB.
//!
//! ```text
//! record: length 8 (little-endian) | walpb.Record | padding to 8 bytes
//! length: 56 bits of it the message's; where the highest bit is set, the lowest three of the highest byte count the padding
//! ```
//! A length of zero ends a file: it was made larger than it is filled. The checksum of a record is over the data of all
//! records before it too, and each file begins with one that says it.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;

use super::damaged;
use super::message::{Entry, LogSnapshot, Record};
use crate::failure::Failure;

/// Bytes of a length.
const LENGTH_BYTES: usize = 8;
/// A disk writes whole sectors: one of zeros in the last record was never written.
const SECTOR_BYTES: usize = 512;

/// `walpb.Record.type`.
mod kind {
    pub(super) const METADATA: i64 = 1;
    pub(super) const ENTRY: i64 = 2;
    pub(super) const STATE: i64 = 3;
    pub(super) const CRC: i64 = 4;
    pub(super) const SNAPSHOT: i64 = 5;
}

/// What the log holds behind a snapshot.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Without a gap.
    pub(super) entries: Vec<Entry>,
    /// It ends in the middle of a record.
    pub(super) torn: bool,
}

/// Reads what stands behind the entry at `index` of `term`.
///
/// All entries are taken, whether or not the folder says that they were committed: what a client was told is among them.
pub(super) fn read(dir: &Path, (index, term): (u64, u64)) -> Result<Log, Failure> {
    let files = files(dir, index)?;
    let mut log = Log::default();
    let mut crc = 0;
    let last = files.len().saturating_sub(1);
    for (at, path) in files.iter().enumerate() {
        let content = fs::read(path)
            .map_err(|cause| Failure::of(&format!("read {}", path.display()), &cause))?;
        let mut reader = Reader {
            content: Bytes::from(content),
            at: 0,
        };
        loop {
            let offset = reader.at;
            let fault = |what: &str| damaged(path, format_args!("{what} at byte {offset}"));
            let record = match reader.next(&mut crc) {
                Step::Record(record) => record,
                Step::End => break,
                Step::Torn if at == last => {
                    log.torn = true;
                    break;
                }
                Step::Torn => return Err(fault("the file is cut off in the record")),
                Step::Damaged(what) => return Err(fault(what)),
            };
            take(&mut log, record, (index, term)).map_err(|what| fault(&what))?;
        }
    }
    Ok(log)
}

/// The files that matter, in order: from the last one that begins at or before the index on. Names are
/// `<number>-<index>.wal` with 16 hex digits each.
fn files(dir: &Path, index: u64) -> Result<Vec<PathBuf>, Failure> {
    let failed = |cause: std::io::Error| Failure::of(&format!("read {}", dir.display()), &cause);
    let mut named = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let numbers = path.file_name().and_then(|name| {
            let (number, first) = name.to_str()?.strip_suffix(".wal")?.split_once('-')?;
            let read = |text| u64::from_str_radix(text, 16).ok();
            Some((read(number)?, read(first)?))
        });
        named.extend(numbers.map(|numbers| (numbers, path)));
    }
    named.sort_unstable();
    let from = named.iter().rposition(|((_, first), _)| *first <= index);
    let Some(from) = from else {
        return Err(damaged(
            dir,
            format_args!("the log behind entry {index} is not there"),
        ));
    };
    let named = named.split_off(from);
    for pair in named.windows(2) {
        let ((number, _), (next, _)) = (pair[0].0, pair[1].0);
        if number + 1 != next {
            let number = number + 1;
            return Err(damaged(
                dir,
                format_args!("file {number} of the log is not there"),
            ));
        }
    }
    Ok(named.into_iter().map(|(_, path)| path).collect())
}

fn take(log: &mut Log, record: Record, (index, term): (u64, u64)) -> Result<(), String> {
    match record.kind {
        kind::ENTRY => {
            let entry = Entry::decode(record.data).map_err(|_| "expected an entry")?;
            let Some(place) = entry.index.checked_sub(index + 1) else {
                return Ok(());
            };
            // A new leader may have written over what an old one had left.
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if place > log.entries.len() {
                let missing = index + 1 + log.entries.len() as u64;
                return Err(format!("entry {missing} is missing before {}", entry.index));
            }
            log.entries.truncate(place);
            log.entries.push(entry);
        }
        kind::SNAPSHOT => {
            let mark =
                LogSnapshot::decode(record.data).map_err(|_| "expected a snapshot's mark")?;
            if mark.index == index && mark.term != term {
                return Err(format!(
                    "entry {index} has term {}, but {term} in the snapshot",
                    mark.term
                ));
            }
        }
        kind::METADATA | kind::STATE | kind::CRC => {}
        other => return Err(format!("a record of unknown kind {other}")),
    }
    Ok(())
}

/// One file.
struct Reader {
    content: Bytes,
    at: usize,
}

/// What comes next in it.
enum Step {
    Record(Record),
    End,
    /// It was not written to its end.
    Torn,
    Damaged(&'static str),
}

impl Reader {
    fn next(&mut self, crc: &mut u32) -> Step {
        let Some(head) = self.content[self.at..].first_chunk::<LENGTH_BYTES>() else {
            return match self.content.len() - self.at {
                0 => Step::End,
                _ => Step::Torn,
            };
        };
        let head = u64::from_le_bytes(*head);
        if head == 0 {
            return Step::End;
        }
        let length = (head & ((1 << 56) - 1)) as usize;
        let padding = match head >> 63 {
            1 => (head >> 56 & 7) as usize,
            _ => 0,
        };
        let begin = self.at + LENGTH_BYTES;
        let Some(end) = length.checked_add(padding).and_then(|more| {
            let end = begin.checked_add(more)?;
            (end <= self.content.len()).then_some(end)
        }) else {
            return Step::Torn;
        };
        let bytes = self.content.slice(begin..begin + length);
        let fault = |what| match never_written(&bytes, begin) {
            true => Step::Torn,
            false => Step::Damaged(what),
        };
        let Ok(record) = Record::decode(bytes.clone()) else {
            return fault("expected a record");
        };
        if record.kind == kind::CRC {
            if *crc != 0 && record.crc != *crc {
                return fault("the checksum of the file before does not hold");
            }
            *crc = record.crc;
        } else {
            *crc = crc32c::crc32c_append(*crc, &record.data);
            if record.crc != *crc {
                return fault("the checksum does not hold");
            }
        }
        self.at = end;
        Step::Record(record)
    }
}

/// A sector of it is zeros.
fn never_written(bytes: &[u8], offset: usize) -> bool {
    let first = SECTOR_BYTES - offset % SECTOR_BYTES;
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    let mut sectors = std::iter::once(head).chain(rest.chunks(SECTOR_BYTES));
    sectors.any(|sector| sector.iter().all(|byte| *byte == 0))
}
