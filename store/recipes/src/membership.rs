//! Who came and who went between two looks at a group. The keys of a group: `<prefix>/<group>/<id>`, each under the lease
//! of the one it stands for, so that it ends with its heartbeat.

/// What happened to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is there now.
    Joined,
    /// It is not there any more.
    Left,
}

impl Happening {
    /// The word for people and scripts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Left => "left",
        }
    }
}

/// What happened to one whose key had that create revision before and has this one after; `None` for no key. Another
/// create revision is another life: it went and came again, however short the time between.
#[must_use]
pub fn happened(before: Option<i64>, after: Option<i64>) -> &'static [Happening] {
    match (before, after) {
        (None, Some(_)) => &[Happening::Joined],
        (Some(_), None) => &[Happening::Left],
        (Some(before), Some(after)) if before != after => &[Happening::Left, Happening::Joined],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::Happening::{Joined, Left};
    use super::*;

    #[test]
    fn another_life_is_a_death_first() {
        for (before, after, wanted) in [
            (None, None, &[][..]),
            (None, Some(3), &[Joined]),
            (Some(3), None, &[Left]),
            (Some(3), Some(3), &[]),
            (Some(3), Some(9), &[Left, Joined]),
        ] {
            assert_eq!(happened(before, after), wanted);
        }
    }
}
