//! Leases.

use store_machine::revision::LeaseId;
use store_member::answer::Consistency;
use store_member::input::{Input, Read};

use super::{Path, TURN};
use crate::lone::Lone;

/// Leases there are.
const LEASES: u64 = 1_000;

/// Seconds each is granted for: none ends meanwhile.
const TTL_SECONDS: i64 = 600;

pub(crate) const KEEP_ALIVE: Path = Path {
    name: "keep-alive",
    about: "one of a thousand leases kept alive, 64 in a turn",
    times: 20_000,
    prepare: keep_alive,
};

fn lease(number: u64) -> LeaseId {
    LeaseId(number as i64 + 1)
}

fn keep_alive(times: u64) -> Box<dyn FnOnce()> {
    let mut lone = Lone::new();
    let grants: Vec<_> = (0..LEASES)
        .map(|number| Input::LeaseGrant {
            token: lone.token(),
            id: lease(number),
            ttl_seconds: TTL_SECONDS,
            actor: None,
        })
        .collect();
    let (granted, _) = lone.turn(grants);
    assert_eq!(granted as u64, LEASES);
    Box::new(move || {
        for begin in (0..times).step_by(TURN as usize) {
            let end = times.min(begin + TURN);
            let inputs: Vec<_> = (begin..end)
                .map(|number| Input::Read {
                    token: lone.token(),
                    read: Read::KeepAlive(lease(number % LEASES)),
                    consistency: Consistency::Linearizable,
                })
                .collect();
            let (kept, _) = lone.turn(inputs);
            assert_eq!(kept as u64, end - begin);
        }
    })
}
