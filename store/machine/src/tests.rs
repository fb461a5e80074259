//! The machine as a whole: tables for the rules of the reference, and a dumb twin that does the
//! same by brute force.

mod rules;
mod twin;
pub(crate) mod twins;
