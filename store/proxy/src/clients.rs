//! Where clients come in, and how: by a port or a socket file, whatever is done for them.

use std::path::Path;
use std::time::Duration;

use store_transport::{Bound, Listener, Remote, Socket};
use tokio::net::TcpListener;

use crate::outcome::Outcome;

/// Pause after a failed accept, which is nearly always "too many open files": connections that end meanwhile make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What is listened on.
pub(crate) struct Entrance {
    listener: Listener,
    /// Its address as people write it, with the port that was found if none was named.
    pub(crate) name: String,
}

impl Entrance {
    /// Listens on `host:port`, or on a socket file: `unix:///run/proxy.sock`, and `unix://localhost:2379` for a file of
    /// that name in the working folder, as etcd has it.
    pub(crate) async fn open(address: &str) -> Result<Self, Outcome> {
        let failed = |cause| Outcome::listen(address, &cause);
        if let Some(path) = address.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(
                    Outcome::failed(format!("failed to listen on {address}: no path"))
                        .hint("write unix:///run/proxy.sock"),
                );
            }
            let listener = Bound::unix(Path::new(path)).and_then(Bound::listen);
            return Ok(Self {
                listener: listener.map_err(failed)?,
                name: address.to_owned(),
            });
        }
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let name = listener.local_addr().map_err(failed)?.to_string();
        Ok(Self {
            listener: Listener::Tcp(listener),
            name,
        })
    }

    /// Waits for the next client, whatever goes wrong before. Safe to cancel: who was not handed out waits on.
    pub(crate) async fn next(&self) -> (Socket, Remote) {
        loop {
            match self.listener.accept().await {
                Ok((socket, from)) => {
                    if let Socket::Tcp(stream) = &socket {
                        // Whoever fails to set it only waits a little longer.
                        let _ = stream.set_nodelay(true);
                    }
                    return (socket, from);
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
