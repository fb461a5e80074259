//! The muster store, or any etcd 3.4 and later.

use std::task::{Context, Poll};

use store_client::connect;
use store_client::mirror::{Event, Feed, FeedOptions, FeedStatus, KeyRange};
use tokio::sync::watch;

use super::{Backend, Source};

/// Mirrors key ranges of a store.
#[derive(Debug, Clone)]
pub struct Store {
    /// How to reach it.
    pub connect: connect::Options,
    /// Spreads the retries of many agents.
    pub seed: u64,
}

impl Backend for Store {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        Box::new(Feed::start(FeedOptions {
            connect: self.connect.clone(),
            ranges,
            seed: self.seed,
        }))
    }
}

impl Source for Feed {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        Self::poll_next(self, context)
    }

    fn status(&self) -> watch::Receiver<FeedStatus> {
        Self::status(self)
    }
}
