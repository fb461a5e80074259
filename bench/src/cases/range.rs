//! Reads of one key out of many.

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

/// Reads that see every write acknowledged before them.
pub(crate) const LINEARIZABLE: Case = Case {
    name: "range",
    about: "linearizable read of one random key, many clients; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster, Contender::Nothing],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout, false),
};

/// Reads of whatever the member has.
pub(crate) const SERIALIZABLE: Case = Case {
    name: "range-serializable",
    about: "serializable read of one random key, many clients; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster, Contender::Nothing],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout, true),
};

fn run(bout: &Bout<'_>, serializable: bool) -> Result<Sample, CaseError> {
    let settings = bout.settings;
    bout.load()?;
    let mut reads = RandomReads::new(settings.key_bytes, settings.keys, bout.seed, |key| {
        RangeRequest {
            key,
            serializable,
            ..RangeRequest::default()
        }
    });
    bout.measure(settings.connections, settings.clients, &mut reads)
}

/// Reads from random keys on without end, encoded once: only the key's digits change.
pub(crate) struct RandomReads {
    bytes: Vec<u8>,
    key_bytes: usize,
    /// Keys that a read may begin at.
    starts: u64,
    random: SmallRng,
}

impl RandomReads {
    /// What `request` makes of a key, for the first so many keys.
    pub(crate) fn new(
        key_bytes: usize,
        starts: u64,
        seed: u64,
        request: impl FnOnce(Bytes) -> RangeRequest,
    ) -> RandomReads {
        RandomReads {
            bytes: request(Bytes::from(vec![b'0'; key_bytes])).encode_to_vec(),
            key_bytes,
            starts,
            random: SmallRng::seed_from_u64(seed),
        }
    }
}

impl Asker for RandomReads {
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
    fn reads_decode_to_keys_in_the_key_space() {
        let mut reads = RandomReads::new(8, 3, 1, |key| RangeRequest {
            key,
            serializable: true,
            ..RangeRequest::default()
        });
        for _ in 0..20 {
            let mut message = Vec::new();
            assert_eq!(reads.ask(&mut message), Some(RANGE));
            let request = RangeRequest::decode(&message[..]).unwrap();
            assert!(request.serializable);
            assert!(
                ["00000000", "00000001", "00000002"]
                    .iter()
                    .any(|key| request.key == *key)
            );
        }
    }
}
