//! `barrier`: those that come wait while it is there; or a number of participants begin together and end together.

use std::time::Duration;

use clap::{Args, Subcommand};
use store_client::mirror::{Event, KeyRange, Snapshot};
use store_recipes::barrier::{Entry, entry};
use store_recipes::name::Name;

use crate::child::{self, Job};
use crate::command::lock::{Held, expired, lost, take_key, under, under_lease};
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::format::Printer;
use crate::recipe::follow::{self, Follow};
use crate::recipe::link::{Link, Patience};
use crate::recipe::{TOKEN, as_json, ask, checked_ttl, myself, say};
use crate::session::Session;

/// What to do with a barrier.
#[derive(Debug, Subcommand)]
pub enum Barrier {
    /// Hold everybody up while a command runs, or until told to end
    Hold(Hold),
    /// Hold everybody up until it is released
    Set(Which),
    /// Let everybody go on
    Release(Which),
    /// Wait until nobody is held up
    Wait(Which),
    /// Run a command together with others: all begin when so many are there, and none is done before all are
    Enter(Enter),
}

/// A barrier.
#[derive(Debug, Args)]
pub struct Which {
    /// Name of the barrier
    barrier: Name,
    /// Where barriers are
    #[arg(long, default_value = "/barriers")]
    prefix: String,
}

/// How a lease is kept.
#[derive(Debug, Args)]
struct Keeping {
    /// Seconds after which one that is gone without a word counts no more
    #[arg(long, default_value_t = 10)]
    ttl: i64,
    /// How long the command may take to end when the lease is lost [default: a third of the ttl]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    grace: Option<Duration>,
}

/// `barrier hold NAME [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Hold {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    keeping: Keeping,
    /// Command that runs meanwhile
    #[arg(last = true)]
    command: Vec<String>,
}

/// `barrier enter NAME --count N [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Enter {
    #[command(flatten)]
    which: Which,
    /// How many take part
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    #[command(flatten)]
    keeping: Keeping,
    /// Command that runs when all are there
    #[arg(last = true)]
    command: Vec<String>,
}

impl Barrier {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        as_json(printer)?;
        match self {
            Self::Hold(hold) => hold.run(globals).await,
            Self::Set(which) => set(&which, globals).await,
            Self::Release(which) => release(&which, globals).await,
            Self::Wait(which) => wait(&which, globals).await,
            Self::Enter(enter) => enter.run(globals).await,
        }
    }
}

impl Which {
    fn key(&self) -> String {
        format!("{}/{}", self.prefix.trim_end_matches('/'), self.barrier)
    }
}

async fn set(which: &Which, globals: &Globals) -> Result<(), Failure> {
    let (link, key) = (Link::open(globals).await?, which.key());
    let put = [ask::put(&key, myself(), 0)];
    let request = ask::txn([ask::absent(&key)], put, [ask::get_key(&key)]);
    let answer = link.txn(Patience::Short, request).await?;
    match ask::key_of(&answer, 0) {
        None => say(key),
        // Asked twice, the second finds what the first has put.
        Some(kv) if kv.lease == 0 => say(key),
        Some(_) => Err(Failure::error(format!("somebody holds {key} already"))),
    }
}

async fn release(which: &Which, globals: &Globals) -> Result<(), Failure> {
    let link = Link::open(globals).await?;
    let request = ask::txn([], [ask::delete(&which.key())], []);
    link.txn(Patience::Short, request).await.map(|_| ())
}

async fn wait(which: &Which, globals: &Globals) -> Result<(), Failure> {
    let (link, key) = (Link::open(globals).await?, which.key());
    // Safe to cancel: it only waits.
    tokio::select! {
        gone = follow::gone(&link, key.as_bytes()) => gone,
        () = child::interrupted() => Err(Failure::error("context canceled")),
    }
}

impl Hold {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        checked_ttl(self.keeping.ttl)?;
        under_lease(
            self.keeping.ttl,
            self.keeping.grace,
            globals,
            async |link, session, grace| self.held(link, session, grace).await,
        )
        .await
    }

    async fn held(
        &self,
        link: &Link,
        session: &mut Session,
        grace: Duration,
    ) -> Result<(), Failure> {
        let (key, lease) = (self.which.key(), session.lease());
        let held = take_key(link, &key, lease, true).await;
        let held = held.map_err(|why| why.hint("wait for it, or release it"))?;
        say(format_args!("{key}\n{}", held.token))?;
        if self.command.is_empty() {
            return tokio::select! {
                () = lost(session, link, &held) => Err(expired()),
                () = child::interrupted() => Ok(()),
            };
        }
        let job = Job {
            words: &self.command,
            variables: vec![
                ("MUSTER_BARRIER", self.which.barrier.to_string()),
                (TOKEN, held.token.to_string()),
            ],
            grace,
            ..Job::default()
        };
        under(session, link, &held, job).await
    }
}

