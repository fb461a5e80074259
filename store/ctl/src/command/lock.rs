//! `lock`: holds a named lock until told to end, or while a command runs. In line like etcd's own `lock`, or (with
//! `--exclusive`) the key itself, which whoever comes first creates. A lock is a key under a lease: whoever stalls for
//! longer than the lease lives loses it without knowing. What must not be written by two carries the fencing token (the
//! key's create revision) and refuses a lower one than the highest it has seen.

use std::time::Duration;

use clap::Args;
use store_client::mirror::KeyRange;
use store_proto::etcdserverpb::RangeResponse;

use crate::child::{self, Job};
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::format::{Answer, Printer, RangeStyle};
use crate::recipe::line::Place;
use crate::recipe::link::{Link, Patience};
use crate::recipe::{TOKEN, as_json, ask, checked_ttl, follow, myself, say};
use crate::session::Session;

/// `lock NAME [COMMAND …]`
#[derive(Debug, Args)]
pub struct Lock {
    words: Vec<String>,
    /// Seconds after which the lock of somebody who is gone is free
    #[arg(long, default_value_t = 10, allow_negative_numbers = true)]
    ttl: i64,
    /// Take the key NAME itself if nobody has it, instead of a place in line behind NAME/
    #[arg(long)]
    exclusive: bool,
    /// Fail at once when somebody else holds it
    #[arg(long = "try")]
    at_once: bool,
    /// How long the command may take to end when the lock is lost; it is ended before another can hold it [default: a third of the ttl]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    grace: Option<Duration>,
}

impl Lock {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let [name, command @ ..] = self.words.as_slice() else {
            return Err(Failure::bad_arguments(
                "lock takes a lock name argument and an optional command to execute",
            ));
        };
        if self.exclusive {
            checked_ttl(self.ttl)?;
        }
        under_lease(
            self.ttl,
            self.grace,
            globals,
            async |link, session, grace| {
                self.hold(name, command, link, session, grace, printer)
                    .await
            },
        )
        .await
    }

    async fn hold(
        &self,
        name: &str,
        command: &[String],
        link: &Link,
        session: &mut Session,
        grace: Duration,
        printer: &Printer,
    ) -> Result<(), Failure> {
        let lease = session.lease();
        let taking = async {
            if self.exclusive {
                take_key(link, name, lease, self.at_once).await
            } else {
                take_place(link, name, lease, self.at_once).await
            }
        };
        // Each is safe to cancel: what was taken is the lease's, which ends right after.
        let held = tokio::select! {
            held = taking => held?,
            () = session.lost() => return Err(expired()),
            () = child::interrupted() => return Err(Failure::error("context canceled")),
        };
        if command.is_empty() {
            self.show(&held, link, printer).await?;
            return tokio::select! {
                () = lost(session, link, &held) => Err(expired()),
                () = child::interrupted() => Ok(()),
            };
        }
        let variables = vec![
            ("ETCD_LOCK_KEY", held.key.clone()),
            ("ETCD_LOCK_REV", held.revision.to_string()),
            (TOKEN, held.token.to_string()),
        ];
        let job = Job {
            words: command,
            variables,
            grace,
            ..Job::default()
        };
        under(session, link, &held, job).await
    }

    async fn show(&self, held: &Held, link: &Link, printer: &Printer) -> Result<(), Failure> {
        if self.exclusive && !as_json(printer).unwrap_or(true) {
            return say(format_args!("{}\n{}", held.key, held.token));
        }
        show(&held.key, link, printer).await
    }
}

/// What is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: String,
    /// Create revision of the key.
    pub(super) token: i64,
    /// Revision of the store when it was known to be held.
    pub(super) revision: i64,
}

/// Does `work` under a lease of so many seconds that ends with it. The work is told how long a command gets: as
/// `given`, or a third of the time to live.
pub(super) async fn under_lease(
    ttl_seconds: i64,
    given: Option<Duration>,
    globals: &Globals,
    work: impl AsyncFnOnce(&Link, &mut Session, Duration) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let link = Link::open(globals).await?;
    let grace = grace(given, ttl_seconds);
    let mut session = Session::open(&link, ttl_seconds, grace).await?;
    let done = work(&link, &mut session, grace).await;
    session.close().await;
    done
}

/// How long a command gets: a third of the time to live if nobody says otherwise.
pub(super) fn grace(given: Option<Duration>, ttl_seconds: i64) -> Duration {
    given.unwrap_or_else(|| Duration::from_secs(ttl_seconds.unsigned_abs()) / 3)
}

/// Waits until what is held is lost.
pub(super) async fn lost(session: &mut Session, link: &Link, held: &Held) {
    // A store that refuses to tell leaves the lease to say it.
    let gone = async {
        if follow::ended(link, held.key.as_bytes(), held.token)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    };
    // Both are safe to cancel: they only wait.
    tokio::select! {
        () = session.lost() => {}
        () = gone => {}
    }
}

/// Runs a command while it is held.
pub(super) async fn under(
    session: &mut Session,
    link: &Link,
    held: &Held,
    job: Job<'_>,
) -> Result<(), Failure> {
    let mut is_lost = false;
    let losing = async {
        lost(session, link, held).await;
        is_lost = true;
    };
    let done = job.run(losing).await;
    if is_lost { Err(expired()) } else { done }
}

/// A place in line that has come to the head.
async fn take_place(link: &Link, name: &str, lease: i64, at_once: bool) -> Result<Held, Failure> {
    let place = Place::take(link, name, bytes::Bytes::new(), lease).await?;
    let revision = if at_once {
        match place.is_first(link).await? {
            Ok(revision) => revision,
            Err(holder) => return Err(taken(&String::from_utf8_lossy(&holder))),
        }
    } else {
        place.wait(link).await?
    };
    Ok(Held {
        key: place.key,
        token: place.token,
        revision,
    })
}

/// The key itself, created by whoever finds it absent first.
pub(super) async fn take_key(
    link: &Link,
    key: &str,
    lease: i64,
    at_once: bool,
) -> Result<Held, Failure> {
    loop {
        let request = ask::txn(
            [ask::absent(key)],
            [ask::put(key, myself(), lease), ask::get_key(key)],
            [ask::get_key(key), ask::get_key(key)],
        );
        let answer = link.txn(Patience::Endless, request).await?;
        let Some(found) = ask::key_of(&answer, 1) else {
            return Err(expired());
        };
        // Asked twice, the second finds what the first has put.
        if found.lease == lease {
            return Ok(Held {
                key: key.to_owned(),
                token: found.create_revision,
                revision: ask::revision_of(&answer),
            });
        }
        if at_once {
            return Err(taken(&String::from_utf8_lossy(&found.value)));
        }
        follow::gone(link, key.as_bytes()).await?;
    }
}

fn taken(by: &str) -> Failure {
    Failure::error(format!("somebody else holds it: {by}")).hint("leave --try out to wait for it")
}

/// Prints a key as `get` does.
pub(super) async fn show(key: &str, link: &Link, printer: &Printer) -> Result<(), Failure> {
    let request = ask::read(&KeyRange::key(key.as_bytes()));
    let range: RangeResponse = link.range(Patience::Short, request).await?;
    if range.kvs.is_empty() {
        return Err(Failure::error("lock lost on init"));
    }
    printer.print(&Answer::Range(range, RangeStyle::default()))
}

pub(super) fn expired() -> Failure {
    Failure::error("session expired")
}
