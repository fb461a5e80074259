//! `simulate`: runs worlds and says what broke, and how to see it again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use store_sim::{BUGS, Bug, Options, Outcome, current_seed, run};

/// Seeds of a plain `simulate`: about a minute on two cores.
const SEEDS: u64 = 600;

/// Run the store's members in a simulated world that tries to break them.
#[derive(Debug, Parser)]
struct Args {
    /// Run this one seed
    #[arg(long)]
    seed: Option<u64>,
    /// Run seeds from 1 to this
    #[arg(long, conflicts_with = "seed")]
    seeds: Option<u64>,
    /// Run random seeds for so many minutes
    #[arg(long, conflicts_with_all = ["seed", "seeds"])]
    minutes: Option<u64>,
    /// Print everything that happens
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Put a known bug back; the name as in README.md
    #[arg(long)]
    bug: Option<String>,
    /// Put each known bug back and print the first seed that finds it
    #[arg(long)]
    hunt: bool,
    /// Check only answers, events and states, not disks and logs
    #[arg(long)]
    blind: bool,
    /// Print a line per run
    #[arg(long)]
    verbose: bool,
    /// Threads; each runs whole worlds
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let bug = match args.bug.as_deref().map(named).transpose() {
        Ok(bug) => bug,
        Err(hint) => {
            eprintln!("{hint}");
            return ExitCode::from(2);
        }
    };
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        println!(
            "seed {}: a panic\n  replay: simulate --seed {0} --trace",
            current_seed()
        );
        say(panic);
    }));
    if args.hunt {
        return hunt(args.seeds.unwrap_or(SEEDS));
    }
    let options = Options {
        bug,
        trace: args.trace,
        blind: args.blind,
    };
    let began = Instant::now();
    let outcomes = match (args.seed, args.minutes) {
        (Some(seed), _) => vec![run(seed, options)],
        (None, Some(minutes)) => {
            let until = began + Duration::from_secs(60 * minutes);
            let first = std::process::id().into();
            many(&args, options, mixed(first), u64::MAX, Some(until))
        }
        (None, None) => many(&args, options, 1, args.seeds.unwrap_or(SEEDS), None),
    };
    report(&outcomes, began.elapsed(), args.threads, options)
}

/// The bug of a name.
fn named(name: &str) -> Result<Bug, String> {
    let found = BUGS.into_iter().find(|bug| format!("{bug:?}") == name);
    found.ok_or_else(|| format!("no bug is called {name}\nhint: known are {BUGS:?}"))
}

/// A first seed from what differs between two processes.
fn mixed(process: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let micros = now.map_or(0, |now| now.as_micros());
    (u64::try_from(micros).unwrap_or(process) ^ (process << 20)) % 1_000_000_000_000
}

/// Runs `count` seeds from `first` on, or until a moment, on several threads.
fn many(
    args: &Args,
    options: Options,
    first: u64,
    count: u64,
    until: Option<Instant>,
) -> Vec<Outcome> {
    let threads = args.threads.max(1);
    let worker = |number: u64| {
        let mut outcomes = Vec::new();
        let mut at = number;
        while at < count && until.is_none_or(|until| Instant::now() < until) {
            let outcome = run(first + at, options);
            if args.verbose {
                println!("{outcome:?}");
            }
            if let Some(failure) = outcome.failure(options) {
                println!("{failure}");
            }
            outcomes.push(outcome);
            at += threads;
        }
        outcomes
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || worker(number)))
            .collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    })
}

/// The table of README.md: for each bug the first seed that finds it, and by which promise; then the same
/// with a blind eye for disks and logs.
///
/// Some bugs are found by an assertion of raft's: this needs a build in which a panic unwinds.
fn hunt(seeds: u64) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let mut code = ExitCode::SUCCESS;
    println!("| bug | seed | simulated time | promise | blind: seed | simulated time | promise |");
    println!("|---|---|---|---|---|---|---|");
    for bug in BUGS {
        let cells = [false, true].map(|blind| first(bug, blind, seeds));
        println!("| `{bug:?}` | {} | {} |", cells[0].1, cells[1].1);
        if cells.iter().any(|(found, _)| !found) {
            code = ExitCode::FAILURE;
        }
    }
    code
}

/// Whether a bug is found, and three cells that say when and how.
fn first(bug: Bug, blind: bool, seeds: u64) -> (bool, String) {
    let options = Options {
        bug: Some(bug),
        trace: false,
        blind,
    };
    let mut simulated = Duration::ZERO;
    for seed in 1..=seeds {
        let outcome = run(seed, options);
        simulated += outcome.simulated;
        if let Some(violation) = outcome.violation {
            let seconds = simulated.as_secs_f64();
            return (
                true,
                format!("{seed} | {seconds:.0} s | {}", violation.promise),
            );
        }
    }
    let seconds = simulated.as_secs_f64();
    (false, format!("none of {seeds} | {seconds:.0} s |"))
}

fn report(outcomes: &[Outcome], took: Duration, threads: u64, options: Options) -> ExitCode {
    if let [only] = outcomes
        && let Some(failure) = only.failure(options)
    {
        println!("{failure}");
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let broken = outcomes.iter().filter(|o| o.violation.is_some()).count();
    let steps = sum(|outcome| outcome.steps);
    let simulated: Duration = outcomes.iter().map(|outcome| outcome.simulated).sum();
    println!(
        "{} runs, {broken} broken; {} faults, {} leaders, {} entries, {} requests, {} writes done, {} leases ended, {} snapshots handed over, {} changes of members, {} events shown, {} transactions of agents, {} files put in place",
        outcomes.len(),
        sum(|outcome| outcome.faults),
        sum(|outcome| outcome.leaders as u64),
        sum(|outcome| outcome.committed),
        sum(|outcome| outcome.requests as u64),
        sum(|outcome| outcome.writes),
        sum(|outcome| outcome.expired),
        sum(|outcome| outcome.transfers),
        sum(|outcome| outcome.changes as u64),
        sum(|outcome| outcome.shown),
        sum(|outcome| outcome.registrations as u64),
        sum(|outcome| outcome.placed),
    );
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = steps as f64 / took.as_secs_f64() / threads.min(outcomes.len() as u64).max(1) as f64;
    println!(
        "{:.0} s of simulated time in {:.1} s; {steps} events, {rate:.0} per second and thread",
        simulated.as_secs_f64(),
        took.as_secs_f64(),
    );
    if broken > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
