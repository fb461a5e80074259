//! Reads of a thousand keys at a time.

use bytes::Bytes;
use store_proto::etcdserverpb::RangeRequest;

use super::range::RandomReads;
use super::{BOTH_MODES, Bout, Case, CaseError, Figures};
use crate::contender::Contender;
use crate::sample::Sample;

/// Keys of one read.
const PAGE_KEYS: u64 = 1000;

/// Clients, each on a connection of its own: enough that the server never waits for one, few enough that their
/// answers, a third of a mebibyte each, do not queue for seconds.
const CLIENTS: usize = 10;

/// Linearizable reads of many neighbours.
pub(crate) const PAGE: Case = Case {
    name: "range-1000",
    about: "linearizable read of 1,000 neighbouring keys, ten clients; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout),
};

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let settings = bout.settings;
    bout.load()?;
    let mut reads = pages(settings.key_bytes, settings.keys, bout.seed);
    bout.measure(CLIENTS, CLIENTS, &mut reads)
}

/// Reads of a whole page each.
fn pages(key_bytes: usize, keys: u64, seed: u64) -> RandomReads {
    let starts = keys.saturating_sub(PAGE_KEYS) + 1;
    RandomReads::new(key_bytes, starts, seed, |key| RangeRequest {
        key,
        // Behind every digit.
        range_end: Bytes::from_static(b":"),
        limit: PAGE_KEYS as i64,
        ..RangeRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::cases::RANGE;
    use crate::load::Asker as _;

    #[test]
    fn pages_begin_where_a_whole_one_is_left() {
        let mut pages = pages(8, PAGE_KEYS + 1, 1);
        for _ in 0..20 {
            let mut message = Vec::new();
            assert_eq!(pages.ask(&mut message), Some(RANGE));
            let request = RangeRequest::decode(&message[..]).unwrap();
            assert_eq!(request.limit, 1000);
            assert!(request.key == "00000000" || request.key == "00000001");
        }
    }
}
