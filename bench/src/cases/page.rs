//! Reads of a thousand keys at a time.

use bytes::Bytes;
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use store_proto::etcdserverpb::RangeRequest;

use super::put::{KEY_AT, write_digits};
use super::{BOTH_MODES, Bout, Case, CaseError, Figures, RANGE};
use crate::contender::Contender;
use crate::load::Asker;
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
    let mut pages = Pages::new(settings.key_bytes, settings.keys, bout.seed);
    bout.measure(CLIENTS, CLIENTS, &mut pages)
}

/// Reads from random keys on without end.
struct Pages {
    bytes: Vec<u8>,
    key_bytes: usize,
    /// First keys there are so that a page is full.
    starts: u64,
    random: SmallRng,
}

impl Pages {
    fn new(key_bytes: usize, keys: u64, seed: u64) -> Pages {
        let request = RangeRequest {
            key: Bytes::from(vec![b'0'; key_bytes]),
            // Behind every digit.
            range_end: Bytes::from_static(b":"),
            limit: PAGE_KEYS as i64,
            ..RangeRequest::default()
        };
        Pages {
            bytes: request.encode_to_vec(),
            key_bytes,
            starts: keys.saturating_sub(PAGE_KEYS) + 1,
            random: SmallRng::seed_from_u64(seed),
        }
    }
}

impl Asker for Pages {
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str> {
        let number = self.random.random_range(0..self.starts);
        write_digits(&mut self.bytes[KEY_AT..KEY_AT + self.key_bytes], number);
        message.extend_from_slice(&self.bytes);
        Some(RANGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_where_a_whole_one_is_left() {
        let mut pages = Pages::new(8, PAGE_KEYS + 1, 1);
        for _ in 0..20 {
            let mut message = Vec::new();
            assert_eq!(pages.ask(&mut message), Some(RANGE));
            let request = RangeRequest::decode(&message[..]).unwrap();
            assert_eq!(request.limit, 1000);
            assert!(request.key == "00000000" || request.key == "00000001");
        }
    }
}
