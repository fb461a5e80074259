//! The last changes with their cause, for people who come too late for the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use registrator_catalog::timestamp;
use serde::Serialize;

use crate::agent::{Level, Note};

/// 512: a day of a calm host, minutes of a busy one, 100 KiB.
const ENTRIES_MAX: usize = 512;

/// The last [`ENTRIES_MAX`] changes. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(Arc<Mutex<VecDeque<Entry>>>);

#[derive(Clone, Debug, Serialize)]
struct Entry {
    at: String,
    level: &'static str,
    subject: String,
    text: String,
}

impl Journal {
    /// Adds a change that happened at `wall_nanos`; the oldest one goes when it is full.
    pub(crate) fn add(&self, wall_nanos: i64, note: &Note) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(Entry {
            at: timestamp::format_millis(u64::try_from(wall_nanos / 1_000_000).unwrap_or(0)),
            level: if note.level == Level::Warn {
                "warn"
            } else {
                "info"
            },
            subject: note.subject.clone(),
            text: note.text.clone(),
        });
    }

    /// All of it, oldest first, about one container or everything.
    pub(crate) fn to_json(&self, subject: Option<&str>) -> String {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = entries
            .iter()
            .filter(|entry| subject.is_none_or(|subject| entry.subject == subject));
        serde_json::to_string_pretty(&of.collect::<Vec<_>>()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_last_changes() {
        let journal = Journal::default();
        for number in 0..ENTRIES_MAX + 3 {
            journal.add(
                0,
                &Note {
                    level: Level::Info,
                    subject: format!("c{}", number % 2),
                    text: number.to_string(),
                },
            );
        }
        let read = |subject| -> Vec<serde_json::Value> {
            serde_json::from_str(&journal.to_json(subject)).unwrap()
        };
        assert_eq!(
            (read(None).len(), read(Some("c0")).len()),
            (ENTRIES_MAX, ENTRIES_MAX / 2)
        );
        assert_eq!(read(None)[0]["text"], "3");
    }
}
