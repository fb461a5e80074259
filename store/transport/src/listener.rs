//! Where streams come in: a port, or a socket file.

use std::fmt;
use std::io;
use std::net::{self, IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket, UnixListener};

use crate::stream::Socket;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A machine.
    Machine(SocketAddr),
    /// A process of this machine, over a socket file.
    Local,
}

impl Remote {
    /// The address of the machine.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            // An IPv4 peer of a socket for both kinds is what it is, not its IPv6 spelling.
            Self::Machine(address) => Some(address.ip().to_canonical()),
            Self::Local => None,
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(address) => address.fmt(f),
            Self::Local => f.write_str("a local process"),
        }
    }
}

/// Streams that may wait to be accepted: as in tokio and Go, above what any burst was seen to need.
const BACKLOG: u32 = 1024;

/// A port or socket file that is ours and not yet served: it can go to the thread that will. A socket
/// file is taken away when this, or its listener, is dropped.
#[derive(Debug)]
pub enum Bound {
    /// A port.
    Tcp(net::TcpListener),
    /// A socket file.
    Unix(unix::UnixListener, SocketFile),
}

/// The file behind a listener.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// How a port may be held together with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Several processes may listen on it at once (`SO_REUSEPORT`).
    pub port: bool,
}

impl Bound {
    /// Takes a port. Must be called within a runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn tcp(address: SocketAddr, reuse: Reuse) -> io::Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A port whose last streams still linger is free.
        socket.set_reuseaddr(true)?;
        if reuse.port {
            socket.set_reuseport(true)?;
        }
        socket.bind(address)?;
        Ok(Self::Tcp(socket.listen(BACKLOG)?.into_std()?))
    }

    /// Takes a socket file. One that a process left behind is replaced; one that is listened on is in
    /// use.
    ///
    /// # Errors
    /// The system's.
    pub fn unix(path: &Path) -> io::Result<Self> {
        let listener = match unix::UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path)? => {
                std::fs::remove_file(path)?;
                unix::UnixListener::bind(path)?
            }
            bound => bound?,
        };
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(listener, SocketFile(path.to_owned())))
    }

    /// The port, if it is one.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(..) => Ok(None),
        }
    }

    /// Begins to serve. Must be called within the runtime that will.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(self) -> io::Result<Listener> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Ok(Listener::Tcp(TcpListener::from_std(listener)?))
            }
            Self::Unix(listener, file) => {
                Ok(Listener::Unix(UnixListener::from_std(listener)?, file))
            }
        }
    }
}

impl From<net::TcpListener> for Bound {
    fn from(listener: net::TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// A port or socket file that is served.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket file.
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// The next stream. Safe to cancel: a stream not returned stays with the system.
    ///
    /// # Errors
    /// The system's.
    pub async fn accept(&self) -> io::Result<(Socket, Remote)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Remote::Machine(from)))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), Remote::Local))
            }
        }
    }
}

/// Whether it is a socket file nobody listens on.
fn is_left(path: &Path) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let refused = unix::UnixStream::connect(path).err();
    Ok(refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // Leaves its file, as a killed process does.
        drop(unix::UnixListener::bind(&path).unwrap());
        let listener = Bound::unix(&path).unwrap();
        let in_use = Bound::unix(&path).unwrap_err();
        assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "a file of somebody").unwrap();
        let taken = Bound::unix(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }
}
