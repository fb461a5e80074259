//! The greeting: who dials whom in which cluster, and the answer. After a welcome the stream carries
//! frames from the member that dialled.
//!
//! ```text
//! 8 bytes  MAGIC                      8 bytes  MAGIC
//! 2 bytes  protocol version           2 bytes  newest protocol version of the one that answers
//! 8 bytes  cluster                    1 byte   verdict
//! 8 bytes  member that dials          8 bytes  its cluster
//! 8 bytes  member it wants            8 bytes  its member
//! 4 bytes  CRC-32C of all before      4 bytes  CRC-32C of all before
//! ```
//! A greeting without any ids asks who the members are; see `inquiry.rs` for what follows its answer.
//!
//! Numbers are big endian. Magic and version stay where they are in all versions to come.

use store_wal::Identity;
use thiserror::Error;

/// What a stream between members begins with.
const MAGIC: [u8; 8] = *b"\0mstpeer";

/// The protocol this program speaks: the greeting, the frames, and what members say in them.
pub(super) const VERSION: u16 = 1;

/// Bytes of a greeting.
pub(super) const HELLO_BYTES: usize = 38;
/// Bytes of its answer.
pub(super) const ANSWER_BYTES: usize = 31;

/// What a member that dials says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) version: u16,
    /// Who dials, and in which cluster.
    pub(super) from: Identity,
    /// Which member it wants.
    pub(super) to: u64,
}

/// What the other says to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) version: u16,
    pub(super) verdict: Verdict,
    pub(super) by: Identity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    Version,
    Cluster,
    Member,
    /// The one that dials was a member once.
    Removed,
    /// The list of members follows.
    Told,
}

/// Why a stream between two members does not come to be. Both sides say so.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    #[error("it speaks version {theirs} of the peer protocol, this member version {VERSION}")]
    Version { theirs: u16 },
    #[error("it belongs to cluster {theirs:016x}, this member to cluster {ours:016x}")]
    Cluster { theirs: u64, ours: u64 },
    #[error("it wants member {wanted:016x}, this is member {ours:016x}")]
    NotWanted { wanted: u64, ours: u64 },
    #[error("there is member {found:016x}, not member {wanted:016x}")]
    NotFound { found: u64, wanted: u64 },
    #[error("it says that it is member {0:016x}, which is this one")]
    Itself(u64),
    #[error("member {0:016x} has been removed from the cluster")]
    Removed(u64),
    #[error("it does not speak the peer protocol")]
    Unknown,
    #[error("it speaks TLS")]
    SpeaksTls,
}

impl Refusal {
    /// What a person can do.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::Version { .. } => "bring all members to the same release, one after the other",
            Self::Cluster { .. } => {
                "members of one cluster need the same --initial-cluster and --initial-cluster-token at \
                 their first start; a member started with others keeps their cluster in its data folder"
            }
            Self::NotWanted { .. } | Self::NotFound { .. } => {
                "the URLs of --initial-cluster lead to another member than they say, or one of both has \
                 the data folder of another member"
            }
            Self::Itself(_) => "two members have copies of one data folder: give one its own again",
            Self::Removed(_) => {
                "it ends by itself; to take part again, it is added as a new member and started with an \
                 empty data folder"
            }
            Self::SpeaksTls => {
                "its URL must begin with https://, in --initial-cluster and in the list of members"
            }
            Self::Unknown => {
                "the URLs of --initial-cluster must be those of --listen-peer-urls of each member"
            }
        }
    }
}

impl Hello {
    /// Asks who the members are.
    pub(super) const INQUIRY: Self = Self {
        version: VERSION,
        from: Identity {
            cluster: 0,
            member: 0,
        },
        to: 0,
    };

    pub(super) fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.version.to_be_bytes());
        out[10..18].copy_from_slice(&self.from.cluster.to_be_bytes());
        out[18..26].copy_from_slice(&self.from.member.to_be_bytes());
        out[26..34].copy_from_slice(&self.to.to_be_bytes());
        seal(&mut out);
        out
    }

    /// Reads one; of another version only the version is known.
    pub(super) fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, Refusal> {
        let version = version(bytes)?;
        if version != VERSION {
            return Err(Refusal::Version { theirs: version });
        }
        sealed(bytes)?;
        Ok(Self {
            version,
            from: Identity {
                cluster: number(&bytes[10..]),
                member: number(&bytes[18..]),
            },
            to: number(&bytes[26..]),
        })
    }

    /// Whether the member `own` lets this one speak.
    pub(super) const fn check(&self, own: Identity) -> Result<(), Refusal> {
        if self.from.cluster != own.cluster {
            return Err(Refusal::Cluster {
                theirs: self.from.cluster,
                ours: own.cluster,
            });
        }
        if self.to != own.member {
            return Err(Refusal::NotWanted {
                wanted: self.to,
                ours: own.member,
            });
        }
        if self.from.member == own.member {
            return Err(Refusal::Itself(own.member));
        }
        Ok(())
    }
}

impl Answer {
    /// The answer to a greeting that was checked.
    pub(super) const fn to(checked: Result<(), Refusal>, own: Identity) -> Self {
        let verdict = match checked {
            Ok(()) => Verdict::Welcome,
            Err(Refusal::Version { .. }) => Verdict::Version,
            Err(Refusal::Cluster { .. }) => Verdict::Cluster,
            Err(Refusal::Removed(_)) => Verdict::Removed,
            Err(_) => Verdict::Member,
        };
        Self {
            version: VERSION,
            verdict,
            by: own,
        }
    }

