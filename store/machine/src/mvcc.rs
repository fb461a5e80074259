//! The keyspace: every pair in every version that has not been compacted.

mod naive;
mod select;

pub(crate) use naive::Keyspace;
