//! Reads a folder's segments front to back and decides where the log ends: cleanly, torn, or damaged.
//! Reads only; [`crate::wal`] acts on what it finds.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::folder::Folder;
use crate::format::{ALIGN, Head, Item, Items, Place, Seed, Start};
use crate::replay::Replay;
use crate::wal::{Cut, Identity};

/// A segment that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) number: u64,
    /// Highest entry index it ever held; 0 when it held none.
    pub(crate) last_index: u64,
}

/// What the segments say.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) replay: Replay,
    /// All but the last, ascending.
    pub(crate) sealed: Vec<Sealed>,
    /// The last.
    pub(crate) active: Sealed,
    /// Where the frames begin in the last segment that no later one says were durable.
    pub(crate) unsure: u64,
    /// Where the next frame goes in the last segment.
    pub(crate) end: u64,
    /// Its size on disk.
    pub(crate) active_bytes: u64,
    /// Sequence of the next frame.
    pub(crate) sequence_next: u64,
    /// What of the last segment, from `end` on, was torn.
    pub(crate) cut: Option<Cut>,
}

/// Reads all segments.
pub(crate) fn read<D: Disk>(
    disk: &D,
    folder: &Folder,
    identity: Identity,
) -> Result<Found, OpenError> {
    let names = disk
        .list(folder.log())
        .map_err(|e| OpenError::io("list", folder.log(), e))?;
    let numbers = Folder::segment_numbers(&names);
    let missing = |what: String| OpenError::Missing {
        dir: folder.log().to_owned(),
        what,
    };
    let Some((&last, sealed_numbers)) = numbers.split_last() else {
        return Err(OpenError::NoLog {
            dir: folder.log().to_owned(),
        });
    };
    let mut replay = Replay::default();
    let mut bytes = Vec::new();
    let mut sealed = Vec::new();
    let mut previous = None;
    for &number in sealed_numbers {
        let path = folder.segment(number);
        load(disk, &path, &mut bytes)?;
        let walked = walk(
            &mut replay,
            previous.take(),
            &path,
            &bytes,
            Seed::new(identity, number),
            number,
        )?;
        sealed.push(Sealed {
            number,
            last_index: walked.last_index,
        });
        previous = Some((path, walked));
        if !numbers.contains(&(number + 1)) {
            return Err(missing(format!("log file {:016x}.wal", number + 1)));
        }
    }
    let path = folder.segment(last);
    load(disk, &path, &mut bytes)?;
    let seed = Seed::new(identity, last);
    let walked = walk(&mut replay, previous, &path, &bytes, seed, last)?;
    let torn_bytes = tail(&path, &bytes, seed, &walked)?;
    let end = walked.end as u64;
    Ok(Found {
        unsure: walked.unsure.front().map_or(end, |at| *at as u64),
        replay,
        sealed,
        active: Sealed {
            number: last,
            last_index: walked.last_index,
        },
        end,
        active_bytes: bytes.len() as u64,
        sequence_next: walked.sequence_next,
        cut: torn_bytes.map(|bytes| Cut {
            file: path,
            offset: end,
            bytes,
        }),
    })
}

fn load<D: Disk>(disk: &D, path: &Path, bytes: &mut Vec<u8>) -> Result<(), OpenError> {
    let file = disk
        .open(path)
        .map_err(|e| OpenError::io("open", path, e))?;
    let length = file.bytes().map_err(|e| OpenError::io("read", path, e))?;
    // Bounded by the largest segment size; a longer file is none of ours and stops at its own frames.
    bytes.resize(usize::try_from(length).unwrap_or(usize::MAX), 0);
    file.read_at(bytes, 0)
        .map_err(|e| OpenError::io("read", path, e))
}

/// One segment, up to its first invalid frame.
struct Walked {
    end: usize,
    /// Where each frame begins that no later one says was durable.
    unsure: VecDeque<usize>,
    records: u64,
    last_index: u64,
    sequence_next: u64,
    recycled: bool,
}