impl Enter {
    async fn run(self, globals: &Globals) -> Result<(), Failure> {
        checked_ttl(self.keeping.ttl)?;
        under_lease(
            self.keeping.ttl,
            self.keeping.grace,
            globals,
            async |link, session, grace| self.passed(link, session, grace).await,
        )
        .await
    }

    fn participants(&self) -> String {
        format!("{}/participants/", self.which.key())
    }

    fn ready(&self) -> String {
        format!("{}/ready", self.which.key())
    }

    async fn passed(
        &self,
        link: &Link,
        session: &mut Session,
        grace: Duration,
    ) -> Result<(), Failure> {
        let lease = session.lease();
        let own = format!("{}{lease:x}", self.participants());
        let entering = async {
            let held = take_key(link, &own, lease, true).await?;
            self.entered(link, &held).await?;
            Ok::<_, Failure>(held)
        };
        // Each is safe to cancel: who takes part does so by the lease, which ends right after.
        let held = tokio::select! {
            held = entering => held?,
            () = session.lost() => return Err(expired()),
            () = child::interrupted() => return Err(Failure::error("context canceled")),
        };
        let job = Job {
            words: &self.command,
            variables: vec![
                ("MUSTER_BARRIER", self.which.barrier.to_string()),
                (TOKEN, held.token.to_string()),
            ],
            grace,
            ..Job::default()
        };
        let done = under(session, link, &held, job).await;
        // Whatever became of it: the others do not wait for this one any more.
        let left = async {
            let request = ask::txn([ask::created(&own, held.token)], [ask::delete(&own)], []);
            link.txn(Patience::Endless, request).await?;
            self.left(link).await
        };
        // Safe to cancel: it only waits.
        tokio::select! {
            left = left => done.and(left),
            () = child::interrupted() => done.and(Err(Failure::error("context canceled"))),
        }
    }

    /// Waits until all are there.
    async fn entered(&self, link: &Link, held: &Held) -> Result<(), Failure> {
        let root = format!("{}/", self.which.key());
        let wanted = usize::try_from(self.count).unwrap_or(usize::MAX);
        let (participants, ready) = (self.participants(), self.ready());
        let stands = |snapshot: &Snapshot| {
            let there: Vec<i64> = snapshot
                .prefix(participants.as_bytes())
                .map(|(_, entry)| entry.create_revision)
                .collect();
            let is_ready = snapshot.get(ready.as_bytes()).is_some();
            entry(&there, held.token, is_ready, wanted)
        };
        let mut follow = Follow::new(link, KeyRange::prefix(root.as_bytes()));
        loop {
            let (Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) =
                follow.next().await?;
            // What is older than one's own entry says nothing of it.
            if snapshot.revision() < held.token {
                continue;
            }
            match stands(&snapshot) {
                Entry::Open => return Ok(()),
                Entry::Wait { .. } => {}
                Entry::Complete => {
                    let put = [ask::put(&ready, myself(), 0)];
                    let request = ask::txn([ask::absent(&ready)], put, []);
                    link.txn(Patience::Endless, request).await?;
                }
                Entry::Full => {
                    let line = format!("{wanted} take part in {} already", self.which.barrier);
                    return Err(Failure::error(line).hint("come again when they are done"));
                }
                Entry::Gone => return Err(expired()),
            }
        }
    }

    /// Waits until all have left; the last takes the mark away.
    async fn left(&self, link: &Link) -> Result<(), Failure> {
        let (participants, ready) = (self.participants(), self.ready());
        let range = KeyRange::prefix(participants.as_bytes());
        let mut follow = Follow::new(link, range.clone());
        loop {
            let (Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) =
                follow.next().await?;
            if snapshot.is_empty() {
                // Not if somebody has begun anew.
                let request = ask::txn([ask::empty(&range)], [ask::delete(&ready)], []);
                return link.txn(Patience::Endless, request).await.map(|_| ());
            }
        }
    }
}
