//! Reading the byte form: any bytes give a message or an error, never a panic.

use bytes::Bytes;
use store_machine::auth::Actor;
use store_machine::command::Command;
use store_machine::error::Refusal;
use store_machine::revision::LeaseId;

use super::check::CheckMessage;
use super::encode::VERSION;
use super::{Answer, Ask, Declined, Forward, Life, PeerMessage, SnapshotGot, SnapshotPart};
use crate::answer::{Body, Failure, Forbidden, LeaseLife};
use crate::input::Read;
use crate::record::{Mark, Voters};

/// Kinds of messages. Never reused.
pub(super) mod kind {
    pub(in super::super) const RAFT: u8 = 1;
    pub(in super::super) const FORWARD: u8 = 2;
    pub(in super::super) const DECLINED: u8 = 3;
    pub(in super::super) const ASK: u8 = 4;
    pub(in super::super) const ANSWER: u8 = 5;
    pub(in super::super) const SNAPSHOT_PART: u8 = 6;
    pub(in super::super) const SNAPSHOT_GOT: u8 = 7;
    pub(in super::super) const REMOVED: u8 = 8;
    pub(in super::super) const CHECK: u8 = 9;
}

/// Kinds of questions. Never reused.
pub(super) mod read {
    pub(in super::super) const KEEP_ALIVE: u8 = 1;
    pub(in super::super) const LEASE_LIFE: u8 = 2;
    pub(in super::super) const LEASE_LIFE_KEYS: u8 = 3;
    pub(in super::super) const LEASES: u8 = 4;
    /// Who asks comes first.
    pub(in super::super) const AS: u8 = 5;
}

/// Kinds of answers. Never reused.
pub(super) mod outcome {
    pub(in super::super) const FAILURE: u8 = 0;
    pub(in super::super) const KEEP_ALIVE: u8 = 1;
    pub(in super::super) const NO_LEASE: u8 = 2;
    pub(in super::super) const LEASE_LIFE: u8 = 3;
    pub(in super::super) const LEASES: u8 = 4;
}

/// Failures; from [`REFUSED`](failure_tag::REFUSED) on, refusals by their place in [`REFUSALS`].
pub(super) mod failure_tag {
    pub(in super::super) const NO_LEADER: u8 = 1;
    pub(in super::super) const LEADER_CHANGED: u8 = 2;
    pub(in super::super) const TIMED_OUT: u8 = 3;
    pub(in super::super) const TOO_MANY_REQUESTS: u8 = 4;
    pub(in super::super) const STOPPED: u8 = 5;
    pub(in super::super) const UNSTARTED_MEMBERS: u8 = 6;
    pub(in super::super) const UNHEALTHY_CLUSTER: u8 = 7;
    pub(in super::super) const LEARNER_NOT_READY: u8 = 8;
    pub(in super::super) const TOO_MANY_LEARNERS: u8 = 9;
    pub(in super::super) const NOT_LEADER: u8 = 10;
    pub(in super::super) const BAD_TRANSFEREE: u8 = 11;
    pub(in super::super) const REFUSED: u8 = 100;
}

/// All refusals, by number; only ever appended to.
pub(super) const REFUSALS: &[Refusal] = &[
    Refusal::Compacted,
    Refusal::FutureRevision,
    Refusal::KeyNotFound,
    Refusal::LeaseNotFound,
    Refusal::LeaseExists,
    Refusal::NoSpace,
    Refusal::Corrupt,
    Refusal::StaleTerm,
    Refusal::MemberNotFound,
    Refusal::MemberExists,
    Refusal::PeerUrlExists,
    Refusal::NotLearner,
    Refusal::UserEmpty,
    Refusal::RoleEmpty,
    Refusal::UserExists,
    Refusal::UserNotFound,
    Refusal::RoleExists,
    Refusal::RoleNotFound,
    Refusal::RoleNotGranted,
    Refusal::PermissionNotGranted,
    Refusal::RootUserMissing,
    Refusal::RootRoleMissing,
    Refusal::InvalidAuthManagement,
    Refusal::PermissionDenied,
    Refusal::AuthOldRevision,
];

