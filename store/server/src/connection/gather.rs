//! Lets the answers that are ready at the same time leave in one write.
//!
//! A batch of answers wakes one task per call, and each of these wakes the connection's task, which
//! tokio then runs next: ahead of the other calls, so that every answer would be a write of its own.
//! A small write therefore steps back once: the connection's task goes to the end of the queue,
//! behind the calls that are ready, and what they add meanwhile is written with it. With nobody else
//! ready the step back is one more poll, well under a microsecond.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A write of this many bytes is worth a system call by itself; more would hardly be gathered, as
/// `h2` collects 16 KiB at most.
const WORTH_WRITING_BYTES: usize = 8 * 1024;

/// A connection whose small writes wait for each other.
pub(super) struct Gathering<S> {
    inner: S,
    /// The write that is asked for has stepped back already.
    stepped_back: bool,
}

impl<S> Gathering<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            stepped_back: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.stepped_back && buf.len() < WORTH_WRITING_BYTES {
            this.stepped_back = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut this.inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // All has been written: the next write is another one.
        this.stepped_back = false;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes everything and remembers in which pieces.
    #[derive(Default)]
    struct Pieces(Vec<usize>);

    impl AsyncWrite for Pieces {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(buf.len());
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_small_write_steps_back_once_and_a_large_one_never() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut gathering = Gathering::new(Pieces::default());
        let mut write = |bytes: usize| {
            let buf = vec![0; bytes];
            Pin::new(&mut gathering)
                .poll_write(&mut cx, &buf)
                .is_ready()
        };
        assert!(!write(10), "another may join");
        assert!(write(20));
        assert!(write(30), "the rest of the same flush");
        assert!(Pin::new(&mut gathering).poll_flush(&mut cx).is_ready());
        let mut write = |bytes: usize| {
            let buf = vec![0; bytes];
            Pin::new(&mut gathering)
                .poll_write(&mut cx, &buf)
                .is_ready()
        };
        assert!(write(WORTH_WRITING_BYTES));
        assert!(!write(10));
        assert!(write(10));
        assert_eq!(gathering.inner.0, [20, 30, WORTH_WRITING_BYTES, 10]);
    }
}
