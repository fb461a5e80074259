//! `etcd gateway start`: forwards connections to members, byte by byte, and knows nothing of what is in them. It follows
//! the member list and the records of a domain; `choice.rs` decides where a connection goes.

pub(crate) mod choice;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use store_proto::etcdserverpb::MemberListRequest;
use store_proto::etcdserverpb::cluster_client::ClusterClient;
use store_transport::Socket;
use store_transport::dial::Target;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::choice::{Candidate, Endpoints};
use crate::clients::Entrance;
use crate::outcome::{Outcome, go_duration, stopped};
use crate::upstream::{self, Trust, UpstreamArgs};

/// 512: two files each, and room for the rest within the 1,024 files that are often all there may be.
const CONNECTIONS_MAX: usize = 512;
/// How long a member may take to say who the others are.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// The command line of the gateway.
#[derive(Debug, Parser)]
#[command(
    name = "gateway",
    about = "Forwards connections to the members of a cluster",
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway
    Start(Box<Start>),
}

#[derive(Clone, Debug, clap::Args)]
struct Start {
    #[command(flatten)]
    upstream: UpstreamArgs,
    /// Where to listen: host:port, or unix:///path of a socket file
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// Longest rest of an endpoint that cannot be reached; the first is half a second
    #[arg(long, value_name = "TIME", default_value = "1m0s", value_parser = go_duration)]
    retry_delay: Duration,
    /// Authorities that the members' certificates must be signed by: endpoints of records are checked once, and the
    /// member list is read
    #[arg(long, value_name = "FILE")]
    trusted_ca_file: Option<PathBuf>,
    /// Between two looks at the member list and the records; 0 = the endpoints stay as they are
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = go_duration)]
    endpoints_auto_sync_interval: Duration,
    /// Connections at a time; more wait until one ends
    #[arg(long, value_name = "COUNT", default_value_t = CONNECTIONS_MAX)]
    max_connections: usize,
}

/// Runs the gateway until a signal ends it.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Outcome> {
    let Command::Start(start) = cli.command;
    let gateway = Arc::new(Gateway::new(*start).await?);
    let entrance = Entrance::open(&gateway.start.listen_addr).await?;
    tracing::info!(address = entrance.name, endpoints = ?gateway.urls(), "ready to proxy client requests");
    tokio::select! {
        // Safe to cancel: connections are cut off, as by a member that goes.
        () = gateway.accept(&entrance) => {}
        // Safe to cancel: it only asks.
        () = gateway.follow() => {}
        // Safe to cancel: the program ends.
        () = stopped() => {}
    }
    Ok(ExitCode::SUCCESS)
}

struct Gateway {
    start: Start,
    trust: Trust,
    endpoints: Mutex<Endpoints>,
    began: Instant,
}

impl Gateway {
    async fn new(start: Start) -> Result<Self, Outcome> {
        let trust = Trust {
            authorities: start.trusted_ca_file.clone(),
            ..Trust::default()
        };
        let candidates = start.upstream.candidates().await?;
        let gateway = Self {
            endpoints: Mutex::new(Endpoints::new(Vec::new(), start.retry_delay)),
            trust,
            start,
            began: Instant::now(),
        };
        let candidates = gateway.proven(candidates).await?;
        gateway.with(|endpoints| endpoints.replace(candidates));
        Ok(gateway)
    }

