//! When a queue may begin: its condition node says so, and once it was fulfilled it stays so until another is set.

use std::fmt;
use std::str::FromStr;

use crate::name::{Name, NameError};

/// What must be true before anything is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// So many items are there. At least 1.
    Count(u64),
    /// An item of that name is there.
    Item(Name),
    /// Somebody says so.
    Told,
}

impl Condition {
    /// Whether items of these names (`None` for one without) fulfil it. What somebody has said does not show there.
    pub fn is_fulfilled<'a>(&self, items: impl IntoIterator<Item = Option<&'a str>>) -> bool {
        let mut items = items.into_iter();
        match self {
            Self::Count(wanted) => items.count() as u64 >= *wanted,
            Self::Item(wanted) => items.any(|name| name == Some(wanted.as_str())),
            Self::Told => false,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(wanted) => write!(formatter, "count={wanted}"),
            Self::Item(name) => write!(formatter, "item={name}"),
            Self::Told => formatter.write_str("told"),
        }
    }
}

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        match text.split_once('=') {
            None if text == "told" => Ok(Self::Told),
            Some(("count", count)) => match count.parse() {
                Ok(count) if count > 0 => Ok(Self::Count(count)),
                _ => Err(ConditionError::Count(count.to_owned())),
            },
            Some(("item", name)) => Ok(Self::Item(name.parse().map_err(ConditionError::Item)?)),
            _ => Err(ConditionError::Unknown(text.chars().take(80).collect())),
        }
    }
}

/// A text that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// None of the three.
    #[error("condition {0:?} is none of count=N, item=NAME and told")]
    Unknown(String),
    /// Not a number of items.
    #[error("condition count={0:?} is not a number above 0")]
    Count(String),
    /// Not a name of an item.
    #[error("condition item=NAME: {0}")]
    Item(#[source] NameError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fulfils_a_condition() {
        let items = [None, Some("go"), None];
        for (text, items, wanted) in [
            ("count=3", &items[..], true),
            ("count=4", &items, false),
            ("count=1", &[], false),
            ("item=go", &items, true),
            ("item=g", &items, false),
            ("item=go", &items[..1], false),
            ("told", &items, false),
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.to_string(), text);
            assert_eq!(
                condition.is_fulfilled(items.iter().copied()),
                wanted,
                "{text}"
            );
        }
        for text in [
            "", "count", "count=0", "count=-1", "item=", "item=a/b", "tell", "told=1",
        ] {
            assert!(text.parse::<Condition>().is_err(), "{text:?}");
        }
    }
}
