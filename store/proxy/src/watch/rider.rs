//! [pure] A client's watcher: where it is, and what it wants to see of a feed.

use store_proto::etcdserverpb::watch_create_request::FilterType;
use store_proto::etcdserverpb::{WatchCreateRequest, WatchResponse};
use store_proto::mvccpb::Event;
use store_proto::mvccpb::event::EventType;

use super::range::Range;

#[derive(Debug)]
pub(super) struct Rider {
    pub(super) range: Range,
    /// The next revision it is to be shown; 0 = whatever comes after it is created.
    pub(super) from: i64,
    /// Its client was told that it exists.
    pub(super) created: bool,
    /// It wants to hear how far it is.
    pub(super) progress: bool,
    /// What it rides on; nothing while its client takes nothing.
    pub(super) feed: Option<i64>,
    without_puts: bool,
    without_deletes: bool,
}

impl Rider {
    pub(super) fn new(create: &WatchCreateRequest) -> Self {
        let filters: Vec<FilterType> = create.filters().collect();
        Self {
            range: Range::of(create),
            from: create.start_revision,
            created: false,
            progress: create.progress_notify,
            feed: None,
            without_puts: filters.contains(&FilterType::Noput),
            without_deletes: filters.contains(&FilterType::Nodelete),
        }
    }

    /// What of a feed's events it is shown; nothing if that is none of them.
    pub(super) fn show(&self, response: &WatchResponse) -> Option<Vec<Event>> {
        let wanted = |event: &&Event| {
            let revision = event.kv.as_ref().map_or(0, |pair| pair.mod_revision);
            let filtered = match event.r#type() {
                EventType::Put => self.without_puts,
                EventType::Delete => self.without_deletes,
            };
            revision >= self.from && !filtered
        };
        let shown: Vec<Event> = response.events.iter().filter(wanted).cloned().collect();
        (!shown.is_empty()).then_some(shown)
    }
}
