//! How a program of ours complains: one line that says what and where, one that says what to do, a failing exit status,
//! and never a panic.

use std::process::Command;
use std::time::Duration;

use crate::process::Process;

/// 20 s: a refusal takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a program said on its way out.
#[derive(Clone, Debug)]
pub struct Complaint {
    /// The line after `error:`.
    pub error: String,
    /// The line after `hint:`.
    pub hint: String,
    /// Exit status.
    pub status: i32,
}

impl Complaint {
    /// Runs a command that is meant to refuse and gives its complaint.
    ///
    /// # Panics
    /// When it goes on running, succeeds, panics, or complains in another form.
    #[track_caller]
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let mut process = Process::spawn(format!("{command:?}"), command);
        Self::by(&mut process)
    }

    /// Waits for a process that is meant to refuse.
    ///
    /// # Panics
    /// As [`Complaint::of`].
    #[track_caller]
    #[must_use]
    pub fn by(process: &mut Process) -> Self {
        let status = process.wait_exit(DEADLINE);
        let lines = process.lines();
        let all = lines.join("\n");
        assert!(!status.success(), "it was meant to refuse:\n{all}");
        assert!(
            !all.contains("panicked at") && !all.contains("RUST_BACKTRACE"),
            "it panicked:\n{all}"
        );
        let said = |start: &str| {
            let mut found = lines
                .iter()
                .filter_map(|line| line.trim().strip_prefix(start))
                .map(str::trim);
            let first = found
                .next()
                .unwrap_or_else(|| panic!("no line with `{start}`:\n{all}"))
                .to_owned();
            assert_eq!(
                found.next(),
                None,
                "more than one line with `{start}`:\n{all}"
            );
            first
        };
        let hint = if all.contains("For more information, try") {
            clap_tip(&all)
        } else {
            said("hint:")
        };
        Self {
            error: said("error:"),
            hint,
            status: status.code().unwrap_or(-1),
        }
    }

    /// Checks that the error line has all these words in it.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn names(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(
                self.error.contains(word),
                "`{word}` is not in: {}",
                self.error
            );
        }
        self
    }
}

/// The parser of command lines calls its hint a tip.
fn clap_tip(all: &str) -> String {
    let tip = all
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip:"));
    tip.or_else(|| {
        all.lines()
            .find(|line| line.starts_with("For more information"))
    })
    .unwrap_or_default()
    .trim()
    .to_owned()
}
