//! `check perf`: does the store take so many writes a second? `check datascale`: what memory do so many keys take?
//! Loads and limits are etcdctl's.

use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::{
    CompactionRequest, DefragmentRequest, DeleteRangeRequest, PutRequest, RangeRequest,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::kv::after_prefix;
use store_utl::progress::Progress;

use crate::connect::{Connection, to};
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::web;

/// A store that is fast enough does this share of what it is asked for.
const SHARE_MIN: f64 = 0.9;
/// No write may take longer.
const SLOWEST_SECONDS_MAX: f64 = 0.5;
/// And they may not differ by more than this.
const DEVIATION_SECONDS_MAX: f64 = 0.1;
const VALUE_BYTES: usize = 1024;
/// Connections are shared beyond this many: what is checked is the store, not this machine's sockets.
const CONNECTIONS_MAX: usize = 100;

/// What to check.
#[derive(Debug, Subcommand)]
pub enum Check {
    /// Writes a second, for a minute
    Perf {
        words: Vec<String>,
        #[command(flatten)]
        load: Load,
        /// What the keys that are written begin with
        #[arg(long, default_value = "/etcdctl-check-perf/")]
        prefix: String,
        /// For how long
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
        duration: Duration,
    },
    /// Memory for many keys
    Datascale {
        words: Vec<String>,
        #[command(flatten)]
        load: Load,
        /// What the keys that are written begin with
        #[arg(long, default_value = "/etcdctl-check-datascale/")]
        prefix: String,
    },
}

/// How much, and what to do afterwards.
#[derive(Debug, Args)]
pub struct Load {
    /// s(mall), m(edium), l(arge) or xl
    #[arg(long, default_value = "s")]
    load: String,
    /// Forget the history that was made
    #[arg(long)]
    auto_compact: bool,
    /// And give its memory back
    #[arg(long)]
    auto_defrag: bool,
}

/// A load by name: clients, writes a second, keys for `datascale`.
const LOADS: [(&[&str], usize, u32, u64); 4] = [
    (&["s", "small"], 50, 150, 10_000),
    (&["m", "medium"], 200, 1_000, 100_000),
    (&["l", "large"], 500, 8_000, 1_000_000),
    (&["xl", "xLarge"], 1_000, 15_000, 3_000_000),
];

impl Check {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let (Self::Perf { load, prefix, .. } | Self::Datascale { load, prefix, .. }) = &self;
        let name = load.load.as_str();
        let found = LOADS.iter().find(|(names, ..)| names.contains(&name));
        let (_, clients, rate, keys) =
            *found.ok_or_else(|| Failure::bad_feature(format!("unknown load option {name}")))?;
        let mut site = Site::open(prefix, clients, globals).await?;
        let outcome = match &self {
            Self::Perf { duration, .. } => perf(&site, rate, *duration).await,
            Self::Datascale { .. } => datascale(&site, keys, globals).await,
        };
        site.clear(load).await?;
        let passed = outcome?;
        for line in &passed.lines {
            println!("{line}");
        }
        if passed.all {
            Ok(())
        } else {
            Err(Failure::told())
        }
    }
}

/// What came out.
struct Verdict {
    lines: Vec<String>,
    all: bool,
}

/// Where keys are written.
struct Site {
    prefix: Bytes,
    connections: Vec<Connection>,
    clients: usize,
}

impl Site {
    /// # Errors
    /// There are keys already, which would be deleted afterwards.
    async fn open(prefix: &str, clients: usize, globals: &Globals) -> Result<Self, Failure> {
        let mut connections = Vec::new();
        for number in 0..clients.min(CONNECTIONS_MAX) {
            let endpoint = &globals.endpoints[number % globals.endpoints.len().max(1)];
            connections.push(to(std::slice::from_ref(endpoint), globals).await?);
        }
        let site = Self {
            prefix: Bytes::from(prefix.to_owned()),
            connections,
            clients,
        };
        let request = RangeRequest {
            key: site.prefix.clone(),
            range_end: after_prefix(&site.prefix),
            limit: 1,
            ..RangeRequest::default()
        };
        let there = site.client(0).range(request).await?.into_inner();
        if there.kvs.is_empty() {
            Ok(site)
        } else {
            Err(Failure::invalid_input(format!(
                "prefix {prefix:?} has keys. Delete with 'etcdctl del --prefix {prefix}' first"
            )))
        }
    }

