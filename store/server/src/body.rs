//! The body of every answer the client port gives, gRPC or plain HTTP.
//!
//! One concrete type, so that the common answers (one gRPC message, one short text) need no box and
//! no virtual call. Streams keep tonic's body inside.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue};
use hyper::body::{Frame, SizeHint};

use crate::grpc::account::StreamAccount;
use crate::grpc::large::Writing;

/// Trailer that carries a gRPC code.
pub(crate) const GRPC_STATUS: &str = "grpc-status";

/// See the module.
#[derive(Default)]
pub(crate) enum Body {
    /// Nothing, or nothing more.
    #[default]
    Empty,
    /// A plain HTTP body.
    Plain(Bytes),
    /// A plain HTTP body that comes line by line.
    Lines(BoxStream<'static, Bytes>),
    /// One gRPC message with its five-byte prefix, to be followed by the OK trailer.
    Message(Bytes),
    /// The same, of a large answer in pieces.
    Pieces(Box<Writing>),
    /// The OK trailer of a message that has been taken.
    Ok,
    /// A gRPC answer on which no books are kept.
    Uncounted(tonic::body::Body),
    /// A gRPC stream and the books kept on it.
    Stream(tonic::body::Body, StreamAccount),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Plain(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Lines(lines) => lines
                .poll_next_unpin(cx)
                .map(|line| Some(Ok(Frame::data(line?)))),
            Self::Message(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Ok;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Pieces(writing) => {
                if let Some(piece) = writing.next() {
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                *self = Self::Ok;
                self.poll_frame(cx)
            }
            Self::Ok => {
                *self = Self::Empty;
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Self::Uncounted(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body, account) => {
                let frame = Pin::new(body).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &frame {
                    account.sent_frame(frame);
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Plain(bytes) => bytes.is_empty(),
            Self::Lines(_) | Self::Message(_) | Self::Pieces(_) | Self::Ok => false,
            Self::Uncounted(body) | Self::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Plain(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // No content-length on gRPC answers: trailers follow.
            Self::Lines(_)
            | Self::Message(_)
            | Self::Pieces(_)
            | Self::Ok
            | Self::Uncounted(_)
            | Self::Stream(..) => SizeHint::default(),
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::Plain(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Plain(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Plain(text.into())
    }
}

/// What the service of a connection returns; it cannot fail, errors are answers.
pub(crate) type Answered = Result<http::Response<Body>, Infallible>;
