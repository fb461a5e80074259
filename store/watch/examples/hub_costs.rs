//! What the hub costs at scale, in CPU time; the figures in its comments come from here.
//!
//! `cargo run --release -p store-watch --example hub_costs`

use bytes::Bytes;
use store_machine::error::Refusal;
use store_machine::reply::{Event, EventKind, KeyValue};
use store_machine::request::{KeyRange, RangeEnd};
use store_machine::revision::Revision;
use store_watch::batch::{Batch, StreamId, WatchId};
use store_watch::hub::{History, Hub};
use store_watch::watcher::WatchSpec;

/// CPU time of this thread, so that other programs on the machine do not count.
struct Instant(u64);

impl Instant {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self(
            text.split(' ')
                .next()
                .and_then(|nanos| nanos.parse().ok())
                .unwrap_or(0),
        )
    }

    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(Self::now().0.saturating_sub(self.0))
    }
}

const STREAMS: u64 = 100;
const WATCHERS: u64 = 10_000;

/// Revision r puts key r % keys.
struct Past {
    events: Vec<[Event; 1]>,
}

impl Past {
    fn new(revisions: usize, keys: usize) -> Self {
        let value = Bytes::from(vec![b'v'; 256]);
        let event = |n: usize| Event {
            kind: EventKind::Put,
            kv: KeyValue {
                key: key(n % keys),
                mod_revision: Revision(n as i64 + 2),
                value: value.clone(),
                ..KeyValue::default()
            },
            prev: None,
        };
        Self {
            events: (0..revisions).map(|n| [event(n)]).collect(),
        }
    }
}

impl History for Past {
    fn revision(&self) -> Revision {
        Revision(self.events.len() as i64 + 1)
    }
    fn compacted(&self) -> Revision {
        Revision(0)
    }
    fn events(
        &self,
        from: Revision,
        to: Revision,
        visit: &mut dyn FnMut(Revision, &[Event]) -> bool,
    ) -> Result<(), Refusal> {
        for number in from.0.max(2)..=to.0 {
            if !visit(Revision(number), &self.events[number as usize - 2]) {
                break;
            }
        }
        Ok(())
    }
}

fn key(number: usize) -> Bytes {
    Bytes::from(format!("/services/service-{number:06}/instance"))
}

fn spec(start: Bytes, end: RangeEnd, revision: i64) -> WatchSpec {
    WatchSpec {
        keys: KeyRange { start, end },
        start: Revision(revision),
        id: WatchId(0),
        no_put: false,
        no_delete: false,
        prev_kv: false,
        progress_notify: false,
        fragment: false,
    }
}

fn prefix(number: usize) -> (Bytes, RangeEnd) {
    let end = Bytes::from(format!("/services/service-{number:06}0"));
    (
        Bytes::from(format!("/services/service-{number:06}/")),
        RangeEnd::Before(end),
    )
}

fn hub(history: &Past, watchers: u64, mut spec_of: impl FnMut(u64) -> WatchSpec) -> (Hub, f64) {
    let mut hub = Hub::new();
    for stream in 0..STREAMS {
        hub.open(StreamId(stream), usize::MAX / 2);
    }
    let begun = Instant::now();
    let mut out = Vec::new();
    for watcher in 0..watchers {
        hub.create(StreamId(watcher % STREAMS), spec_of(watcher), history);
    }
    let created = begun.elapsed().as_secs_f64();
    // Only the answers to the creations: nobody lags who starts at the present.
    if hub.counts().lagging == 0 {
        hub.drain(history, &mut out);
    }
    (hub, created)
}

/// Publishes so many revisions, draining after each; nanoseconds per revision and batches in all.
fn publish(hub: &mut Hub, revisions: usize, keys: usize) -> (f64, usize) {
    let events = Past::new(revisions, keys).events;
    let mut past = Past {
        events: Vec::with_capacity(revisions),
    };
    let mut out = Vec::new();
    let mut batches = 0;
    let begun = Instant::now();
    for event in events {
        past.events.push(event.clone());
        hub.publish(past.revision(), event.to_vec());
        hub.drain(&past, &mut out);
        batches += out.len();
        out.clear();
    }
    (
        begun.elapsed().as_nanos() as f64 / revisions as f64,
        batches,
    )
}

fn catch_up(name: &str, past: &Past, watchers: u64, spec_of: impl FnMut(u64) -> WatchSpec) {
    let (mut hub, _) = hub(past, watchers, spec_of);
    let begun = Instant::now();
    let (mut out, mut events, mut drains, mut longest) = (Vec::new(), 0, 0, 0.0_f64);
    loop {
        let turn = Instant::now();
        let more = hub.drain(past, &mut out);
        longest = longest.max(turn.elapsed().as_secs_f64());
        drains += 1;
        for (_, batch) in out.drain(..) {
            if let Batch::Events {
                events: of_batch, ..
            } = batch
            {
                events += of_batch.len();
            }
        }
        if !more {
            break;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{name}: {events} events in {seconds:.2} s, {drains} drains, longest {:.1} ms",
        longest * 1e3
    );
}

fn main() {
    let empty = Past { events: Vec::new() };
    let (mut one_key, created) = hub(&empty, WATCHERS, |_| spec(key(0), RangeEnd::Single, 0));
    println!(
        "create {WATCHERS} watchers of one key: {:.0} ns each",
        created / WATCHERS as f64 * 1e9
    );
    let (nanos, batches) = publish(&mut one_key, 200, 1);
    println!("one key to {WATCHERS} watchers: {nanos:.0} ns a revision, {batches} batches");

    let (mut prefixes, created) = hub(&empty, WATCHERS, |n| {
        let (start, end) = prefix(n as usize);
        spec(start, end, 0)
    });
    println!(
        "create {WATCHERS} watchers of a prefix each: {:.0} ns each",
        created / WATCHERS as f64 * 1e9
    );
    let (nanos, batches) = publish(&mut prefixes, 100_000, WATCHERS as usize);
    println!("{WATCHERS} prefixes: {nanos:.0} ns a revision, {batches} batches");

    let past = Past::new(1_000_000, WATCHERS as usize);
    catch_up(
        "10,000 lagging, a key each, 1 M events",
        &past,
        WATCHERS,
        |n| spec(key(n as usize), RangeEnd::Single, 2),
    );
    catch_up("100 lagging, all keys, 1 M events", &past, 100, |_| {
        spec(Bytes::from_static(b"\0"), RangeEnd::Open, 2)
    });
    catch_up(
        "10,000 lagging, a key each, starts all over 1 M events",
        &past,
        WATCHERS,
        |n| spec(key(n as usize), RangeEnd::Single, 2 + n as i64 * 100),
    );
}
