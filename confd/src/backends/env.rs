//! Environment variables as keys, by confd's rule: `/app/name` is read from `APP_NAME`, and every variable shows up as a
//! key in small letters with slashes for underscores.

use std::task::{Context, Poll};

use bytes::Bytes;
use store_client::mirror::{Cause, Change, Entry, Event, FeedStatus, KeyRange, Snapshot};
use tokio::sync::watch;

use super::{Backend, Source};

/// The variables as they were at the start of the process; they never change.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// Keys from these variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            variables: variables.into_iter().collect(),
        }
    }
}

impl Backend for Environment {
    fn open(&self, ranges: Vec<KeyRange>) -> Box<dyn Source> {
        let entries: Vec<(Bytes, Entry)> = self
            .variables
            .iter()
            .map(|(name, value)| {
                let key = format!("/{}", name.to_lowercase().replace('_', "/"));
                let value = Bytes::from(value.clone());
                (
                    Bytes::from(key),
                    Entry {
                        value,
                        create_revision: 1,
                        mod_revision: 1,
                    },
                )
            })
            .filter(|(key, _)| ranges.iter().any(|range| range.contains(key)))
            .collect();
        let snapshot = Snapshot::from_entries(1, entries);
        let changes = snapshot
            .iter()
            .map(|(key, entry)| Change {
                key: key.clone(),
                before: None,
                after: Some(entry.clone()),
            })
            .collect();
        let status = FeedStatus {
            endpoint: Some("environment".to_owned()),
            revision: 1,
            ..FeedStatus::default()
        };
        let (keep, status) = watch::channel(status);
        Box::new(Listing {
            event: Some(Event::Listed {
                snapshot,
                changes,
                cause: Cause::First,
            }),
            status,
            _keep: keep,
        })
    }
}

struct Listing {
    event: Option<Event>,
    status: watch::Receiver<FeedStatus>,
    /// A receiver whose sender is gone would report a change for ever.
    _keep: watch::Sender<FeedStatus>,
}

impl Source for Listing {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Event>> {
        Poll::Ready(self.event.take())
    }

    fn status(&self) -> watch::Receiver<FeedStatus> {
        self.status.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn variables_are_keys_within_the_ranges() {
        let variables = [("APP_NAME", "n"), ("APP_DB_HOST", "h"), ("HOME", "/")];
        let backend =
            Environment::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let mut source = backend.open(vec![KeyRange::tree("/app")]);
        let next = std::future::poll_fn(|context| source.poll_next(context)).await;
        let Some(Event::Listed {
            snapshot, changes, ..
        }) = next
        else {
            panic!("a listing comes first")
        };
        let keys: Vec<&[u8]> = snapshot.iter().map(|(key, _)| key.as_ref()).collect();
        assert_eq!(keys, [&b"/app/db/host"[..], b"/app/name"]);
        assert_eq!(changes.len(), 2);
        assert!(
            std::future::poll_fn(|context| source.poll_next(context))
                .await
                .is_none()
        );
    }
}
