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

/// Where a URL leads, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Over TLS; none if the URL does not say.
    pub secure: Option<bool>,
    /// Where.
    pub place: Place,
    /// What is asked for there: host and port.
    pub authority: String,
}

/// Why a URL leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Something else is spoken there.
    #[error("the scheme is not http, https, unix or unixs")]
    Scheme,
    /// A host alone.
    #[error("it has no port")]
    NoPort,
    /// Something else where the port is to be.
    #[error("the port is not a number")]
    Port,
}

impl Target {
    /// Reads `host:port`, or a URL with http, https, unix or unixs.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let secure = match scheme {
            "" => None,
            "http" | "unix" => Some(false),
            "https" | "unixs" => Some(true),
            _ => return Err(BadUrl::Scheme),
        };
        if scheme.starts_with("unix") {
            return Ok(Self {
                secure,
                place: Place::File(PathBuf::from(rest)),
                authority: "localhost".to_owned(),
            });
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() => (host, port),
            _ => return Err(BadUrl::NoPort),
        };
        let port = port.parse().map_err(|_| BadUrl::Port)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            secure,
            place: Place::Host(host.to_owned(), port),
            authority: rest.to_owned(),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_and_how() {
        let host = |host: &str, port| Place::Host(host.to_owned(), port);
        for (url, secure, place, authority) in [
            ("h:1", None, host("h", 1), "h:1"),
            ("http://h:1/", Some(false), host("h", 1), "h:1"),
            ("https://[::1]:2", Some(true), host("::1", 2), "[::1]:2"),
            (
                "unixs:///run/s",
                Some(true),
                Place::File("/run/s".into()),
                "localhost",
            ),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.secure, secure);
            assert_eq!(
                (target.place, target.authority.as_str()),
                (place, authority)
            );
        }
        for (url, why) in [
            ("ftp://h:1", BadUrl::Scheme),
            ("h", BadUrl::NoPort),
            (":1", BadUrl::NoPort),
            ("http://h:x", BadUrl::Port),
        ] {
            assert_eq!(Target::parse(url), Err(why));
        }
    }
}
