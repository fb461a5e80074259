//! The way in over TLS: the handshake, and who it was that shook hands.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::listener::Remote;
use crate::stream::{Socket, Stream};
use crate::tls::certificate::Certificate;
use crate::tls::{ForeignAddress, Keeper, check_address};

/// How every stream over TLS begins: a record of a handshake (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// Longest wait for the other side to take a last word.
const PARTING_MAX: Duration = Duration::from_secs(2);

/// What the first bytes of a stream say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It begins a TLS handshake.
    Tls,
    /// It begins HTTP/2 in the clear.
    Http2,
    /// It begins with anything else.
    Other,
    /// It ended without a word.
    Nothing,
}

impl Opening {
    /// Waits for the first bytes and looks at them. Safe to cancel.
    ///
    /// # Errors
    /// The system's.
    pub async fn of(socket: &Socket) -> io::Result<Self> {
        let mut first = [0; 4];
        let bytes = socket.peek(&mut first).await?;
        Ok(match &first[..bytes] {
            [] => Self::Nothing,
            [HANDSHAKE_RECORD, ..] => Self::Tls,
            b"PRI " => Self::Http2,
            _ => Self::Other,
        })
    }
}

/// Why somebody is not let in.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Rejected {
    /// Speaks in the clear. The stream is given back for an answer in kind.
    #[error("it speaks in the clear, and this port speaks TLS")]
    Plain {
        /// How it began.
        opening: Opening,
        /// The stream.
        socket: Socket,
    },
    /// The handshake failed.
    #[error("shake hands over TLS")]
    Handshake(#[source] io::Error),
    /// Its certificate is for other addresses.
    #[error("check where it comes from")]
    Address(#[from] ForeignAddress),
    /// Went away without a word.
    #[error("it went away")]
    Gone,
    /// There is no certificate to show.
    #[error("there is no certificate to show")]
    NoCertificate,
}

/// Shakes hands, with the newest certificates. Tells who came, if they had to show a certificate. Safe to
/// cancel: the stream is closed.
///
/// # Errors
/// See [`Rejected`].
pub async fn secure(
    socket: Socket,
    remote: Remote,
    keeper: &Keeper,
) -> Result<(Stream, Option<Certificate>), Rejected> {
    let opening = Opening::of(&socket).await.map_err(Rejected::Handshake)?;
    match opening {
        Opening::Tls => {}
        Opening::Nothing => return Err(Rejected::Gone),
        Opening::Http2 | Opening::Other => return Err(Rejected::Plain { opening, socket }),
    }
    let material = keeper.material();
    let config = material.server.as_ref().ok_or(Rejected::NoCertificate)?;
    let accepted = TlsAcceptor::from(Arc::clone(config)).accept(socket);
    let session = match accepted.into_fallible().await {
        Ok(session) => session,
        Err((error, socket)) => {
            part(socket).await;
            return Err(Rejected::Handshake(error));
        }
    };
    let shown = session.get_ref().1.peer_certificates();
    let mut who = None;
    if let Some(der) = shown.and_then(<[_]>::first) {
        if let (false, Some(ip)) = (keeper.settings().any_address, remote.ip()) {
            check_address(der, ip).await?;
        }
        who = Certificate::parse(der).ok();
    }
    Ok((Stream::Tls(Box::new(TlsStream::Server(session))), who))
}

/// Closes a stream behind a last word, such as why somebody is not let in. Waits until the other side has taken it, for
/// a while: where more of the other side is under way, closing at once would take the word back (RFC 1122, 4.2.2.13).
pub async fn part(mut socket: Socket) {
    let read = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
    };
    // Whoever does not read it has had its chance.
    let _ = timeout(PARTING_MAX, read).await;
}
