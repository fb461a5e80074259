//! Just enough HTTP/2 and gRPC for a client that must cost next to nothing.
//!
//! A full client stack spends several microseconds per call, as much as the servers it is to
//! measure. Here a call is one append to a buffer, and an answer is a look at nine bytes.

mod connection;
mod fields;
mod frame;

pub(crate) use connection::{Connection, Heard};

/// What can go wrong on a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// No connection, or no greeting on it.
    #[error("connect to {address}")]
    Connect {
        /// The server.
        address: std::net::SocketAddr,
        #[source]
        /// Why.
        source: std::io::Error,
    },
    /// The socket failed.
    #[error("{operation}")]
    Io {
        /// What was being done.
        operation: &'static str,
        #[source]
        /// Why.
        source: std::io::Error,
    },
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server said GOAWAY.
    #[error("the server sent GOAWAY, code {code}: {reason}")]
    GoneAway {
        /// RFC 9113 section 7.
        code: u32,
        /// The server's words.
        reason: String,
    },
    /// The server broke the protocol.
    #[error("the server sent {what}")]
    Protocol {
        /// What it sent.
        what: &'static str,
    },
    /// No room to open a call that must not wait.
    #[error("open one more stream beside {streams}: the server allows no more")]
    Full {
        /// Streams open.
        streams: usize,
    },
    /// A call that is over, or whose window is used up.
    #[error("say more on stream {stream}: it is over, or the server has given no room for it")]
    NoRoom {
        /// Which.
        stream: u32,
    },
}
