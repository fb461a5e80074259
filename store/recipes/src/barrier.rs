//! Barriers. A plain one is a key: while it is there, those that come wait. A double one lets a number of participants
//! begin together and end together:
//! ```text
//!   <prefix>/<name>                      a plain barrier
//!   <prefix>/<name>/participants/<id>    one that takes part, under its lease
//!   <prefix>/<name>/ready                that all are there
//! ```

/// Where one stands that wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Not all are there.
    Wait {
        /// How many are.
        present: usize,
    },
    /// All are there, which nobody has written down yet.
    Complete,
    /// All begin.
    Open,
    /// All that were to take part are in already.
    Full,
    /// One's own key is gone.
    Gone,
}

/// Where one stands, given the create revisions of all participants, one's own, whether the mark of readiness is there,
/// and how many are wanted. Who comes when all are there is turned away: the first `wanted` in order of arrival take part.
#[must_use]
pub fn entry(participants: &[i64], mine: i64, ready: bool, wanted: usize) -> Entry {
    if !participants.contains(&mine) {
        return Entry::Gone;
    }
    let earlier = participants.iter().filter(|at| **at < mine).count();
    match (earlier < wanted, ready) {
        (false, _) => Entry::Full,
        (true, true) => Entry::Open,
        (true, false) if participants.len() >= wanted => Entry::Complete,
        (true, false) => Entry::Wait {
            present: participants.len(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_stands() {
        for (participants, mine, ready, wanted, stands) in [
            (&[5][..], 5, false, 2, Entry::Wait { present: 1 }),
            (&[5, 6], 5, false, 2, Entry::Complete),
            (&[5, 6], 6, true, 2, Entry::Open),
            // One has left already, or died: those that began go on.
            (&[6], 6, true, 2, Entry::Open),
            (&[5, 6, 7], 7, true, 2, Entry::Full),
            (&[5, 6, 7], 7, false, 2, Entry::Full),
            (&[5, 6], 7, true, 2, Entry::Gone),
        ] {
            assert_eq!(
                entry(participants, mine, ready, wanted),
                stands,
                "{participants:?}"
            );
        }
    }

    #[test]
    fn as_many_as_wanted_begin_whatever_the_number() {
        for wanted in 1..5 {
            for present in 1..8_i64 {
                let all: Vec<i64> = (1..=present).collect();
                for ready in [false, true] {
                    let stands = all.iter().map(|mine| entry(&all, *mine, ready, wanted));
                    let turned_away = stands.filter(|stands| *stands == Entry::Full).count();
                    assert_eq!(turned_away, all.len().saturating_sub(wanted));
                }
            }
        }
    }
}
