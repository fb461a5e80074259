//! Building a machine from a snapshot that arrives in pieces of any size.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::state::{self, State};
use super::{END_BYTES, FRAME_HEAD_BYTES, MAGIC, OPENING_BYTES, VERSION, VERSION_MIN, kind};
use crate::alarm::AlarmKind;
use crate::checksum::Trail;
use crate::mvcc::Record;
use crate::revision::Revision;
use crate::{Limits, Machine};

/// Stored in place of the checksum, it holds in a build for fuzzing and nowhere else: no fuzzer guesses a CRC.
const FUZZED: u32 = u32::MAX;

/// Why bytes give no machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// They do not begin like a snapshot.
    NotASnapshot,
    /// A layout this program does not know.
    Version {
        /// The one found.
        found: u8,
    },
    /// Something is not as it was written.
    Damaged {
        /// Offset of the frame in which it stands.
        offset: u64,
        /// What was expected there.
        expected: &'static str,
    },
    /// All frames are well formed but the checksum says otherwise.
    Checksum {
        /// As written in the snapshot.
        stored: u32,
        /// Of the bytes that arrived.
        computed: u32,
    },
    /// They stop before the end frame.
    CutOff {
        /// Bytes that arrived.
        length: u64,
    },
}

impl RestoreError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotASnapshot => {
                "give a file that `snapshot save` wrote, or that stands in a data folder of muster"
                    .to_owned()
            }
            Self::Version { found } => {
                format!("use a release that writes or reads snapshot version {found}")
            }
            Self::Damaged { .. } | Self::Checksum { .. } => {
                "take another copy of the snapshot, or one from another member".to_owned()
            }
            Self::CutOff { .. } => {
                "copy the snapshot again: saving or copying it was interrupted".to_owned()
            }
        })
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("restore snapshot: ")?;
        match self {
            Self::NotASnapshot => f.write_str("the bytes do not begin like a snapshot"),
            Self::Version { found } => {
                write!(
                    f,
                    "version {found} is not known, expected {VERSION_MIN} to {VERSION}"
                )
            }
            Self::Damaged { offset, expected } => {
                write!(f, "expected {expected} in the frame at byte {offset}")
            }
            Self::Checksum { stored, computed } => {
                write!(
                    f,
                    "checksum {stored:08x} is written, {computed:08x} was found"
                )
            }
            Self::CutOff { length } => write!(f, "it is cut off after {length} bytes"),
        }
    }
}

impl std::error::Error for RestoreError {}

/// A snapshot on its way in.
pub struct Restore {
    limits: Limits,
    /// What has arrived of the frame that is not complete.
    pending: Vec<u8>,
    /// Length of `pending` from which on it is worth looking at.
    needed: usize,
    /// Bytes before `pending`.
    offset: u64,
    /// Of those bytes.
    checksum: u32,
    opened: bool,
    building: Option<Building>,
    ended: bool,
    /// Once refused, always refused.
    failed: Option<RestoreError>,
}

/// The machine as far as it has arrived.
pub(super) struct Building {
    machine: Machine,
    /// What the snapshot says the revision is; no record may lie above.
    revision: Revision,
    /// Revision of the last record.
    last: i64,
    /// The place of the trail is behind.
    begun: bool,
}

