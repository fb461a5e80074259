//! The way in: accepts streams of peers, checks their greeting, hands what they say to the driver.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use store_transport::accept::{self, Opening, Rejected};
use store_transport::tls::Keeper;
use store_transport::{Listener, Remote, Socket, Stream};
use store_wal::Identity;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::directory::Directory;
use super::frame::{FRAME_BYTES_MAX, Frame, FrameError};
use super::hello::{Answer, HELLO_BYTES, Hello, Refusal};
use super::inquiry;
use crate::driver::inbox::Inbox;

/// Longest silence on a stream: its pings come every second.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// For the greeting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Streams that may be at their greeting at once: more are closed at once, so that whoever only
/// connects does not use up files.
const GREETINGS_MAX: usize = 64;

/// Streams at once: many times the members that any cluster has. More are closed, whoever they say they are.
const STREAMS_MAX: usize = 64;

/// Bytes of half-read large frames of members that are not known, together: one of the largest. A member that was away
/// may not know who leads now, and there is one of these.
const UNKNOWN_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// What room for them is counted in.
const UNIT_BYTES: usize = 1 << 10;

/// Bytes read at once: a batch of small messages, a quarter of a large one.
const READ_BYTES: usize = 256 << 10;

/// Pause after a failed accept, which is nearly always "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two log lines of the same refusal: whoever is refused tries again every few seconds.
const SAID_AGAIN: Duration = Duration::from_mins(1);

/// What all incoming streams share.
pub(super) struct Reception {
    own: Identity,
    directory: Arc<Directory>,
    inbox: Arc<Inbox>,
    /// What pings count from.
    epoch: Instant,
    greetings: Semaphore,
    /// Room for half-read frames of members that are not known.
    unknown: Semaphore,
    /// The stream in use of each peer: changing it ends the one before.
    streams: Mutex<BTreeMap<u64, watch::Sender<()>>>,
    /// The refusal logged last, and when.
    said: Mutex<Option<(String, Instant)>>,
}

/// Why a stream ended.
#[derive(Debug, Error)]
enum StreamError {
    #[error("read from it")]
    Read(#[from] io::Error),
    #[error("read from it: nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("read from it")]
    Frame(#[from] FrameError),
    #[error("read from it: it is no known member, and others of that kind take all the memory")]
    Crowd,
}

/// Somebody who is not let in.
#[derive(Debug, Error)]
enum Stranger {
    #[error("read its greeting")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("it speaks TLS, and this port speaks in the clear")]
    Tls,
}

impl Stranger {
    fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "the peer tries again",
            Self::Refused(refusal) => refusal.hint(),
            Self::Rejected(Rejected::Plain { .. }) | Self::Tls => {
                "http:// or https:// must be the same in the listen URL of this member and in what the \
                 others are told of it"
            }
            Self::Rejected(Rejected::Address(_)) => {
                "give each member a certificate for the address it connects from, or start with \
                 --peer-skip-client-san-verification"
            }
            Self::Rejected(_) => {
                "the certificate of the peer must be signed by an authority of --peer-trusted-ca-file, for \
                 use by servers and clients, and not be past its end"
            }
        }
    }
}

impl Reception {
    pub(super) fn new(
        own: Identity,
        directory: Arc<Directory>,
        inbox: Arc<Inbox>,
        epoch: Instant,
    ) -> Self {
        Self {
            own,
            directory,
            inbox,
            epoch,
            greetings: Semaphore::new(GREETINGS_MAX),
            unknown: Semaphore::new(UNKNOWN_BYTES_MAX / UNIT_BYTES),
            streams: Mutex::default(),
            said: Mutex::default(),
        }
    }

    async fn serve(&self, socket: Socket, remote: Remote, tls: Option<&Keeper>) {
        let Ok(greeting) = self.greetings.try_acquire() else {
            return;
        };
        let met = timeout(HELLO_TIMEOUT, self.meet(socket, remote, tls)).await;
        let (stream, hello) = match met {
            Ok(Ok((_, Hello::INQUIRY))) => return,
            Ok(Ok(met)) => met,
            Ok(Err(stranger)) => return self.turn_away(remote, &stranger),
            Err(_) => {
                tracing::debug!(%remote, "a stream did not come to its greeting in time");
                return;
            }
        };
        drop(greeting);
        let from = hello.from.member;
        let Some(mut replaced) = self.replace(from) else {
            tracing::warn!(
                peer = format!("{from:016x}"),
                "closed a stream: there are too many"
            );
            return;
        };
        // It may have become one during its greeting.
        if self.directory.is_former(from) {
            return;
        }
        if let Some(peer) = self.directory.find(from) {
            peer.lanes.nudge();
        }
        let ended = tokio::select! {
            // Safe to cancel: the peer has a newer stream and sends again what matters.
            _ = replaced.changed() => return,
            ended = self.listen(stream, from) => ended,
        };
        if let Err(error) = ended {
            tracing::info!(
                peer = format!("{from:016x}"),
                "a peer's stream ended: failed to {}",
                crate::fatal::chain(&error)
            );
        }
    }

