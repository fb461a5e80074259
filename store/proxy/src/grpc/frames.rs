//! gRPC's frames: one byte that says whether the message is compressed, four of its length, the message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tonic::Status;
use tonic::body::Body;

const PREFIX_BYTES: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// A message in its frame.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

/// The next message in a buffer, if it is there whole.
fn next(buffer: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some((prefix, _)) = buffer.split_first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Status::unimplemented(
            "grpc: compressed messages cannot be read by the proxy",
        ));
    }
    let length = u32::from_be_bytes(length) as usize;
    if buffer.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The one message of a body, and its trailers.
pub(super) async fn collect(
    mut body: Body,
    bytes_max: usize,
) -> Result<(Option<Bytes>, Option<HeaderMap>), Status> {
    let mut buffer = BytesMut::new();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if buffer.len() + data.len() > bytes_max => {
                return Err(Status::resource_exhausted(format!(
                    "grpc: received message larger than max ({} vs. {bytes_max})",
                    buffer.len() + data.len()
                )));
            }
            Ok(data) => buffer.put(data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((next(&mut buffer)?, trailers))
}

/// A body with one message, for a request.
pub(super) fn one(message: &[u8]) -> Body {
    Body::new(http_body_util::Full::new(framed(message)))
}

/// A successful answer of one message.
pub(super) fn answer(frame: Bytes) -> Response<Body> {
    let mut trailers = HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let body = http_body_util::Full::new(frame)
        .with_trailers(async move { Some(Ok::<_, std::convert::Infallible>(trailers)) });
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, GRPC);
    response
}

/// A body whose messages are changed on their way.
pub(super) struct Mapped<F> {
    inner: Body,
    buffer: BytesMut,
    map: F,
}

impl<F: FnMut(&Bytes) -> Result<Bytes, Status> + Send + Unpin + 'static> Mapped<F> {
    pub(super) fn body(inner: Body, map: F) -> Body {
        Body::new(Self {
            inner,
            buffer: BytesMut::new(),
            map,
        })
    }
}

impl<F: FnMut(&Bytes) -> Result<Bytes, Status> + Unpin> hyper::body::Body for Mapped<F> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(message) = next(&mut this.buffer)? {
                let message = (this.map)(&message)?;
                return Poll::Ready(Some(Ok(Frame::data(framed(&message)))));
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)?) {
                None => return Poll::Ready(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) => this.buffer.put(data),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &Bytes, piece: usize) -> Body {
        let pieces: Vec<Result<Frame<Bytes>, Status>> = bytes
            .chunks(piece)
            .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        Body::new(http_body_util::StreamBody::new(tokio_stream::iter(pieces)))
    }

    #[tokio::test]
    async fn messages_are_changed_however_they_are_cut() {
        let both: Bytes = [framed(b"one"), framed(b"")].concat().into();
        for piece in 1..=both.len() {
            let doubled = |message: &Bytes| Ok([message.as_ref(), message].concat().into());
            let body = Mapped::body(cut(&both, piece), doubled);
            let all = body.collect().await.unwrap().to_bytes();
            assert_eq!(all, [framed(b"oneone"), framed(b"")].concat());
        }
    }

    #[tokio::test]
    async fn what_is_too_large_or_compressed_is_refused() {
        let frame = framed(b"hello");
        let (message, _) = collect(cut(&frame, 3), 10).await.unwrap();
        assert_eq!(message.unwrap().as_ref(), b"hello");
        let refused = collect(cut(&frame, 3), 9).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        let compressed = Bytes::from_static(b"\x01\0\0\0\0");
        let refused = collect(cut(&compressed, 5), 10).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unimplemented);
        let half = collect(cut(&frame.slice(..7), 7), 10).await.unwrap();
        assert!(half.0.is_none());
    }
}
