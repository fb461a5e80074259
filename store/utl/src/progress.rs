//! How far something is, for a person who is looking: a bar on stderr, and nothing at all in a pipe.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often it is shown: as often as it is read.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// Marks in the bar.
const WIDTH: u64 = 30;

/// A bar.
#[derive(Debug)]
pub struct Progress {
    shown: Option<Instant>,
    looking: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Nothing is shown yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shown: None,
            looking: std::io::stderr().is_terminal(),
        }
    }

    /// So much of the total, which is called `name`.
    pub fn show(&mut self, done: u64, total: u64, name: impl FnOnce() -> String) {
        let recent = |shown: Instant| shown.elapsed() < SHOWN_EVERY;
        if !self.looking || self.shown.is_some_and(recent) {
            return;
        }
        self.shown = Some(Instant::now());
        eprint!("\r{}", bar(done, total, &name()));
    }

    /// Takes it away again.
    pub fn clear(&self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// `[#####.....]  50 % of 1.5 GB`
fn bar(done: u64, total: u64, name: &str) -> String {
    let part = |of: u64| u128::from(of) * u128::from(done) / u128::from(total.max(1));
    let marks = part(WIDTH).min(u128::from(WIDTH)) as usize;
    format!(
        "[{}{}] {:>3} % of {name}",
        "#".repeat(marks),
        ".".repeat(WIDTH as usize - marks),
        part(100).min(100),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_up() {
        let megabyte = 1 << 20;
        for (done, total, wanted) in [
            (0, 0, "[..............................]   0 % of it"),
            (0, megabyte, "[..............................]   0 % of it"),
            (
                megabyte / 2,
                megabyte,
                "[###############...............]  50 % of it",
            ),
            (
                megabyte + 32,
                megabyte,
                "[##############################] 100 % of it",
            ),
            (1, 60, "[..............................]   1 % of it"),
        ] {
            assert_eq!(bar(done, total, "it"), wanted);
        }
    }
}