    /// Handshake, if there is to be one, and greeting.
    async fn meet(
        &self,
        socket: Socket,
        remote: Remote,
        tls: Option<&Keeper>,
    ) -> Result<(Stream, Hello), Stranger> {
        let mut stream = match tls {
            Some(keeper) => accept::secure(socket, remote, keeper).await?.0,
            None if Opening::of(&socket).await? == Opening::Tls => return Err(Stranger::Tls),
            None => Stream::Plain(socket),
        };
        let hello = self.greet(&mut stream).await??;
        Ok((stream, hello))
    }

    async fn greet(&self, stream: &mut Stream) -> io::Result<Result<Hello, Refusal>> {
        let mut bytes = [0; HELLO_BYTES];
        stream.read_exact(&mut bytes).await?;
        let hello = Hello::decode(&bytes);
        if hello == Ok(Hello::INQUIRY) {
            let answer = inquiry::answer(self.own, self.directory.members());
            stream.write_all(&answer).await?;
            stream.flush().await?;
            return Ok(hello);
        }
        let checked = hello.and_then(|hello| {
            hello.check(self.own)?;
            let from = hello.from.member;
            if self.directory.is_former(from) {
                return Err(Refusal::Removed(from));
            }
            Ok(())
        });
        // Who does not speak the protocol could not read the answer.
        if checked != Err(Refusal::Unknown) {
            let answer = Answer::to(checked, self.own);
            stream.write_all(&answer.encode()).await?;
            stream.flush().await?;
        }
        Ok(checked.and(hello))
    }

    /// Makes a new stream that of the peer; the receiver tells when another takes its place. `None` when there are
    /// too many.
    fn replace(&self, from: u64) -> Option<watch::Receiver<()>> {
        let (sender, receiver) = watch::channel(());
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those that have ended nobody listens any more.
        streams.retain(|_, stream| !stream.is_closed());
        if streams.len() >= STREAMS_MAX && !streams.contains_key(&from) {
            return None;
        }
        // Dropping the sender before ends that stream.
        streams.insert(from, sender);
        Some(receiver)
    }

    /// Ends the streams of those that are members no more: when they dial again, they are told.
    pub(super) fn end_former(&self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|member, _| !self.directory.is_former(*member));
    }

    /// Hands on what the peer says, until its stream ends.
    async fn listen(&self, mut stream: Stream, from: u64) -> Result<(), StreamError> {
        let mut buffer = BytesMut::new();
        let mut messages = Vec::new();
        let mut room = None;
        loop {
            buffer.reserve(READ_BYTES);
            let read = timeout(SILENCE_MAX, stream.read_buf(&mut buffer));
            let bytes = read.await.map_err(|_| StreamError::Silent)??;
            if bytes == 0 {
                return Ok(());
            }
            // Not kept: a member may become known, or move, while it speaks.
            let peer = self.directory.find(from);
            while let Some(frame) = Frame::take(&mut buffer)? {
                room = None;
                match (frame, &peer) {
                    (Frame::Message(message), _) => messages.push(message),
                    (Frame::Ping(number), Some(peer)) => peer.lanes.pong(number),
                    (Frame::Pong(number), Some(peer)) => {
                        let sent = Duration::from_micros(number);
                        let took = self.epoch.elapsed().saturating_sub(sent);
                        peer.counters.round_trip.observe(took);
                    }
                    (Frame::Ping(_) | Frame::Pong(_), None) => {}
                }
            }
            match peer {
                Some(peer) => peer.counters.received_bytes.add(bytes as u64),
                None if room.is_none() => room = self.room(&buffer)?,
                None => {}
            }
            self.inbox.tell_from_peer(from, &mut messages, bytes as u64);
            // While the driver is behind, the peer waits too: its lanes fill, not our memory.
            self.inbox.peer_room().await;
        }
    }

    /// Room for the frame that is half there, of a member that is not known; what is read at once anyway needs none.
    fn room(&self, buffer: &BytesMut) -> Result<Option<SemaphorePermit<'_>>, StreamError> {
        let bytes = Frame::announced(buffer);
        if bytes <= READ_BYTES {
            return Ok(None);
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let room = self.unknown.try_acquire_many(units);
        room.map(Some).map_err(|_| StreamError::Crowd)
    }

    fn turn_away(&self, remote: Remote, stranger: &Stranger) {
        let from = remote
            .ip()
            .map_or_else(|| remote.to_string(), |ip| ip.to_string());
        let text = format!(
            "refused a peer from {from}: {}",
            crate::fatal::chain(stranger)
        );
        if matches!(
            stranger,
            Stranger::Read(_) | Stranger::Rejected(Rejected::Gone)
        ) {
            tracing::debug!("{text}");
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said
            .as_ref()
            .is_some_and(|(before, when)| *before == text && when.elapsed() < SAID_AGAIN)
        {
            return;
        }
        tracing::warn!(hint = stranger.hint(), "{text}");
        *said = Some((text, Instant::now()));
    }
}

/// Accepts on one listener for as long as it is polled.
pub(super) async fn accept(
    listener: Listener,
    tls: Option<Arc<Keeper>>,
    reception: Arc<Reception>,
) {
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            // Safe to cancel: a connection not returned stays with the system.
            accepted = listener.accept() => match accepted {
                Ok((socket, remote)) => {
                    let (reception, tls) = (Arc::clone(&reception), tls.clone());
                    streams.spawn(async move { reception.serve(socket, remote, tls.as_deref()).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a peer");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            // Safe to cancel: a task not returned stays in the set.
            Some(ended) = streams.join_next() => {
                if let Err(error) = ended
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}
