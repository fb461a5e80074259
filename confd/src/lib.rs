//! confd: keeps configuration files equal to what the store says, and services running on them.
//!
//! Pure: [`resource`] (what to keep), [`tree`] and [`reads`] (what a template sees and has seen), [`engine`]
//! (templates), [`plan`] (desired, applied, reloaded), [`agent`] (when to do what). Shells: [`files`], [`command`],
//! [`backends`], [`confdir`], [`run`], [`api`]. Never knows Docker, raft, or what a key means beyond the catalog.

pub mod agent;
pub mod engine;
pub mod glob;
pub mod plan;
mod quiet;
pub mod reads;
pub mod resource;
mod spelling;
pub mod tree;
