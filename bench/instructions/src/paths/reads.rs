//! Reads, from the fact to the answer.

use bytes::Bytes;
use store_machine::request::{KeyRange, RangeEnd, RangeRequest};
use store_member::answer::Consistency;
use store_member::input::{Input, Read};

use super::{KEYS, Path, TURN, key, writes};

pub(crate) const RANGE: Path = Path {
    name: "range",
    about: "linearizable read of one of many keys, 64 in a turn",
    times: 20_000,
    prepare: |times| {
        reads(times, TURN, |number| {
            RangeRequest::latest(KeyRange::single(key(number)))
        })
    },
};

pub(crate) const RANGE_1000: Path = Path {
    name: "range-1000",
    about: "linearizable read of a thousand neighbouring keys, a turn each",
    times: 200,
    prepare: |times| {
        reads(times, 1, |_| RangeRequest {
            limit: 1_000,
            ..RangeRequest::latest(KeyRange {
                start: Bytes::from_static(b"/keys/"),
                end: RangeEnd::Open,
            })
        })
    },
};

fn reads(times: u64, turn: u64, range: fn(u64) -> RangeRequest) -> Box<dyn FnOnce()> {
    let mut lone = writes::full();
    Box::new(move || {
        let mut asked = 0;
        while asked < times {
            let many = turn.min(times - asked);
            let inputs: Vec<_> = (asked..asked + many)
                .map(|number| Input::Read {
                    token: lone.token(),
                    read: Read::Range(range(number % KEYS)),
                    consistency: Consistency::Linearizable,
                })
                .collect();
            let (replies, _) = lone.turn(inputs);
            assert_eq!(replies as u64, many);
            asked += many;
        }
    })
}