/// Bytes that are no message of a known version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decode peer message: expected {expected} at byte {offset}")]
pub struct PeerDecodeError {
    /// Byte offset at which reading stopped.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl PeerMessage {
    /// Reads a byte form; commands and entries share `bytes`.
    ///
    /// # Errors
    /// When the bytes are not a message of this version; never panics.
    pub fn decode(bytes: Bytes) -> Result<Self, PeerDecodeError> {
        let mut reader = Reader {
            whole: bytes.len(),
            rest: bytes,
        };
        if reader.u8("version 1")? != VERSION {
            return Err(reader.error_before("version 1"));
        }
        let message = match reader.u8("a kind of message")? {
            kind::RAFT => return reader.raft(),
            kind::FORWARD => Self::Forward(Box::new(reader.forward()?)),
            kind::DECLINED => Self::Declined(Box::new(reader.declined()?)),
            kind::ASK => Self::Ask(Box::new(reader.ask()?)),
            kind::ANSWER => Self::Answer(Box::new(reader.answer()?)),
            kind::SNAPSHOT_PART => Self::SnapshotPart(Box::new(reader.part()?)),
            kind::REMOVED => Self::Removed,
            kind::CHECK => Self::Check(CheckMessage::decode(&mut reader)?),
            kind::SNAPSHOT_GOT => Self::SnapshotGot(SnapshotGot {
                transfer: reader.u64()?,
                next: reader.u64()?,
            }),
            _ => return Err(reader.error_before("a kind of message")),
        };
        if !reader.rest.is_empty() {
            return Err(reader.error("the end"));
        }
        Ok(message)
    }
}

pub(super) type Decoded<T> = Result<T, PeerDecodeError>;

pub(super) struct Reader {
    /// Length of the message.
    whole: usize,
    /// What has not been read.
    rest: Bytes,
}

impl Reader {
    fn raft(self) -> Decoded<PeerMessage> {
        let message = protobuf::Message::parse_from_carllerche_bytes(&self.rest);
        let message = message.map_err(|_| self.error("a raft message"))?;
        Ok(PeerMessage::Raft(Box::new(message)))
    }

    fn forward(&mut self) -> Decoded<Forward> {
        Ok(Forward {
            term: self.u64()?,
            life: Life(self.u64()?),
            message: self.u64()?,
            first: self.u64()?,
            commands: self.list(|reader| {
                let bytes = reader.bytes()?;
                Command::decode(bytes).map_err(|error| reader.error_before(error.expected))
            })?,
        })
    }

    fn declined(&mut self) -> Decoded<Declined> {
        Ok(Declined {
            life: Life(self.u64()?),
            proposals: self.list(|reader| Ok((reader.u64()?, reader.failure()?)))?,
        })
    }

    fn ask(&mut self) -> Decoded<Ask> {
        Ok(Ask {
            life: Life(self.u64()?),
            number: self.u64()?,
            read: match self.u8("a question")? {
                read::AS => {
                    let actor = Actor::decode(self.bytes()?);
                    let actor = actor.ok_or_else(|| self.error_before("an actor"))?;
                    let kind = self.u8("a question")?;
                    self.read(kind)?.by(Some(actor))
                }
                kind => self.read(kind)?,
            },
        })
    }

    fn read(&mut self, kind: u8) -> Decoded<Read> {
        Ok(match kind {
            read::KEEP_ALIVE => Read::KeepAlive(self.lease()?),
            read::LEASE_LIFE => Read::LeaseLife {
                id: self.lease()?,
                keys: false,
            },
            read::LEASE_LIFE_KEYS => Read::LeaseLife {
                id: self.lease()?,
                keys: true,
            },
            read::LEASES => Read::Leases,
            _ => return Err(self.error_before("a question")),
        })
    }

