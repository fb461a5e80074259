//! What a member keeps on disk, in its own nouns. The shell maps them to the log's records
//! without copying bodies; `log.rs` maps them to raft's types.

use bytes::Bytes;
use store_machine::MemberRecord;

use crate::founding::Founding;

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