    fn client(&self, number: usize) -> KvClient<Connection> {
        KvClient::new(self.connections[number % self.connections.len()].clone())
    }

    /// Writes values: `count` in all, or as many as come before `until`; `every` so often, or as fast as may be.
    /// Gives how long each took, and how many failed.
    async fn write(&self, goal: Goal, mut each: impl FnMut(u64)) -> (Vec<Duration>, Vec<String>) {
        let (sender, mut told) = mpsc::unbounded_channel();
        let began = Instant::now();
        for number in 0..self.clients {
            let (mut client, sender) = (self.client(number), sender.clone());
            let (prefix, clients) = (self.prefix.clone(), self.clients as u64);
            tokio::spawn(async move {
                let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
                let mut turn = number as u64;
                while let Some(due) = goal.due(began, turn) {
                    tokio::time::sleep_until(due).await;
                    let key = [&prefix[..], format!("{turn:020}").as_bytes()].concat();
                    let request = PutRequest {
                        key: key.into(),
                        value: value.clone(),
                        ..PutRequest::default()
                    };
                    let asked = Instant::now();
                    let outcome = client.put(request).await;
                    let outcome = outcome
                        .map(|_| asked.elapsed())
                        .map_err(|status| status.message().to_owned());
                    if sender.send(outcome).is_err() {
                        return;
                    }
                    turn += clients;
                }
            });
        }
        drop(sender);
        let (mut took, mut failed) = (Vec::new(), Vec::new());
        while let Some(outcome) = told.recv().await {
            match outcome {
                Ok(time) => took.push(time),
                Err(cause) => failed.push(cause),
            }
            each(took.len() as u64);
        }
        (took, failed)
    }

    /// Leaves nothing behind.
    async fn clear(&mut self, load: &Load) -> Result<(), Failure> {
        let mut client = self.client(0);
        let request = DeleteRangeRequest {
            key: self.prefix.clone(),
            range_end: after_prefix(&self.prefix),
            ..DeleteRangeRequest::default()
        };
        let deleted = client.delete_range(request).await?.into_inner();
        if load.auto_compact {
            let request = CompactionRequest {
                revision: deleted.header.unwrap_or_default().revision,
                physical: true,
            };
            client.compact(request).await?;
        }
        if load.auto_defrag {
            MaintenanceClient::new(self.connections[0].clone())
                .defragment(DefragmentRequest {})
                .await?;
        }
        Ok(())
    }
}

/// How much is written.
#[derive(Clone, Copy)]
enum Goal {
    /// So many a second, for so long.
    Rate(u32, Duration),
    /// So many, at once.
    Count(u64),
}

impl Goal {
    /// When the write of that number is due, if it is.
    fn due(self, began: Instant, number: u64) -> Option<Instant> {
        match self {
            Self::Count(count) => (number < count).then_some(began),
            Self::Rate(rate, time) => {
                let after = Duration::from_secs_f64(number as f64 / f64::from(rate));
                // A store that cannot keep up is not asked for longer.
                (after < time && began.elapsed() < time).then(|| began + after)
            }
        }
    }
}

async fn perf(site: &Site, rate: u32, time: Duration) -> Result<Verdict, Failure> {
    let (began, mut progress) = (Instant::now(), Progress::new());
    let (took, failed) = site
        .write(Goal::Rate(rate, time), |_| {
            let (done, total) = (began.elapsed().as_millis() as u64, time.as_millis() as u64);
            progress.show(done, total, || format!("{} s", time.as_secs()));
        })
        .await;
    progress.clear();
    let elapsed = began.elapsed().as_secs_f64();
    if !failed.is_empty() {
        return Ok(too_many(failed));
    }
    Ok(judged(&took, elapsed, rate))
}

