//! A path and all that leads to it, as one read shows it.

use bytes::Bytes;
use store_machine::reply::{KeyValue, RangeReply, TxnOpReply, TxnReply};
use store_machine::request::{KeyRange, RangeRequest, TxnOp, TxnRequest};
use store_machine::revision::LeaseId;

use crate::error::{Code, Error};
use crate::path::Path;
use crate::term::Term;

/// What is at one path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seat {
    /// The pair of the file.
    pub(crate) file: Option<KeyValue>,
    /// The first pair at or below the marker: with any, it is a directory.
    pub(crate) first: Option<KeyValue>,
    /// How many there are.
    count: u64,
}

impl Seat {
    pub(crate) const fn is_dir(&self) -> bool {
        self.first.is_some()
    }

    /// The pair that a directory has when it was made.
    pub(crate) fn marker(&self) -> Option<&KeyValue> {
        self.first.as_ref().filter(|pair| pair.key.ends_with(b"/"))
    }

    /// Whether a directory holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == u64::from(self.marker().is_some())
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Look {
    pub(crate) path: Path,
    /// Directories that lead there, with what is at each, the uppermost first.
    pub(crate) ancestors: Vec<(Path, Seat)>,
    pub(crate) seat: Seat,
    /// Revision of the read.
    pub(crate) revision: i64,
}

impl Look {
    /// The read.
    #[must_use]
    pub fn request(path: &Path) -> TxnRequest {
        let one = |path: &Path| {
            let file = RangeRequest::latest(KeyRange::single(path.key()));
            let mut below = RangeRequest::latest(path.below());
            below.limit = 1;
            [TxnOp::Range(file), TxnOp::Range(below)]
        };
        TxnRequest {
            success: path
                .ancestors()
                .chain([path.clone()])
                .flat_map(|path| one(&path))
                .collect(),
            ..TxnRequest::default()
        }
    }

    /// What it showed, at that revision; nothing if it is no answer to [`Look::request`].
    #[must_use]
    pub fn of(path: Path, reply: TxnReply, revision: i64) -> Option<Self> {
        let mut ranges = reply.replies.into_iter().map(|reply| match reply {
            TxnOpReply::Range(range) => Some(range),
            _ => None,
        });
        let mut seat = || {
            let file: RangeReply = ranges.next()??;
            let below: RangeReply = ranges.next()??;
            Some(Seat {
                file: file.kvs.into_iter().next(),
                first: below.kvs.into_iter().next(),
                count: below.count,
            })
        };
        let mut ancestors = Vec::new();
        for ancestor in path.ancestors() {
            ancestors.push((ancestor, seat()?));
        }
        let seat = seat()?;
        Some(Self {
            path,
            ancestors,
            seat,
            revision,
        })
    }

    /// The revision it was taken at: the index.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether a directory is there.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.path.is_root() || self.seat.is_dir()
    }

    pub(crate) fn refuse(&self, code: Code, cause: impl Into<String>) -> Error {
        Error {
            code,
            cause: cause.into(),
            index: self.revision,
        }
    }

    /// Refuses a path with nothing there, naming the first part that is missing or no directory.
    ///
    /// # Errors
    /// Not found, or not a directory.
    pub fn found(&self) -> Result<(), Error> {
        for (path, seat) in &self.ancestors {
            if !seat.is_dir() {
                let code = match seat.file {
                    Some(_) => Code::NotDir,
                    None => Code::KeyNotFound,
                };
                return Err(self.refuse(code, path.as_str()));
            }
        }
        if self.is_dir() || self.seat.file.is_some() {
            Ok(())
        } else {
            Err(self.refuse(Code::KeyNotFound, self.path.as_str()))
        }
    }

    /// Leases of the directories above.
    pub(crate) fn inherited(&self) -> Vec<LeaseId> {
        let markers = self.ancestors.iter().filter_map(|(_, seat)| seat.marker());
        let leases = markers.map(|marker| marker.lease);
        leases.filter(|lease| *lease != LeaseId::NONE).collect()
    }

    /// All pairs it showed.
    fn pairs(&self) -> impl Iterator<Item = &KeyValue> {
        let seats = self.ancestors.iter().map(|(_, seat)| seat);
        seats
            .chain([&self.seat])
            .flat_map(|seat| seat.file.iter().chain(&seat.first))
    }

    /// Leases of others whose time to live is to be shown, each once.
    #[must_use]
    pub fn foreign_leases(&self) -> Vec<LeaseId> {
        foreign_leases(self.pairs())
    }
}

/// Leases that do not say themselves when they end, each once.
#[must_use]
pub fn foreign_leases<'a>(pairs: impl IntoIterator<Item = &'a KeyValue>) -> Vec<LeaseId> {
    let leases = pairs.into_iter().map(|pair| pair.lease);
    let foreign =
        leases.filter(|lease| *lease != LeaseId::NONE && Term::of_lease(*lease).is_none());
    let mut foreign: Vec<_> = foreign.collect();
    foreign.sort_unstable();
    foreign.dedup();
    foreign
}

/// The same bytes as a range of one key.
pub(crate) const fn one(key: Bytes) -> KeyRange {
    KeyRange::single(key)
}
