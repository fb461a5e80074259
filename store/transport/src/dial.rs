//! The way out: opens a stream to a host and port, or a socket file.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, UnixStream, lookup_host};
use tokio_rustls::{TlsConnector, TlsStream, rustls};

use crate::stream::{Socket, Stream};

/// Where a stream is to lead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A name or address (IPv6 without brackets) and a port.
    Host(String, u16),
    /// A socket file.
    File(PathBuf),
}

/// Opens a stream in the clear. `send_buffer_bytes`: what the system may hold for the network, if not what
/// it thinks best.
///
/// # Errors
/// The system's.
pub async fn plain(place: &Place, send_buffer_bytes: Option<u32>) -> io::Result<Socket> {
    let (host, port) = match place {
        Place::Host(host, port) => (host, *port),
        Place::File(path) => return Ok(Socket::Unix(UnixStream::connect(path).await?)),
    };
    let mut last = io::ErrorKind::NotFound.into();
    for address in lookup_host((host.as_str(), port)).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(bytes) = send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        // Messages are written whole; waiting for more to send with them only adds latency.
        socket.set_nodelay(true)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(Socket::Tcp(stream)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Opens a stream over TLS. `name` is the host the certificate must be for, if not the place's own.
///
/// # Errors
/// The system's, or what is wrong with the other side's certificate.
pub async fn secure(
    place: &Place,
    name: Option<&str>,
    config: Arc<rustls::ClientConfig>,
    send_buffer_bytes: Option<u32>,
) -> io::Result<Stream> {
    let name = match (name, place) {
        (Some(name), _) => name,
        (None, Place::Host(host, _)) => host,
        // A socket file has no name; what etcd's own certificates for it are made for.
        (None, Place::File(_)) => "localhost",
    };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let socket = plain(place, send_buffer_bytes).await?;
    let session = TlsConnector::from(config).connect(name, socket).await?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(session))))
}
