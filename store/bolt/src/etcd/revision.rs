//! Revisions as keys of the bucket `key`.

/// Main revision, separator, number within it.
const PUT_BYTES: usize = 17;
const SEPARATOR: u8 = b'_';
const DELETED: u8 = b't';

/// A version's place in history, and whether it is a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RevisionKey {
    pub(super) main: i64,
    /// From 0, in the order of the transaction.
    pub(super) sub: i64,
    pub(super) deleted: bool,
}

impl RevisionKey {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PUT_BYTES + 1);
        bytes.extend_from_slice(&self.main.to_be_bytes());
        bytes.push(SEPARATOR);
        bytes.extend_from_slice(&self.sub.to_be_bytes());
        if self.deleted {
            bytes.push(DELETED);
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (main, rest) = bytes.split_first_chunk()?;
        let (&SEPARATOR, rest) = rest.split_first()? else {
            return None;
        };
        let (sub, rest) = rest.split_first_chunk()?;
        let deleted = match rest {
            [] => false,
            [DELETED] => true,
            _ => return None,
        };
        let (main, sub) = (i64::from_be_bytes(*main), i64::from_be_bytes(*sub));
        (main >= 0 && sub >= 0).then_some(Self { main, sub, deleted })
    }
}

/// Gives the versions of one revision their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbering {
    last: Option<(i64, i64)>,
}

impl Numbering {
    pub(super) fn next(&mut self, main: i64, deleted: bool) -> RevisionKey {
        let sub = match self.last {
            Some((last, sub)) if last == main => sub + 1,
            _ => 0,
        };
        self.last = Some((main, sub));
        RevisionKey { main, sub, deleted }
    }
}
