//! [pure] What to write so that the store holds what a container should have: the difference between
//! wanted and held keys, as transactions whose every write is guarded, so that nothing another
//! writer put there is overwritten or deleted unseen. Knows neither containers nor the way to the
//! store.

use std::collections::BTreeMap;

use registrator_catalog::record::same_apart_from_time;

/// etcd's default for `--max-txn-ops` is 128: compares, successes and failures of one transaction may each be at most so
/// many. One compare and one read are for the key that says who speaks for the node.
pub const OPS_MAX: usize = 127;

/// A key as the store was last known to hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its value.
    pub value: Vec<u8>,
    /// Revision of its last change.
    pub mod_revision: i64,
    /// Whether it hangs on our lease. A key of ours under another lease would expire with that one.
    pub leased: bool,
}

/// Writes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// The writes, each key once. At most [`OPS_MAX`].
    pub writes: Vec<Write>,
}

/// One write and what must hold for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: String,
    /// The new value; `None` deletes the key.
    pub value: Option<String>,
    /// Revision of the key's last change as we know it, 0 when it should not exist. The transaction
    /// happens only if that is still so.
    pub guard: i64,
}

/// The transactions that turn `held` into `wanted`; none when they say the same. All in one
/// transaction as long as it is allowed to be that large; what is new comes before what is old.
#[must_use]
pub fn plan(wanted: &BTreeMap<String, String>, held: &BTreeMap<String, Held>) -> Vec<Txn> {
    let mut writes = Vec::new();
    for (key, value) in wanted {
        let guard = match held.get(key) {
            None => 0,
            Some(held) if held.leased && same_apart_from_time(&held.value, value.as_bytes()) => {
                continue;
            }
            Some(held) => held.mod_revision,
        };
        writes.push(Write {
            key: key.clone(),
            value: Some(value.clone()),
            guard,
        });
    }
    for (key, held) in held {
        // A key under another lease is another writer's to delete.
        if held.leased && !wanted.contains_key(key) {
            writes.push(Write {
                key: key.clone(),
                value: None,
                guard: held.mod_revision,
            });
        }
    }
    writes
        .chunks(OPS_MAX)
        .map(|chunk| Txn {
            writes: chunk.to_vec(),
        })
        .collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
