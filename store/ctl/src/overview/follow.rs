//! The shell around a [`View`]: reads its keys at one revision, watches from the next on, and prints a page, a line for
//! each change, or an object. A watch that breaks is followed by a new listing, whose differences are the changes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::watch_client::WatchClient;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use store_proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Streaming};

use super::screen::Screen;
use super::view::{Change, Rows, View, apply, replace};
use crate::command::{after_prefix, in_time};
use crate::connect::{ANSWER_BYTES_MAX, Connection, connect};
use crate::failure::Failure;
use crate::flags::Globals;

/// 2,000 pairs in a page: a few MB of records.
const PAGE_KEYS: i64 = 2_000;
/// 1 s between two tries of a store that went away: a person is looking.
const AGAIN: Duration = Duration::from_secs(1);
/// 1 s: ages are shown in seconds.
const REDRAWN: Duration = Duration::from_secs(1);
/// 100 ms: events that come together are drawn together.
const GATHERED: Duration = Duration::from_millis(100);

/// Prints what there is, once.
///
/// # Errors
/// It cannot be read or printed.
pub(super) async fn once<V: View>(
    view: &V,
    globals: &Globals,
    mut screen: Screen,
) -> Result<(), Failure> {
    let connection = connect(globals).await?;
    let (listed, _) = list(view, &connection, globals).await?;
    let mut rows = Rows::new();
    replace(view, &mut rows, &listed);
    screen.all(view, &rows)
}

/// Prints what there is, and what becomes of it, until it is told to end.
///
/// # Errors
/// It could not be read the first time, or cannot be printed.
pub(super) async fn live<V: View>(
    view: &V,
    globals: &Globals,
    mut screen: Screen,
) -> Result<(), Failure> {
    let mut rows = Rows::new();
    let mut seen = false;
    loop {
        match session(view, globals, &mut rows, &mut screen, &mut seen).await {
            Over::Printing(failure) => return Err(failure),
            Over::Store(failure) if !seen => return Err(failure),
            Over::Store(failure) => screen.trouble(view, &rows, &failure.whole())?,
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Why a session ended.
enum Over {
    Store(Failure),
    Printing(Failure),
}

impl From<Failure> for Over {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

async fn session<V: View>(
    view: &V,
    globals: &Globals,
    rows: &mut Rows<V::Row>,
    screen: &mut Screen,
    seen: &mut bool,
) -> Over {
    match follow(view, globals, rows, screen, seen).await {
        Ok(never) => never,
        Err(over) => over,
    }
}

async fn follow<V: View>(
    view: &V,
    globals: &Globals,
    rows: &mut Rows<V::Row>,
    screen: &mut Screen,
    seen: &mut bool,
) -> Result<Over, Over> {
    let connection = connect(globals).await?;
    let (listed, revision) = list(view, &connection, globals).await?;
    let changes = replace(view, rows, &listed);
    drop(listed);
    *seen = true;
    screen
        .changes(view, rows, &changes)
        .map_err(Over::Printing)?;
    let (_requests, mut answers) = watch(view, connection, revision + 1).await?;
    let mut changes: Vec<Change<V::Row>> = Vec::new();
    let mut drawing = tokio::time::interval(REDRAWN);
    loop {
        let gathered = !changes.is_empty();
        tokio::select! {
            // Safe to cancel: a message that has not come stays in the stream.
            answer = answers.message() => {
                let answer = answer.map_err(|status| Over::Store(status.into()))?;
                let Some(answer) = answer.filter(|answer| !answer.canceled) else {
                    let over = Failure::interrupted("watch is canceled by the server");
                    return Ok(Over::Store(over));
                };
                for event in &answer.events {
                    let Some(pair) = &event.kv else { continue };
                    let value = (event.r#type() == EventType::Put).then_some(pair.value.as_ref());
                    changes.extend(apply(view, rows, &pair.key, value));
                }
            }
            // Both only wait.
            () = tokio::time::sleep(GATHERED), if gathered => {
                let told = std::mem::take(&mut changes);
                screen.changes(view, rows, &told).map_err(Over::Printing)?;
            }
            _ = drawing.tick() => screen.aged(view, rows).map_err(Over::Printing)?,
        }
    }
}

type Listed = BTreeMap<Vec<u8>, Vec<u8>>;

/// All pairs below the view's prefixes at one revision, and that revision.
async fn list<V: View>(
    view: &V,
    connection: &Connection,
    globals: &Globals,
) -> Result<(Listed, i64), Failure> {
    let mut client = KvClient::new(connection.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    let mut listed = Listed::new();
    let mut revision = 0;
    for prefix in view.prefixes() {
        let mut request = RangeRequest {
            range_end: after_prefix(prefix.as_bytes()),
            key: Bytes::from(prefix),
            limit: PAGE_KEYS,
            revision,
            ..RangeRequest::default()
        };
        loop {
            let page = in_time(globals, client.range(request.clone())).await?;
            if revision == 0 {
                revision = page.header.map_or(0, |header| header.revision);
                request.revision = revision;
            }
            let more = page.more;
            let last = page.kvs.last().map(|pair| pair.key.clone());
            let pairs = page.kvs.into_iter();
            listed.extend(pairs.map(|pair| (pair.key.to_vec(), pair.value.to_vec())));
            let Some(last) = last.filter(|_| more) else {
                break;
            };
            request.key = [last.as_ref(), b"\0"].concat().into();
        }
    }
    Ok((listed, revision))
}

/// One stream with a watch for each prefix; the stream of requests must stay open.
async fn watch<V: View>(
    view: &V,
    connection: Connection,
    start_revision: i64,
) -> Result<
    (
        mpsc::UnboundedSender<WatchRequest>,
        Streaming<WatchResponse>,
    ),
    Failure,
> {
    let (requests, receiver) = mpsc::unbounded_channel();
    for prefix in view.prefixes() {
        let request = WatchCreateRequest {
            range_end: after_prefix(prefix.as_bytes()),
            key: Bytes::from(prefix),
            start_revision,
            ..WatchCreateRequest::default()
        };
        // The receiver is still here.
        let _ = requests.send(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(request)),
        });
    }
    let mut request = Request::new(UnboundedReceiverStream::new(receiver));
    // A member that is cut off from its cluster must end the stream, not be silent.
    request
        .metadata_mut()
        .insert("hasleader", MetadataValue::from_static("true"));
    let mut client = WatchClient::new(connection).max_decoding_message_size(ANSWER_BYTES_MAX);
    Ok((requests, client.watch(request).await?.into_inner()))
}
