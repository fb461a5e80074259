//! `watch`: shows what changes, from now or from a revision on, and runs a command for each event when one is given; `watch/interactive.rs` is `-i`.

mod interactive;

use std::sync::Arc;

use clap::{ArgAction, Args};
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::kv;
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::{Globals, go_bool};
use crate::format::{Answer, Printer, quoted};

/// `watch [KEY [END]] [-- COMMAND]`
#[derive(Clone, Debug, Args)]
pub struct Watch {
    words: Vec<String>,
    /// Read what to watch from stdin, a line for each: watch KEY [END] [-- COMMAND], or progress
    #[arg(short, long, value_name = "BOOL", default_value = "false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = go_bool, action = ArgAction::Set)]
    interactive: bool,
    /// Command for each event, which finds it in `ETCD_WATCH_…` variables
    #[arg(last = true)]
    exec: Vec<String>,
    /// Keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// From a revision on
    #[arg(long, default_value_t = 0)]
    rev: i64,
    /// Show what was there before
    #[arg(long)]
    prev_kv: bool,
    /// Ask the server to say now and then how far it is
    #[arg(long)]
    progress_notify: bool,
    #[arg(env = "ETCDCTL_WATCH_KEY", long, hide = true)]
    watch_key: Option<String>,
    #[arg(env = "ETCDCTL_WATCH_RANGE_END", long, hide = true)]
    watch_range_end: Option<String>,
}

impl Watch {
    fn request(&self) -> Result<WatchCreateRequest, Failure> {
        let mut words = self.words.clone();
        if words.is_empty() {
            words.extend(self.watch_key.clone());
            words.extend(self.watch_range_end.clone());
        }
        if !(1..=2).contains(&words.len()) {
            return Err(Failure::bad_arguments("bad number of arguments"));
        }
        if words.len() == 2 && self.prefix {
            return Err(Failure::bad_arguments(
                "`range_end` and `--prefix` are mutually exclusive",
            ));
        }
        let (key, range_end) = kv::range(&words, self.prefix, false)?;
        Ok(WatchCreateRequest {
            key,
            range_end,
            start_revision: self.rev,
            prev_kv: self.prev_kv,
            progress_notify: self.progress_notify,
            ..WatchCreateRequest::default()
        })
    }

    pub(super) async fn run(self, globals: &Globals, printer: Printer) -> Result<(), Failure> {
        let client = WatchClient::new(connect(globals).await?)
            .max_decoding_message_size(globals.answer_bytes_max());
        let printer = Arc::new(printer);
        if self.interactive {
            return interactive::run(self, client, printer).await;
        }
        let request = self.request()?;
        // The stream of requests must stay open: its end would be the end of the watch.
        let (_requests, answers) = open(client, request).await?;
        self.follow(answers, &printer).await?;
        Err(Failure::interrupted("watch is canceled by the server"))
    }

    /// Shows what comes until the stream ends.
    async fn follow(
        &self,
        mut answers: Streaming<WatchResponse>,
        printer: &Printer,
    ) -> Result<(), Failure> {
        while let Some(answer) = answers.message().await? {
            if answer.canceled {
                eprintln!("watch was canceled ({})", reason(&answer));
                break;
            }
            if answer.created {
                continue;
            }
            if answer.events.is_empty() {
                let revision = answer.header.unwrap_or_default().revision;
                println!("progress notify: {revision}");
            }
            self.act(answer, printer).await?;
        }
        Ok(())
    }

    async fn act(&self, answer: WatchResponse, printer: &Printer) -> Result<(), Failure> {
        let answer = Answer::Watch(answer);
        printer.print(&answer)?;
        let (Answer::Watch(answer), [program, arguments @ ..]) = (answer, self.exec.as_slice())
        else {
            return Ok(());
        };
        let revision = answer.header.unwrap_or_default().revision;
        for event in &answer.events {
            let kv = event.kv.clone().unwrap_or_default();
            let status = tokio::process::Command::new(program)
                .args(arguments)
                .env("ETCD_WATCH_REVISION", revision.to_string())
                .env(
                    "ETCD_WATCH_EVENT_TYPE",
                    quoted(event.r#type().as_str_name().as_bytes()),
                )
                .env("ETCD_WATCH_KEY", quoted(&kv.key))
                .env("ETCD_WATCH_VALUE", quoted(&kv.value))
                .status()
                .await;
            match status {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    return Err(Failure::error(format!(
                        "command {program:?} error ({status})"
                    )));
                }
                Err(cause) => {
                    return Err(Failure::error(format!(
                        "command {program:?} error ({cause})"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// What is asked of the server, until it is dropped.
type Requests = mpsc::UnboundedSender<WatchRequest>;

/// A watch on a stream of its own.
async fn open(
    mut client: WatchClient<Connection>,
    request: WatchCreateRequest,
) -> Result<(Requests, Streaming<WatchResponse>), Failure> {
    let (requests, receiver) = mpsc::unbounded_channel();
    let _ = requests.send(WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(request)),
    });
    let answers = client.watch(UnboundedReceiverStream::new(receiver)).await?;
    Ok((requests, answers.into_inner()))
}

pub(super) fn reason(answer: &WatchResponse) -> &str {
    if answer.compact_revision != 0 {
        "etcdserver: mvcc: required revision has been compacted"
    } else {
        &answer.cancel_reason
    }
}
