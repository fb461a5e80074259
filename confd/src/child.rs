//! Pure: A service that confd starts itself: after every file was applied once, told of each change by a signal or by a new
//! start, started again with growing waits when it ends by itself, and ended with confd.
//! ```text
//!   waiting ─ files ready ─► running ─ ended ─► resting ─ waited ─► running
//!                             │   └─ change ─► told, or ending ─ ended ─► running
//!                             └─ stop ─► ending ─ ended ─► over
//! ```
//! Level-triggered: what counts is whether the child was told of the files as they are. Knows no process and no clock.

use std::time::Duration;

use store_client::backoff::Backoff;

/// 500 ms, 30 s: a service that cannot start is not tried in a loop, and one that can again waits half a minute at most.
const RESTART: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Who ran this long has started well: its end is the first again.
const STARTED_WELL: Duration = Duration::from_secs(10);

/// How the child is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Command for `/bin/sh`.
    pub command: String,
    /// Signal that has it read its files, without `SIG`; `None` starts it anew.
    pub change: Option<&'static str>,
    /// Time from the signal to end to the one that cannot be refused.
    pub patience: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// How the files are: whether each was applied once, and a number that moves with each that is its own to read.
    Files {
        /// All are there.
        ready: bool,
        /// Moves with every change.
        version: u64,
    },
    /// The child ended, or could not be started.
    Ended,
    /// confd is to end.
    Stop,
    /// The deadline has come.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Start the child; its end is told by [`Input::Ended`].
    Start,
    /// Send it this signal.
    Signal(&'static str),
    /// Kill it with everything that it has started.
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Running { since: Duration },
    Ending { kill_at: Duration, killed: bool },
    Resting { until: Duration },
    Over,
}

/// See the module text.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    phase: Phase,
    ready: bool,
    /// Version of the files, and the one that the child was told of or started with.
    version: u64,
    told: u64,
    stopping: bool,
    backoff: Backoff,
}

impl Machine {
    /// A child that is not started yet.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            phase: Phase::Waiting,
            ready: false,
            version: 0,
            told: 0,
            stopping: false,
            backoff: Backoff::new(RESTART.0, RESTART.1, seed),
        }
    }

    /// Whether all is done.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// When [`Input::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Ending {
                kill_at,
                killed: false,
            } => Some(kill_at),
            Phase::Resting { until } => Some(until),
            _ => None,
        }
    }

    /// Takes one input.
    pub fn step(&mut self, now: Duration, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Files { ready, version } => {
                // A fault later on takes nothing back: the last good files stay in force.
                self.ready |= ready;
                self.version = version;
            }
            Input::Ended => self.ended(now),
            Input::Stop => self.stopping = true,
            Input::Tick => {}
        }
        self.settle(now, effects);
    }

    fn ended(&mut self, now: Duration) {
        self.phase = match self.phase {
            Phase::Running { since } => {
                if now.saturating_sub(since) >= STARTED_WELL {
                    self.backoff.reset();
                }
                Phase::Resting {
                    until: now + self.backoff.delay(),
                }
            }
            // As wished: at once again.
            Phase::Ending { .. } => Phase::Waiting,
            other => other,
        };
    }

    fn settle(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let rested = match self.phase {
            Phase::Waiting => true,
            Phase::Resting { until } => until <= now,
            _ => false,
        };
        match self.phase {
            Phase::Waiting | Phase::Resting { .. } if self.stopping => self.phase = Phase::Over,
            Phase::Waiting | Phase::Resting { .. } if rested && self.ready => {
                self.told = self.version;
                self.phase = Phase::Running { since: now };
                effects.push(Effect::Start);
            }
            Phase::Running { .. } if self.stopping => self.end(now, effects),
            Phase::Running { .. } if self.told != self.version => match self.settings.change {
                Some(signal) => {
                    self.told = self.version;
                    effects.push(Effect::Signal(signal));
                }
                None => self.end(now, effects),
            },
            Phase::Ending {
                kill_at,
                killed: false,
            } if kill_at <= now => {
                self.phase = Phase::Ending {
                    kill_at,
                    killed: true,
                };
                effects.push(Effect::Kill);
            }
            _ => {}
        }
    }

    fn end(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ending {
            kill_at: now + self.settings.patience,
            killed: false,
        };
        effects.push(Effect::Signal("TERM"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(change: Option<&'static str>) -> Machine {
        let settings = Settings {
            command: "x".to_owned(),
            change,
            patience: Duration::from_secs(5),
        };
        Machine::new(settings, 1)
    }

    /// Feeds inputs at their seconds; what was ordered, a line for each input.
    fn told(machine: &mut Machine, inputs: &[(u64, Input)]) -> Vec<String> {
        let step = |(at, input): &(u64, Input)| {
            let mut effects = Vec::new();
            machine.step(Duration::from_secs(*at), *input, &mut effects);
            let words: Vec<String> = effects.iter().map(|effect| format!("{effect:?}")).collect();
            words.join(" ")
        };
        inputs.iter().map(step).collect()
    }

    const fn files(ready: bool, version: u64) -> Input {
        Input::Files { ready, version }
    }

    #[test]
    fn it_starts_when_all_files_are_there_and_is_told_of_changes() {
        let mut child = machine(Some("HUP"));
        let lines = told(
            &mut child,
            &[
                (0, files(false, 1)),
                (1, files(true, 2)),
                (2, files(true, 2)),
                (3, files(false, 3)),
                (4, Input::Stop),
                (5, Input::Tick),
                (9, Input::Tick),
                (10, Input::Tick),
                (10, Input::Ended),
            ],
        );
        let term = "Signal(\"TERM\")";
        let hup = "Signal(\"HUP\")";
        assert_eq!(lines, ["", "Start", "", hup, term, "", "Kill", "", ""]);
        assert!(child.is_over());
    }

    #[test]
    fn one_that_only_starts_anew_ends_first() {
        let mut child = machine(None);
        let lines = told(
            &mut child,
            &[
                (0, files(true, 1)),
                (1, files(true, 2)),
                (1, files(true, 3)),
                (2, Input::Ended),
                (3, files(true, 3)),
            ],
        );
        assert_eq!(lines, ["Start", "Signal(\"TERM\")", "", "Start", ""]);
    }

    #[test]
    fn one_that_ends_by_itself_waits_longer_each_time() {
        let mut child = machine(Some("HUP"));
        let mut effects = Vec::new();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        child.step(now, files(true, 1), &mut effects);
        for _ in 0..8 {
            child.step(now, Input::Ended, &mut effects);
            let due = child.next_deadline().unwrap();
            waits.push(due - now);
            // A change does not start it before; it reads all when it starts.
            child.step(now, files(true, 2), &mut effects);
            now = due;
            child.step(now, Input::Tick, &mut effects);
        }
        assert_eq!(effects, [Effect::Start; 9]);
        assert!(waits[0] < Duration::from_secs(1) && waits[7] > Duration::from_secs(10));
        // Who ran for a while begins anew.
        child.step(now + STARTED_WELL, Input::Ended, &mut effects);
        let wait = child.next_deadline().unwrap() - now - STARTED_WELL;
        assert!(wait < Duration::from_secs(1));
        child.step(now + STARTED_WELL, Input::Stop, &mut effects);
        assert!(child.is_over());
    }
}
