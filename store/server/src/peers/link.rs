//! The way out to one peer: dials, greets, carries what waits in the lanes, and begins again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use store_member::peer::PeerMessage;
use store_transport::Stream;
use store_transport::dial;
use store_transport::tls::Keeper;
use store_wal::Identity;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Peer;
use super::backoff::Backoff;
use super::frame::Frame;
use super::hello::{ANSWER_BYTES, Answer, Hello, Refusal, VERSION};
use crate::config::address::Address;
use crate::driver::inbox::{Inbox, Knock};

/// For name, connection and greeting together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two questions whether the peer is there. It takes a silence of
/// [`super::reception::SILENCE_MAX`] for a broken stream.
const PING_PERIOD: Duration = Duration::from_secs(1);

/// How long the peer may take nothing. One that is paused gets a new stream when it goes on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes the system may hold for the network: what a heartbeat can have to wait for there. Enough for
/// 100 MB/s at a round trip of 5 ms.
const SEND_BUFFER_BYTES: u32 = 512 << 10;

/// A stream that held this long was a good one: the next is dialled for without a pause.
const GOOD: Duration = Duration::from_secs(1);

/// What a buffer may keep from one write to the next.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Why there is no stream.
#[derive(Debug, Error)]
enum LinkError {
    #[error("connect to {url}")]
    Connect { url: String, source: io::Error },
    #[error("connect to {url}: no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    ConnectTimeout { url: String },
    #[error("greet {url}")]
    Refused { url: String, source: Refusal },
    #[error("send to {url}")]
    Lost { url: String, source: io::Error },
}

/// The way to one peer.
pub(super) struct Link {
    own: Identity,
    peer: Arc<Peer>,
    /// For URLs that ask for TLS.
    tls: Option<Arc<Keeper>>,
    inbox: Arc<Inbox>,
    /// What pings count from.
    epoch: Instant,
    /// What was logged last; the same is not said again.
    said: String,
}

impl Link {
    pub(super) const fn new(
        own: Identity,
        peer: Arc<Peer>,
        tls: Option<Arc<Keeper>>,
        inbox: Arc<Inbox>,
        epoch: Instant,
    ) -> Self {
        Self {
            own,
            peer,
            tls,
            inbox,
            epoch,
            said: String::new(),
        }
    }

    /// Keeps a stream to the peer for as long as it is polled.
    pub(super) async fn run(mut self) {
        let peer = Arc::clone(&self.peer);
        let mut backoff = Backoff::new();
        for url in peer.urls.iter().cycle() {
            let error = match self.connect(url).await {
                Ok(stream) => {
                    let began = Instant::now();
                    let error = self.carry(stream, url).await;
                    if began.elapsed() >= GOOD {
                        backoff = Backoff::new();
                    }
                    error
                }
                Err(error) => error,
            };
            let refused = matches!(error, LinkError::Refused { .. });
            self.report(&error);
            if let LinkError::Refused {
                source: Refusal::Removed(_),
                ..
            } = error
            {
                // The others are done with this member.
                let message = PeerMessage::Removed;
                let from = peer.id;
                self.inbox.tell(Knock::Peer { from, message });
                return;
            }
            peer.counters.sent_failures.add(1);
            let pause = backoff.next(refused, rand::random());
            tokio::select! {
                // Safe to cancel: only a pause.
                () = sleep(pause) => {}
                // Safe to cancel: a nudge not taken is taken next time. After a refusal a person
                // must act, and the peer's own tries would make us busy.
                () = peer.lanes.nudged(), if !refused => {}
            }
        }
    }

