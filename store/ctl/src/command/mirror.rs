//! `make-mirror`: keeps a copy of a range of keys in another store. First all that is there, then every change, each
//! revision in one transaction as far as it fits. A broken stream goes on where it stopped.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{ArgAction, Args};
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::request_op::Request;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
    WatchRequest, WatchResponse,
};
use store_proto::mvccpb::event::EventType;
use tokio_stream::StreamExt as _;

use super::{in_time, kv};
use crate::child;
use crate::connect::{ANSWER_BYTES_MAX, Connection, connect};
use crate::failure::Failure;
use crate::flags::{Globals, go_bool};

/// How often the number of keys that were copied is printed.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// Keys asked for at once: a page of the largest values etcd takes is still no burden.
const PAGE_KEYS: i64 = 1000;
/// Bytes of one transaction: etcd takes 1.5 MiB, and names and lengths need room too.
const TXN_BYTES_MAX: usize = 1 << 20;
/// Between attempts to go on.
const AGAIN: Duration = Duration::from_secs(1);

/// `make-mirror DESTINATION`
#[derive(Debug, Args)]
pub struct MakeMirror {
    words: Vec<String>,
    /// Only keys that begin with this
    #[arg(long, default_value = "")]
    prefix: String,
    /// Only changes after this revision, instead of all that is there
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// Most writes in one transaction
    #[arg(long, default_value_t = 128)]
    max_txn_ops: usize,
    /// What keys begin with in the destination instead of the prefix
    #[arg(long, default_value = "")]
    dest_prefix: String,
    /// Cut the prefix off in the destination
    #[arg(long)]
    no_dest_prefix: bool,
    /// Certificate authorities to trust at the destination (PEM)
    #[arg(long, value_name = "FILE")]
    dest_cacert: Option<PathBuf>,
    /// Certificate to show the destination (PEM)
    #[arg(long, value_name = "FILE")]
    dest_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE")]
    dest_key: Option<PathBuf>,
    /// Speak in the clear to a destination without a scheme
    #[arg(long, value_name = "BOOL", default_value = "true", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set)]
    dest_insecure_transport: bool,
    /// Name of the user at the destination, with `:password` if it is not given apart
    #[arg(long)]
    dest_user: Option<String>,
    /// Password of that user
    #[arg(long)]
    dest_password: Option<String>,
}

impl MakeMirror {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let [destination] = self.words.as_slice() else {
            return Err(Failure::bad_arguments(
                "make-mirror takes one destination argument",
            ));
        };
        let mut there = globals.clone();
        there.endpoints = vec![destination.clone()];
        there.cacert.clone_from(&self.dest_cacert);
        there.cert.clone_from(&self.dest_cert);
        there.key.clone_from(&self.dest_key);
        there.insecure_transport = self.dest_insecure_transport;
        there.user.clone_from(&self.dest_user);
        there.password.clone_from(&self.dest_password);
        there.checked()?;
        there.ask_password()?;
        let mut copying = Copying {
            destination: kv::client(&there).await?,
            there: &there,
            here: globals,
            mirror: &self,
            copied: 0,
        };
        // Safe to cancel: what was copied stays copied.
        tokio::select! {
            ended = copying.run() => ended,
            () = child::interrupted() => Ok(()),
        }
    }

    /// The first key and the end of what is copied.
    fn range(&self) -> (Bytes, Bytes) {
        if self.prefix.is_empty() {
            (Bytes::from_static(b"\0"), Bytes::from_static(b"\0"))
        } else {
            let prefix = Bytes::from(self.prefix.clone());
            let end = kv::after_prefix(&prefix);
            (prefix, end)
        }
    }

    /// What a key is called in the destination.
    fn renamed(&self, key: &Bytes) -> Bytes {
        let prefix = self.prefix.as_bytes();
        if !self.no_dest_prefix && (self.dest_prefix.is_empty() || !key.starts_with(prefix)) {
            return key.clone();
        }
        let rest = key.strip_prefix(prefix).unwrap_or(key);
        let first: &str = if self.no_dest_prefix {
            ""
        } else {
            &self.dest_prefix
        };
        Bytes::from([first.as_bytes(), rest].concat())
    }
}

struct Copying<'a> {
    mirror: &'a MakeMirror,
    here: &'a Globals,
    there: &'a Globals,
    destination: KvClient<Connection>,
    copied: u64,
}

