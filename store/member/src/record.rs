//! What a member keeps on disk, in its own nouns. The shell maps them to the log's records
//! without copying bodies; `log.rs` maps them to raft's types.

use bytes::Bytes;
use store_machine::MemberRecord;

/// What an entry's body means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A command of the machine, or nothing (raft's own entry at the start of a term).
    Normal,
    /// A change of the voter set (raft's `ConfChange`).
    Members,
    /// A change by joint consensus (raft's `ConfChangeV2`).
    MembersJoint,
    /// The first entry of a log, written when its cluster is made and never replicated: the first
    /// voter set, and where its members are.
    Bootstrap,
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position. Consecutive; an entry at a position already written replaces it and all after it.
    pub index: u64,
    /// Term of the leader that made it.
    pub term: u64,
    /// How to read the body.
    pub kind: EntryKind,
    /// Opaque to the log.
    pub body: Bytes,
}

/// What raft must remember beside its entries (Raft paper, figure 2, "persistent state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    /// Latest term seen.
    pub term: u64,
    /// Who got this member's vote in that term; 0 = nobody.
    pub voted_for: u64,
    /// Highest index known to be committed when this was written. A hint: it only spares work
    /// after a restart.
    pub commit: u64,
}

/// Who takes part in decisions, at one position of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voters {
    /// Members that vote.
    pub voters: Vec<u64>,
    /// Members that only follow.
    pub learners: Vec<u64>,
    /// While a change by joint consensus is under way: the voters of the old set.
    pub voters_outgoing: Vec<u64>,
    /// Voters of the old set that become learners when the change is complete.
    pub learners_next: Vec<u64>,
    /// The change completes by itself.
    pub auto_leave: bool,
}

/// The position a snapshot stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Last entry contained.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The voter set there.
    pub voters: Voters,
}

impl Mark {
    /// Where the log of a new cluster begins: entry 1 of term 1 is the same on all its first
    /// members, because it says who they are. A member that joins later has nothing there, so it is
    /// sent a snapshot, and with it the voters.
    #[must_use]
    pub const fn bootstrap(voters: Voters) -> Self {
        Self {
            index: 1,
            term: 1,
            voters,
        }
    }
}

/// What the shell found on disk. A first start finds nothing: [`Default`], with an empty machine.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The newest complete snapshot; the machine handed over beside it holds exactly its state.
    pub mark: Option<Mark>,
    /// The last vote record.
    pub vote: Vote,
    /// Entries after the mark, consecutive. Entries at or below it are skipped.
    pub entries: Vec<Entry>,
}

impl Recovered {
    /// The position the log begins at, by the snapshot or by its first entry; `None` when there is
    /// nothing yet.
    pub(crate) fn start(&self) -> Option<Mark> {
        if self.mark.is_some() {
            return self.mark.clone();
        }
        self.founding()
            .map(|founding| Mark::bootstrap(founding.voters))
    }

    /// The first members, where the log begins with them and no snapshot knows better.
    pub(crate) fn founders(&self) -> Option<Vec<MemberRecord>> {
        if self.mark.is_some() {
            return None;
        }
        self.founding().map(|founding| founding.members)
    }

    fn founding(&self) -> Option<Founding> {
        let first = self.entries.first()?;
        (first.kind == EntryKind::Bootstrap).then(|| Founding::decode(&first.body))?
    }
}

/// What the first entry of a log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Founding {
    pub(crate) voters: Voters,
    pub(crate) members: Vec<MemberRecord>,
}

/// First byte of an encoded founding that names members; an older one is the voters' byte form alone.
const FOUNDING_VERSION: u8 = 2;

