//! `queue`: items in the order in which they were put, each worked on by one consumer at a time. A consumer claims an item
//! under its lease and removes it when its command went well (at least once), or removes it before (at most once). A
//! condition node says when the first may be taken.

mod taking;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use store_client::mirror::KeyRange;
use store_proto::mvccpb::KeyValue;
use store_recipes::condition::{Condition, ConditionError};
use store_recipes::name::Name;
use store_recipes::queue::{self, Queue as Keys};

use self::taking::Take;
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::format::Printer;
use crate::recipe::link::{Link, Patience};
use crate::recipe::{as_json, ask, say};

/// What to do with a queue.
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// Put an item at the end; without a value it is read from stdin
    Push(Push),
    /// Take the first item: print it, or run a command for it
    Pop(Pop),
    /// Run a command for one item after the other, until told to end
    Work(Work),
    /// The items there are, and who works on them
    List(Which),
    /// Set when the first item may be taken: count=N, item=NAME, told, or none; show it without one
    Condition(SetCondition),
    /// Say that items may be taken
    Start(Which),
}

/// A queue.
#[derive(Debug, Args)]
pub struct Which {
    /// Name of the queue
    queue: Name,
    /// Where queues are
    #[arg(long, default_value = "/queues")]
    prefix: String,
}

/// `queue push QUEUE [VALUE]`
#[derive(Debug, Args)]
pub struct Push {
    #[command(flatten)]
    which: Which,
    value: Option<String>,
    /// Name of the item, for a condition
    #[arg(long, value_name = "NAME")]
    item: Option<Name>,
}

/// How items are taken.
#[derive(Debug, Args)]
struct Taking {
    /// Remove the item before the command runs: it runs at most once, and what dies takes the item with it
    #[arg(long)]
    at_most_once: bool,
    /// Seconds after which the item of a consumer that is gone is somebody else's
    #[arg(long, default_value_t = 10)]
    ttl: i64,
    /// How long the command may take to end when its claim is lost [default: a third of the ttl]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    grace: Option<Duration>,
}

/// `queue pop QUEUE [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Pop {
    #[command(flatten)]
    which: Which,
    /// Fail when there is nothing to take now
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    taking: Taking,
    /// Command that finds the item on its stdin
    #[arg(last = true)]
    command: Vec<String>,
}

/// `queue work QUEUE -- COMMAND`
#[derive(Debug, Args)]
pub struct Work {
    #[command(flatten)]
    which: Which,
    /// End well when there is nothing left to take
    #[arg(long)]
    until_empty: bool,
    #[command(flatten)]
    taking: Taking,
    /// Command that finds the item on its stdin
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// `queue condition QUEUE [CONDITION]`
#[derive(Debug, Args)]
pub struct SetCondition {
    #[command(flatten)]
    which: Which,
    condition: Option<String>,
}

impl Queue {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let json = as_json(printer)?;
        match self {
            Self::Push(push) => push.run(globals).await,
            Self::Pop(pop) => pop.run(globals).await,
            Self::Work(work) => work.run(globals).await,
            Self::List(which) => list(&which, globals, json).await,
            Self::Condition(set) => set.run(globals).await,
            Self::Start(which) => start(&which, globals).await,
        }
    }
}

impl Which {
    fn keys(&self) -> Keys {
        Keys::new(&self.prefix, &self.queue)
    }
}

impl Push {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let value = super::publish::value(self.value)?;
        let keys = self.which.keys();
        let link = Link::open(globals).await?;
        // The next revision is the number. Nobody may have one as high: then others have pushed meanwhile.
        let probe = ask::txn([], [ask::get_key(&keys.condition())], []);
        let mut answer = link.txn(Patience::Short, probe).await?;
        loop {
            let number = ask::revision_of(&answer) + 1;
            let key = keys.item(&queue::id(number, self.item.as_ref()));
            let end = KeyRange::prefix(keys.items().as_bytes()).end;
            let behind = KeyRange {
                start: keys.item(&queue::id(number, None)).into(),
                end,
            };
            let request = ask::txn(
                [ask::empty(&behind)],
                [ask::put(&key, value.clone(), 0)],
                [ask::get_key(&keys.condition())],
            );
            answer = link.txn(Patience::Once, request).await?;
            if answer.succeeded {
                return say(key);
            }
        }
    }
}