    async fn connect(&self, url: &Address) -> Result<Stream, LinkError> {
        let text = || url.to_string();
        let greeted = async {
            let mut stream = dial(url, self.tls.as_deref()).await?;
            let hello = Hello {
                version: VERSION,
                from: self.own,
                to: self.peer.id,
            };
            stream.write_all(&hello.encode()).await?;
            stream.flush().await?;
            let mut answer = [0; ANSWER_BYTES];
            let verdict = match stream.read_exact(&mut answer).await {
                // An alert of TLS (RFC 8446, 5.1).
                Ok(_) if answer.starts_with(&[0x15, 3]) => Err(Refusal::SpeaksTls),
                Ok(_) => Answer::decode(&answer, &hello),
                // It closed on a greeting it cannot read.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(if answer.starts_with(&[0x15, 3]) {
                        Refusal::SpeaksTls
                    } else {
                        Refusal::Unknown
                    })
                }
                Err(error) => return Err(error),
            };
            Ok((stream, verdict))
        };
        match timeout(CONNECT_TIMEOUT, greeted).await {
            Ok(Ok((stream, Ok(_)))) => Ok(stream),
            Ok(Ok((_, Err(source)))) => Err(LinkError::Refused {
                url: text(),
                source,
            }),
            Ok(Err(source)) => Err(LinkError::Connect {
                url: text(),
                source,
            }),
            Err(_) => Err(LinkError::ConnectTimeout { url: text() }),
        }
    }

    /// Carries messages until the stream breaks.
    async fn carry(&mut self, stream: Stream, url: &Address) -> LinkError {
        let peer = Arc::clone(&self.peer);
        tracing::info!(
            peer = format!("{:016x}", peer.id),
            name = peer.name,
            %url,
            "connected to a peer"
        );
        self.said.clear();
        peer.lanes.set_connected(true);
        peer.counters.connected.set(1);
        let source = match self.send(stream).await {
            Ok(never) => match never {},
            Err(source) => source,
        };
        peer.counters.connected.set(0);
        peer.lanes.set_connected(false);
        self.inbox.tell(Knock::PeerUnreachable(peer.id));
        LinkError::Lost {
            url: url.to_string(),
            source,
        }
    }

    async fn send(&self, stream: Stream) -> io::Result<std::convert::Infallible> {
        let peer = &self.peer;
        let (mut back, mut forth) = tokio::io::split(stream);
        let mut pings = interval(PING_PERIOD);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut out = Vec::new();
        let mut nothing = [0; 1];
        loop {
            tokio::select! {
                biased;
                // Safe to cancel: a tick not returned is returned next time. Before the lanes, which
                // may never run empty.
                _ = pings.tick() => self.ping().write(&mut out),
                // Safe to cancel: what waits stays in the lanes.
                () = peer.lanes.wait() => peer.lanes.take(&mut out),
                // Safe to cancel: nothing is expected, only the end. So a peer that went down is
                // known at once, not at the next message.
                read = back.read(&mut nothing) => {
                    read?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
            let written = async {
                forth.write_all(&out).await?;
                // A session of TLS holds back what the socket did not take.
                forth.flush().await
            };
            timeout(WRITE_TIMEOUT, written)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            peer.counters.sent_bytes.add(out.len() as u64);
            out.clear();
            out.shrink_to(BUFFER_BYTES_KEPT);
        }
    }

    fn ping(&self) -> Frame {
        Frame::Ping(u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Logs what is new.
    fn report(&mut self, error: &LinkError) {
        let text = crate::fatal::chain(error);
        if text == self.said {
            return;
        }
        let hint = match error {
            LinkError::Refused { source, .. } => Some(source.hint()),
            LinkError::Connect { url, .. } if url.starts_with("https://") => Some(
                "the peer must listen there with an https:// URL, its certificate be for that host and \
                 signed by an authority of --peer-trusted-ca-file",
            ),
            _ => None,
        };
        tracing::warn!(
            peer = format!("{:016x}", self.peer.id),
            name = self.peer.name,
            hint,
            "no connection to a peer: failed to {text}"
        );
        self.said = text;
    }
}

/// Opens a stream to that address, over TLS if its URL says so.
pub(super) async fn dial(url: &Address, tls: Option<&Keeper>) -> io::Result<Stream> {
    let place = url.place();
    if !url.scheme.is_secure() {
        let socket = dial::plain(&place, Some(SEND_BUFFER_BYTES)).await?;
        return Ok(Stream::Plain(socket));
    }
    let config = tls.and_then(|keeper| keeper.material().client.clone());
    let Some(config) = config else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this member has no settings for TLS with peers",
        ));
    };
    // The certificate is for the host as it was written.
    let name = url.file().is_none().then_some(url.host.as_str());
    dial::secure(&place, name, config, Some(SEND_BUFFER_BYTES)).await
}
