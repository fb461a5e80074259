//! Plain HTTP at a member's client port: one request on one connection.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::connect::Target;
use crate::failure::Failure;
use crate::flags::Globals;

/// Sends a request, whose URI is a path, to an endpoint; the body is still to be read.
///
/// # Errors
/// The endpoint is none, or cannot be reached, or does not speak HTTP.
pub(crate) async fn ask(
    endpoint: &str,
    mut request: Request<Full<Bytes>>,
    globals: &Globals,
) -> Result<Response<Incoming>, Failure> {
    let target = Target::parse(endpoint, globals)?;
    let failed = |cause: &dyn std::fmt::Display| Failure::error(format!("{endpoint}: {cause}"));
    let host = target.authority().parse();
    request
        .headers_mut()
        .insert(HOST, host.map_err(|cause| failed(&cause))?);
    let stream = target.open(globals).await.map_err(|cause| failed(&cause))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|cause| failed(&cause))?;
    // Ends with the answer's body, or when nobody reads it any more.
    tokio::spawn(connection);
    sender
        .send_request(request)
        .await
        .map_err(|cause| failed(&cause))
}
