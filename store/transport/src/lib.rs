//! Byte streams between processes: TCP and socket files, in the clear and over TLS, and the
//! certificates that go with them.
//!
//! `listener.rs` with `accept.rs`, and `dial.rs`, are the two ends of a [`Stream`]; `tls/` decides whom to trust and follows
//! its files when they change; `occupant.rs` names who has a port already. Knows no flag and nothing of any store, and of the protocols above the bytes one thing:
//! what Go clients put into the head of a request that no HTTP library here would parse (`authority.rs`).

pub mod accept;
pub mod authority;
pub mod dial;
mod listener;
pub mod occupant;
mod stream;
pub mod tls;

pub use self::listener::{Bound, Listener, Remote, Reuse, SocketFile};
pub use self::stream::{Socket, Stream};
