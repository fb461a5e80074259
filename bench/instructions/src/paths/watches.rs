//! Watchers.

use store_machine::command::Command;
use store_machine::request::{KeyRange, PutRequest};
use store_machine::revision::{LeaseId, Revision};
use store_member::input::{Input, StreamEvent};
use store_watch::batch::{StreamId, WatchId};
use store_watch::watcher::WatchSpec;

use super::{Path, TURN, key, value};
use crate::lone::Lone;

/// Streams with a watcher each.
const STREAMS: u64 = 1_000;

pub(crate) const EVENT: Path = Path {
    name: "watch-event",
    about: "event handed to one of a thousand streams that watch the key",
    times: 100 * STREAMS,
    prepare: events,
};

pub(crate) const CREATE: Path = Path {
    name: "watch-create",
    about: "watcher of a key of its own made on one of a thousand streams, 64 in a turn",
    times: 20_000,
    prepare: creations,
};

fn opened() -> Lone {
    let mut lone = Lone::new();
    lone.turn((0..STREAMS).map(|stream| Input::Watch {
        stream: StreamId(stream),
        event: StreamEvent::Opened {
            // Of no interest here: what a client can take.
            credit: 1 << 20,
        },
    }));
    lone
}

fn create(stream: u64, number: u64) -> Input {
    Input::Watch {
        stream: StreamId(stream),
        event: StreamEvent::Create(WatchSpec {
            keys: KeyRange::single(key(number)),
            start: Revision(0),
            id: WatchId(0),
            no_put: false,
            no_delete: false,
            prev_kv: false,
            progress_notify: false,
            fragment: false,
        }),
    }
}

fn events(times: u64) -> Box<dyn FnOnce()> {
    let mut lone = opened();
    let (_, created) = lone.turn((0..STREAMS).map(|stream| create(stream, 0)));
    assert_eq!(created as u64, STREAMS);
    Box::new(move || {
        for _ in 0..times.div_ceil(STREAMS) {
            let token = lone.token();
            let put = Command::Put(PutRequest {
                key: key(0),
                value: value(),
                lease: LeaseId::NONE,
                prev_kv: false,
                ignore_value: false,
                ignore_lease: false,
            });
            let (_, shown) = lone.turn([Input::Propose {
                token,
                command: put,
            }]);
            assert_eq!(shown as u64, STREAMS);
        }
    })
}

fn creations(times: u64) -> Box<dyn FnOnce()> {
    let mut lone = opened();
    Box::new(move || {
        for begin in (0..times).step_by(TURN as usize) {
            let end = times.min(begin + TURN);
            let (_, created) =
                lone.turn((begin..end).map(|number| create(number % STREAMS, number)));
            assert_eq!(created as u64, end - begin);
        }
    })
}
