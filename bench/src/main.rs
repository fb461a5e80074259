//! Load generator and side-by-side comparison.
//!
//! `cases` says what is measured, `contender` who; `wire`, `lines`, `load` and `talk` make the load, and
//! `report` writes down what `sample` collected. Everything but the server that does nothing
//! runs on one thread.

mod args;
mod cases;
mod contender;
mod cores;
mod device;
mod lines;
mod load;
mod patience;
mod process;
mod report;
mod sample;
mod scale;
mod talk;
mod tournament;
mod wire;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::contender::serve_nothing;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.command {
        None => tournament::run(&args).map_err(|error| (error.hint(), error.into())),
        Some(Command::List) => {
            for case in cases::CASES {
                println!("{:20} {}", case.name, case.about);
            }
            Ok(())
        }
        Some(Command::Scale { json, document }) => {
            scale(&json, document.as_deref()).map_err(|error| (None, error))
        }
        Some(Command::Nothing {
            listen,
            value_bytes,
        }) => nothing(listen, value_bytes).map_err(|error| (None, error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((hint, error)) => {
            complain(hint, &*error);
            ExitCode::FAILURE
        }
    }
}

fn nothing(listen: std::net::SocketAddr, value_bytes: usize) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(serve_nothing(listen, value_bytes))
}

/// Says what fleets do to a store, by the costs in a report.
fn scale(json: &Path, document: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let read = std::fs::read(json).map_err(|error| format!("read {}: {error}", json.display()))?;
    let tables = scale::tables(&serde_json::from_slice(&read)?)?;
    println!("{tables}");
    if let Some(document) = document {
        report::insert(document, &tables)?;
    }
    Ok(())
}

/// Prints an error with all its causes, and what to do about it.
fn complain(hint: Option<String>, error: &dyn Error) {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}
