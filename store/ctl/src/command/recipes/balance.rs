//! `balance`: the table of instances that take traffic, and the next of them, in turn or by weight.

use clap::{Args, Subcommand, ValueEnum};
use registrator_catalog::record::Record;
use store_recipes::choice;
use store_recipes::name::Name;
use store_recipes::table::takers;

use super::service::{Place, shown};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::Printer;
use crate::recipe::instances::{Registry, nobody, place};
use crate::recipe::link::{Link, Patience};
use crate::recipe::{as_json, ask, say};

/// What to do with the load.
#[derive(Debug, Subcommand)]
pub enum Balance {
    /// The instances that take traffic, and each one's share
    Table(Table),
    /// The next instance
    Pick(Pick),
}

/// `balance table NAME`
#[derive(Debug, Args)]
pub struct Table {
    name: String,
    #[command(flatten)]
    place: Place,
}

/// `balance pick NAME`
#[derive(Debug, Args)]
pub struct Pick {
    name: String,
    /// How it is chosen
    #[arg(long, value_enum, default_value_t = By::RoundRobin)]
    by: By,
    /// How many times
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Where the turns of all that pick are counted
    #[arg(long, default_value = "/balance")]
    turns: String,
    #[command(flatten)]
    place: Place,
}

/// How an instance is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Each in turn, whoever asks: all that pick share one count in the store
    RoundRobin,
    /// The same with turns in proportion to the weights
    WeightedRoundRobin,
    /// At random by weight; writes nothing
    Weighted,
}

impl Balance {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let json = as_json(printer)?;
        match self {
            Self::Table(table) => table.run(globals, json).await,
            Self::Pick(pick) => pick.run(globals, json).await,
        }
    }
}

async fn table(name: &str, at: &Place, link: &Link) -> Result<Vec<Record>, Failure> {
    let takers = takers(Registry::new(&at.prefix).read(link, Some(name)).await?);
    if takers.is_empty() {
        return Err(nobody(name));
    }
    Ok(takers)
}

impl Table {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let link = Link::open(globals).await?;
        let takers = table(&self.name, &self.place, &link).await?;
        let sum: f64 = takers.iter().map(|record| f64::from(record.weight)).sum();
        let share = |record: &Record| f64::from(record.weight) / sum;
        if json {
            let rows = takers.iter().map(|record| {
                serde_json::json!({
                    "instance": record.instance, "address": place(record),
                    "weight": record.weight, "share": share(record),
                })
            });
            return say(serde_json::Value::Array(rows.collect()));
        }
        takers.iter().try_for_each(|record| {
            say(format_args!(
                "{}\t{}\t{}\t{:.1}%",
                record.instance,
                place(record),
                record.weight,
                share(record) * 100.0
            ))
        })
    }
}

impl Pick {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let wrong = |why: store_recipes::name::NameError| Failure::bad_arguments(why.to_string());
        let name: Name = self.name.replace('/', "-").parse().map_err(wrong)?;
        let key = format!("{}/{name}", self.turns.trim_end_matches('/'));
        let link = Link::open(globals).await?;
        let takers = table(&self.name, &self.place, &link).await?;
        let weights: Vec<u32> = takers.iter().map(|record| record.weight).collect();
        for _ in 0..self.count {
            let chosen = match self.by {
                By::Weighted => choice::weighted(rand::random(), &weights),
                By::RoundRobin => choice::round_robin(turn(&key, &link).await?, takers.len()),
                By::WeightedRoundRobin => {
                    choice::weighted_round_robin(turn(&key, &link).await?, &weights)
                }
            };
            let chosen = chosen.and_then(|at| takers.get(at));
            shown(chosen.ok_or_else(|| nobody(&self.name))?, json)?;
        }
        Ok(())
    }
}

/// The number of this turn, from 0 on; no two that ask get the same one. One whose answer was lost is skipped.
async fn turn(key: &str, link: &Link) -> Result<u64, Failure> {
    let mut known = (0, 0);
    loop {
        let (turn, changed): (u64, i64) = known;
        let request = ask::txn(
            [ask::changed(key, changed)],
            [ask::put(key, turn.wrapping_add(1).to_string(), 0)],
            [ask::get_key(key)],
        );
        let answer = link.txn(Patience::Short, request).await?;
        if answer.succeeded {
            return Ok(turn);
        }
        known = match ask::key_of(&answer, 0) {
            None => (0, 0),
            Some(kv) => {
                let text = std::str::from_utf8(&kv.value).unwrap_or_default();
                let turn = text.parse().map_err(|_| {
                    Failure::error(format!("{key} holds no number of turns: {text:?}"))
                        .hint("delete it, or give another place with --turns")
                })?;
                (turn, kv.mod_revision)
            }
        };
    }
}
