//! `confd history` and `confd rollback`: what services were proven to run on, and back to it by hand.

use std::fmt::Write as _;

use crate::agent::Fault;
use crate::confdir::Unit;
use crate::config::Config;
use crate::disk::OsDisk;
use crate::faults::chain;
use crate::generations::Generations;
use crate::plan::{Book, ContentHash};
use crate::run::requests::{self, GoBack};
use crate::run::{copies, services};
use crate::state::StateFile;

/// Characters of a hash that are shown: enough to tell ten apart.
const HASH_CHARS: usize = 12;

/// Shows the generations of each file.
pub(super) fn run(config: &Config) -> Result<u8, Fault> {
    let units = super::units(config)?;
    let (_, book, generations) = open(config)?;
    let mut out = String::new();
    for (name, unit) in &units {
        let Ok(unit) = unit else { continue };
        let dest = &unit.resource.dest;
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name}: {}", dest.display());
        let Some(record) = book.record(dest) else {
            let _ = writeln!(out, "  nothing was put in place yet");
            continue;
        };
        for good in record.good.iter().rev() {
            let mut marks = Vec::new();
            if record.applied == Some(good.hash) {
                marks.push("in place");
            }
            if record.reloaded == Some(good.hash) {
                marks.push("running");
            }
            let size = match generations.content(good.hash) {
                Ok(content) => format!("{} bytes", content.len()),
                Err(_) => "no copy".to_owned(),
            };
            let origin = match good.revision {
                0 => "before us".to_owned(),
                revision => format!("revision {revision}"),
            };
            let line = format!(
                "  generation {:>4}  {}  {origin}  {size}  {}",
                good.number,
                short(good.hash),
                marks.join(", ")
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
        if let Some(bad) = record.bad {
            let _ = writeln!(out, "  taken back       {}", short(bad));
        }
    }
    super::say(&out);
    Ok(0)
}

fn short(hash: ContentHash) -> String {
    hash.to_string().chars().take(HASH_CHARS).collect()
}

fn open(config: &Config) -> Result<(StateFile, Book, Generations), Fault> {
    let failed = |error: std::io::Error| Fault {
        message: format!("open the state directory: {}", chain(&error)),
        hint: Some("--state-dir names it".to_owned()),
    };
    let (state, book) = StateFile::open(config.state_dir.clone()).map_err(failed)?;
    let generations = Generations::open(config.state_dir.clone()).map_err(failed)?;
    Ok((state, book, generations))
}

/// Puts older content back and tells the service: by the agent if one runs, else here.
pub(super) async fn roll_back(config: &Config, to: Option<u64>) -> Result<u8, Fault> {
    let units = super::units(config)?;
    let (Some(name), 1) = (&config.only, units.len()) else {
        return Err(Fault {
            message: "which resource?".to_owned(),
            hint: Some("confd rollback RESOURCE [--to GENERATION]".to_owned()),
        });
    };
    let request = GoBack {
        name: name.clone(),
        to,
    };
    let answer = match &config.state_dir {
        Some(state) => requests::ask(state, &request).await,
        None => None,
    };
    let answer = match answer {
        Some(answer) => answer.map_err(|message| Fault {
            message,
            hint: Some("`confd history` shows what can be gone back to".to_owned()),
        })?,
        None => {
            let unit = units.into_values().next().unwrap_or_else(|| {
                Err(Fault {
                    message: "which resource?".to_owned(),
                    hint: None,
                })
            })?;
            alone(config, &unit, to).await?
        }
    };
    super::say(&format!("{name}: {answer}\n"));
    Ok(0)
}

/// Without an agent: the next one finds it in the book.
async fn alone(config: &Config, unit: &Unit, to: Option<u64>) -> Result<String, Fault> {
    let (state, mut book, generations) = open(config)?;
    let dest = &unit.resource.dest;
    let (bad, good) = book.way_back(dest, to).map_err(|message| Fault {
        message,
        hint: Some("`confd history` shows what can be gone back to".to_owned()),
    })?;
    let save = |book: &Book| {
        state.save(book).map_err(|error| Fault {
            message: format!("save the state: {error}"),
            hint: None,
        })
    };
    book.doubt(dest);
    save(&book)?;
    copies::restore(&OsDisk, &generations, &unit.resource, good.hash, || {})?;
    services::reload(&unit.resource, None).await.0?;
    services::verify(&unit.resource).await.0?;
    book.roll_back(dest, bad, good, true);
    save(&book)?;
    Ok(format!("back at generation {}", good.number))
}