/// Reads one segment up to its first invalid frame. `previous` is the one before it.
fn walk(
    replay: &mut Replay,
    previous: Option<(PathBuf, Walked)>,
    path: &Path,
    bytes: &[u8],
    seed: Seed,
    number: u64,
) -> Result<Walked, OpenError> {
    let damaged = |record, offset: usize, reason| OpenError::Damaged {
        file: path.to_owned(),
        record,
        offset: offset as u64,
        reason,
    };
    let (mut items, head) = frame(bytes, seed, 0)
        .ok_or_else(|| damaged(0, 0, "the segment does not begin with a whole frame"))?;
    let start = match items.next() {
        Ok(Some(Item::Start(start))) if start.number == number => start,
        _ => {
            return Err(damaged(
                0,
                0,
                "the segment does not begin with its own number",
            ));
        }
    };
    follows(previous, &start, head.place)?;
    let mut walked = Walked {
        end: 0,
        unsure: VecDeque::new(),
        records: 1,
        last_index: 0,
        sequence_next: head.place.sequence,
        recycled: start.recycled,
    };
    let mut next = Some((items, head));
    while let Some((mut items, head)) = next {
        while let Some(item) = items
            .next()
            .map_err(|r| damaged(walked.records, walked.end, r))?
        {
            replay
                .take(item)
                .map_err(|r| damaged(walked.records, walked.end, r))?;
            walked.records += 1;
            if let Item::Entry { index, .. } = item {
                walked.last_index = walked.last_index.max(index);
            }
        }
        walked.unsure.push_back(walked.end);
        walked.end += head.frame_bytes();
        walked.sequence_next += 1;
        let unsure = walked.sequence_next - 1 - head.place.durable;
        while walked.unsure.len() as u64 > unsure {
            walked.unsure.pop_front();
        }
        next = frame(bytes, seed, walked.end)
            .filter(|(_, head)| head.place.sequence == walked.sequence_next);
    }
    Ok(walked)
}

/// The segment that begins so continues the one before it: that one was wholly durable, so nothing in
/// it is a torn tail.
fn follows(
    previous: Option<(PathBuf, Walked)>,
    start: &Start,
    place: Place,
) -> Result<(), OpenError> {
    let Some((file, previous)) = previous else {
        return Ok(());
    };
    let end = previous.end as u64;
    if start.previous_end == end && place.sequence == previous.sequence_next {
        return Ok(());
    }
    Err(OpenError::Damaged {
        file,
        record: previous.records,
        offset: end,
        reason: "the next file says that the log goes on here",
    })
}

fn frame<'a>(bytes: &'a [u8], seed: Seed, offset: usize) -> Option<(Items<'a>, Head)> {
    let head = Head::at(bytes, seed, offset)?;
    Some((head.items(bytes, seed, offset)?, head))
}

/// Applies the rule of `format.rs` to what lies beyond the last whole frame: the number of torn bytes there, if any.
fn tail(path: &Path, bytes: &[u8], seed: Seed, walked: &Walked) -> Result<Option<u64>, OpenError> {
    let Some(written) = last_written(&bytes[walked.end..]) else {
        return Ok(None);
    };
    let written = walked.end + written + 1;
    let mut torn_end = None;
    for offset in (walked.end..written).step_by(ALIGN) {
        if let Some(head) = Head::at(bytes, seed, offset) {
            if head.place.durable >= walked.sequence_next {
                return Err(OpenError::Damaged {
                    file: path.to_owned(),
                    record: walked.records,
                    offset: walked.end as u64,
                    reason: "records after it were written when it was durable already",
                });
            }
            torn_end = Some((offset + head.frame_bytes()).min(bytes.len()));
        }
    }
    // In a file used again, old content is expected and, by its seed, harmless.
    if !walked.recycled {
        torn_end = torn_end.max(Some(written));
    }
    Ok(torn_end.map(|end| (end - walked.end) as u64))
}

/// Position of the last byte that is not zero. By blocks, as there may be 64 MiB of zeros.
fn last_written(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let blocks = bytes.chunks(ZEROS.len()).enumerate().rev();
    let (number, block) = blocks
        .into_iter()
        .find(|(_, block)| **block != ZEROS[..block.len()])?;
    let within = block.iter().rposition(|byte| *byte != 0)?;
    Some(number * ZEROS.len() + within)
}
