//! Leases kept alive as fast as it goes.

use prost::Message;
use store_proto::etcdserverpb::{LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse};

use super::{BOTH_MODES, Bout, Case, CaseError, Figures, KEEP_ALIVE, LEASE_GRANT};
use crate::contender::Contender;
use crate::load::{self, Asker, Shape};
use crate::sample::{Meter, Sample};
use crate::talk::{self, Talker};

/// Many streams, a lease each.
pub(crate) const KEEP_ALIVE_RATE: Case = Case {
    name: "keep-alive",
    about: "keep-alives of many leases, a stream each; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout),
};

/// Seconds a lease is granted for: longer than any run, so that none ends.
const TTL_SECONDS: i64 = 600;

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let settings = bout.settings;
    let mut grants = Grants {
        next: 0,
        leases: settings.clients,
    };
    load::exhaust(
        &bout.addresses(),
        settings.connections,
        settings.clients,
        &mut grants,
        &mut Meter::idle(),
    )?;
    let shape = Shape {
        connections: settings.connections,
        clients: settings.clients,
        warm_up: settings.warm_up(),
        measured: settings.measured(),
    };
    let mut meter = Meter::of(bout.server);
    talk::measure(&bout.addresses(), shape, &mut KeepAlives, &mut meter)?;
    Ok(meter.finish()?)
}

/// The lease that stream `number` keeps; 0 would ask the store for an id.
fn lease(number: usize) -> i64 {
    number as i64 + 1
}

struct Grants {
    next: usize,
    leases: usize,
}

impl Asker for Grants {
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str> {
        if self.next == self.leases {
            return None;
        }
        let grant = LeaseGrantRequest {
            id: lease(self.next),
            ttl: TTL_SECONDS,
        };
        self.next += 1;
        message.extend_from_slice(&grant.encode_to_vec());
        Some(LEASE_GRANT)
    }
}

struct KeepAlives;

impl Talker for KeepAlives {
    fn path(&self) -> &'static str {
        KEEP_ALIVE
    }

    fn say(&mut self, number: usize, message: &mut Vec<u8>) -> bool {
        let keep = LeaseKeepAliveRequest { id: lease(number) };
        message.extend_from_slice(&keep.encode_to_vec());
        true
    }

    fn answered(&mut self, number: usize, bytes: &[u8]) -> Result<bool, CaseError> {
        match LeaseKeepAliveResponse::decode(bytes) {
            Ok(kept) if kept.ttl == TTL_SECONDS && kept.id == lease(number) => Ok(true),
            other => Err(CaseError::Unexpected {
                what: format!("did not keep lease {}: {other:?}", lease(number)),
            }),
        }
    }
}
