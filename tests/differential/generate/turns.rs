//! Steps on locks and elections. Each lease has a lock and an election of its own: who has to wait for another waits for as
//! long as the sequence, or as it takes one of the servers.

use rand::Rng as _;
use store_proto::{v3electionpb as election, v3lockpb as lock};

use super::{Generator, LEASES, NO_LEASE};
use crate::operation::{Act, ELECTED};

impl Generator {
    pub(super) fn turn(&mut self) -> Act {
        let place = self.chance.random_range(0..LEASES.len());
        let lease = if self.odds(8) {
            NO_LEASE
        } else {
            LEASES[place]
        };
        let name = format!("turn/{place}");
        let value = self.pick(&["", "v1", "v2"]).into();
        let key = if self.odds(10) {
            self.key()
        } else {
            // As Go writes it: with a sign.
            let sign = if lease < 0 { "-" } else { "" };
            format!("{name}/{sign}{:x}", lease.unsigned_abs()).into_bytes()
        };
        let leader = (!self.odds(4)).then(|| election::LeaderKey {
            name: name.clone().into(),
            key: key.clone().into(),
            rev: self.pick(&[ELECTED, ELECTED, ELECTED, 0, 2]),
            lease,
        });
        match self.chance.random_range(0..100) {
            0..25 => Act::Lock(lock::LockRequest {
                name: name.into(),
                lease,
            }),
            25..40 => Act::Unlock(lock::UnlockRequest { key: key.into() }),
            40..60 => Act::Campaign(election::CampaignRequest {
                name: name.into(),
                lease,
                value,
            }),
            60..75 => Act::Proclaim(election::ProclaimRequest { leader, value }),
            75..88 => Act::Leader(election::LeaderRequest { name: name.into() }),
            _ => Act::Resign(election::ResignRequest { leader }),
        }
    }
}
