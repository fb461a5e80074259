//! `elect`: takes part in an election with a proposal, and leads until told to end or while a command runs; watches who
//! leads; or makes the leader resign. Elections are a line, as etcd's own are.

use std::time::Duration;

use clap::Args;
use store_client::mirror::KeyRange;
use store_proto::etcdserverpb::RangeResponse;
use store_proto::v3electionpb::LeaderRequest;
use store_proto::v3electionpb::election_client::ElectionClient;

use super::lock::{Held, expired, grace, lost, show, under};
use crate::child::{self, Job};
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::format::{Answer, Printer, RangeStyle};
use crate::recipe::line::Place;
use crate::recipe::link::{Link, Patience};
use crate::recipe::{TOKEN, ask, checked_ttl, say};
use crate::session::Session;

/// `elect NAME [PROPOSAL [-- COMMAND]]`
#[derive(Debug, Args)]
pub struct Elect {
    words: Vec<String>,
    /// Command that runs only while this one leads
    #[arg(last = true)]
    command: Vec<String>,
    /// Only watch who leads
    #[arg(short, long)]
    listen: bool,
    /// Make whoever leads resign: the next in line leads, and the command of the former is told to end
    #[arg(long, conflicts_with = "listen")]
    resign: bool,
    /// Seconds after which a leader that is gone leads no more
    #[arg(long, default_value_t = 60)]
    ttl: i64,
    /// How long the command may take to end when the lead is lost; it is ended before another can lead [default: a third of the ttl]
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    grace: Option<Duration>,
}

impl Elect {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let (name, proposal) = match self.words.as_slice() {
            [name] => (name, None),
            [name, proposal] => (name, Some(proposal)),
            _ => {
                return Err(Failure::bad_arguments(
                    "elect takes one election name argument and an optional proposal argument",
                ));
            }
        };
        checked_ttl(self.ttl)?;
        match (self.listen, proposal) {
            (true, Some(_)) => Err(Failure::bad_arguments("proposal given but -l is set")),
            (false, Some(_)) if self.resign => {
                Err(Failure::bad_arguments("proposal given but --resign is set"))
            }
            (false, None) if self.resign => resign(name, globals).await,
            (false, None) => Err(Failure::bad_arguments(
                "no proposal argument but -l not set",
            )),
            (true, None) => listen(name, connect(globals).await?, printer).await,
            (false, Some(proposal)) => {
                let link = Link::open(globals).await?;
                let grace = grace(self.grace, self.ttl);
                let mut session = Session::open(&link, self.ttl, grace).await?;
                let led = lead(
                    name,
                    (proposal, &self.command),
                    &link,
                    &mut session,
                    grace,
                    printer,
                )
                .await;
                // With the lease its place ends: that is how it resigns.
                session.close().await;
                led
            }
        }
    }
}

async fn lead(
    name: &str,
    (proposal, command): (&str, &[String]),
    link: &Link,
    session: &mut Session,
    grace: Duration,
    printer: &Printer,
) -> Result<(), Failure> {
    let (lease, value) = (session.lease(), proposal.to_owned().into());
    let campaign = async {
        let place = Place::take(link, name, value, lease).await?;
        let revision = place.wait(link).await?;
        Ok::<_, Failure>(Held {
            key: place.key,
            token: place.token,
            revision,
        })
    };
    // Each is safe to cancel: the place in line is the lease's, which ends right after.
    let held = tokio::select! {
        held = campaign => held?,
        () = session.lost() => return Err(expired()),
        () = child::interrupted() => return Err(Failure::error("context canceled")),
    };
    if command.is_empty() {
        show(&held.key, link, printer).await?;
        return tokio::select! {
            () = lost(session, link, &held) => Err(Failure::error("elect: session expired")),
            () = child::interrupted() => Ok(()),
        };
    }
    let variables = vec![
        ("MUSTER_ELECTION", name.to_owned()),
        ("MUSTER_ELECTION_KEY", held.key.clone()),
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

/// Takes the first place out of the line.
async fn resign(name: &str, globals: &Globals) -> Result<(), Failure> {
    let link = Link::open(globals).await?;
    let range = KeyRange::prefix(format!("{name}/").as_bytes());
    let line = link.range(Patience::Short, ask::read(&range)).await?;
    let Some(leader) = line.kvs.iter().min_by_key(|kv| kv.create_revision) else {
        return Err(Failure::error(format!("nobody leads {name}")));
    };
    let key = String::from_utf8_lossy(&leader.key).into_owned();
    // That one, not the next: asked twice, the second changes nothing.
    let request = ask::txn(
        [ask::created(&key, leader.create_revision)],
        [ask::delete(&key)],
        [],
    );
    link.txn(Patience::Short, request).await?;
    say(String::from_utf8_lossy(&leader.value))
}

async fn listen(name: &str, connection: Connection, printer: &Printer) -> Result<(), Failure> {
    let mut client = ElectionClient::new(connection);
    let request = LeaderRequest {
        name: name.to_owned().into(),
    };
    let watched = async {
        let mut leaders = client.observe(request).await?.into_inner();
        while let Some(leader) = leaders.message().await? {
            let range = RangeResponse {
                header: leader.header,
                kvs: leader.kv.into_iter().collect(),
                ..RangeResponse::default()
            };
            printer.print(&Answer::Range(range, RangeStyle::default()))?;
        }
        Err(Failure::error("elect: observer lost"))
    };
    // Safe to cancel: it only prints.
    tokio::select! {
        ended = watched => ended,
        () = child::interrupted() => Ok(()),
    }
}
