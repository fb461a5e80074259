//! JSON objects that come one after the other in a body: the requests of a stream.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use futures::Stream;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{malformed, text};
use crate::api::Api;
use crate::grpc::errors::ApiError;
use crate::intake::{Intake, Unread};

/// Room that is taken at least for an object that is half there: a piece of a body.
const ROOM_BYTES_MIN: usize = 16 << 10;

/// Finds where objects end, in bytes that come in pieces; looks at each byte once.
#[derive(Debug, Default)]
struct Splitter {
    /// Bytes of the object that have been looked at.
    seen: usize,
    /// Open braces and brackets.
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Splitter {
    /// Length of the object that `bytes` begin with, once it is there whole. What is no object is as long as it
    /// takes to see that.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate().skip(self.seen) {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            if self.depth == 0 {
                *self = Self::default();
                return Some(at + 1);
            }
        }
        self.seen = bytes.len();
        None
    }
}

/// Requests on their way in. Between them they may stand still for ever; one that was begun goes on, and has room in
/// memory, or they end.
pub(super) struct Objects<M> {
    body: Incoming,
    api: Arc<Api>,
    /// Read and not yet given out.
    bytes: BytesMut,
    splitter: Splitter,
    /// Longest object that is taken.
    bytes_max: usize,
    /// For an object that is half there.
    room: Option<OwnedSemaphorePermit>,
    /// How much room that is.
    room_bytes: usize,
    ended: bool,
    message: PhantomData<fn() -> M>,
}

impl<M: DeserializeOwned + Default + Send + 'static> Objects<M> {
    /// The objects in a body.
    pub(super) fn new(api: Arc<Api>, body: Incoming, bytes_max: usize) -> Self {
        Self {
            body,
            api,
            bytes: BytesMut::new(),
            splitter: Splitter::default(),
            bytes_max,
            room: None,
            room_bytes: 0,
            ended: false,
            message: PhantomData,
        }
    }

    /// The next one; `None` after the last. Safe to cancel: what was read stays here.
    async fn next(&mut self) -> Option<Result<M, Status>> {
        while !self.ended {
            match self.buffered() {
                Ok(Some(message)) => return Some(Ok(message)),
                Ok(None) => {}
                Err(refused) => return self.end(refused),
            }
            if let Err(unread) = self.read().await {
                return self.end(match unread {
                    Unread::Broken(_) => malformed(unread),
                    unread => unread.into(),
                });
            }
            if self.ended && !self.bytes.is_empty() {
                return self.end(malformed("the request ends inside an object"));
            }
        }
        None
    }

    /// Reads on; safe to cancel.
    async fn read(&mut self) -> Result<(), Unread> {
        let piece = if self.bytes.is_empty() {
            (self.room, self.room_bytes) = (None, 0);
            Intake::piece_in_time(&mut self.body).await?
        } else {
            // Nobody says how long it will be: room for twice of what is there.
            if self.bytes.len() > self.room_bytes {
                let more = self.bytes.len().max(ROOM_BYTES_MIN);
                let room = self.api.intake.room(more).await?;
                match &mut self.room {
                    Some(taken) => taken.merge(room),
                    None => self.room = Some(room),
                }
                self.room_bytes += more;
            }
            self.api.intake.piece(&mut self.body).await?
        };
        match piece {
            Some(piece) => self.bytes.extend_from_slice(&piece),
            None => self.ended = true,
        }
        Ok(())
    }

    fn end(&mut self, refused: Status) -> Option<Result<M, Status>> {
        self.ended = true;
        Some(Err(refused))
    }

    /// The next object among what has been read.
    fn buffered(&mut self) -> Result<Option<M>, Status> {
        if self.splitter.seen == 0 {
            let space = self.bytes.iter().take_while(|byte| is_space(**byte));
            let space = space.count();
            self.bytes.advance(space);
        }
        if let Some(end) = self.splitter.end(&self.bytes) {
            let object = self.bytes.split_to(end);
            let message = text::message(&object);
            return message.map(Some).map_err(malformed);
        }
        if self.bytes.len() > self.bytes_max {
            return Err(ApiError::RequestTooLarge.into());
        }
        Ok(None)
    }

    /// Them as a stream.
    pub(super) fn stream(self) -> impl Stream<Item = Result<M, Status>> + Send {
        futures::stream::unfold(self, async |mut objects| {
            let message = objects.next().await?;
            Some((message, objects))
        })
    }
}

/// What JSON has between values.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a parser that sees all at once makes of it.
    fn twin(text: &str) -> Vec<serde_json::Value> {
        let values = serde_json::Deserializer::from_str(text).into_iter();
        values.map(Result::unwrap).collect()
    }

    fn split(text: &str, piece: usize) -> Vec<serde_json::Value> {
        let mut splitter = Splitter::default();
        let mut bytes: Vec<u8> = Vec::new();
        let mut found = Vec::new();
        for more in text.as_bytes().chunks(piece) {
            bytes.extend_from_slice(more);
            loop {
                if splitter.seen == 0 {
                    let space = bytes.iter().take_while(|byte| is_space(**byte)).count();
                    bytes.drain(..space);
                }
                let Some(end) = splitter.end(&bytes) else {
                    break;
                };
                let object: Vec<u8> = bytes.drain(..end).collect();
                found.push(serde_json::from_slice(&object).unwrap());
            }
        }
        assert!(bytes.is_empty(), "{text}");
        found
    }

    #[test]
    fn objects_are_found_however_they_are_cut() {
        for text in [
            "",
            " \n",
            "{}",
            "{}{}",
            r#"{"a":{"b":[1,{"c":"}"}]}} {"d":"\"{"}"#,
            "{\"e\":\"\\\\\"}\n\n{\"f\":\"\u{fc}]\"}\r\n",
        ] {
            for piece in 1..=text.len().max(1) {
                assert_eq!(split(text, piece), twin(text), "{text} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_object_is_seen_to_be_none() {
        for text in ["7", "]", "\"", "x{}"] {
            assert_eq!(Splitter::default().end(text.as_bytes()), Some(1), "{text}");
        }
        for text in ["[", "{\"a"] {
            assert_eq!(Splitter::default().end(text.as_bytes()), None, "{text}");
        }
    }
}
