//! `watch -i`: lines from stdin open watches, which go on side by side, or ask how far they are.

use std::io::BufRead as _;
use std::sync::Arc;

use clap::Parser;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{WatchProgressRequest, WatchRequest};
use tokio::sync::mpsc;

use super::{Requests, Watch, open};
use crate::command::txn::words;
use crate::connect::Connection;
use crate::failure::Failure;
use crate::format::Printer;

/// A line, read as a command line.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Line {
    #[command(flatten)]
    watch: Watch,
}

pub(super) async fn run(
    typed: Watch,
    client: WatchClient<Connection>,
    printer: Arc<Printer>,
) -> Result<(), Failure> {
    let mut lines = lines();
    let mut watches: Vec<Requests> = Vec::new();
    // What a watch shows may fail it; then all end.
    let (sender, mut failures) = mpsc::unbounded_channel();
    loop {
        // Both are safe to cancel: a line that has not come whole stays where it is.
        let line = tokio::select! {
            line = lines.recv() => line,
            Some(failure) = failures.recv() => return Err(failure),
        };
        let ended = |cause: &str| {
            Failure::invalid_input(format!("error reading watch request line: {cause}"))
        };
        let line = line
            .ok_or_else(|| ended("EOF"))?
            .map_err(|cause| ended(&cause.to_string()))?;
        let words = words(&line).unwrap_or_default();
        match words.split_first() {
            None => eprintln!("Invalid command: {line} (watch and progress supported)"),
            Some((word, [])) if word == "progress" => watches.iter().for_each(ask_progress),
            Some((word, rest)) if word == "watch" => {
                let watch = match asked(&typed, rest) {
                    Ok(watch) => watch,
                    Err(reason) => {
                        eprintln!("Invalid command {line} ({reason})");
                        continue;
                    }
                };
                let (client, printer, sender) =
                    (client.clone(), Arc::clone(&printer), sender.clone());
                let (requests, answers) = open(client, watch.request()?).await?;
                watches.push(requests);
                tokio::spawn(async move {
                    if let Err(failure) = watch.follow(answers, &printer).await {
                        // Nobody is there to hear it when all has ended.
                        let _ = sender.send(failure);
                    }
                });
            }
            Some(_) => eprintln!("Invalid command {line} (only support watch)"),
        }
    }
}

/// Lines from stdin, read by a thread of their own: a terminal is waited for as long as a person takes.
fn lines() -> mpsc::Receiver<std::io::Result<String>> {
    // One line ahead is enough for a person, and a pipe waits.
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

fn ask_progress(watch: &Requests) {
    // One that has ended has no progress.
    let _ = watch.send(WatchRequest {
        request_union: Some(RequestUnion::ProgressRequest(WatchProgressRequest {})),
    });
}

/// The watch a line asks for; without a key, the one of the environment.
fn asked(typed: &Watch, rest: &[String]) -> Result<Watch, String> {
    let line = Line::try_parse_from(rest);
    let mut watch = line.map_err(|error| store_utl::first_line(&error))?.watch;
    watch.watch_key.clone_from(&typed.watch_key);
    watch.watch_range_end.clone_from(&typed.watch_range_end);
    if watch.words.is_empty() && watch.watch_key.is_none() {
        return Err("command type or key is not provided".to_owned());
    }
    watch.request().map_err(|failure| failure.to_string())?;
    Ok(watch)
}
