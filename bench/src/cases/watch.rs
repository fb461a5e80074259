//! From a put to the event in the hands of every watcher.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};

use super::put::{PutTemplate, mark, write_digits};
use super::{BOTH_MODES, Bout, Case, CaseError, Figures, PUT, WATCH};
use crate::contender::Contender;
use crate::lines::Lines;
use crate::load::Shape;
use crate::sample::{Meter, Sample};
use crate::talk::{self, Talker};
use crate::wire::Heard;

/// Who watches, and what.
struct Crowd {
    /// Connections.
    lines: usize,
    /// Streams on each.
    streams: usize,
    /// Watchers on each stream.
    watchers: usize,
    /// What they watch.
    watched: Watched,
    /// Puts per second: far below what any store can take, so that nothing queues.
    puts_per_second: u32,
}

/// What a crowd watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    /// Each of them every key.
    Every,
    /// All of them the first key.
    First,
    /// Each of them a key of its own.
    Own,
}

impl Crowd {
    /// The number of the key that the put with this number is of.
    fn key_of(&self, put: u64, keys: u64) -> u64 {
        match self.watched {
            Watched::Every => put % keys,
            Watched::First => 0,
            Watched::Own => put % self.all() as u64,
        }
    }

    /// What the watcher with this number watches.
    fn range(&self, watcher: usize, key_bytes: usize) -> (Bytes, Bytes) {
        if self.watched == Watched::Every {
            // Every key is a digit and more, and ':' follows the last digit.
            return (Bytes::from_static(b"0"), Bytes::from_static(b":"));
        }
        let mut key = vec![b'0'; key_bytes];
        if self.watched == Watched::Own {
            write_digits(&mut key, watcher as u64);
        }
        (Bytes::from(key), Bytes::new())
    }

    fn all_streams(&self) -> usize {
        self.lines * self.streams
    }

    fn all(&self) -> usize {
        self.all_streams() * self.watchers
    }
}

/// Some programs that follow everything.
const FEW: Crowd = Crowd {
    lines: 10,
    streams: 1,
    watchers: 1,
    watched: Watched::Every,
    puts_per_second: 1000,
};

/// Ten thousand that follow one key. 50,000 events per second: half of what the slower store can send on two cores.
const MANY: Crowd = Crowd {
    lines: 100,
    streams: 10,
    watchers: 10,
    watched: Watched::First,
    puts_per_second: 5,
};

/// Ten thousand that follow a key of their own each, as programs that wait for their own configuration do.
const APART: Crowd = Crowd {
    watched: Watched::Own,
    puts_per_second: 1000,
    ..MANY
};

/// Longest wait for the watchers to be created.
const CREATE_WAIT_MAX: Duration = Duration::from_secs(10);

/// Events on their way.
pub(crate) const DELIVERY: Case = Case {
    name: "watch",
    about: "1,000 puts per second, ten watchers of all keys; put sent to event received by one watcher",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout, &FEW),
};

/// Events of one key on their way to everybody.
pub(crate) const FAN_OUT: Case = Case {
    name: "watch-10000",
    about: "5 puts per second of one key, 10,000 watchers of it on 1,000 streams; put sent to event received by one watcher",
    run: |bout| run(bout, &MANY),
    ..DELIVERY
};

/// Events of many keys, each on its way to one.
pub(crate) const OWN_KEYS: Case = Case {
    name: "watch-10000-keys",
    about: "1,000 puts per second, 10,000 watchers of a key each on 100 connections; put sent to event received by the one who watches it",
    run: |bout| run(bout, &APART),
    ..DELIVERY
};

/// Watchers made.
pub(crate) const CREATION: Case = Case {
    name: "watch-create",
    about: "watchers of single keys created on a hundred streams; request sent to answer received",
    run: |bout| create(bout),
    ..DELIVERY
};

/// The line that puts, and the tag of its calls; the watchers' lines and tags follow it.
const PUT_LINE: usize = 0;

/// Streams that create watchers, a connection each.
const CREATING_STREAMS: usize = 100;

fn create(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let shape = Shape {
        connections: CREATING_STREAMS,
        clients: CREATING_STREAMS,
        warm_up: bout.settings.warm_up(),
        measured: bout.settings.measured(),
    };
    let mut creator = Creator { next: 0 };
    let mut meter = Meter::of(bout.server);
    talk::measure(&bout.addresses(), shape, &mut creator, &mut meter)?;
    Ok(meter.finish()?)
}

/// Creates a watcher of another key each time.
struct Creator {
    next: u64,
}

impl Talker for Creator {
    fn path(&self) -> &'static str {
        WATCH
    }

    fn say(&mut self, _: usize, message: &mut Vec<u8>) -> bool {
        self.next += 1;
        let key = Bytes::from(format!("{:08}", self.next));
        let request = creation(WatchCreateRequest {
            key,
            ..WatchCreateRequest::default()
        });
        message.extend_from_slice(&request);
        true
    }

    fn answered(&mut self, _: usize, bytes: &[u8]) -> Result<bool, CaseError> {
        decoded(bytes).map(|response| response.created)
    }
}

