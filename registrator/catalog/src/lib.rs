//! What a registration looks like: the record, its keys and values, and how each layout writes them.
//! A type belongs here if both a writer and a reader of the registry must agree on it.
//! Never knows Docker, the store or time: everything is a pure function of the record.

pub mod agent;
pub mod instance;
pub mod layout;
pub mod overrides;
pub mod prometheus;
pub mod record;
pub mod timestamp;
