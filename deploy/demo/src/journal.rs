//! What was seen when, by whom: the engine, the store, the file on disk, the answers through nginx. Keeps the raw
//! observations; what they say about one instance is worked out when asked. All times are wall-clock, because the
//! engine's are, and everything runs on one machine and so by one clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// 4096 observations of each kind: far more than the steps make; a demo left running for days forgets the oldest half.
const OBSERVATIONS_MAX: usize = 4096;

/// When one instance (a container's short id) passed each station of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// The engine says it started.
    pub(crate) started: Option<SystemTime>,
    /// Its key is in the store.
    pub(crate) registered: Option<SystemTime>,
    /// Its line is in the file on disk.
    pub(crate) rendered: Option<SystemTime>,
    /// First answer through nginx.
    pub(crate) answered: Option<SystemTime>,
    /// The engine says it was sent a signal.
    pub(crate) signalled: Option<SystemTime>,
    /// Its line has left the file.
    pub(crate) unrendered: Option<SystemTime>,
    /// Last answer through nginx so far.
    pub(crate) answered_last: Option<SystemTime>,
}

/// Shared by all who see something.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Instance, action, time.
    engine: Vec<(String, String, SystemTime)>,
    /// Keys that came or changed.
    puts: Vec<(String, SystemTime)>,
    registry: BTreeMap<String, String>,
    /// Every version of the file, the last one being on disk now.
    files: Vec<(String, SystemTime)>,
    /// First and last answer of each instance.
    answers: BTreeMap<String, (SystemTime, SystemTime)>,
}

impl Journal {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine said what happened to a container.
    pub(crate) fn engine_said(&self, instance: &str, action: &str, when: SystemTime) {
        push(
            &mut self.inner().engine,
            (instance.to_owned(), action.to_owned(), when),
        );
    }

    /// A key has this value now, or is gone.
    pub(crate) fn store_said(&self, key: &str, value: Option<&str>, when: SystemTime) {
        let mut inner = self.inner();
        if let Some(value) = value {
            inner.registry.insert(key.to_owned(), value.to_owned());
            push(&mut inner.puts, (key.to_owned(), when));
        } else {
            inner.registry.remove(key);
        }
    }

    /// The file on disk reads so now.
    pub(crate) fn file_reads(&self, text: String, when: SystemTime) {
        push(&mut self.inner().files, (text, when));
    }

    /// nginx passed on an answer of `instance`.
    pub(crate) fn answered(&self, instance: &str, when: SystemTime) {
        let mut inner = self.inner();
        match inner.answers.get_mut(instance) {
            Some((_, last)) => *last = when.max(*last),
            None => drop(inner.answers.insert(instance.to_owned(), (when, when))),
        }
    }

    /// The registry as the watch shows it: key to value.
    pub(crate) fn registry(&self) -> BTreeMap<String, String> {
        self.inner().registry.clone()
    }

    /// The rendered file as it is on disk.
    pub(crate) fn file(&self) -> String {
        self.inner()
            .files
            .last()
            .map(|(text, _)| text.clone())
            .unwrap_or_default()
    }

    /// What has been seen of one instance.
    pub(crate) fn way_of(&self, instance: &str) -> Way {
        let inner = self.inner();
        let engine = |action: &str| {
            let mut said = inner
                .engine
                .iter()
                .filter(|(who, what, _)| who == instance && what == action);
            said.next().map(|(_, _, when)| *when)
        };
        let registered = inner
            .puts
            .iter()
            .find(|(key, _)| key.contains(instance))
            .map(|(_, when)| *when);
        let rendered = inner
            .files
            .iter()
            .position(|(text, _)| serves(text, instance));
        let unrendered = rendered.and_then(|from| {
            let mut later = inner.files[from..].iter();
            later
                .find(|(text, _)| !serves(text, instance))
                .map(|(_, when)| *when)
        });
        let answers = inner.answers.get(instance);
        Way {
            started: engine("start"),
            registered,
            rendered: rendered.map(|at| inner.files[at].1),
            answered: answers.map(|(first, _)| *first),
            signalled: engine("kill"),
            unrendered,
            answered_last: answers.map(|(_, last)| *last),
        }
    }
}

fn push<T>(observations: &mut Vec<T>, observation: T) {
    if observations.len() >= OBSERVATIONS_MAX {
        observations.drain(..OBSERVATIONS_MAX / 2);
    }
    observations.push(observation);
}

/// Does the rendered `text` send requests to `instance`? The template writes the key after each server line.
pub(crate) fn serves(text: &str, instance: &str) -> bool {
    server_lines(text).any(|line| line.contains(instance))
}

/// The lines of a rendered file that name a server.
pub(crate) fn server_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| line.starts_with("server ") && line.contains('#'))
}

/// From one sighting to another, `None` while either is missing.
pub(crate) fn between(from: Option<SystemTime>, to: Option<SystemTime>) -> Option<Duration> {
    // Observers run side by side: seen a hair before its cause counts as at once.
    Some(to?.duration_since(from?).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_of_an_instance_is_read_off_the_observations_in_any_order() {
        let at = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let journal = Journal::default();
        journal.file_reads("server 10.0.0.1:80; # other\n".into(), at(1));
        journal.store_said("/services/web/n-abc-80", Some("{}"), at(12));
        journal.engine_said("abc", "start", at(10));
        journal.file_reads(
            "server 10.0.0.2:80; # /services/web/n-abc-80\n".into(),
            at(15),
        );
        journal.answered("abc", at(20));
        journal.answered("abc", at(30));
        journal.engine_said("abc", "kill", at(28));
        journal.file_reads(String::new(), at(31));
        journal.store_said("/services/web/n-abc-80", None, at(40));
        let way = journal.way_of("abc");
        assert_eq!(
            way,
            Way {
                started: Some(at(10)),
                registered: Some(at(12)),
                rendered: Some(at(15)),
                answered: Some(at(20)),
                signalled: Some(at(28)),
                unrendered: Some(at(31)),
                answered_last: Some(at(30)),
            }
        );
        assert_eq!(
            between(way.started, way.answered),
            Some(Duration::from_millis(10))
        );
        assert_eq!(journal.way_of("unknown"), Way::default());
        assert_eq!(journal.registry(), BTreeMap::new());
    }
}
