//! The state beside the records: numbers, leases, alarms, members, users and roles; as varints and byte strings.
//!
//! Which keys hang on which lease is not written: the records of the current pairs say it.

use bytes::Bytes;

use crate::alarm::{Alarm, AlarmKind};
use crate::auth::Auth;
use crate::command::alarm_byte;
use crate::revision::{Index, LeaseId, Revision};
use crate::varint::{Reader, put_bytes, put_i64, put_u64};
use crate::{LeaseRecord, Machine, MemberRecord};

/// What the state frame says: all but the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Last entry of the log it contains.
    pub applied: Index,
    /// Current revision.
    pub revision: Revision,
    /// Last compaction; -1 when nothing was ever compacted.
    pub compacted: i64,
    /// Highest term a lease command carried.
    pub lease_term: u64,
    /// By id.
    pub leases: Vec<LeaseRecord>,
    /// In order.
    pub alarms: Vec<Alarm>,
    /// By id.
    pub members: Vec<MemberRecord>,
    /// Ids of former members. Stands here only if there are any or more follows: older bytes end
    /// before.
    pub removed: Vec<u64>,
    /// Users, roles and permissions; a section of its own behind the rest.
    pub auth: Auth,
    /// The quota, where it is known; a section of its own.
    pub quota_bytes: Option<u64>,
    /// Members whose NOSPACE the store has raised by itself; in the same section.
    pub full: Vec<u64>,
}

impl Default for State {
    /// That of an empty store.
    fn default() -> Self {
        Self {
            applied: Index(0),
            revision: Revision::FIRST,
            compacted: -1,
            lease_term: 0,
            leases: Vec::new(),
            alarms: Vec::new(),
            members: Vec::new(),
            removed: Vec::new(),
            auth: Auth::default(),
            quota_bytes: None,
            full: Vec::new(),
        }
    }
}

/// Highest revision a snapshot may have: far from where adding one would fail, and from what any store reaches.
const REVISION_MAX: i64 = 1 << 62;

impl State {
    /// Whether its numbers go together.
    pub(super) fn is_sane(&self) -> bool {
        (Revision::FIRST.0..=REVISION_MAX).contains(&self.revision.0)
            && (-1..=self.revision.0).contains(&self.compacted)
    }
}

/// Kinds of what may follow the rest, each with its length; only what there is stands there.
mod section {
    pub(super) const AUTH: u8 = 1;
    pub(super) const SPACE: u8 = 2;
}

/// Content of the state frame.
pub(super) fn encode(machine: &Machine) -> Vec<u8> {
    let mut out = Vec::new();
    put_u64(&mut out, machine.applied.0);
    put_i64(&mut out, machine.revision().0);
    // One more, so that "never" is 0 and takes a byte.
    put_i64(&mut out, machine.keyspace.compacted_or_never() + 1);
    put_u64(&mut out, machine.leases.term());
    put_u64(&mut out, machine.leases.iter().count() as u64);
    for lease in machine.leases.iter() {
        put_i64(&mut out, lease.id.0);
        put_i64(&mut out, lease.ttl_seconds);
        put_i64(&mut out, lease.remaining_seconds);
    }
    put_u64(&mut out, machine.alarms.iter().count() as u64);
    for alarm in machine.alarms.iter() {
        put_u64(&mut out, alarm.member);
        out.push(alarm_byte(alarm.kind));
    }
    put_u64(&mut out, machine.members.iter().count() as u64);
    for member in machine.members.iter() {
        put_u64(&mut out, member.id);
        put_bytes(&mut out, member.name.as_bytes());
        put_texts(&mut out, &member.peer_urls);
        put_texts(&mut out, &member.client_urls);
        out.push(u8::from(member.learner));
    }
    let removed = machine.members.removed();
    let mut auth = Vec::new();
    machine.auth.write(&mut auth);
    let space = space(machine);
    if !removed.is_empty() || !auth.is_empty() || !space.is_empty() {
        put_u64(&mut out, removed.len() as u64);
        for &id in removed {
            put_u64(&mut out, id);
        }
    }
    if !auth.is_empty() {
        out.push(section::AUTH);
        put_bytes(&mut out, &auth);
    }
    if !space.is_empty() {
        out.push(section::SPACE);
        put_bytes(&mut out, &space);
    }
    out
}

/// Quota and who is out of room; nothing when there is no bound.
fn space(machine: &Machine) -> Vec<u8> {
    let mut out = Vec::new();
    let full = machine.alarms.full();
    if machine.quota_bytes == u64::MAX && full.is_empty() {
        return out;
    }
    put_u64(&mut out, machine.quota_bytes);
    put_u64(&mut out, full.len() as u64);
    for &member in full {
        put_u64(&mut out, member);
    }
    out
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_u64(out, texts.len() as u64);
    for text in texts {
        put_bytes(out, text.as_bytes());
    }
}

/// Reads the content of a state frame; `None` when it is not one.
pub(super) fn decode(bytes: Bytes) -> Option<State> {
    let reader = &mut Reader::new(bytes);
    let mut state = State {
        applied: Index(reader.u64()?),
        revision: Revision(reader.i64()?),
        compacted: reader.i64()?.checked_sub(1)?,
        lease_term: reader.u64()?,
        leases: list(reader, |reader| {
            Some(LeaseRecord {
                id: LeaseId(reader.i64()?),
                ttl_seconds: reader.i64()?,
                remaining_seconds: reader.i64()?,
            })
        })?,
        alarms: list(reader, |reader| {
            Some(Alarm {
                member: reader.u64()?,
                kind: alarm_kind(reader.u8()?)?,
            })
        })?,
        members: list(reader, |reader| {
            Some(MemberRecord {
                id: reader.u64()?,
                name: text(reader)?,
                peer_urls: list(reader, text)?,
                client_urls: list(reader, text)?,
                learner: match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                },
            })
        })?,
        removed: if reader.left() > 0 {
            list(reader, Reader::u64)?
        } else {
            Vec::new()
        },
        auth: Auth::default(),
        quota_bytes: None,
        full: Vec::new(),
    };
    while reader.left() > 0 {
        match reader.u8()? {
            section::AUTH => state.auth = Auth::read(reader.bytes()?)?,
            section::SPACE => {
                let reader = &mut Reader::new(reader.bytes()?);
                state.quota_bytes = Some(reader.u64()?);
                state.full = list(reader, Reader::u64)?;
                if reader.left() > 0 {
                    return None;
                }
            }
            _ => return None,
        }
    }
    state.is_sane().then_some(state)
}

fn list<T>(reader: &mut Reader, item: impl Fn(&mut Reader) -> Option<T>) -> Option<Vec<T>> {
    let count = reader.u64()?;
    // Grows as items are found: a count is believed only as far as the bytes go.
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(reader)?);
    }
    Some(items)
}

fn text(reader: &mut Reader) -> Option<String> {
    String::from_utf8(reader.bytes()?.to_vec()).ok()
}

fn alarm_kind(byte: u8) -> Option<AlarmKind> {
    [AlarmKind::NoSpace, AlarmKind::Corrupt]
        .into_iter()
        .find(|kind| alarm_byte(*kind) == byte)
}
