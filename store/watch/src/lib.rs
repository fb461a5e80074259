//! Who has been shown what: watchers, the streams they sit on, and the hub that feeds them.
//!
//! Pure, as `store/machine`. Knows revisions and events; never knows sockets, encoding or time.
//! A watcher is synced (has been handed all there is) or lagging (will be, from history), never silent.

pub mod batch;
pub mod hub;
mod index;
mod interval;
mod recent;
mod stream;
pub mod watcher;
mod window;