fn creation(create: WatchCreateRequest) -> Vec<u8> {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
    .encode_to_vec()
}

fn run(bout: &Bout<'_>, crowd: &'static Crowd) -> Result<Sample, CaseError> {
    let settings = bout.settings;
    let mut watch = Watch {
        crowd,
        lines: Lines::connect(&bout.addresses(), crowd.lines + 1)?,
        key_bytes: settings.key_bytes,
        template: PutTemplate::new(settings),
        keys: settings.keys,
        epoch: Instant::now(),
        put: 0,
        ready: Vec::new(),
        heard: Vec::new(),
    };
    watch.create()?;
    let mut meter = Meter::of(bout.server);
    watch.run_for(settings.warm_up(), &mut meter)?;
    meter.begin()?;
    watch.run_for(settings.measured(), &mut meter)?;
    Ok(meter.finish()?)
}

struct Watch {
    crowd: &'static Crowd,
    lines: Lines,
    key_bytes: usize,
    template: PutTemplate,
    keys: u64,
    /// Marks in values are nanoseconds since then.
    epoch: Instant,
    /// Puts sent.
    put: u64,
    ready: Vec<usize>,
    heard: Vec<Heard>,
}

impl Watch {
    /// Opens the watchers and waits until each is created.
    fn create(&mut self) -> Result<(), CaseError> {
        let crowd = self.crowd;
        let request = |watcher| {
            let (key, range_end) = crowd.range(watcher, self.key_bytes);
            creation(WatchCreateRequest {
                key,
                range_end,
                ..WatchCreateRequest::default()
            })
        };
        for number in 0..crowd.all_streams() {
            let tag = 1 + number as u64;
            let line = self.lines.get(PUT_LINE + 1 + number % crowd.lines);
            let mut watchers = (0..crowd.watchers).map(|place| number * crowd.watchers + place);
            let Some(first) = watchers.next() else {
                break;
            };
            let stream = line.open(tag, WATCH, &request(first))?;
            for watcher in watchers {
                line.say(stream, &request(watcher))?;
            }
        }
        let deadline = Instant::now() + CREATE_WAIT_MAX;
        let mut created = 0;
        let all = crowd.all();
        while created < all {
            if Instant::now() > deadline {
                return Err(CaseError::Unexpected {
                    what: format!("created {created} of {all} watchers"),
                });
            }
            self.hear()?;
            for said in self.heard.drain(..) {
                created += usize::from(response(&said)?.created);
            }
        }
        Ok(())
    }

    /// Puts at the set pace and takes events for `duration`.
    fn run_for(&mut self, duration: Duration, meter: &mut Meter) -> Result<(), CaseError> {
        let interval = Duration::from_secs(1) / self.crowd.puts_per_second;
        let start = Instant::now();
        let mut message = Vec::new();
        let mut due = start;
        while start.elapsed() < duration {
            while Instant::now() >= due {
                due += interval;
                message.clear();
                let mark = self.epoch.elapsed().as_nanos() as u64;
                let key = self.crowd.key_of(self.put, self.keys);
                self.template.write_marked(&mut message, key, mark);
                self.put += 1;
                self.lines
                    .get(PUT_LINE)
                    .call(PUT_LINE as u64, PUT, &message, false);
            }
            self.hear()?;
            let now = self.epoch.elapsed().as_nanos() as u64;
            for said in self.heard.drain(..) {
                if matches!(said, Heard::Ended { tag, messages: 1 } if tag == PUT_LINE as u64) {
                    continue;
                }
                for event in response(&said)?.events {
                    let sent = event
                        .kv
                        .as_ref()
                        .and_then(|pair| mark(&pair.value))
                        .unwrap_or(now);
                    meter.count(Duration::from_nanos(now.saturating_sub(sent)));
                }
            }
        }
        Ok(())
    }

    /// Sends what is queued and takes what arrives within a millisecond.
    fn hear(&mut self) -> Result<(), CaseError> {
        self.lines.flush_all()?;
        self.lines.wait(Duration::from_millis(1), &mut self.ready)?;
        self.heard.clear();
        for line in &self.ready {
            self.lines.get(*line).receive(&mut self.heard)?;
        }
        Ok(())
    }
}

/// What a watcher was told; anything else is an error.
fn response(said: &Heard) -> Result<WatchResponse, CaseError> {
    let unexpected = |what: String| Err(CaseError::Unexpected { what });
    match said {
        Heard::Ended { tag: 0, .. } => unexpected("refused a put".to_owned()),
        Heard::Ended { tag, .. } => unexpected(format!("ended watch stream {tag}")),
        Heard::Message { bytes, .. } => decoded(bytes),
    }
}

/// What a watcher was told, as long as it is one.
fn decoded(bytes: &[u8]) -> Result<WatchResponse, CaseError> {
    let unexpected = |what: String| Err(CaseError::Unexpected { what });
    match WatchResponse::decode(bytes) {
        Ok(response) if response.canceled => {
            unexpected(format!("cancelled a watcher: {}", response.cancel_reason))
        }
        Ok(response) => Ok(response),
        Err(error) => unexpected(format!(
            "sent a watch response that does not decode: {error}"
        )),
    }
}
