//! An open stream, of whatever kind.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

/// A stream in the clear, as the system gives it.
#[derive(Debug)]
pub enum Socket {
    /// Over the network.
    Tcp(TcpStream),
    /// Over a socket file.
    Unix(UnixStream),
}

impl Socket {
    /// Says what is written whole to be sent at once.
    ///
    /// # Errors
    /// The system's.
    pub fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nodelay(true),
            // It has no such delay.
            Self::Unix(_) => Ok(()),
        }
    }

    /// Waits for the first bytes and looks at them without taking them. None: the other side is gone.
    /// Safe to cancel.
    ///
    /// # Errors
    /// The system's.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(buf).await,
            Self::Unix(stream) => {
                let look = || {
                    let (_, bytes) = recv(stream, &mut *buf, RecvFlags::PEEK)?;
                    Ok(bytes)
                };
                stream.async_io(Interest::READABLE, look).await
            }
        }
    }
}

/// A stream, in the clear or over TLS.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Plain(Socket),
    /// Over TLS; either side of it. Boxed: a session is large, and a stream is moved about.
    Tls(Box<TlsStream<Socket>>),
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self::Plain(socket)
    }
}

macro_rules! either {
    ($self:ident, $kind:ident :: { $($variant:ident),+ }, $inner:ident => $call:expr) => {
        match $self.get_mut() {
            $($kind::$variant($inner) => {
                let $inner = Pin::new($inner);
                $call
            })+
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, Self::{Tcp, Unix}, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, Self::{Tcp, Unix}, inner => inner.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, Self::{Tcp, Unix}, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, Self::{Tcp, Unix}, inner => inner.poll_shutdown(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, Self::{Plain, Tls}, inner => inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, Self::{Plain, Tls}, inner => inner.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, Self::{Plain, Tls}, inner => inner.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, Self::{Plain, Tls}, inner => inner.poll_shutdown(cx))
    }
}
