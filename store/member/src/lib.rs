//! One store process as a value: raft, the machine, the watch hub and the leader's lease deadlines.
//!
//! Pure: no threads, files, sockets or clock. A shell feeds facts with [`Member::step`], once per
//! turn collects orders with [`Member::settle`], performs them, and reports back with more facts.
//! Nothing that depends on durability leaves before the shell has reported [`Input::Synced`].
//!
//! Start at `member.rs` (the turn), then `input.rs` and `effects.rs` (what goes in and out).
//!
//! [`Input::Synced`]: input::Input::Synced

pub mod answer;
mod apply;
mod changes;
mod checks;
pub mod config;
pub mod counts;
pub mod effects;
mod election;
mod expiry;
mod forwarding;
mod founding;
mod handover;
pub mod input;
mod leaving;
pub mod limits;
mod log;
pub mod member;
mod membership;
pub mod moment;
pub mod peer;
mod persist;
mod proposals;
mod random;
mod reading;
mod reads;
mod ready;
pub mod record;
mod replay;
mod snapshots;
mod space;
mod survivor;
mod transfer;
pub mod verdict;
mod watching;

pub use changes::change_in;
pub use config::Config;
pub use effects::Effects;
pub use input::Input;
pub use member::Member;
pub use moment::Moment;
pub use peer::PeerMessage;
pub use proposals::{command_bytes, command_in};
pub use replay::{ReplayError, replay};
pub use survivor::survivor;
