//! What members say to each other to compare their states; see `checks.rs`. Owns the byte form of it.

use store_machine::checksum::{Span, TrailMark, TrailPoint};
use store_machine::revision::Revision;

use super::decode::{Decoded, Reader};
use super::encode::{put_i64, put_len, put_u64};
use crate::verdict::Aspect;

/// One of these messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckMessage {
    /// To the leader: compare soon, since this member has just started. With contents if it must not
    /// serve before they are known to be right.
    Wanted {
        /// Contents too.
        contents: bool,
    },
    /// From the leader: say how your state is after this entry.
    Order(CheckOrder),
    /// Back to it.
    Report {
        /// Which round it answers.
        round: u64,
        /// `None`: the entry had been passed, or a compaction came between.
        point: Option<Box<CheckPoint>>,
    },
    /// From the leader, to one whose running checksum is not its own: send what you keep of it.
    MarksWanted {
        /// Of this round.
        round: u64,
    },
    /// Back to it.
    Marks {
        /// Which round it answers.
        round: u64,
        /// Ascending.
        marks: Vec<TrailMark>,
    },
    /// From the leader: contents were compared, and yours are those of the majority.
    Sound,
    /// From the leader: yours differ.
    Differs(Difference),
}

/// What a round wants of every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOrder {
    /// Its number, unlike that of any other round of any life.
    pub round: u64,
    /// The entry after which the states are compared.
    pub index: u64,
    /// Hash what is kept of these revisions as well.
    pub contents: Option<(Revision, Revision)>,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckPoint {
    /// The running checksum, and with it the revision.
    pub trail: TrailPoint,
    /// Last compaction.
    pub compacted: Revision,
    /// Checksum of leases, alarms, members and sizes.
    pub rest: u64,
    /// Sums of the audit; empty if none was ordered.
    pub sums: Vec<u64>,
}

/// A state differs from that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Whose.
    pub member: u64,
    /// In what.
    pub aspect: Aspect,
    /// Since when, as far as it is known.
    pub since: Option<Span>,
}

/// Kinds of these messages. Never reused.
mod tag {
    pub(super) const WANTED: u8 = 1;
    pub(super) const ORDER: u8 = 2;
    pub(super) const REPORT: u8 = 3;
    pub(super) const MARKS_WANTED: u8 = 4;
    pub(super) const MARKS: u8 = 5;
    pub(super) const SOUND: u8 = 6;
    pub(super) const DIFFERS: u8 = 7;
}

/// Aspects by number; only ever appended to.
const ASPECTS: [Aspect; 3] = [Aspect::Changes, Aspect::Contents, Aspect::Rest];

impl CheckMessage {
    /// About its size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Report {
                point: Some(point), ..
            } => size_of_val(&*point.sums),
            Self::Marks { marks, .. } => size_of_val(&**marks),
            _ => 0,
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Wanted { contents } => out.extend([tag::WANTED, u8::from(*contents)]),
            Self::Order(order) => {
                out.push(tag::ORDER);
                put_u64(order.round, out);
                put_u64(order.index, out);
                put_span(order.contents, out);
            }
            Self::Report { round, point } => {
                out.push(tag::REPORT);
                put_u64(*round, out);
                out.push(u8::from(point.is_some()));
                if let Some(point) = point {
                    put_point(point, out);
                }
            }
            Self::MarksWanted { round } => {
                out.push(tag::MARKS_WANTED);
                put_u64(*round, out);
            }
            Self::Marks { round, marks } => {
                out.push(tag::MARKS);
                put_u64(*round, out);
                put_len(marks.len(), out);
                for mark in marks {
                    put_i64(mark.revision.0, out);
                    put_u64(mark.digest, out);
                }
            }
            Self::Sound => out.push(tag::SOUND),
            Self::Differs(difference) => {
                out.push(tag::DIFFERS);
                put_u64(difference.member, out);
                let place = ASPECTS.iter().position(|it| *it == difference.aspect);
                out.push(u8::try_from(place.unwrap_or_default()).unwrap_or_default());
                put_span(difference.since.map(|span| (span.after, span.until)), out);
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader) -> Decoded<Self> {
        Ok(match reader.u8("a kind of check")? {
            tag::WANTED => Self::Wanted {
                contents: reader.flag()?,
            },
            tag::ORDER => Self::Order(CheckOrder {
                round: reader.u64()?,
                index: reader.u64()?,
                contents: take_span(reader)?,
            }),
            tag::REPORT => Self::Report {
                round: reader.u64()?,
                point: if reader.flag()? {
                    Some(Box::new(take_point(reader)?))
                } else {
                    None
                },
            },
            tag::MARKS_WANTED => Self::MarksWanted {
                round: reader.u64()?,
            },
            tag::MARKS => Self::Marks {
                round: reader.u64()?,
                marks: reader.list(|reader| {
                    Ok(TrailMark {
                        revision: Revision(reader.i64()?),
                        digest: reader.u64()?,
                    })
                })?,
            },
            tag::SOUND => Self::Sound,
            tag::DIFFERS => Self::Differs(Difference {
                member: reader.u64()?,
                aspect: {
                    let place = usize::from(reader.u8("an aspect")?);
                    let aspect = ASPECTS.get(place).copied();
                    aspect.ok_or_else(|| reader.error_before("an aspect"))?
                },
                since: take_span(reader)?.map(|(after, until)| Span { after, until }),
            }),
            _ => return Err(reader.error_before("a kind of check")),
        })
    }
}

fn put_point(point: &CheckPoint, out: &mut Vec<u8>) {
    put_i64(point.trail.origin.0, out);
    put_i64(point.trail.revision.0, out);
    put_u64(point.trail.digest, out);
    put_i64(point.compacted.0, out);
    put_u64(point.rest, out);
    put_len(point.sums.len(), out);
    for &sum in &point.sums {
        put_u64(sum, out);
    }
}

fn take_point(reader: &mut Reader) -> Decoded<CheckPoint> {
    Ok(CheckPoint {
        trail: TrailPoint {
            origin: Revision(reader.i64()?),
            revision: Revision(reader.i64()?),
            digest: reader.u64()?,
        },
        compacted: Revision(reader.i64()?),
        rest: reader.u64()?,
        sums: reader.list(Reader::u64)?,
    })
}

/// Two revisions, or none: a byte, and then both.
fn put_span(span: Option<(Revision, Revision)>, out: &mut Vec<u8>) {
    out.push(u8::from(span.is_some()));
    if let Some((from, to)) = span {
        put_i64(from.0, out);
        put_i64(to.0, out);
    }
}

fn take_span(reader: &mut Reader) -> Decoded<Option<(Revision, Revision)>> {
    Ok(if reader.flag()? {
        Some((Revision(reader.i64()?), Revision(reader.i64()?)))
    } else {
        None
    })
}
