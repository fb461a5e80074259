//! The shell around health checks: asks one question, says whether the answer was good. Decides nothing.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::check::{Check, Question};
use crate::docker::Engine;

/// Asks; the error is one line.
pub(crate) async fn ask(engine: &Engine, check: &Check) -> Result<(), String> {
    let limit = Duration::from_millis(check.terms.timeout_ms);
    let answer = async {
        match &check.terms.question {
            Question::Tcp => connect(check.at).await.map(drop),
            Question::Http { tls: false, path } => {
                get(connect(check.at).await?, check.at, path).await
            }
            Question::Http { tls: true, path } => {
                get(over_tls(check.at).await?, check.at, path).await
            }
            Question::Grpc(service) => health(check.at, service).await,
            Question::Exec(command) => engine.exec(&check.container, command).await,
            Question::Script(command) => script(check.at, command).await,
        }
    };
    match timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

async fn connect(at: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(at)
        .await
        .map_err(|error| format!("connect to {at}: {error}"))
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    at: SocketAddr,
    path: &str,
) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("GET {path}: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| said(&error))?;
    let request = Request::get(path)
        .header(hyper::header::HOST, at.to_string())
        .header(hyper::header::USER_AGENT, "muster-registrator")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| said(&error))?;
    // Beside the question, because the connection may end together with its answer; ends with the question at the latest.
    let mut beside = tokio::task::JoinSet::new();
    beside.spawn(connection);
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| said(&error))?;
    let status = answer.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("GET {path}: {status}"))
    }
}

/// TLS to whoever answers: a check goes to an address, and no certificate names it.
async fn over_tls(at: SocketAddr) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let stream = connect(at).await?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = rustls::pki_types::ServerName::from(at.ip());
    connector
        .connect(name, stream)
        .await
        .map_err(|error| format!("TLS with {at}: {error}"))
}

/// Takes every certificate; signatures are checked all the same.
#[derive(Debug)]
struct AnyCertificate(std::sync::Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`; status 1 is SERVING.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthAnswer {
    #[prost(int32, tag = "1")]
    status: i32,
}

async fn health(at: SocketAddr, service: &str) -> Result<(), String> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{at}"));
    let endpoint = endpoint.map_err(|error| error.to_string())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| format!("connect to {at}: {error}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client
        .ready()
        .await
        .map_err(|error| format!("connect to {at}: {error}"))?;
    let request = tonic::Request::new(HealthRequest {
        service: service.to_owned(),
    });
    let path = hyper::http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = tonic_prost::ProstCodec::<HealthRequest, HealthAnswer>::default();
    let answer = client.unary(request, path, codec).await;
    match answer.map(|answer| answer.into_inner().status) {
        Ok(1) => Ok(()),
        Ok(other) => Err(format!("gRPC health of {service:?}: status {other}")),
        Err(status) => Err(format!("gRPC health of {service:?}: {}", status.message())),
    }
}

async fn script(at: SocketAddr, command: &str) -> Result<(), String> {
    let status = tokio::process::Command::new("/bin/sh")
        .args(["-c", command])
        .env("SERVICE_IP", at.ip().to_string())
        .env("SERVICE_PORT", at.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // One that takes too long is ended with the question.
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| format!("run /bin/sh: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the script ended with {status}"))
    }
}
