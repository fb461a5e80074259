//! A watch stream with all it has been sent, sorted by watcher.
//!
//! In how many answers events come is a server's own affair. What is compared is, for each watcher, the row of what it
//! was told; that no answer splits a revision or goes back is checked as answers come in.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use store_proto::etcdserverpb as pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Response, Status, Streaming};

use crate::answer;

/// The row of wishes that were refused.
const REFUSED: i64 = i64::MIN;

/// What each watcher of a stream was told, by id.
pub(crate) type Told = BTreeMap<i64, Vec<Value>>;

/// A stream under way; closed when dropped.
pub(crate) struct Stream {
    requests: mpsc::UnboundedSender<pb::WatchRequest>,
    heard: Arc<Mutex<Heard>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Heard {
    told: Told,
    /// Answers to the wish for a watcher.
    created: usize,
    /// The first of them was no refusal.
    guarded: bool,
    /// Highest revision whose events each watcher has been sent whole.
    whole: BTreeMap<i64, i64>,
    /// Pieces of one answer are still to come, by watcher.
    torn: BTreeMap<i64, bool>,
    /// What must never be.
    broken: Vec<String>,
    ended: Option<String>,
}

impl Stream {
    /// Opens it by its first request.
    pub(crate) fn open<F, Fut>(open: F) -> Self
    where
        F: FnOnce(UnboundedReceiverStream<pb::WatchRequest>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Response<Streaming<pb::WatchResponse>>, Status>> + Send,
    {
        let (requests, receiver) = mpsc::unbounded_channel();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            let end = match open(UnboundedReceiverStream::new(receiver)).await {
                Ok(response) => {
                    let mut answers = response.into_inner();
                    loop {
                        match answers.message().await {
                            Ok(Some(answer)) => lock(&shared).take(&answer),
                            Ok(None) => break "closed".to_owned(),
                            Err(status) => break text(&status),
                        }
                    }
                }
                Err(status) => text(&status),
            };
            lock(&shared).ended = Some(end);
        });
        Self {
            requests,
            heard,
            task,
        }
    }

    pub(crate) fn send(&self, request: pb::watch_request::RequestUnion) {
        // A stream that has ended shows it in what it was told.
        let _ = self.requests.send(pb::WatchRequest {
            request_union: Some(request),
        });
    }

    /// How many wishes for a watcher were answered, or whether none will be any more.
    pub(crate) fn created(&self) -> Option<usize> {
        let heard = lock(&self.heard);
        heard.ended.is_none().then_some(heard.created)
    }

    /// Everything so far, and how the stream ended if it has.
    pub(crate) fn told(&self) -> (Told, Option<String>) {
        let heard = lock(&self.heard);
        (heard.told.clone(), heard.ended.clone())
    }

    /// Is there a watcher of that id, which has been created and not cancelled since?
    pub(crate) fn has(&self, id: i64) -> bool {
        let heard = lock(&self.heard);
        let says = |told: &Value, what: &str| told.get(what).is_some_and(|is| is == true);
        let fate = heard.told.get(&id).and_then(|row| {
            let mut row = row.iter().rev();
            row.find(|told| says(told, "created") || says(told, "canceled"))
        });
        heard.ended.is_none() && fate.is_some_and(|told| !says(told, "canceled"))
    }

    /// Is the guard, a stream's first watcher, there and not told of that revision?
    pub(crate) fn lacks(&self, revision: i64) -> bool {
        let heard = lock(&self.heard);
        heard.guarded
            && heard.ended.is_none()
            && heard.whole.get(&0).is_none_or(|whole| *whole < revision)
    }

    /// Broken promises.
    pub(crate) fn broken(&self) -> Vec<String> {
        lock(&self.heard).broken.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(heard: &Mutex<Heard>) -> std::sync::MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

impl Heard {
    fn take(&mut self, answer: &pb::WatchResponse) {
        let id = answer.watch_id;
        if answer.created {
            if self.created == 0 {
                self.guarded = !answer.canceled;
            }
            self.created += 1;
        }
        self.check(answer);
        // Refused: 3.4 and 3.5.1 answer under the id that was asked for, later ones under none.
        let id = if answer.created && answer.canceled {
            REFUSED
        } else {
            id
        };
        let row = self.told.entry(id).or_default();
        if answer.events.is_empty() {
            let mut told = answer::normal(answer);
            if let Some(fields) = told.as_object_mut() {
                fields.remove("watch_id");
            }
            row.push(told);
        } else {
            // Whether watchers are caught up alone or along with others decides what the header says.
            row.extend(
                answer
                    .events
                    .iter()
                    .map(|event| json!({ "event": answer::normal(event) })),
            );
        }
    }

    fn check(&mut self, answer: &pb::WatchResponse) {
        let id = answer.watch_id;
        let header = answer.header.as_ref().map_or(0, |header| header.revision);
        let revisions = answer
            .events
            .iter()
            .filter_map(|event| event.kv.as_ref())
            .map(|kv| kv.mod_revision);
        let (Some(first), Some(last)) = (revisions.clone().min(), revisions.clone().max()) else {
            if id == -1 && !answer.created {
                // Progress: whoever watches has been told all up to here.
                for whole in self.whole.values_mut() {
                    *whole = header.max(*whole);
                }
            }
            return;
        };
        if !revisions.is_sorted() {
            self.broken.push(format!("events out of order: {answer:?}"));
        }
        if header < last {
            self.broken
                .push(format!("header {header} below its events: {answer:?}"));
        }
        let whole = self.whole.get(&id).copied().unwrap_or(0);
        let torn = self.torn.get(&id).copied().unwrap_or(false);
        if first < whole || (first == whole && !torn) {
            self.broken
                .push(format!("revision {whole} comes again: {answer:?}"));
        }
        self.whole.insert(id, last);
        self.torn.insert(id, answer.fragment);
    }
}