fn judged(took: &[Duration], elapsed: f64, rate: u32) -> Verdict {
    let count = took.len().max(1) as f64;
    let seconds = || took.iter().map(Duration::as_secs_f64);
    let rate_found = took.len() as f64 / elapsed;
    let slowest = seconds().fold(0.0, f64::max);
    let mean = seconds().sum::<f64>() / count;
    let squares: f64 = seconds().map(|time| (time - mean).powi(2)).sum();
    let deviation = (squares / count).sqrt();
    let mut all = true;
    let mut line = |passed: bool, yes: String, no: String| {
        all &= passed;
        if passed {
            format!("PASS: {yes}")
        } else {
            format!("FAIL: {no}")
        }
    };
    let mut lines = vec![
        line(
            rate_found >= f64::from(rate) * SHARE_MIN,
            format!("Throughput is {rate_found:.0} writes/s"),
            format!("Throughput too low: {rate_found:.0} writes/s"),
        ),
        line(
            slowest <= SLOWEST_SECONDS_MAX,
            format!("Slowest request took {slowest:.6}s"),
            format!("Slowest request took too long: {slowest:.6}s"),
        ),
        line(
            deviation <= DEVIATION_SECONDS_MAX,
            format!("Stddev is {deviation:.6}s"),
            format!("Stddev too high: {deviation:.6}s"),
        ),
    ];
    lines.push(if all { "PASS" } else { "FAIL" }.to_owned());
    Verdict { lines, all }
}

async fn datascale(site: &Site, keys: u64, globals: &Globals) -> Result<Verdict, Failure> {
    let before = resident(globals).await?;
    println!(
        "Start data scale check for work load [{keys} key-value pairs, {VALUE_BYTES} bytes per key-value, {} concurrent clients].",
        site.clients
    );
    let mut progress = Progress::new();
    let (_, failed) = site
        .write(Goal::Count(keys), |done| {
            progress.show(done, keys, || format!("{keys} keys"));
        })
        .await;
    progress.clear();
    if !failed.is_empty() {
        return Ok(too_many(failed));
    }
    let megabytes = (resident(globals).await? - before).max(0.0) / 1_000_000.0;
    Ok(Verdict {
        lines: vec![format!(
            "PASS: Approximate system memory used : {megabytes:.2} MB."
        )],
        all: true,
    })
}

fn too_many(mut failed: Vec<String>) -> Verdict {
    let mut lines = vec!["FAIL: too many errors".to_owned()];
    failed.sort_unstable();
    for alike in failed.chunk_by(|one, other| one == other) {
        lines.push(format!("FAIL: ERROR({}) -> {}", alike[0], alike.len()));
    }
    Verdict { lines, all: false }
}

/// Bytes of memory the first endpoint's member uses.
async fn resident(globals: &Globals) -> Result<f64, Failure> {
    let endpoint = globals.endpoints.first().map_or("", String::as_str);
    let unknown = || Failure::error(format!("{endpoint}/metrics does not tell its memory"));
    let request = Request::get("/metrics").body(Full::default());
    let request = request.map_err(|_| unknown())?;
    let answer = web::ask(endpoint, request, globals).await?;
    let body = answer.into_body().collect().await.map_err(|_| unknown())?;
    let body = body.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    line.and_then(|figure| figure.parse().ok())
        .ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_passes_or_fails_by_its_figures() {
        let fast = vec![Duration::from_millis(10); 145];
        let verdict = judged(&fast, 1.0, 150);
        assert!(verdict.all, "{:?}", verdict.lines);
        assert_eq!(verdict.lines[0], "PASS: Throughput is 145 writes/s");
        assert_eq!(verdict.lines[1], "PASS: Slowest request took 0.010000s");
        let mut slow = fast[..100].to_vec();
        slow.push(Duration::from_secs(3));
        let verdict = judged(&slow, 1.0, 150);
        let failures = verdict.lines.iter().filter(|line| line.starts_with("FAIL"));
        assert_eq!(failures.count(), 4, "{:?}", verdict.lines);
        assert!(!verdict.all);
    }
}