impl Founding {
    /// The byte form: version, the voters and a list of members; texts, lists and the voters begin with
    /// their length (4 bytes, big endian).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let len = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        let mut out = vec![FOUNDING_VERSION];
        let voters = self.voters.encode();
        out.extend_from_slice(&len(voters.len()));
        out.extend_from_slice(&voters);
        out.extend_from_slice(&len(self.members.len()));
        for member in &self.members {
            out.extend_from_slice(&member.id.to_be_bytes());
            out.push(u8::from(member.learner));
            let name = std::slice::from_ref(&member.name);
            for texts in [name, &member.peer_urls, &member.client_urls] {
                out.extend_from_slice(&len(texts.len()));
                for text in texts {
                    out.extend_from_slice(&len(text.len()));
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
        out
    }

    /// Reads the byte form; `None` when these bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, mut rest) = bytes.split_first()?;
        if version != FOUNDING_VERSION {
            let voters = Voters::decode(bytes)?;
            let members = voters.voters.iter().chain(&voters.learners);
            let members = members.map(|&id| MemberRecord {
                id,
                learner: voters.learners.contains(&id),
                ..MemberRecord::default()
            });
            let members = members.collect();
            return Some(Self { voters, members });
        }
        let voters = Voters::decode(take_bytes(&mut rest)?)?;
        let mut members = Vec::new();
        for _ in 0..take_len(&mut rest)? {
            let (id, after) = rest.split_first_chunk()?;
            let (&learner, after) = after.split_first()?;
            rest = after;
            members.push(MemberRecord {
                id: u64::from_be_bytes(*id),
                name: take_texts(&mut rest)?.pop()?,
                peer_urls: take_texts(&mut rest)?,
                client_urls: take_texts(&mut rest)?,
                learner: learner == 1,
            });
        }
        rest.is_empty().then_some(Self { voters, members })
    }
}

fn take_len(rest: &mut &[u8]) -> Option<usize> {
    let (len, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*len)).ok()
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take_len(rest)?;
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

fn take_texts(rest: &mut &[u8]) -> Option<Vec<String>> {
    let texts = (0..take_len(rest)?).map(|_| String::from_utf8(take_bytes(rest)?.to_vec()).ok());
    texts.collect()
}

/// First byte of encoded voters.
const VOTERS_VERSION: u8 = 1;

impl Voters {
    /// The byte form kept beside a snapshot: version, flags, then four lists, each a count (4 bytes)
    /// and that many ids (8 bytes), big endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VOTERS_VERSION, u8::from(self.auto_leave)];
        for ids in [
            &self.voters,
            &self.learners,
            &self.voters_outgoing,
            &self.learners_next,
        ] {
            out.extend_from_slice(&u32::try_from(ids.len()).unwrap_or(u32::MAX).to_be_bytes());
            for id in ids {
                out.extend_from_slice(&id.to_be_bytes());
            }
        }
        out
    }

    /// Reads the byte form; `None` when these bytes are none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, auto_leave], mut rest) = bytes.split_first_chunk()?;
        if version != VOTERS_VERSION || auto_leave > 1 {
            return None;
        }
        let mut list = || {
            let (count, after) = rest.split_first_chunk()?;
            let bytes = 8usize.checked_mul(u32::from_be_bytes(*count).try_into().ok()?)?;
            let (ids, after) = after.split_at_checked(bytes)?;
            rest = after;
            let ids = ids.as_chunks().0.iter();
            Some(ids.map(|id| u64::from_be_bytes(*id)).collect::<Vec<_>>())
        };
        let voters = Self {
            voters: list()?,
            learners: list()?,
            voters_outgoing: list()?,
            learners_next: list()?,
            auto_leave: auto_leave == 1,
        };
        rest.is_empty().then_some(voters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founding() -> Founding {
        Founding {
            voters: Voters {
                voters: vec![1],
                learners: vec![2],
                ..Voters::default()
            },
            members: vec![
                MemberRecord {
                    id: 1,
                    name: "a".into(),
                    peer_urls: vec!["p".into(), "q".into()],
                    client_urls: vec!["c".into()],
                    learner: false,
                },
                MemberRecord {
                    id: 2,
                    learner: true,
                    ..MemberRecord::default()
                },
            ],
        }
    }

    #[test]
    fn a_founding_comes_back_and_a_cut_one_does_not() {
        let bytes = founding().encode();
        assert_eq!(Founding::decode(&bytes), Some(founding()));
        for length in 0..bytes.len() {
            assert_eq!(Founding::decode(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn an_old_founding_knows_ids_alone() {
        let voters = founding().voters;
        let member = |id, learner| MemberRecord {
            id,
            learner,
            ..MemberRecord::default()
        };
        let expected = Founding {
            voters: voters.clone(),
            members: vec![member(1, false), member(2, true)],
        };
        assert_eq!(Founding::decode(&voters.encode()), Some(expected));
    }
}
