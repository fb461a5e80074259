//! gRPC reflection: the protos on request, so that tools such as grpcurl need no files. Off unless asked for.

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::service::Routes;
use tonic_reflection::server::{Builder, Error};
use tower::Service as _;

use crate::body::Body;

/// Both versions of the protocol begin with this.
const SERVICES: &str = "/grpc.reflection.v1";

/// Serves the descriptors of all services here.
pub(crate) struct Reflection(Routes);

impl Reflection {
    /// `None` when the compiled-in descriptors are none, which the log tells.
    pub(crate) fn new() -> Option<Self> {
        let made = Self::of_descriptors();
        let made = made.inspect_err(|error| tracing::error!(%error, "there will be no reflection"));
        made.ok()
    }

    fn of_descriptors() -> Result<Self, Error> {
        let builder = || {
            let descriptors = store_proto::FILE_DESCRIPTOR_SET;
            Builder::configure().register_encoded_file_descriptor_set(descriptors)
        };
        let routes = Routes::new(builder().build_v1()?);
        Ok(Self(routes.add_service(builder().build_v1alpha()?)))
    }

    /// Whether a method is one of these.
    pub(crate) fn serves(path: &str) -> bool {
        path.starts_with(SERVICES)
    }

    pub(crate) async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        match self.0.clone().call(request).await {
            Ok(response) => response.map(Body::Uncounted),
            Err(never) => match never {},
        }
    }
}
