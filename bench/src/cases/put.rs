//! Durable puts: many clients at once, and one alone.

use bytes::Bytes;
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use store_proto::etcdserverpb::PutRequest;

use super::{BOTH_MODES, Bout, Case, CaseError, Figures, PUT, Settings};
use crate::contender::Contender;
use crate::load::Asker;
use crate::sample::Sample;

/// Many clients: what a store can take.
pub(crate) const MANY: Case = Case {
    name: "put",
    about: "durable put of a random key, many clients; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster, Contender::Nothing],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout, bout.settings.connections, bout.settings.clients),
};

/// One client: what one put costs in time.
pub(crate) const ONE: Case = Case {
    name: "put-one",
    about: "durable put of a random key, one client; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster, Contender::Nothing],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout, 1, 1),
};

/// Many clients of three members: what durability on several machines costs.
pub(crate) const THREE: Case = Case {
    name: "put-three",
    about: "durable put of a random key into three members, many clients spread over them; request sent to answer received",
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 3,
    ..MANY
};

fn run(bout: &Bout<'_>, connections: usize, clients: usize) -> Result<Sample, CaseError> {
    let mut puts = RandomPuts {
        template: PutTemplate::new(bout.settings),
        random: SmallRng::seed_from_u64(bout.seed),
        keys: bout.settings.keys,
    };
    bout.measure(connections, clients, &mut puts)
}

/// Puts of random keys without end.
pub(crate) struct RandomPuts {
    template: PutTemplate,
    random: SmallRng,
    keys: u64,
}

impl RandomPuts {
    /// Of the keys in `settings`.
    pub(crate) fn new(settings: &Settings, seed: u64) -> RandomPuts {
        RandomPuts {
            template: PutTemplate::new(settings),
            random: SmallRng::seed_from_u64(seed),
            keys: settings.keys,
        }
    }
}

impl Asker for RandomPuts {
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str> {
        self.template
            .write(message, self.random.random_range(0..self.keys));
        Some(PUT)
    }
}

/// Puts of every key once, to have something to read.
pub(crate) struct EveryPut {
    template: PutTemplate,
    next: u64,
    keys: u64,
}

impl EveryPut {
    /// Of all keys in `settings`.
    pub(crate) fn new(settings: &Settings) -> EveryPut {
        EveryPut {
            template: PutTemplate::new(settings),
            next: 0,
            keys: settings.keys,
        }
    }
}

impl Asker for EveryPut {
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str> {
        if self.next == self.keys {
            return None;
        }
        self.template.write(message, self.next);
        self.next += 1;
        Some(PUT)
    }
}

/// An encoded put in which only the key's digits, and a mark in its value, change.
#[derive(Clone)]
pub(crate) struct PutTemplate {
    bytes: Vec<u8>,
    key_bytes: usize,
    /// Where the value begins.
    value_at: usize,
}

impl PutTemplate {
    /// With key and value as long as `settings` say; the value is random, so nothing can pack it.
    pub(crate) fn new(settings: &Settings) -> PutTemplate {
        let mut value = vec![0; settings.value_bytes];
        SmallRng::seed_from_u64(settings.value_bytes as u64).fill(&mut value[..]);
        let request = PutRequest {
            key: Bytes::from(vec![b'0'; settings.key_bytes]),
            value: Bytes::from(value),
            ..PutRequest::default()
        };
        let bytes = request.encode_to_vec();
        PutTemplate {
            value_at: bytes.len() - settings.value_bytes,
            bytes,
            key_bytes: settings.key_bytes,
        }
    }

    /// Appends the put of key `number`.
    pub(crate) fn write(&mut self, message: &mut Vec<u8>, number: u64) {
        write_digits(&mut self.bytes[KEY_AT..KEY_AT + self.key_bytes], number);
        message.extend_from_slice(&self.bytes);
    }

    /// Appends the put of key `number` with `mark` in the first eight bytes of its value.
    pub(crate) fn write_marked(&mut self, message: &mut Vec<u8>, number: u64, mark: u64) {
        self.bytes[self.value_at..self.value_at + 8].copy_from_slice(&mark.to_be_bytes());
        self.write(message, number);
    }
}

/// The mark that [`PutTemplate::write_marked`] left in `value`.
pub(crate) fn mark(value: &[u8]) -> Option<u64> {
    value.first_chunk().map(|mark| u64::from_be_bytes(*mark))
}

/// Where a key begins in a request whose first field it is: behind its tag and its length, one
/// byte each, as a key of a benchmark is shorter than 128 bytes.
pub(crate) const KEY_AT: usize = 2;

/// Fills `place` with the decimal digits of `number`, zeros in front, highest digits cut off.
pub(crate) fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            clients: 1,
            connections: 1,
            key_bytes: 8,
            value_bytes: 256,
            keys: 3,
            warm_up_ms: 0,
            measured_ms: 1,
        }
    }

    #[test]
    fn templates_decode_to_what_was_meant() {
        let mut template = PutTemplate::new(&settings());
        let mut message = Vec::new();
        template.write_marked(&mut message, 1234, 77);
        let request = PutRequest::decode(&message[..]).unwrap();
        assert_eq!(&request.key[..], b"00001234");
        assert_eq!(request.value.len(), 256);
        assert_eq!(mark(&request.value), Some(77));
        assert_eq!(mark(b"short"), None);
    }

    #[test]
    fn every_key_is_put_once() {
        let mut puts = EveryPut::new(&settings());
        let mut keys = Vec::new();
        let mut message = Vec::new();
        while puts.ask(&mut message).is_some() {
            keys.push(PutRequest::decode(&message[..]).unwrap().key);
            message.clear();
        }
        assert_eq!(keys, ["00000000", "00000001", "00000002"]);
    }
}
