//! Every chosen case against every chosen contender, round after round, and the report of it all.
//!
//! Contenders take turns within a round, so that whatever the machine does meanwhile hits all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::cases::{Bout, CASES, Case, CaseError, Figures, Settings};
use crate::contender::{Contender, Programs, Server, StartError};
use crate::cores::{CoreError, Cores, Mode};
use crate::patience::Patience;
use crate::process::ProcessError;
use crate::report::{self, DocumentError, Machine, Report, Row};
use crate::sample::{Sample, Summary};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TournamentError {
    /// No such case.
    #[error("find case {name}")]
    UnknownCase {
        /// As it was typed.
        name: String,
    },
    /// Nothing left to run.
    #[error("find a case that fits all of --case, --contender and --mode")]
    NothingToRun,
    /// Cores.
    #[error("share the cores")]
    Cores(#[from] CoreError),
    /// The machine cannot be looked at.
    #[error("see whether the machine is quiet")]
    Process(#[from] ProcessError),
    /// A contender does not serve.
    #[error("start {}", .contender.name())]
    Start {
        /// Who.
        contender: Contender,
        /// Why.
        source: StartError,
    },
    /// A run failed.
    #[error("run {case} against {}", .contender.name())]
    Case {
        /// What.
        case: &'static str,
        /// Who.
        contender: Contender,
        /// Why.
        source: CaseError,
    },
    /// The figures cannot be written.
    #[error("write figures into {path}")]
    Json {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The picture beside the document cannot be written.
    #[error("write the picture {path}")]
    Plot {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The document cannot be written.
    #[error("write the tables")]
    Document(#[from] DocumentError),
}

impl TournamentError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            TournamentError::UnknownCase { .. } => {
                let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
                Some(format!("there are {}", names.join(", ")))
            }
            TournamentError::Cores(CoreError::TooFew { .. }) => {
                Some("leave pinned runs out with --mode free".to_owned())
            }
            TournamentError::Start { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// One pairing; its runs are put together into one row.
#[derive(Clone, Copy)]
struct Pairing {
    case: &'static Case,
    mode: Mode,
    contender: Contender,
}

/// Runs what `args` choose, prints the tables and writes them where asked.
pub(crate) fn run(args: &Args) -> Result<(), TournamentError> {
    let pairings = pairings(args)?;
    let mut ground = Ground {
        args,
        programs: args.programs(),
        settings: args.settings(),
        cores: Cores::found()?,
        patience: Patience::new(Duration::from_secs(args.patience_s)),
    };
    let rounds = usize::from(args.rounds);
    let mut samples: BTreeMap<usize, Vec<Sample>> = BTreeMap::new();
    let mut progress = Progress {
        started: Instant::now(),
        done: 0,
        all: (0..rounds)
            .flat_map(|round| {
                pairings
                    .iter()
                    .filter(move |it| it.case.takes_part_in(round))
            })
            .count(),
    };
    for round in 0..rounds {
        for (number, pairing) in pairings.iter().enumerate() {
            if !pairing.case.takes_part_in(round) {
                continue;
            }
            let sample = ground.quiet_bout(*pairing, round as u64)?;
            progress.step(round, *pairing, &sample);
            samples.entry(number).or_default().push(sample);
        }
    }
    let mut rows = Vec::new();
    for (number, pairing) in pairings.iter().enumerate() {
        let runs = samples.get(&number).map_or(&[][..], Vec::as_slice);
        if let Some(summary) = Summary::of(runs) {
            rows.push(Row::new(
                pairing.case,
                pairing.mode,
                pairing.contender,
                &summary,
            ));
        }
    }
    let report = Report {
        date: report::today(),
        commit: commit(),
        command: command(),
        note: args.note.clone(),
        machine: Machine::this(&args.data_dir),
        versions: versions(&pairings, &ground.programs),
        settings: ground.settings,
        rounds,
        rows,
    };
    publish(args, &report)
}

/// What fits the choices, contenders of one case and mode next to each other.
fn pairings(args: &Args) -> Result<Vec<Pairing>, TournamentError> {
    if let Some(name) = args
        .cases
        .iter()
        .find(|name| CASES.iter().all(|case| case.name != **name))
    {
        return Err(TournamentError::UnknownCase { name: name.clone() });
    }
    let mut pairings = Vec::new();
    for case in CASES {
        let named = args.cases.iter().any(|name| name == case.name);
        let unasked =
            args.cases.is_empty() && matches!(case.figures, Figures::All | Figures::State);
        if !named && !unasked {
            continue;
        }
        for mode in case
            .modes
            .iter()
            .filter(|mode| args.modes.is_empty() || args.modes.contains(mode))
        {
            let chosen = |contender: &&Contender| {
                args.contenders.is_empty() || args.contenders.contains(contender)
            };
            let fits = case.contenders.iter().filter(chosen);
            pairings.extend(fits.map(|contender| Pairing {
                case,
                mode: *mode,
                contender: *contender,
            }));
        }
    }
    if pairings.is_empty() {
        Err(TournamentError::NothingToRun)
    } else {
        Ok(pairings)
    }
}

/// What all runs have in common.
struct Ground<'a> {
    args: &'a Args,
    programs: Programs,
    settings: Settings,
    cores: Cores,
    patience: Patience,
}

impl Ground<'_> {
    /// A run that nothing disturbed, as far as there is patience for it.
    fn quiet_bout(&mut self, pairing: Pairing, seed: u64) -> Result<Sample, TournamentError> {
        loop {
            self.patience.wait()?;
            let start = Instant::now();
            let sample = self.bout(pairing, seed)?;
            if !self.patience.again(&sample, start.elapsed()) {
                return Ok(sample);
            }
        }
    }

    /// One run: a fresh server, the load, and the server gone.
    fn bout(&self, pairing: Pairing, seed: u64) -> Result<Sample, TournamentError> {
        let Pairing {
            case,
            mode,
            contender,
        } = pairing;
        let (folder, port) = (&self.args.data_dir, self.args.port);
        let start = || {
            Server::start(
                contender,
                &self.programs,
                folder,
                port,
                self.settings.value_bytes,
                case.members,
            )
        };
        let started = self.cores.as_server(mode, start)?;
        let mut server = started.map_err(|source| TournamentError::Start { contender, source })?;
        let mut bout = Bout {
            server: &mut server,
            programs: &self.programs,
            settings: &self.settings,
            seed,
        };
        let ran = self.cores.as_generator(mode, || (case.run)(&mut bout))?;
        ran.map_err(|source| TournamentError::Case {
            case: case.name,
            contender,
            source,
        })
    }
}

/// Says how far it is, on standard error.
struct Progress {
    started: Instant,
    done: usize,
    all: usize,
}

impl Progress {
    fn step(&mut self, round: usize, pairing: Pairing, sample: &Sample) {
        self.done += 1;
        let left =
            self.started.elapsed().as_secs_f64() / self.done as f64 * (self.all - self.done) as f64;
        eprintln!(
            "{:3}/{} (about {:.0} s left) round {} {:18} {:6} {:16} {:9.0}/s  p99 {:8.3} ms",
            self.done,
            self.all,
            left,
            round + 1,
            pairing.case.name,
            pairing.mode.name(),
            pairing.contender.name(),
            sample.rate(),
            sample.latency.value_at_quantile(0.99) as f64 / 1e6,
        );
    }
}

fn publish(args: &Args, report: &Report) -> Result<(), TournamentError> {
    let tables = report::tables(report);
    println!("{tables}");
    if let Some(path) = &args.json {
        let fail = |source| TournamentError::Json {
            path: path.clone(),
            source,
        };
        let json = serde_json::to_string_pretty(report).map_err(|error| fail(error.into()))?;
        std::fs::write(path, json + "\n").map_err(fail)?;
    }
    if let Some(path) = &args.document {
        report::insert(path, &tables)?;
        let path = path.with_extension("svg");
        let written = std::fs::write(&path, report::plot(report));
        written.map_err(|source| TournamentError::Plot { path, source })?;
    }
    Ok(())
}

fn versions(pairings: &[Pairing], programs: &Programs) -> Vec<String> {
    let stores = [Contender::Etcd, Contender::Muster];
    let takes_part = |contender: &Contender| {
        pairings
            .iter()
            .any(|pairing| pairing.contender == *contender)
    };
    stores
        .into_iter()
        .filter(takes_part)
        .map(|contender| programs.version(contender))
        .collect()
}

/// The command line, without the folders of whoever typed it.
fn command() -> String {
    let name = |argument: &String| match argument.rsplit_once('/') {
        Some((_, name)) if argument.starts_with('/') => name.to_owned(),
        _ if argument.contains(' ') => format!("'{argument}'"),
        _ => argument.clone(),
    };
    std::env::args()
        .collect::<Vec<_>>()
        .iter()
        .map(name)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The commit this tree is at, marked if files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match (
        git(&["rev-parse", "--short", "HEAD"]),
        git(&["status", "--porcelain", "--untracked-files=no"]),
    ) {
        (Some(commit), Some(changes)) if changes.is_empty() => commit,
        (Some(commit), _) => format!("{commit} with changes"),
        _ => "unknown".to_owned(),
    }
}
