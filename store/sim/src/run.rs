//! One run from its seed to what came of it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::bugs::Bug;
use crate::promises::Violation;
use crate::world::World;

/// How to run a world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The bug to put back.
    pub bug: Option<Bug>,
    /// Write what happens to standard error.
    pub trace: bool,
    /// Check only what comes of it (answers, events, states), not how: neither what disks hold nor
    /// what logs look like. A bug is then found when it does harm.
    pub blind: bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed that repeats it.
    pub seed: u64,
    /// The promise that was broken, if one was; the run ended there.
    pub violation: Option<Violation>,
    /// Events that happened.
    pub steps: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Members.
    pub members: u64,
    /// Faults injected.
    pub faults: u64,
    /// Terms in which somebody led.
    pub leaders: usize,
    /// Entries committed.
    pub committed: u64,
    /// Requests of clients.
    pub requests: usize,
    /// Writes clients know to be done.
    pub writes: u64,
    /// Snapshots members took from others.
    pub transfers: u64,
    /// Changes of members.
    pub changes: usize,
    /// Leases that ended by time.
    pub expired: u64,
    /// Events shown to watchers.
    pub shown: u64,
    /// Transactions agents ordered.
    pub registrations: usize,
    /// Files agents put in place.
    pub placed: u64,
}

/// Characters of what a broken promise says that are printed: a state may hold thousands of values.
const DETAIL_CHARS: usize = 2_000;

impl Outcome {
    /// What to print of a run in which a promise was broken: seed, step, promise, and the line that replays it.
    #[must_use]
    pub fn failure(&self, options: Options) -> Option<String> {
        let violation = self.violation.as_ref()?;
        let bug = options
            .bug
            .map_or_else(String::new, |bug| format!(" --bug {bug:?}"));
        let blind = if options.blind { " --blind" } else { "" };
        let (seed, steps) = (self.seed, self.steps);
        let seconds = self.simulated.as_secs_f64();
        let mut what = violation.to_string();
        if let Some((end, _)) = what.char_indices().nth(DETAIL_CHARS) {
            what.truncate(end);
            what.push('…');
        }
        Some(format!(
            "seed {seed} broke a promise at step {steps}, after {seconds:.3} s: {what}\n  \
             replay: simulate --seed {seed}{bug}{blind} --trace"
        ))
    }
}

/// Runs the world of a seed to its end, or to the first broken promise.
///
/// A panic inside is a broken promise like any other where panics unwind; where they abort, a panic hook
/// can ask [`current_seed`].
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(seed, options);
    CURRENT.set(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let violation = match lived {
        Ok(lived) => lived.err(),
        Err(panic) => Some(Violation {
            promise: "no assertion fails",
            detail: message(&*panic),
        }),
    };
    Outcome {
        seed,
        violation,
        steps: world.steps,
        simulated: Duration::from_micros(world.now),
        members: world.plan.members,
        faults: world.faults,
        leaders: world.elections.count(),
        committed: world.canon.last(),
        requests: world.history.ops.len(),
        writes: world.history.done,
        transfers: world.transfers,
        changes: world.memberships.changes(),
        expired: world.leases.expired,
        shown: world.shown_events(),
        registrations: world.agents_ordered(),
        placed: world.agents_placed(),
    }
}

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

/// The seed of the run this thread is in, or was in last.
#[must_use]
pub fn current_seed() -> u64 {
    CURRENT.get()
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}
