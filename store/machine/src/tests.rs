//! The machine as a whole: tables for the rules of the reference, and a dumb twin that does the
//! same by brute force.

pub(crate) mod dump;
pub(crate) mod rules;
pub(crate) mod strategies;
mod twin;
mod twins;