impl Restore {
    /// Waits for the first bytes; the machine gets these limits, unless the snapshot knows others.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: Vec::new(),
            needed: 0,
            offset: 0,
            checksum: 0,
            opened: false,
            building: None,
            ended: false,
            failed: None,
        }
    }

    /// Takes the next bytes, split as they may be.
    ///
    /// # Errors
    /// As soon as it is clear that they are no whole snapshot.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < self.needed {
            return Ok(());
        }
        let fed = self.take_frames();
        if let Err(error) = &fed {
            self.failed = Some(error.clone());
        }
        fed
    }

    /// The machine, once everything has arrived.
    ///
    /// # Errors
    /// When the end has not been seen, or [`Restore::feed`] failed before.
    pub fn finish(self) -> Result<Machine, RestoreError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let length = self.offset + self.pending.len() as u64;
        match self.building {
            Some(building) if self.ended => Ok(building.machine),
            _ => Err(RestoreError::CutOff { length }),
        }
    }

    /// Works off what is complete.
    fn take_frames(&mut self) -> Result<(), RestoreError> {
        // One buffer, sliced frame by frame, so that many frames in one piece are not moved often.
        let mut bytes = Bytes::from(std::mem::take(&mut self.pending));
        if !self.opened && !self.open(&mut bytes)? {
            self.pending = bytes.to_vec();
            return Ok(());
        }
        self.needed = 0;
        while bytes.len() >= FRAME_HEAD_BYTES && !self.ended {
            let len = u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            if bytes.len() - FRAME_HEAD_BYTES < len {
                self.needed = FRAME_HEAD_BYTES + len;
                break;
            }
            let kind = bytes[0];
            let frame = bytes.split_to(FRAME_HEAD_BYTES + len);
            self.frame(kind, frame.slice(FRAME_HEAD_BYTES..))?;
            self.checksum = crc32c::crc32c_append(self.checksum, &frame);
            self.offset += frame.len() as u64;
        }
        if self.ended && !bytes.is_empty() {
            return Err(self.damaged("nothing behind the end"));
        }
        self.pending = bytes.to_vec();
        Ok(())
    }

    /// Checks magic and version; false while they have not arrived.
    fn open(&mut self, bytes: &mut Bytes) -> Result<bool, RestoreError> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Err(RestoreError::NotASnapshot);
        }
        if bytes.len() < OPENING_BYTES {
            return Ok(false);
        }
        let opening = bytes.split_to(OPENING_BYTES);
        let found = opening[MAGIC.len()];
        if !(VERSION_MIN..=VERSION).contains(&found) {
            return Err(RestoreError::Version { found });
        }
        self.checksum = crc32c::crc32c(&opening);
        self.offset = OPENING_BYTES as u64;
        self.opened = true;
        Ok(true)
    }

    fn frame(&mut self, kind: u8, content: Bytes) -> Result<(), RestoreError> {
        match (kind, &mut self.building) {
            (kind::STATE, None) => match state::decode(content) {
                Some(state) => self.building = Some(Building::new(self.limits, state)),
                None => return Err(self.damaged("numbers, leases, alarms and members")),
            },
            (kind::TRAIL, Some(building)) if !building.begun => match Trail::decode(content) {
                Some(trail) if trail.point().revision == building.revision => {
                    building.machine.trail = trail;
                    building.begun = true;
                }
                _ => return Err(self.damaged("the running checksum at its revision")),
            },
            (kind::RECORDS, Some(building)) => {
                building.begun = true;
                if let Err(expected) = building.records(&content) {
                    return Err(self.damaged(expected));
                }
            }
            (kind::END, Some(_)) => self.end(&content)?,
            (_, None) => return Err(self.damaged("the state frame first")),
            (_, Some(_)) => return Err(self.damaged("a frame of records or the end")),
        }
        Ok(())
    }

    fn end(&mut self, content: &[u8]) -> Result<(), RestoreError> {
        let Ok(stored) = <[u8; END_BYTES]>::try_from(content) else {
            return Err(self.damaged("a checksum"));
        };
        let stored = u32::from_le_bytes(stored);
        if stored != self.checksum && !(cfg!(fuzzing) && stored == FUZZED) {
            return Err(RestoreError::Checksum {
                stored,
                computed: self.checksum,
            });
        }
        if let Some(building) = &mut self.building
            && let Err(expected) = building.finish()
        {
            return Err(self.damaged(expected));
        }
        self.ended = true;
        Ok(())
    }

    fn damaged(&self, expected: &'static str) -> RestoreError {
        RestoreError::Damaged {
            offset: self.offset,
            expected,
        }
    }
}

impl Building {
    pub(super) fn new(limits: Limits, state: State) -> Self {
        let mut machine = Machine::new(limits);
        if let Some(quota_bytes) = state.quota_bytes {
            machine.quota_bytes = quota_bytes;
        }
        machine.applied = state.applied;
        machine.leases.restore(state.lease_term, state.leases);
        for alarm in state.alarms {
            if alarm.kind == AlarmKind::NoSpace && state.full.contains(&alarm.member) {
                machine.alarms.fill(alarm.member);
            } else {
                machine.alarms.raise(alarm);
            }
        }
        machine.members.restore(state.members, state.removed);
        machine.auth = Arc::new(state.auth);
        machine.keyspace.restore_begin(state.compacted);
        machine.trail = Trail::new(state.revision);
        Self {
            machine,
            revision: state.revision,
            last: 0,
            begun: false,
        }
    }

    /// Adds a frame of records; the error says what was expected.
    fn records(&mut self, content: &Bytes) -> Result<(), &'static str> {
        let mut at = 0;
        while at < content.len() {
            self.record(Record::unpack(content, &mut at).ok_or("a whole record")?)?;
        }
        Ok(())
    }

    /// Adds a record; as above.
    pub(super) fn record(&mut self, record: Record) -> Result<(), &'static str> {
        if record.modified < self.last || record.modified > self.revision.0 {
            return Err("records in the order of their revisions");
        }
        self.last = record.modified;
        let (key, lease) = (record.key.clone(), record.lease);
        let lease_before = self.machine.keyspace.restore(record);
        self.machine.leases.attach(&key, lease_before, lease);
        Ok(())
    }

    pub(super) fn machine(self) -> Machine {
        self.machine
    }

    pub(super) fn finish(&mut self) -> Result<(), &'static str> {
        self.machine.keyspace.restore_end(self.revision);
        if self.machine.leases.all_attached_exist() {
            Ok(())
        } else {
            Err("the lease of every key that has one")
        }
    }
}
