//! Both directions of a watch stream by turns: a client that asks without pause is shown its events all the same,
//! and gets no further ahead of the member than a bound.
//!
//! Knows nothing of what requests say or how batches are written.

use std::time::Duration;

use futures::StreamExt as _;
use store_proto::etcdserverpb as pb;
use store_watch::batch::{Batch, WatchId};
use store_watch::watcher::WatchSpec;
use tonic::Status;

use crate::grpc::stream::Messages;
use crate::handle::{Failure, Handle, Header, WatchStream};

/// Requests taken before it is seen to that the member has dealt with them: so many of one stream wait in the driver's
/// inbox at most. A client that creates thousands of watchers at once waits for a turn of the driver each time.
const REQUESTS_AHEAD_MAX: usize = 256;

/// Watchers asked for whose answers the client has not taken. Answers wait in the hub without regard to credit; this
/// bounds them.
const CREATIONS_UNANSWERED_MAX: usize = 256;

/// Until a driver whose inbox is full is asked again.
const INBOX_FULL_PAUSE: Duration = Duration::from_millis(1);

/// What comes next.
pub(super) enum Step {
    /// The client wants something.
    Request(pb::WatchRequest),
    /// To be shown to the client.
    Batch(Header, Batch),
    /// The client's side has failed.
    Failed(Status),
    /// The member goes down.
    Stopped,
}

/// A client's requests, and what the hub has for it.
pub(super) struct Exchange {
    requests: Messages<pb::WatchRequest>,
    /// There will be no more requests; the watchers stay until the client leaves, as in etcd.
    all_said: bool,
    handle: Handle,
    hub: WatchStream,
    /// A request came last: a batch that is there goes first now.
    batch_first: bool,
    /// Requests since the member was last seen to have dealt with all.
    ahead: usize,
    /// Creations whose answer has not come out of the hub.
    unanswered: usize,
}

impl Exchange {
    pub(super) fn new(handle: &Handle, requests: Messages<pb::WatchRequest>) -> Self {
        Self {
            requests,
            all_said: false,
            hub: handle.watch(),
            handle: handle.clone(),
            batch_first: false,
            ahead: 0,
            unanswered: 0,
        }
    }

    /// Asks for a watcher.
    pub(super) fn create(&mut self, spec: WatchSpec) {
        self.unanswered += 1;
        self.hub.create(spec);
    }

    /// Cancels a watcher.
    pub(super) fn cancel(&self, id: WatchId) {
        self.hub.cancel(id);
    }

    /// Asks for progress.
    pub(super) fn progress(&self) {
        self.hub.progress();
    }

    /// Waits for what comes next. Safe to cancel: nothing is taken unless it is returned.
    pub(super) async fn next(&mut self) -> Step {
        if self.ahead >= REQUESTS_AHEAD_MAX {
            while let Err(Failure::TooManyRequests) = self.handle.status().await {
                tokio::time::sleep(INBOX_FULL_PAUSE).await;
            }
            self.ahead = 0;
            self.batch_first = true;
        }
        if self.batch_first {
            self.batch_first = false;
            if let Some(batch) = self.hub.try_next() {
                return self.handed(batch);
            }
        }
        loop {
            let listens = !self.all_said && self.unanswered < CREATIONS_UNANSWERED_MAX;
            tokio::select! {
                biased;
                // Safe to cancel: a request half read stays in the decoder's buffer.
                request = self.requests.next(), if listens => match request {
                    Some(Ok(request)) => {
                        self.ahead += 1;
                        self.batch_first = true;
                        return Step::Request(request);
                    }
                    Some(Err(status)) => return Step::Failed(status),
                    None => self.all_said = true,
                },
                // Safe to cancel: a batch is either still queued or returned.
                batch = self.hub.next() => return match batch {
                    Some(batch) => self.handed(batch),
                    None => Step::Stopped,
                },
            }
        }
    }

    fn handed(&mut self, (header, batch): (Header, Batch)) -> Step {
        if let Batch::Created { .. } | Batch::Refused { .. } = batch {
            self.unanswered -= 1;
        }
        Step::Batch(header, batch)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;
    use store_machine::command::Command;
    use store_machine::request::{KeyRange, PutRequest, RangeEnd};
    use store_machine::revision::{LeaseId, Revision};
    use store_proto::etcdserverpb::watch_request::RequestUnion;

    use super::*;
    use crate::store::{Store, StoreConfig};

    fn spec() -> WatchSpec {
        WatchSpec {
            keys: KeyRange {
                start: Bytes::from_static(b"a"),
                end: RangeEnd::Single,
            },
            start: Revision(0),
            id: WatchId(0),
            no_put: false,
            no_delete: false,
            prev_kv: false,
            progress_notify: false,
            fragment: false,
        }
    }

    fn put() -> Command {
        Command::Put(PutRequest {
            key: Bytes::from_static(b"a"),
            value: Bytes::new(),
            lease: LeaseId::NONE,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        })
    }

    /// A client that never stops asking, and whose next request is always there.
    fn without_end(request: RequestUnion) -> Messages<pb::WatchRequest> {
        let request = pb::WatchRequest {
            request_union: Some(request),
        };
        stream::repeat_with(move || Ok(request.clone())).boxed()
    }

    async fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            segment_bytes: 1 << 20,
            ..StoreConfig::new(dir.path())
        };
        let store = Store::start(&config, vec![]).unwrap();
        store.handle().ready().await.unwrap();
        (dir, store)
    }

    #[tokio::test]
    async fn a_client_that_never_stops_asking_is_shown_its_events() {
        let (_dir, store) = store().await;
        let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
        let cancel = RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 });
        for request in [progress, cancel] {
            let mut exchange = Exchange::new(&store.handle(), without_end(request));
            exchange.create(spec());
            let mut asked = 0;
            let mut shown = 0;
            while shown < 100 {
                match exchange.next().await {
                    Step::Request(request) => {
                        asked += 1;
                        assert!(asked < 1_000_000, "{shown} events among {asked} requests");
                        match request.request_union {
                            Some(RequestUnion::CancelRequest(_)) => exchange.cancel(WatchId(7)),
                            _ => exchange.progress(),
                        }
                    }
                    Step::Batch(_, Batch::Created { .. } | Batch::Events { .. }) => {
                        shown += 1;
                        store.handle().propose(put()).await.unwrap();
                    }
                    Step::Batch(..) => {}
                    Step::Failed(status) => panic!("{status}"),
                    Step::Stopped => panic!("stopped"),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_client_gets_no_further_ahead_of_its_answers_than_a_bound() {
        let (_dir, store) = store().await;
        let create = RequestUnion::CreateRequest(pb::WatchCreateRequest::default());
        let mut exchange = Exchange::new(&store.handle(), without_end(create));
        let (mut asked, mut answered) = (0, 0);
        while answered < 5_000 {
            match exchange.next().await {
                Step::Request(_) => {
                    asked += 1;
                    exchange.create(spec());
                }
                Step::Batch(_, Batch::Created { .. }) => answered += 1,
                Step::Batch(..) => {}
                Step::Failed(status) => panic!("{status}"),
                Step::Stopped => panic!("stopped"),
            }
            assert!(
                asked - answered <= CREATIONS_UNANSWERED_MAX,
                "{asked} asked, {answered} answered"
            );
        }
    }
}