    fn answer(&mut self) -> Decoded<Answer> {
        Ok(Answer {
            life: Life(self.u64()?),
            number: self.u64()?,
            outcome: match self.u8("an outcome")? {
                outcome::FAILURE => Err(self.failure()?),
                outcome::KEEP_ALIVE => Ok(Body::KeepAlive(self.i64()?)),
                outcome::NO_LEASE => Ok(Body::LeaseLife(None)),
                outcome::LEASE_LIFE => Ok(Body::LeaseLife(Some(LeaseLife {
                    granted_seconds: self.i64()?,
                    remaining_seconds: self.i64()?,
                    keys: self.list(Self::bytes)?,
                }))),
                outcome::LEASES => Ok(Body::Leases(self.list(Self::lease)?)),
                _ => return Err(self.error_before("an outcome")),
            },
        })
    }

    fn part(&mut self) -> Decoded<SnapshotPart> {
        let transfer = self.u64()?;
        let (index, term) = (self.u64()?, self.u64()?);
        let (bytes, offset) = (self.u64()?, self.u64()?);
        let voters = Voters::decode(&self.bytes()?);
        Ok(SnapshotPart {
            transfer,
            mark: Mark {
                index,
                term,
                voters: voters.ok_or_else(|| self.error_before("a list of voters"))?,
            },
            bytes,
            offset,
            content: self.bytes()?,
        })
    }

    fn failure(&mut self) -> Decoded<Failure> {
        let tag = self.u8("a failure")?;
        Ok(match tag {
            failure_tag::NO_LEADER => Failure::NoLeader,
            failure_tag::LEADER_CHANGED => Failure::LeaderChanged,
            failure_tag::TIMED_OUT => Failure::TimedOut,
            failure_tag::TOO_MANY_REQUESTS => Failure::TooManyRequests,
            failure_tag::STOPPED => Failure::Stopped,
            failure_tag::UNSTARTED_MEMBERS => Failure::Forbidden(Forbidden::UnstartedMembers),
            failure_tag::UNHEALTHY_CLUSTER => Failure::Forbidden(Forbidden::UnhealthyCluster),
            failure_tag::LEARNER_NOT_READY => Failure::Forbidden(Forbidden::LearnerNotReady),
            failure_tag::TOO_MANY_LEARNERS => Failure::Forbidden(Forbidden::TooManyLearners),
            failure_tag::NOT_LEADER => Failure::Forbidden(Forbidden::NotLeader),
            failure_tag::BAD_TRANSFEREE => Failure::Forbidden(Forbidden::BadTransferee),
            _ => {
                let place = tag.checked_sub(failure_tag::REFUSED).map(usize::from);
                let refusal = place.and_then(|place| REFUSALS.get(place));
                Failure::Refused(*refusal.ok_or_else(|| self.error_before("a failure"))?)
            }
        })
    }

    fn lease(&mut self) -> Decoded<LeaseId> {
        self.i64().map(LeaseId)
    }

    /// A count and that many items; grows as they are found, a count alone is not believed.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Decoded<T>,
    ) -> Decoded<Vec<T>> {
        let count = self.u32()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn bytes(&mut self) -> Decoded<Bytes> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if len > self.rest.len() {
            return Err(self.error("as many bytes as were announced"));
        }
        Ok(self.rest.split_to(len))
    }

    pub(super) fn u8(&mut self, expected: &'static str) -> Decoded<u8> {
        self.array(expected).map(|[byte]| byte)
    }

    fn u32(&mut self) -> Decoded<u32> {
        self.array("a length").map(u32::from_be_bytes)
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self) -> Decoded<bool> {
        match self.u8("yes or no")? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error_before("yes or no")),
        }
    }

    pub(super) fn u64(&mut self) -> Decoded<u64> {
        self.array("a number").map(u64::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Decoded<i64> {
        self.array("a number").map(i64::from_be_bytes)
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Decoded<[u8; N]> {
        let Some(&array) = self.rest.first_chunk() else {
            return Err(self.error(expected));
        };
        let _ = self.rest.split_to(N);
        Ok(array)
    }

    fn error(&self, expected: &'static str) -> PeerDecodeError {
        PeerDecodeError {
            offset: self.whole - self.rest.len(),
            expected,
        }
    }

    /// As [`Reader::error`], for what has just been read.
    pub(super) fn error_before(&self, expected: &'static str) -> PeerDecodeError {
        let mut error = self.error(expected);
        error.offset = error.offset.saturating_sub(1);
        error
    }
}