    /// The answer to [`Hello::INQUIRY`].
    pub(super) const fn told(by: Identity) -> Self {
        Self {
            version: VERSION,
            verdict: Verdict::Told,
            by,
        }
    }

    pub(super) fn encode(&self) -> [u8; ANSWER_BYTES] {
        let mut out = [0; ANSWER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&self.version.to_be_bytes());
        out[10] = self.verdict as u8;
        out[11..19].copy_from_slice(&self.by.cluster.to_be_bytes());
        out[19..27].copy_from_slice(&self.by.member.to_be_bytes());
        seal(&mut out);
        out
    }

    /// Reads one: by whom, if it is as hoped for, or why not.
    pub(super) fn decode(bytes: &[u8; ANSWER_BYTES], asked: &Hello) -> Result<Identity, Refusal> {
        let version = version(bytes)?;
        sealed(bytes)?;
        let (cluster, member) = (number(&bytes[11..]), number(&bytes[19..]));
        let hoped = if *asked == Hello::INQUIRY {
            Verdict::Told
        } else {
            Verdict::Welcome
        };
        match bytes[10] {
            verdict if verdict == hoped as u8 => Ok(Identity { cluster, member }),
            verdict if verdict == Verdict::Removed as u8 => {
                Err(Refusal::Removed(asked.from.member))
            }
            verdict if verdict == Verdict::Version as u8 => {
                Err(Refusal::Version { theirs: version })
            }
            verdict if verdict == Verdict::Cluster as u8 => Err(Refusal::Cluster {
                theirs: cluster,
                ours: asked.from.cluster,
            }),
            verdict if verdict == Verdict::Member as u8 && member == asked.from.member => {
                Err(Refusal::Itself(member))
            }
            verdict if verdict == Verdict::Member as u8 => Err(Refusal::NotFound {
                found: member,
                wanted: asked.to,
            }),
            _ => Err(Refusal::Unknown),
        }
    }
}

fn version(bytes: &[u8]) -> Result<u16, Refusal> {
    match bytes.split_first_chunk() {
        Some((&MAGIC, &[high, low, ..])) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Refusal::Unknown),
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn seal(bytes: &mut [u8]) {
    if let Some((content, checksum)) = bytes.split_last_chunk_mut::<4>() {
        *checksum = crc32c::crc32c(content).to_be_bytes();
    }
}

fn sealed(bytes: &[u8]) -> Result<(), Refusal> {
    match bytes.split_last_chunk() {
        Some((content, checksum)) if crc32c::crc32c(content) == u32::from_be_bytes(*checksum) => {
            Ok(())
        }
        _ => Err(Refusal::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Identity = Identity {
        cluster: 1,
        member: 2,
    };

    fn hello(cluster: u64, member: u64, to: u64) -> Hello {
        Hello {
            version: VERSION,
            from: Identity { cluster, member },
            to,
        }
    }

    #[test]
    fn both_sides_say_the_same() {
        for (asked, here, there) in [
            (hello(1, 3, 2), Ok(()), Ok(())),
            (
                hello(9, 3, 2),
                Err(Refusal::Cluster { theirs: 9, ours: 1 }),
                Err(Refusal::Cluster { theirs: 1, ours: 9 }),
            ),
            (
                hello(1, 3, 4),
                Err(Refusal::NotWanted { wanted: 4, ours: 2 }),
                Err(Refusal::NotFound {
                    found: 2,
                    wanted: 4,
                }),
            ),
            (
                hello(1, 2, 2),
                Err(Refusal::Itself(2)),
                Err(Refusal::Itself(2)),
            ),
        ] {
            let read = Hello::decode(&asked.encode()).unwrap();
            assert_eq!(read, asked);
            assert_eq!(read.check(HERE), here);
            let answer = Answer::to(read.check(HERE), HERE).encode();
            assert_eq!(Answer::decode(&answer, &asked).map(|_| ()), there);
        }
    }

    #[test]
    fn former_members_are_told_and_inquiries_answered() {
        let asked = hello(1, 3, 2);
        let removed = Refusal::Removed(3);
        let answer = Answer::to(Err(removed), HERE).encode();
        assert_eq!(Answer::decode(&answer, &asked), Err(removed));
        let told = Answer::told(HERE).encode();
        assert_eq!(Answer::decode(&told, &Hello::INQUIRY), Ok(HERE));
        assert_eq!(Answer::decode(&told, &asked), Err(Refusal::Unknown));
        let inquiry = Hello::decode(&Hello::INQUIRY.encode()).unwrap();
        assert_eq!(inquiry, Hello::INQUIRY);
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = hello(1, 3, 2).encode();
        bytes[9] = 7;
        let refusal = Hello::decode(&bytes).unwrap_err();
        assert_eq!(refusal, Refusal::Version { theirs: 7 });
        let answer = Answer::to(Err(refusal), HERE).encode();
        assert_eq!(
            Answer::decode(&answer, &hello(1, 3, 2)),
            Err(Refusal::Version { theirs: VERSION })
        );
    }

    #[test]
    fn damage_and_strangers_are_noticed() {
        let good = hello(1, 3, 2).encode();
        for position in 0..good.len() {
            let mut bad = good;
            bad[position] ^= 1;
            assert!(Hello::decode(&bad).is_err(), "byte {position}");
        }
        let mut http = [b' '; HELLO_BYTES];
        http[..14].copy_from_slice(b"GET / HTTP/1.1");
        assert_eq!(Hello::decode(&http), Err(Refusal::Unknown));
    }
}
