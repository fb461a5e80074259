//! `monitor`: a group whose members are alive for as long as their heartbeats are, and a command for each that comes or
//! goes.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use store_client::mirror::{Change, Event, KeyRange};
use store_recipes::membership::{Happening, happened};
use store_recipes::name::Name;

use super::service::told;
use crate::child::{self, Job};
use crate::command::lock::{Held, lost, take_key, under, under_lease};
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::format::Printer;
use crate::recipe::follow::Follow;
use crate::recipe::link::{Link, Patience};
use crate::recipe::{TOKEN, as_json, ask, checked_ttl, say};
use crate::session::Session;

/// What to do with a group.
#[derive(Debug, Subcommand)]
pub enum Monitor {
    /// Be in a group, while a command runs or until told to end
    Join(Join),
    /// Who is alive
    List(Which),
    /// Who comes and who goes, from those that are there on
    Watch(Watch),
}

/// A group.
#[derive(Debug, Args)]
pub struct Which {
    /// Name of the group
    group: Name,
    /// Where groups are
    #[arg(long, default_value = "/groups")]
    prefix: String,
}

/// `monitor join GROUP ID [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Join {
    #[command(flatten)]
    which: Which,
    /// Name of this one; a name that is taken is waited for
    id: Name,
    /// Fail at once when the name is taken
    #[arg(long = "try")]
    at_once: bool,
    /// Seconds without a heartbeat after which it counts as gone
    #[arg(long, default_value_t = 10)]
    ttl: i64,
    /// How long the command may take to end when it counts as gone [default: a third of the ttl]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    grace: Option<Duration>,
    /// Command that runs while it is in the group
    #[arg(last = true)]
    command: Vec<String>,
}

/// `monitor watch GROUP [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    which: Which,
    /// Only those that come, or only those that go
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// Command for each, which finds it in `MUSTER_…` variables
    #[arg(last = true)]
    command: Vec<String>,
}

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Joined,
    Left,
}

impl Monitor {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let json = as_json(printer)?;
        match self {
            Self::Join(join) => join.run(globals).await,
            Self::List(which) => list(&which, globals, json).await,
            Self::Watch(watch) => watch.run(globals, json).await,
        }
    }
}

impl Which {
    fn root(&self) -> String {
        format!("{}/{}/", self.prefix.trim_end_matches('/'), self.group)
    }
}

impl Join {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        checked_ttl(self.ttl)?;
        under_lease(
            self.ttl,
            self.grace,
            globals,
            async |link, session, grace| self.joined(link, session, grace).await,
        )
        .await
    }

    async fn joined(
        &self,
        link: &Link,
        session: &mut Session,
        grace: Duration,
    ) -> Result<(), Failure> {
        let gone = || Failure::error("the heartbeat was lost: this one counts as gone");
        let key = format!("{}{}", self.which.root(), self.id);
        let lease = session.lease();
        // Each is safe to cancel: what was taken is the lease's, which ends right after.
        let held: Held = tokio::select! {
            held = take_key(link, &key, lease, self.at_once) => held?,
            () = session.lost() => return Err(gone()),
            () = child::interrupted() => return Err(Failure::error("context canceled")),
        };
        say(format_args!("{key}\n{}", held.token))?;
        if self.command.is_empty() {
            return tokio::select! {
                () = lost(session, link, &held) => Err(gone()),
                () = child::interrupted() => Ok(()),
            };
        }
        let job = Job {
            words: &self.command,
            variables: vec![
                ("MUSTER_GROUP", self.which.group.to_string()),
                ("MUSTER_ID", self.id.to_string()),
                (TOKEN, held.token.to_string()),
            ],
            grace,
            ..Job::default()
        };
        under(session, link, &held, job).await
    }
}

async fn list(which: &Which, globals: &Globals, json: bool) -> Result<(), Failure> {
    let root = which.root();
    let link = Link::open(globals).await?;
    let request = ask::read(&KeyRange::prefix(root.as_bytes()));
    let range = link.range(Patience::Short, request).await?;
    let mut rows = Vec::new();
    // The key of the group itself is how version 2 of etcd's API knows the directory.
    for kv in range.kvs.iter().filter(|kv| kv.key.len() > root.len()) {
        let id = String::from_utf8_lossy(&kv.key[root.len()..]);
        let value = String::from_utf8_lossy(&kv.value);
        if json {
            rows.push(serde_json::json!({
                "id": id, "value": value, "token": kv.create_revision,
            }));
        } else {
            say(format_args!("{id}\t{value}"))?;
        }
    }
    if json {
        say(serde_json::Value::Array(rows))?;
    }
    Ok(())
}

impl Watch {
    async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        let root = self.which.root();
        let link = Link::open(globals).await?;
        let mut follow = Follow::new(&link, KeyRange::prefix(root.as_bytes()));
        let followed = async {
            loop {
                let (Event::Listed { changes, .. } | Event::Advanced { changes, .. }) =
                    follow.next().await?;
                for change in changes.iter().filter(|one| one.key.len() > root.len()) {
                    self.tell(&root, change, json).await?;
                }
            }
        };
        // Safe to cancel: it only shows.
        tokio::select! {
            ended = followed => ended,
            () = child::interrupted() => Ok(()),
        }
    }

    async fn tell(&self, root: &str, change: &Change, json: bool) -> Result<(), Failure> {
        let life = |entry: &Option<store_client::mirror::Entry>| {
            entry.as_ref().map(|entry| entry.create_revision)
        };
        let id = String::from_utf8_lossy(&change.key[root.len()..]).into_owned();
        for happening in happened(life(&change.before), life(&change.after)) {
            let (entry, only) = match happening {
                Happening::Joined => (&change.after, Only::Joined),
                Happening::Left => (&change.before, Only::Left),
            };
            if self.only.is_some_and(|wanted| wanted != only) {
                continue;
            }
            let word = happening.word();
            let value = entry.as_ref().map(|entry| entry.value.clone());
            let value = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
            if json {
                say(serde_json::json!({
                    "event": word, "id": id, "value": value, "token": life(entry),
                }))?;
            } else {
                say(format_args!("{word}\t{id}\t{value}"))?;
            }
            let job = Job {
                words: &self.command,
                variables: vec![
                    ("MUSTER_EVENT", word.to_owned()),
                    ("MUSTER_GROUP", self.which.group.to_string()),
                    ("MUSTER_ID", id.clone()),
                    ("MUSTER_VALUE", value.replace('\0', "")),
                ],
                ..Job::default()
            };
            told(job).await;
        }
        Ok(())
    }
}
