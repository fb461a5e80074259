//! A queue: items in the order of their numbers, and the claims of those that work on one. The keys of a queue:
//! ```text
//!   <root>/items/<20 digits>[-<name>]    an item; the number is the next revision when it was put, as names made by a
//!                                        POST of etcd 2 are
//!   <root>/claims/<20 digits>[-<name>]   who works on that item, under the lease of the worker
//!   <root>/condition                     what must be true before the first item is taken
//!   <root>/started                       that it was
//! ```

use std::collections::BTreeSet;

use crate::name::Name;

/// 20: digits of the largest number of 64 bits, so that text order is the order of numbers.
const DIGITS: usize = 20;

/// The keys of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    root: String,
}

impl Queue {
    /// The queue of that name below a prefix, whose slashes at the end do not matter.
    #[must_use]
    pub fn new(prefix: &str, name: &Name) -> Self {
        Self {
            root: format!("{}/{name}", prefix.trim_end_matches('/')),
        }
    }

    /// What all keys of the queue begin with.
    #[must_use]
    pub fn root(&self) -> String {
        format!("{}/", self.root)
    }

    /// What all items begin with.
    #[must_use]
    pub fn items(&self) -> String {
        format!("{}/items/", self.root)
    }

    /// The key of an item: what its id is behind [`Queue::items`].
    #[must_use]
    pub fn item(&self, id: &str) -> String {
        format!("{}/items/{id}", self.root)
    }

    /// What all claims begin with.
    #[must_use]
    pub fn claims(&self) -> String {
        format!("{}/claims/", self.root)
    }

    /// The key of the claim on an item.
    #[must_use]
    pub fn claim(&self, id: &str) -> String {
        format!("{}/claims/{id}", self.root)
    }

    /// The condition node.
    #[must_use]
    pub fn condition(&self) -> String {
        format!("{}/condition", self.root)
    }

    /// The mark that the condition was fulfilled.
    #[must_use]
    pub fn started(&self) -> String {
        format!("{}/started", self.root)
    }
}

/// The id of an item.
#[must_use]
pub fn id(number: i64, name: Option<&Name>) -> String {
    let number = number.max(0);
    match name {
        None => format!("{number:0DIGITS$}"),
        Some(name) => format!("{number:0DIGITS$}-{name}"),
    }
}

/// Whether this is an id: other keys may stand beside the items, such as the one by which version 2 of etcd's API knows the
/// directory.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let digits = text.get(..DIGITS).unwrap_or_default();
    let rest = text.get(DIGITS..).unwrap_or_default();
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.len() == DIGITS
        && (rest.is_empty() || rest.starts_with('-'))
}

/// The name in an id; `None` for one without.
#[must_use]
pub fn name(id: &str) -> Option<&str> {
    id.get(DIGITS..)?.strip_prefix('-')
}

/// What is to be taken next: the first item that nobody has claimed. Items are in order, claims in any.
#[must_use]
pub fn next<'a>(
    items: impl IntoIterator<Item = &'a str>,
    claims: &BTreeSet<&str>,
) -> Option<&'a str> {
    items.into_iter().find(|item| !claims.contains(item))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_in_the_order_of_numbers() {
        let queue = Queue::new("/queues/", &"jobs".parse().unwrap());
        assert_eq!(
            queue.item(&id(42, None)),
            "/queues/jobs/items/00000000000000000042"
        );
        let named = id(42, Some(&"go".parse().unwrap()));
        assert_eq!(
            queue.claim(&named),
            "/queues/jobs/claims/00000000000000000042-go"
        );
        assert_eq!((name(&named), name(&id(42, None))), (Some("go"), None));
        assert_eq!(name("short"), None);
        assert!(is_id(&named) && is_id(&id(42, None)));
        for other in ["", "42", "0000000000000000004x", "00000000000000000042x"] {
            assert!(!is_id(other), "{other:?}");
        }
        assert!(id(42, None) < named && named < id(43, None) && id(99, None) < id(100, None));
        assert_eq!(id(i64::MAX, None).len(), DIGITS);
    }

    proptest! {
        /// Several take one after the other, some give back: at no time do two hold one, and what is taken is the least
        /// of what is free.
        #[test]
        fn nobody_takes_what_is_claimed(steps in proptest::collection::vec((any::<bool>(), 0_usize..8), 0..60)) {
            let items: Vec<String> = (1..=20).map(|number| id(number, None)).collect();
            let mut claims: BTreeSet<&str> = BTreeSet::new();
            for (take, which) in steps {
                if take {
                    let taken = next(items.iter().map(String::as_str), &claims);
                    let least = items.iter().map(String::as_str).filter(|item| !claims.contains(item)).min();
                    prop_assert_eq!(taken, least);
                    if let Some(taken) = taken {
                        prop_assert!(claims.insert(taken));
                    }
                } else if let Some(given_back) = claims.iter().nth(which).copied() {
                    claims.remove(given_back);
                }
            }
        }
    }
}
