//! Instructions of the hot paths, counted by valgrind: unlike times they are the same on a busy machine, so a change can
//! be compared with the one before.
//!
//! `paths` are the insides as the server and the agents use them, without network and threads; `count` runs each of them
//! in a process of its own, once prepared only and once prepared and run. The difference is what counts.

mod count;
mod lone;
mod paths;
mod table;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::paths::{PATHS, Path};

/// The allocator of the program that these paths are in.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Counts the instructions of the hot paths
#[derive(Parser)]
struct Args {
    /// Only these paths
    #[arg(long, value_name = "NAME", value_parser = named)]
    path: Vec<&'static Path>,
    /// Compare with the counts in this file
    #[arg(long, value_name = "FILE", default_value = "docs/instructions.json")]
    against: PathBuf,
    /// Keep the counts in that file, for later comparisons
    #[arg(long, conflicts_with = "path")]
    keep: bool,
    /// Run one path without counting: what valgrind is given
    #[arg(long, value_name = "NAME", value_parser = named, hide = true)]
    run: Option<&'static Path>,
    /// Only prepare what `--run` would run
    #[arg(long, requires = "run", hide = true)]
    prepare_only: bool,
}

fn named(name: &str) -> Result<&'static Path, String> {
    PATHS.iter().find(|path| path.name == name).ok_or_else(|| {
        let names: Vec<_> = PATHS.iter().map(|path| path.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.run {
        Some(path) => {
            path.go(args.prepare_only);
            Ok(())
        }
        None => compare(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> Result<(), Box<dyn Error>> {
    let before = table::read(&args.against)?;
    let chosen: Vec<&Path> = if args.path.is_empty() {
        PATHS.iter().collect()
    } else {
        args.path.clone()
    };
    let mut counts = Vec::new();
    for path in chosen {
        let count = count::each(path)?;
        println!(
            "{}",
            table::line(path, count, before.get(path.name).copied())
        );
        counts.push((path.name.to_owned(), count));
    }
    if args.keep {
        table::write(&args.against, counts)?;
    }
    Ok(())
}
