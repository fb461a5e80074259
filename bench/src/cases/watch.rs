//! From a put to the event in the hands of every watcher.

use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message;
use store_proto::etcdserverpb::watch_request::RequestUnion;
use store_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};

use super::put::{PutTemplate, mark};
use super::{BOTH_MODES, Bout, Case, CaseError, Figures, PUT, WATCH};
use crate::contender::Contender;
use crate::lines::Lines;
use crate::sample::{Meter, Sample};
use crate::wire::Heard;

/// Watchers, each on a connection of its own.
const WATCHERS: usize = 10;

/// Puts per second: far below what any store can take, so that nothing queues.
const PUTS_PER_SECOND: u64 = 1000;

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
    run: |bout| run(bout),
};

/// The line that puts; the watchers' lines follow it.
const PUT_LINE: usize = 0;

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let settings = bout.settings;
    let mut watch = Watch {
        lines: Lines::connect(&bout.addresses(), WATCHERS + 1)?,
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
    lines: Lines,
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
        let create = WatchCreateRequest {
            key: Bytes::from_static(b"0"),
            range_end: Bytes::from_static(b":"),
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        }
        .encode_to_vec();
        for line in PUT_LINE + 1..=WATCHERS {
            self.lines.get(line).open(line as u64, WATCH, &request)?;
        }
        let deadline = Instant::now() + CREATE_WAIT_MAX;
        let mut created = 0;
        while created < WATCHERS {
            if Instant::now() > deadline {
                return Err(CaseError::Unexpected {
                    what: format!("created {created} of {WATCHERS} watchers"),
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
        let interval = Duration::from_secs(1) / PUTS_PER_SECOND as u32;
        let start = Instant::now();
        let mut message = Vec::new();
        let mut due = start;
        while start.elapsed() < duration {
            while Instant::now() >= due {
                due += interval;
                message.clear();
                let mark = self.epoch.elapsed().as_nanos() as u64;
                self.template
                    .write_marked(&mut message, self.put % self.keys, mark);
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
        Heard::Message { bytes, .. } => match WatchResponse::decode(&bytes[..]) {
            Ok(response) if response.canceled => {
                unexpected(format!("cancelled a watcher: {}", response.cancel_reason))
            }
            Ok(response) => Ok(response),
            Err(error) => unexpected(format!(
                "sent a watch response that does not decode: {error}"
            )),
        },
    }
}
