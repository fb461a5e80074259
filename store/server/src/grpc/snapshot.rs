//! `Maintenance.Snapshot`: everything there is, as a file of etcd, in pieces, all at one revision.
//!
//! The member only notes what there is now; making the file of it goes on beside the writes, a piece whenever the
//! client has room for it, on the threads that may block. So what a client that does not read costs is the
//! memory of what has been compacted since.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::Stream;
use sha2::{Digest as _, Sha256};
use store_bolt::etcd::{self, Export};
use store_proto::etcdserverpb as pb;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::errors::{ApiError, status};
use super::translate;
use crate::api::Api;
use crate::handle::Header;

/// Bytes of a message, as in etcd.
const BLOB_BYTES: usize = 32 << 10;

/// Bytes made at once: some milliseconds on a thread that may block, so that changing threads does not count.
const PIECE_BYTES: usize = 1 << 20;

/// Snapshots taken at the same time. Each keeps a thread busy as long as its client is fast enough; four are an
/// operator's, a schedule's and two that overlap.
const SNAPSHOTS_MAX: usize = 4;

/// The places for snapshots.
pub(crate) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(SNAPSHOTS_MAX))
}

/// A snapshot on its way out.
struct Sending {
    api: Arc<Api>,
    header: Header,
    /// `None` once all of it has been made.
    export: Option<Box<Export>>,
    digest: Sha256,
    /// Made and not yet sent.
    ready: Bytes,
    /// Bytes to send, without the digest.
    left: u64,
    ended: bool,
    began: Instant,
    _place: OwnedSemaphorePermit,
}

/// Opens the stream.
pub(crate) async fn snapshot(
    api: Arc<Api>,
    _request: pb::SnapshotRequest,
) -> Result<impl Stream<Item = Result<pb::SnapshotResponse, Status>> + Send, Status> {
    let place = Arc::clone(&api.snapshots).try_acquire_owned();
    let place = place.map_err(|_| Status::from(ApiError::TooManyRequests))?;
    let answer = api.handle.snapshot().await.map_err(status)?;
    let header = answer.header;
    let content = answer.body;
    let export = blocking(move || Box::new(Export::new(content, header.term))).await?;
    let sending = Sending {
        api,
        header,
        left: export.bytes(),
        export: Some(export),
        digest: Sha256::new(),
        ready: Bytes::new(),
        ended: false,
        began: Instant::now(),
        _place: place,
    };
    Ok(futures::stream::unfold(sending, async |mut sending| {
        if sending.ended {
            return None;
        }
        let piece = sending.next().await;
        sending.ended |= piece.is_err();
        Some((piece, sending))
    }))
}

impl Sending {
    async fn next(&mut self) -> Result<pb::SnapshotResponse, Status> {
        if self.api.closing.is_cancelled() {
            return Err(ApiError::Stopped.into());
        }
        if self.ready.is_empty() {
            self.make().await?;
        }
        let blob = if self.ready.is_empty() {
            self.ended = true;
            self.api.accounts.snapshots.observe(self.began.elapsed());
            Bytes::copy_from_slice(&self.digest.finalize_reset())
        } else {
            self.ready.split_to(BLOB_BYTES.min(self.ready.len()))
        };
        if !self.ended {
            self.left = self.left.saturating_sub(blob.len() as u64);
        }
        Ok(pb::SnapshotResponse {
            header: Some(translate::header(self.header)),
            remaining_bytes: self.left,
            blob,
            version: etcd::SINCE_RELEASE.to_owned(),
        })
    }

    /// Makes the next piece; nothing is ready after the last.
    async fn make(&mut self) -> Result<(), Status> {
        let Some(mut export) = self.export.take() else {
            return Ok(());
        };
        let mut digest = std::mem::take(&mut self.digest);
        let (export, digest, piece) = blocking(move || {
            let piece = export.piece(PIECE_BYTES);
            if let Some(piece) = &piece {
                digest.update(piece);
            }
            (export, digest, piece)
        })
        .await?;
        self.digest = digest;
        if let Some(piece) = piece {
            self.ready = Bytes::from(piece);
            self.export = Some(export);
        }
        Ok(())
    }
}

/// Does it where blocking harms nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Status::internal(format!("make a snapshot: {error}")))
}
