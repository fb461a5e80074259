//! Writing the byte form: version, kind, then fields. Numbers are big endian and of fixed length,
//! byte strings and lists begin with their length in four bytes.

use protobuf::Message as _;
use store_machine::error::Refusal;

use super::decode::{failure_tag, kind, outcome, read};
use super::{Answer, Ask, Declined, Forward, PeerMessage, SnapshotPart};
use crate::answer::{Body, Failure, Forbidden};
use crate::input::Read;

/// First byte; a change of any layout gets the next number. Members of two versions refuse each
/// other's messages rather than guess.
pub(super) const VERSION: u8 = 1;

impl PeerMessage {
    /// The byte form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::Raft(message) => {
                out.push(kind::RAFT);
                out.reserve(usize::try_from(message.compute_size()).unwrap_or_default());
                let written = message.write_to_vec(&mut out);
                debug_assert!(written.is_ok(), "writing to memory: {written:?}");
            }
            Self::Forward(forward) => {
                out.push(kind::FORWARD);
                put_forward(forward, &mut out);
            }
            Self::Declined(declined) => {
                out.push(kind::DECLINED);
                put_declined(declined, &mut out);
            }
            Self::Ask(ask) => {
                out.push(kind::ASK);
                put_ask(ask, &mut out);
            }
            Self::Answer(answer) => {
                out.push(kind::ANSWER);
                put_answer(answer, &mut out);
            }
            Self::SnapshotPart(part) => {
                out.push(kind::SNAPSHOT_PART);
                put_part(part, &mut out);
            }
            Self::Removed => out.push(kind::REMOVED),
            Self::Check(check) => {
                out.push(kind::CHECK);
                check.encode(&mut out);
            }
            Self::SnapshotGot(got) => {
                out.push(kind::SNAPSHOT_GOT);
                put_u64(got.transfer, &mut out);
                put_u64(got.next, &mut out);
            }
        }
        out
    }
}

fn put_forward(forward: &Forward, out: &mut Vec<u8>) {
    for number in [forward.term, forward.life.0, forward.message, forward.first] {
        put_u64(number, out);
    }
    put_len(forward.commands.len(), out);
    for command in &forward.commands {
        // Its length is known only behind it.
        let at = out.len();
        put_len(0, out);
        command.encode(out);
        let len = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
        out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }
}

fn put_declined(declined: &Declined, out: &mut Vec<u8>) {
    put_u64(declined.life.0, out);
    put_len(declined.proposals.len(), out);
    for &(number, failure) in &declined.proposals {
        put_u64(number, out);
        put_failure(failure, out);
    }
}

fn put_ask(ask: &Ask, out: &mut Vec<u8>) {
    put_u64(ask.life.0, out);
    put_u64(ask.number, out);
    let read = match &ask.read {
        Read::As { actor, read } => {
            out.push(read::AS);
            let mut bytes = Vec::new();
            actor.encode(&mut bytes);
            put_bytes(&bytes, out);
            read
        }
        read => read,
    };
    match read {
        Read::KeepAlive(id) => {
            out.push(read::KEEP_ALIVE);
            put_i64(id.0, out);
        }
        Read::LeaseLife { id, keys } => {
            out.push(if *keys {
                read::LEASE_LIFE_KEYS
            } else {
                read::LEASE_LIFE
            });
            put_i64(id.0, out);
        }
        Read::Leases => out.push(read::LEASES),
        // Every member answers these by itself; see `Read::is_of_leader`.
        other => debug_assert!(false, "asked the leader for {other:?}"),
    }
}

fn put_answer(answer: &Answer, out: &mut Vec<u8>) {
    put_u64(answer.life.0, out);
    put_u64(answer.number, out);
    match &answer.outcome {
        Ok(Body::KeepAlive(seconds)) => {
            out.push(outcome::KEEP_ALIVE);
            put_i64(*seconds, out);
        }
        Ok(Body::LeaseLife(None)) => out.push(outcome::NO_LEASE),
        Ok(Body::LeaseLife(Some(life))) => {
            out.push(outcome::LEASE_LIFE);
            put_i64(life.granted_seconds, out);
            put_i64(life.remaining_seconds, out);
            put_len(life.keys.len(), out);
            for key in &life.keys {
                put_bytes(key, out);
            }
        }
        Ok(Body::Leases(leases)) => {
            out.push(outcome::LEASES);
            put_len(leases.len(), out);
            for lease in leases {
                put_i64(lease.0, out);
            }
        }
        Ok(other) => debug_assert!(false, "nobody asks a peer for {other:?}"),
        Err(failure) => {
            out.push(outcome::FAILURE);
            put_failure(*failure, out);
        }
    }
}

fn put_part(part: &SnapshotPart, out: &mut Vec<u8>) {
    // Five numbers, two lengths, and voters of a cluster of ordinary size.
    out.reserve(256 + part.content.len());
    let mark = &part.mark;
    for number in [
        part.transfer,
        mark.index,
        mark.term,
        part.bytes,
        part.offset,
    ] {
        put_u64(number, out);
    }
    put_bytes(&mark.voters.encode(), out);
    put_bytes(&part.content, out);
}

fn put_failure(failure: Failure, out: &mut Vec<u8>) {
    out.push(match failure {
        Failure::NoLeader => failure_tag::NO_LEADER,
        Failure::LeaderChanged => failure_tag::LEADER_CHANGED,
        Failure::TimedOut => failure_tag::TIMED_OUT,
        Failure::TooManyRequests => failure_tag::TOO_MANY_REQUESTS,
        Failure::Stopped => failure_tag::STOPPED,
        Failure::Forbidden(Forbidden::UnstartedMembers) => failure_tag::UNSTARTED_MEMBERS,
        Failure::Forbidden(Forbidden::UnhealthyCluster) => failure_tag::UNHEALTHY_CLUSTER,
        Failure::Forbidden(Forbidden::LearnerNotReady) => failure_tag::LEARNER_NOT_READY,
        Failure::Forbidden(Forbidden::TooManyLearners) => failure_tag::TOO_MANY_LEARNERS,
        Failure::Forbidden(Forbidden::NotLeader) => failure_tag::NOT_LEADER,
        Failure::Forbidden(Forbidden::BadTransferee) => failure_tag::BAD_TRANSFEREE,
        Failure::Refused(refusal) => failure_tag::REFUSED + refusal_number(refusal),
    });
}

/// Place in [`super::decode::REFUSALS`].
fn refusal_number(refusal: Refusal) -> u8 {
    let place = super::decode::REFUSALS
        .iter()
        .position(|known| *known == refusal);
    // A test holds the list against the enum.
    u8::try_from(place.unwrap_or_default()).unwrap_or_default()
}

pub(super) fn put_u64(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
}

pub(super) fn put_i64(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// A length; everything that has one is bounded far below four GiB.
pub(super) fn put_len(len: usize, out: &mut Vec<u8>) {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_len(bytes.len(), out);
    out.extend_from_slice(bytes);
}
