//! Bodies of requests on their way in: bounded each, bounded together, and bounded in how long they stand still.
//!
//! A body that comes in one piece costs nothing here. One that does not needs room for all of it before the second
//! piece is taken, and gives the room back when it is whole: so many half-finished ones are held in memory, and no more.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Status;

use crate::grpc::errors::ApiError;

/// What room is counted in.
const UNIT_BYTES: usize = 1 << 10;

/// Requests of the largest size that are held half-finished, 128 MiB by default: who has more at once uploads
/// them one after the other.
const LARGEST_AT_ONCE: usize = 64;

/// Why a body was not read.
#[derive(Debug, Error)]
pub(crate) enum Unread {
    /// More than is taken.
    #[error("http: request body too large")]
    TooLarge,
    /// Nothing more came of it.
    #[error("the request stood still for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Others, half-finished, take all the room.
    #[error("too many requests are half-finished")]
    Full,
    /// The stream broke; nobody will see the answer.
    #[error("the request was not read to its end: {0}")]
    Broken(hyper::Error),
}

impl From<Unread> for Status {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => ApiError::RequestTooLarge.into(),
            Unread::Full => ApiError::TooManyRequests.into(),
            Unread::Stalled(_) => Self::deadline_exceeded(unread.to_string()),
            Unread::Broken(_) => Self::cancelled(unread.to_string()),
        }
    }
}

/// See the module.
pub(crate) struct Intake {
    room: Arc<Semaphore>,
    units: u32,
    /// Longest time between two pieces.
    patience: Duration,
}

impl Intake {
    /// `largest_bytes` is the largest request there may be.
    pub(crate) fn new(largest_bytes: usize, patience: Duration) -> Self {
        let units = (largest_bytes / UNIT_BYTES).saturating_mul(LARGEST_AT_ONCE);
        let units = u32::try_from(units).unwrap_or(u32::MAX).max(1);
        let places = usize::try_from(units).unwrap_or(usize::MAX);
        Self {
            room: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            units,
            patience,
        }
    }

    /// The next piece of a body.
    pub(crate) async fn piece(&self, body: &mut Incoming) -> Result<Option<Bytes>, Unread> {
        loop {
            // Nearly always it is there: a clock is read only for those who are waited for.
            let frame = match body.frame().now_or_never() {
                Some(frame) => frame,
                // In a box: every call would be larger by it.
                None => Box::pin(timeout(self.patience, body.frame()))
                    .await
                    .map_err(|_| Unread::Stalled(self.patience))?,
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Unread::Broken(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The next piece of a body that may stand still for ever.
    pub(crate) async fn piece_in_time(body: &mut Incoming) -> Result<Option<Bytes>, Unread> {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(Unread::Broken)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// Room for a body that comes in pieces, of so many bytes at most. More than there is counts as all.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Unread> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(units.min(self.units));
        match Box::pin(timeout(self.patience, room)).await {
            Ok(Ok(room)) => Ok(room),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Unread::Full),
        }
    }

    /// All of a body. One that is announced as larger than `bytes_max` is not read at all.
    pub(crate) async fn whole(
        &self,
        mut body: Incoming,
        bytes_max: usize,
    ) -> Result<Bytes, Unread> {
        let announced = body.size_hint().lower();
        if announced > bytes_max as u64 {
            return Err(Unread::TooLarge);
        }
        let Some(first) = self.piece(&mut body).await? else {
            return Ok(Bytes::new());
        };
        let fits = |bytes: usize| {
            let fits = bytes <= bytes_max;
            fits.then_some(()).ok_or(Unread::TooLarge)
        };
        fits(first.len())?;
        if body.is_end_stream() {
            return Ok(first);
        }
        let expected = body.size_hint().exact();
        let expected = expected.and_then(|rest| usize::try_from(rest).ok());
        let expected = expected.map_or(bytes_max, |rest| first.len() + rest);
        let _room = self.room(expected).await?;
        let mut all = BytesMut::from(first);
        while let Some(piece) = self.piece(&mut body).await? {
            fits(all.len() + piece.len())?;
            all.put_slice(&piece);
        }
        Ok(all.freeze())
    }
}
