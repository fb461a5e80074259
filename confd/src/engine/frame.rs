//! Pure: What functions of a template see of the render under way, shared by all engines.
//!
//! Functions of a compiled template are closures without access to a render's state, so its window stands in a
//! thread-local slot that [`Slot`] fills and empties; rendering never waits, so it stays on its thread.

use std::cell::RefCell;

use super::Globals;
use crate::tree::{Reader, Seen};

/// The window of one render, and what it sees besides keys.
pub(super) struct Frame {
    pub(super) reader: Reader,
    pub(super) globals: Globals,
}

thread_local! {
    static FRAME: RefCell<Option<Frame>> = const { RefCell::new(None) };
}

/// Holds the slot filled; emptied on drop too, so that a panic leaves no window behind.
pub(super) struct Slot;

impl Slot {
    /// Begins a render on this thread.
    pub(super) fn fill(reader: Reader, globals: Globals) -> Self {
        FRAME.with_borrow_mut(|frame| *frame = Some(Frame { reader, globals }));
        Self
    }

    /// Ends the render: what it has seen.
    pub(super) fn empty(self) -> Seen {
        FRAME
            .take()
            .map(|frame| frame.reader.finish())
            .unwrap_or_default()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        FRAME.take();
    }
}

/// Runs a function of a template on the render under way. `None` outside of a render.
pub(super) fn with_frame<T>(call: impl FnOnce(&mut Frame) -> T) -> Option<T> {
    FRAME.with_borrow_mut(|frame| frame.as_mut().map(call))
}
