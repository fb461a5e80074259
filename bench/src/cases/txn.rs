//! Transactions as Kubernetes writes them: put if the key is as it was last seen, else read it.

use bytes::Bytes;
use prost::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use store_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use store_proto::etcdserverpb::request_op::Request;
use store_proto::etcdserverpb::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};

use super::put::write_digits;
use super::{BOTH_MODES, Bout, Case, CaseError, Figures, Settings, TXN};
use crate::contender::Contender;
use crate::load::Asker;
use crate::sample::Sample;

/// Guarded updates.
pub(crate) const GUARDED: Case = Case {
    name: "txn",
    about: "compare a random key's mod revision (it holds), put it, else get it, many clients; request sent to answer received",
    modes: BOTH_MODES,
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::All,
    run: |bout| run(bout),
};

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let settings = bout.settings;
    bout.load()?;
    let mut updates = GuardedPuts::new(settings, bout.seed);
    bout.measure(settings.connections, settings.clients, &mut updates)
}

/// Guarded puts of random keys without end, encoded once: only the key's digits change.
struct GuardedPuts {
    bytes: Vec<u8>,
    /// Where a key begins: in the comparison, the put and the read.
    keys_at: Vec<usize>,
    key_bytes: usize,
    keys: u64,
    random: SmallRng,
}

impl GuardedPuts {
    fn new(settings: &Settings, seed: u64) -> GuardedPuts {
        let mut value = vec![0; settings.value_bytes];
        SmallRng::seed_from_u64(settings.value_bytes as u64).fill(&mut value[..]);
        let value = Bytes::from(value);
        let encoded = |digit| request(&vec![digit; settings.key_bytes], &value).encode_to_vec();
        // Where two requests for other keys of the same length differ, there are their keys.
        let (bytes, other) = (encoded(b'0'), encoded(b'9'));
        let differing: Vec<usize> = (0..bytes.len())
            .filter(|place| bytes[*place] != other[*place])
            .collect();
        GuardedPuts {
            keys_at: differing
                .chunks(settings.key_bytes)
                .map(|key| key[0])
                .collect(),
            bytes,
            key_bytes: settings.key_bytes,
            keys: settings.keys,
            random: SmallRng::seed_from_u64(seed),
        }
    }
}

/// The comparison is one that always holds, so that clients need not know what others have written; what it costs
/// is the same.
fn request(key: &[u8], value: &Bytes) -> TxnRequest {
    let key = Bytes::copy_from_slice(key);
    let operation = |request| RequestOp {
        request: Some(request),
    };
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Less.into(),
            target: CompareTarget::Mod.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::ModRevision(i64::MAX)),
            ..Compare::default()
        }],
        success: vec![operation(Request::RequestPut(PutRequest {
            key: key.clone(),
            value: value.clone(),
            ..PutRequest::default()
        }))],
        failure: vec![operation(Request::RequestRange(RangeRequest {
            key,
            ..RangeRequest::default()
        }))],
    }
}

impl Asker for GuardedPuts {
    fn ask(&mut self, message: &mut Vec<u8>) -> Option<&'static str> {
        let number = self.random.random_range(0..self.keys);
        for at in &self.keys_at {
            write_digits(&mut self.bytes[*at..*at + self.key_bytes], number);
        }
        message.extend_from_slice(&self.bytes);
        Some(TXN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_parts_are_about_one_key_in_the_key_space() {
        let settings = Settings {
            clients: 1,
            connections: 1,
            key_bytes: 8,
            value_bytes: 256,
            keys: 3,
            warm_up_ms: 0,
            measured_ms: 1,
        };
        let mut updates = GuardedPuts::new(&settings, 1);
        for _ in 0..20 {
            let mut message = Vec::new();
            assert_eq!(updates.ask(&mut message), Some(TXN));
            let txn = TxnRequest::decode(&message[..]).unwrap();
            let key = txn.compare[0].key.clone();
            assert!(["00000000", "00000001", "00000002"].contains(&str::from_utf8(&key).unwrap()));
            let put = PutRequest {
                key: key.clone(),
                value: match &txn.success[0].request {
                    Some(Request::RequestPut(put)) => put.value.clone(),
                    other => panic!("{other:?}"),
                },
                ..PutRequest::default()
            };
            assert_eq!(txn, request(&key, &put.value));
            assert_eq!(put.value.len(), 256);
        }
    }
}
