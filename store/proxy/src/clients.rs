//! Clients as they come in, whatever is done for them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// Pause after a failed accept, which is nearly always "too many open files": connections that end meanwhile make room.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Waits for the next client, whatever goes wrong before. Safe to cancel: who was not handed out waits on.
pub(crate) async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Whoever fails to set it only waits a little longer.
                let _ = stream.set_nodelay(true);
                return (stream, from);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