    fn with<T>(&self, look: impl FnOnce(&mut Endpoints) -> T) -> T {
        look(
            &mut self
                .endpoints
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn urls(&self) -> Vec<String> {
        let all = self.with(|endpoints| endpoints.candidates());
        all.into_iter().map(|one| one.url).collect()
    }

    /// Of what records name, those that show a certificate of the authorities, if these are given.
    async fn proven(&self, candidates: Vec<Candidate>) -> Result<Vec<Candidate>, Outcome> {
        if self.start.upstream.discovery_srv.is_none() || self.trust.authorities.is_none() {
            return Ok(candidates);
        }
        let config = self.trust.client()?;
        let mut proven = Vec::new();
        for candidate in candidates {
            let target = upstream::target(&candidate.url)?;
            if target.secure != Some(true) {
                proven.push(candidate);
                continue;
            }
            match self.trust.open(&target, config.clone()).await {
                Ok(_) => proven.push(candidate),
                Err(error) => {
                    tracing::warn!(endpoint = candidate.url, %error, "an endpoint of the records is not used");
                }
            }
        }
        if proven.is_empty() {
            return Err(
                Outcome::failed("find an endpoint whose certificate is good")
                    .hint("look at the warnings above, and at --trusted-ca-file"),
            );
        }
        Ok(proven)
    }

    /// Accepts for ever.
    async fn accept(self: &Arc<Self>, entrance: &Entrance) {
        let places = Arc::new(Semaphore::new(self.start.max_connections.max(1)));
        let mut connections = JoinSet::new();
        loop {
            // Above the limit clients wait in the system's queue.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let (client, _) = entrance.next().await;
            let gateway = Arc::clone(self);
            connections.spawn(async move {
                gateway.forward(client).await;
                drop(place);
            });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn forward(&self, mut client: Socket) {
        if let Some(mut member) = self.connect().await {
            // Either end broke: the other learns it by the end of its stream.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut member).await;
        }
    }

    /// The first endpoint that can be reached.
    async fn connect(&self) -> Option<Socket> {
        let mut tried = BTreeSet::new();
        while let Some(url) = self.with(|endpoints| endpoints.pick(self.now(), &tried)) {
            match upstream::plain(&url).await {
                Ok(socket) => {
                    if self.with(|endpoints| endpoints.worked(&url)) {
                        tracing::info!(endpoint = url, "reached again");
                    }
                    return Some(socket);
                }
                Err(error) => {
                    let rest = self.with(|endpoints| endpoints.failed(&url, self.now()));
                    tracing::warn!(endpoint = url, %error, ?rest, "not reached, it rests");
                    tried.insert(url);
                }
            }
        }
        tracing::warn!("no endpoint can be reached: a client is turned away");
        None
    }

    /// Keeps the endpoints in step with the records and the member list.
    async fn follow(&self) {
        let interval = self.start.endpoints_auto_sync_interval;
        if interval.is_zero() {
            return std::future::pending().await;
        }
        let mut said = false;
        // The first look is soon: what was given may be one member of many.
        let mut pause = interval.min(Duration::from_secs(1));
        loop {
            tokio::time::sleep(pause).await;
            pause = interval;
            let mut candidates = match self.start.upstream.candidates().await {
                Ok(given) => self.proven(given).await.unwrap_or_default(),
                Err(error) => {
                    tracing::warn!(error = %crate::outcome::chain(&error), "the records are not read, all stays");
                    continue;
                }
            };
            match self.members().await {
                Ok(members) => candidates.extend(members),
                Err(why) if !said => {
                    said = true;
                    tracing::warn!(%why, "the member list is not read, the endpoints are those given");
                }
                Err(_) => continue,
            }
            if self.with(|endpoints| endpoints.replace(candidates)) {
                tracing::info!(endpoints = ?self.urls(), "the endpoints have changed");
            }
        }
    }

    /// Where the members say they are; behind those that were given, as a person knows best.
    async fn members(&self) -> Result<Vec<Candidate>, String> {
        let mut why = String::from("no endpoint is awake");
        for url in self.urls() {
            let asked = async {
                let channel = self.trust.channel(&url).await;
                let channel = channel.map_err(|error| crate::outcome::chain(&error))?;
                let request = MemberListRequest {
                    linearizable: false,
                };
                let list = ClusterClient::new(channel).member_list(request).await;
                list.map_err(|status| format!("{url}: {}", status.message()))
            };
            // Safe to cancel: nothing but reading.
            match tokio::time::timeout(LIST_TIMEOUT, asked).await {
                Ok(Ok(list)) => {
                    let members = list.into_inner().members.into_iter();
                    let urls = members.flat_map(|member| member.client_ur_ls);
                    let urls = urls.filter(|url| Target::parse(url).is_ok());
                    return Ok(urls
                        .map(|url| Candidate {
                            url,
                            priority: 0,
                            weight: 1,
                        })
                        .collect());
                }
                Ok(Err(reason)) => why = reason,
                Err(_) => why = format!("{url} does not answer"),
            }
        }
        Err(why)
    }
}

impl From<io::Error> for Outcome {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}
