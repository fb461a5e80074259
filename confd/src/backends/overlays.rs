//! Several backends at once: resources that name their own see these on top of each other, the later over the earlier,
//! and all others what they always saw. Each set of backends has a space of keys of its own in front of every key, so
//! that to everybody else there is one source. Nothing is told before every backend was read: half of the keys would be
//! as good as missing ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::select_all;
use store_client::mirror::{Event, FeedStatus, KeyRange, Snapshot};
use tokio::sync::{mpsc, watch};

use super::follow::running;
use super::ledger::{Keys, Ledger};
use super::{Backend, Source};

/// Backends by name, and which of them each space shows.
pub(crate) struct Overlays {
    /// What all resources see that name none.
    pub(crate) rest: Arc<dyn Backend>,
    /// The others.
    pub(crate) backends: BTreeMap<String, Box<dyn Backend>>,
    /// Names of the backends of each space, the later over the earlier.
    pub(crate) spaces: BTreeMap<String, Vec<String>>,
}

/// One backend and what it said last.
struct Part {
    source: Box<dyn Source>,
    snapshot: Option<Snapshot>,
    ended: bool,
}

/// The name of [`Overlays::rest`].
const REST: &str = "";

/// A range without the space in front.
fn stripped(range: &KeyRange, space: &str) -> Option<KeyRange> {
    let start = range.start.strip_prefix(space.as_bytes())?;
    let end = range.end.as_ref();
    let end = end.and_then(|end| end.strip_prefix(space.as_bytes()));
    Some(KeyRange {
        start: Bytes::copy_from_slice(start),
        end: end.map(Bytes::copy_from_slice),
    })
}

impl Overlays {
    /// What is to be read of each backend.
    fn wishes(&self, ranges: &[KeyRange]) -> BTreeMap<String, Vec<KeyRange>> {
        let mut wishes: BTreeMap<String, Vec<KeyRange>> = BTreeMap::new();
        for range in ranges {
            let own = self
                .spaces
                .iter()
                .find_map(|(space, names)| Some((stripped(range, space)?, names)));
            match own {
                Some((inner, names)) => {
                    for name in names {
                        wishes.entry(name.clone()).or_default().push(inner.clone());
                    }
                }
                None => {
                    let rest = wishes.entry(REST.to_owned()).or_default();
                    rest.push(range.clone());
                }
            }
        }
        wishes
    }
}

impl Backend for Overlays {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        let mut parts = BTreeMap::new();
        for (name, wish) in self.wishes(&ranges) {
            let wish = KeyRange::normalise(wish);
            let source = match self.backends.get(&name) {
                Some(backend) => backend.open(wish),
                None => self.rest.open(wish),
            };
            let part = Part {
                source,
                snapshot: None,
                ended: false,
            };
            parts.insert(name, part);
        }
        // One event, as of every source that reads its keys as a whole.
        let (tell_event, events) = mpsc::channel(1);
        let (tell_status, status) = watch::channel(FeedStatus::default());
        let follower = Follower {
            statuses: parts.values().map(|part| part.source.status()).collect(),
            parts,
            spaces: self.spaces.clone(),
            ledger: Ledger::new(ranges),
            tell_event,
            tell_status,
        };
        running(events, status, tokio::spawn(follower.run()))
    }
}

/// What came first.
enum Next {
    /// One of them said something; nothing is its end.
    Event(String, Option<Event>),
    /// One of them says how it is doing.
    Told,
    /// One of them will say so no more.
    Silent(usize),
}

struct Follower {
    parts: BTreeMap<String, Part>,
    statuses: Vec<watch::Receiver<FeedStatus>>,
    spaces: BTreeMap<String, Vec<String>>,
    ledger: Ledger,
    tell_event: mpsc::Sender<Event>,
    tell_status: watch::Sender<FeedStatus>,
}

impl Follower {
    async fn run(mut self) {
        loop {
            self.tell();
            if self.parts.values().all(|part| part.ended) {
                // Nothing will ever change again.
                return;
            }
            match self.next().await {
                Next::Event(name, event) => {
                    if !self.take(&name, event).await {
                        return;
                    }
                }
                // Its newest value is read by `tell`.
                Next::Told => {}
                Next::Silent(at) => drop(self.statuses.remove(at)),
            }
        }
    }

    async fn next(&mut self) -> Next {
        let Self {
            parts, statuses, ..
        } = self;
        let event = std::future::poll_fn(|context| {
            let mut alive = parts.iter_mut().filter(|(_, part)| !part.ended);
            let ready = alive.find_map(|(name, part)| match part.source.poll_next(context) {
                Poll::Ready(event) => Some((name.clone(), event)),
                Poll::Pending => None,
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        });
        if statuses.is_empty() {
            let (name, event) = event.await;
            return Next::Event(name, event);
        }
        let told = select_all(statuses.iter_mut().map(|status| status.changed().boxed()));
        tokio::select! {
            // A source keeps an event until it is polled, and what is polled here is given back.
            (name, event) = event => Next::Event(name, event),
            // A change that was not seen stays one.
            (changed, at, _) = told => match changed {
                Ok(()) => Next::Told,
                Err(_) => Next::Silent(at),
            },
        }
    }

    /// Takes an event of one of them; false if nobody listens any more.
    async fn take(&mut self, name: &str, event: Option<Event>) -> bool {
        let Some(part) = self.parts.get_mut(name) else {
            return true;
        };
        match event {
            Some(Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) => {
                part.snapshot = Some(snapshot);
            }
            None => {
                part.ended = true;
                return true;
            }
        }
        match self.merged().and_then(|keys| self.ledger.advance(keys)) {
            Some(event) => self.tell_event.send(event).await.is_ok(),
            None => true,
        }
    }

    /// All keys in all spaces; `None` before everything was read.
    fn merged(&self) -> Option<Keys> {
        let mut keys = Keys::new();
        for part in self.parts.values() {
            part.snapshot.as_ref()?;
        }
        let of = |name: &String| {
            let part = self.parts.get(name);
            let entries = part.and_then(|part| part.snapshot.as_ref());
            entries.into_iter().flat_map(Snapshot::iter)
        };
        for (key, entry) in of(&REST.to_owned()) {
            keys.insert(key.clone(), entry.value.clone());
        }
        for (space, names) in &self.spaces {
            for (key, entry) in names.iter().flat_map(of) {
                let key = [space.as_bytes(), key].concat();
                keys.insert(Bytes::from(key), entry.value.clone());
            }
        }
        Some(keys)
    }

    fn tell(&mut self) {
        let mut whole = FeedStatus {
            revision: self.ledger.revision(),
            ..FeedStatus::default()
        };
        let mut endpoints = Vec::new();
        for status in &mut self.statuses {
            let status = status.borrow_and_update();
            endpoints.extend(status.endpoint.clone());
            if whole.error.is_none() && status.error.is_some() {
                whole.error.clone_from(&status.error);
                whole.hint.clone_from(&status.hint);
            }
        }
        whole.endpoint = (!endpoints.is_empty()).then(|| endpoints.join(" + "));
        self.tell_status.send_replace(whole);
    }
}
