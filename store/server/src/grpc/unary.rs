//! One gRPC call with one message each way, straight on the HTTP/2 stream.
//!
//! tonic's path for this keeps two 8 KiB buffers, a box and a stream adapter per call. Here the
//! message is decoded from the frame it came in (no copy when it fits one frame) and the answer is
//! one exact allocation. Streams go through tonic (`stream.rs`). The format is gRPC's "length-
//! prefixed message": one byte compression flag, four bytes length, message.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::{Code, Status};

use super::metadata::{self, Wanted};
use super::method::Method;
use super::stopwatch::Stopwatch;
use super::txn::crowd;
use crate::api::Api;
use crate::auth::Admission;
use crate::body::Body;
use crate::call::Call;
use crate::intake::Intake;

/// Bytes before each message.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The content type of every gRPC answer.
pub(crate) const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Reads the request, has it served, writes the answer. The head of the request is looked at before
/// the future begins: futures are moved on their way into a task, and a head is large.
pub(crate) fn unary<C, M, R, F>(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
    serve: impl FnOnce(C, M) -> F,
) -> impl Future<Output = Response<Body>>
where
    C: From<Call>,
    M: Message + Default,
    R: Message,
    F: Future<Output = Result<R, Status>>,
{
    unary_written(api, method, request, serve, |message: R| {
        Ok(whole(&message))
    })
}

/// The same, with an answer that `write` makes a body of, and tells the length of the message.
pub(crate) fn unary_written<C, M, R, F>(
    api: Arc<Api>,
    method: Method,
    request: Request<Incoming>,
    serve: impl FnOnce(C, M) -> F,
    write: impl FnOnce(R) -> Result<(Body, usize), Status>,
) -> impl Future<Output = Response<Body>>
where
    C: From<Call>,
    M: Message + Default,
    F: Future<Output = Result<R, Status>>,
{
    api.accounts.of(method).started.fetch_add(1, Relaxed);
    let wanted = metadata::wanted(request.headers());
    let admission = Admission::of(&api, method, request.headers(), request.extensions());
    let body = request.into_body();
    async move {
        let mut watch = Stopwatch::start();
        let outcome = match wanted {
            Ok(wanted) => answer(&api, method, (wanted, admission), body, &mut watch, serve).await,
            Err(status) => Err(status),
        };
        match outcome.and_then(write) {
            Ok((body, bytes)) => {
                let took = watch.stop(&api, method, Code::Ok, bytes);
                api.accounts.unary_answered(method, Code::Ok, bytes, took);
                let mut response = Response::new(body);
                response.headers_mut().insert(CONTENT_TYPE, GRPC);
                response
            }
            Err(status) => {
                let took = watch.stop(&api, method, status.code(), 0);
                api.accounts.unary_answered(method, status.code(), 0, took);
                status.into_http()
            }
        }
    }
}

async fn answer<C, M, R, F>(
    api: &Arc<Api>,
    method: Method,
    (wanted, admission): (Wanted, Admission),
    body: Incoming,
    watch: &mut Stopwatch,
    serve: impl FnOnce(C, M) -> F,
) -> Result<R, Status>
where
    C: From<Call>,
    M: Message + Default,
    F: Future<Output = Result<R, Status>>,
{
    wanted.check(api).await?;
    let call = admission.call(api, method).await?;
    let message = message_bytes(body, &api.intake, api.limits.receive_bytes_max).await?;
    watch.request_read(message.len());
    api.accounts.unary_received(method, message.len());
    if method == Method::Txn {
        crowd::check(&message, api.limits.txn_ops_max)?;
    }
    let message = M::decode(message).map_err(|error| {
        Status::internal(format!(
            "grpc: failed to unmarshal the received message: {error}"
        ))
    })?;
    serve(call.into(), message).await
}