impl Pop {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut take = Take::open(&self.which, self.taking, globals).await?;
        let popped = take.one(self.no_wait, &self.command).await;
        take.close().await;
        match popped? {
            true => Ok(()),
            false => Err(Failure::error(format!(
                "there is nothing to take in {}",
                self.which.queue
            ))),
        }
    }
}

impl Work {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut take = Take::open(&self.which, self.taking, globals).await?;
        let worked = take.all(self.until_empty, &self.command).await;
        take.close().await;
        worked
    }
}

async fn list(which: &Which, globals: &Globals, json: bool) -> Result<(), Failure> {
    let keys = which.keys();
    let link = Link::open(globals).await?;
    let request = ask::txn(
        [],
        [
            ask::get_keys(&KeyRange::prefix(keys.items().as_bytes()), 0),
            ask::get(&KeyRange::prefix(keys.claims().as_bytes())),
        ],
        [],
    );
    let answer = link.txn(Patience::Short, request).await?;
    let items = keys.items();
    let claims = ask::found(&answer, 1);
    let claims = claims.iter().map(|kv| (behind(&keys.claims(), kv), kv));
    let claims: BTreeMap<&str, &KeyValue> = claims.collect();
    let mut rows = Vec::new();
    for item in ask::found(&answer, 0) {
        let id = behind(&items, item);
        if !queue::is_id(id) {
            continue;
        }
        let claim = claims.get(id);
        let worker = claim.map(|claim| String::from_utf8_lossy(&claim.value).into_owned());
        if json {
            rows.push(serde_json::json!({
                "item": id, "name": queue::name(id), "worker": worker,
                "token": claim.map(|claim| claim.create_revision),
            }));
        } else {
            say(format_args!(
                "{id}\t{}",
                worker.as_deref().unwrap_or("free")
            ))?;
        }
    }
    if json {
        say(serde_json::Value::Array(rows))?;
    }
    Ok(())
}

/// What stands in a key behind what it begins with.
fn behind<'a>(prefix: &str, kv: &'a KeyValue) -> &'a str {
    let key = std::str::from_utf8(&kv.key).unwrap_or_default();
    key.strip_prefix(prefix).unwrap_or_default()
}

impl SetCondition {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let keys = self.which.keys();
        let (condition, started) = (keys.condition(), keys.started());
        let Some(text) = self.condition else {
            let link = Link::open(globals).await?;
            let look = [ask::get_key(&condition), ask::get_key(&started)];
            let answer = link.txn(Patience::Short, ask::txn([], look, [])).await?;
            let Some(found) = ask::key_of(&answer, 0) else {
                return say("none");
            };
            let stands = ask::key_of(&answer, 1).map_or("waiting", |_| "started");
            return say(format_args!(
                "{}\t{stands}",
                String::from_utf8_lossy(&found.value)
            ));
        };
        let set = if text == "none" {
            ask::delete(&condition)
        } else {
            let wanted: Condition = text
                .parse()
                .map_err(|why: ConditionError| Failure::bad_arguments(why.to_string()))?;
            ask::put(&condition, wanted.to_string(), 0)
        };
        let link = Link::open(globals).await?;
        let request = ask::txn([], [set, ask::delete(&started)], []);
        link.txn(Patience::Short, request).await?;
        Ok(())
    }
}

async fn start(which: &Which, globals: &Globals) -> Result<(), Failure> {
    let started = which.keys().started();
    let link = Link::open(globals).await?;
    let put = [ask::put(&started, "told", 0)];
    let request = ask::txn([ask::absent(&started)], put, []);
    link.txn(Patience::Short, request).await?;
    Ok(())
}