impl Copying<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut seen = self.mirror.rev;
        if seen == 0 {
            seen = self.all().await?;
        }
        let mut told = tokio::time::interval(TOLD_EVERY);
        told.tick().await;
        loop {
            let failure = self.changes(&mut seen, &mut told).await;
            if !failure.may_pass() {
                return Err(failure);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Copies what is there, all of it as it is at one revision, and says which.
    async fn all(&mut self) -> Result<i64, Failure> {
        let (key, range_end) = self.mirror.range();
        let mut request = RangeRequest {
            key,
            range_end,
            limit: PAGE_KEYS,
            ..RangeRequest::default()
        };
        let mut source = kv::client(self.here).await?;
        loop {
            let page = in_time(self.here, source.range(request.clone())).await?;
            if request.revision == 0 {
                request.revision = page.header.unwrap_or_default().revision;
            }
            if let Some(last) = page.kvs.last() {
                request.key = Bytes::from([&last.key[..], b"\0"].concat());
            }
            let writes = page.kvs.into_iter().map(|kv| self.put(&kv.key, kv.value));
            let writes = writes.collect();
            self.write(writes).await?;
            if !page.more {
                return Ok(request.revision);
            }
        }
    }

    /// Copies changes after `seen` until the stream breaks, and says why.
    async fn changes(&mut self, seen: &mut i64, told: &mut tokio::time::Interval) -> Failure {
        let mut answers = match self.watch(*seen + 1).await {
            Ok(answers) => answers,
            Err(failure) => return failure,
        };
        loop {
            // Both are safe to cancel.
            let answer = tokio::select! {
                answer = answers.message() => answer,
                _ = told.tick() => {
                    println!("{}", self.copied);
                    continue;
                }
            };
            let answer = match answer {
                Ok(Some(answer)) => answer,
                Ok(None) => return Failure::passing("the source ended the stream"),
                Err(status) => return Failure::passing(status.message()),
            };
            if answer.canceled {
                return Failure::error(super::watch::reason(&answer));
            }
            if let Err(failure) = self.take(answer, seen).await {
                return failure;
            }
        }
    }

    async fn watch(&self, revision: i64) -> Result<tonic::Streaming<WatchResponse>, Failure> {
        let (key, range_end) = self.mirror.range();
        let create = WatchCreateRequest {
            key,
            range_end,
            start_revision: revision,
            ..WatchCreateRequest::default()
        };
        let create = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let connection = connect(self.here).await.map_err(Failure::that_may_pass)?;
        let mut client = WatchClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX);
        let requests = tokio_stream::once(create).chain(tokio_stream::pending());
        let answers = client.watch(requests).await;
        Ok(answers
            .map_err(|status| Failure::passing(status.message()))?
            .into_inner())
    }

    /// Writes the events of an answer, revision by revision.
    async fn take(&mut self, answer: WatchResponse, seen: &mut i64) -> Result<(), Failure> {
        let mut writes = Vec::new();
        for event in answer.events {
            let deleted = event.r#type() == EventType::Delete;
            let kv = event.kv.unwrap_or_default();
            if kv.mod_revision > *seen && !writes.is_empty() {
                self.write(std::mem::take(&mut writes)).await?;
            }
            *seen = kv.mod_revision;
            writes.push(if deleted {
                Request::RequestDeleteRange(DeleteRangeRequest {
                    key: self.mirror.renamed(&kv.key),
                    ..DeleteRangeRequest::default()
                })
            } else {
                self.put(&kv.key, kv.value)
            });
        }
        self.write(writes).await
    }

    fn put(&self, key: &Bytes, value: Bytes) -> Request {
        Request::RequestPut(PutRequest {
            key: self.mirror.renamed(key),
            value,
            ..PutRequest::default()
        })
    }

    /// Writes in as few transactions as they fit into.
    async fn write(&mut self, writes: Vec<Request>) -> Result<(), Failure> {
        let mut left = VecDeque::from(writes);
        while !left.is_empty() {
            let mut bytes = 0;
            let fits = left
                .iter()
                .take(self.mirror.max_txn_ops.max(1))
                .take_while(|write| {
                    bytes += size(write);
                    bytes <= TXN_BYTES_MAX
                });
            // One that is too large alone is for the destination to refuse.
            let count = fits.count().max(1);
            let success = left.drain(..count).map(|request| RequestOp {
                request: Some(request),
            });
            let txn = TxnRequest {
                success: success.collect(),
                ..TxnRequest::default()
            };
            in_time(self.there, self.destination.txn(txn)).await?;
            self.copied += count as u64;
        }
        Ok(())
    }
}

fn size(write: &Request) -> usize {
    match write {
        Request::RequestPut(put) => put.key.len() + put.value.len(),
        Request::RequestDeleteRange(delete) => delete.key.len(),
        Request::RequestRange(_) | Request::RequestTxn(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        mirror: MakeMirror,
    }

    #[test]
    fn keys_are_renamed_as_asked() {
        for (flags, key, wanted) in [
            ("", "/a/k", "/a/k"),
            ("--prefix=/a", "/a/k", "/a/k"),
            ("--prefix=/a --dest-prefix=/b", "/a/a/k", "/b/a/k"),
            ("--prefix=/a --no-dest-prefix", "/a/k", "/k"),
            ("--dest-prefix=/b", "k", "/bk"),
        ] {
            let words = format!("x dest {flags}");
            let line = Line::try_parse_from(words.split_whitespace()).unwrap();
            let renamed = line.mirror.renamed(&Bytes::from(key));
            assert_eq!(renamed, wanted, "{flags} {key}");
        }
    }
}