/// The one message of a request body, without its prefix.
async fn message_bytes(
    mut body: Incoming,
    intake: &Intake,
    bytes_max: usize,
) -> Result<Bytes, Status> {
    let mut all = Bytes::new();
    let mut joined = BytesMut::new();
    let mut _room = None;
    while let Some(data) = intake.piece(&mut body).await? {
        if joined.is_empty() && all.is_empty() {
            all = data;
        } else {
            if joined.is_empty() {
                let bytes = wanted_bytes(&all, bytes_max)?.max(all.len() + data.len());
                _room = Some(intake.room(bytes).await?);
                joined.reserve(bytes);
                joined.put_slice(&all);
            }
            joined.put_slice(&data);
        }
        // Checked on every frame, so that nobody can send more than one message's worth.
        let sofar: &[u8] = if joined.is_empty() { &all } else { &joined };
        if sofar.len() > wanted_bytes(sofar, bytes_max)? {
            return Err(Status::internal(
                "grpc: more than one message in a unary request",
            ));
        }
    }
    if !joined.is_empty() {
        all = joined.freeze();
    }
    if all.len() < PREFIX_BYTES || all.len() != wanted_bytes(&all, bytes_max)? {
        return Err(Status::internal("grpc: the request ends inside a message"));
    }
    all.advance(PREFIX_BYTES);
    Ok(all)
}

/// Bytes of prefix and message together, as far as the prefix is known.
fn wanted_bytes(sofar: &[u8], bytes_max: usize) -> Result<usize, Status> {
    let Some(&[compressed, a, b, c, d]) = sofar.first_chunk::<PREFIX_BYTES>() else {
        return Ok(PREFIX_BYTES);
    };
    if compressed != 0 {
        return Err(Status::unimplemented(
            "grpc: compressed requests are not supported",
        ));
    }
    let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
    if bytes > bytes_max {
        return Err(too_large(bytes, bytes_max));
    }
    Ok(PREFIX_BYTES + bytes)
}

/// A message of more bytes than are read, in the words of etcd's gRPC.
pub(super) fn too_large(bytes: usize, bytes_max: usize) -> Status {
    Status::resource_exhausted(format!(
        "grpc: received message larger than max ({bytes} vs. {bytes_max})"
    ))
}

/// The body of one message, with the length of the message.
pub(crate) fn whole(message: &impl Message) -> (Body, usize) {
    let bytes = framed(message);
    let length = bytes.len() - PREFIX_BYTES;
    (Body::Message(bytes), length)
}

/// A message with its prefix. One over 4 GiB cannot be said in gRPC; the store's quota and the
/// request limits keep far below it.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let bytes = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + bytes);
    out.put_u8(0);
    out.put_u32(u32::try_from(bytes).unwrap_or(u32::MAX));
    message.encode_raw(&mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_tells_how_much_is_to_come() {
        for (sofar, wanted) in [
            (&[][..], Ok(5)),
            (&[0, 0, 0, 0][..], Ok(5)),
            (&[0, 0, 0, 0, 0][..], Ok(5)),
            (&[0, 0, 0, 1, 2, 9][..], Ok(5 + 258)),
            (&[0, 0, 0, 4, 0][..], Ok(5 + 1024)),
            (&[0, 0, 0, 4, 1][..], Err(Code::ResourceExhausted)),
            (&[0, 255, 255, 255, 255][..], Err(Code::ResourceExhausted)),
            (&[1, 0, 0, 0, 1][..], Err(Code::Unimplemented)),
        ] {
            let actual = wanted_bytes(sofar, 1024).map_err(|status| status.code());
            assert_eq!(actual, wanted, "{sofar:?}");
        }
    }

    #[test]
    fn a_framed_message_is_prefix_and_message() {
        let request = store_proto::etcdserverpb::LeaseRevokeRequest { id: 300 };
        assert_eq!(&framed(&request)[..], [0, 0, 0, 0, 3, 8, 0xac, 2]);
    }
}
