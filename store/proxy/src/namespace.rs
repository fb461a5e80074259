//! [pure] A prefix before every key: added to what clients say, taken away from what they are shown. Message by message, as
//! bytes, for each method that has keys in it.

use bytes::Bytes;
use prost::Message;
use store_proto::etcdserverpb as pb;
use store_proto::mvccpb::KeyValue;
use store_proto::v3electionpb as election;
use store_proto::v3lockpb as lock;

/// The prefix; empty = none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace(Bytes);

/// A message that cannot be read.
pub(crate) type Damaged = prost::DecodeError;

/// What has keys to be moved, one way.
trait Keys {
    fn keys(&mut self, namespace: &Namespace);
}

impl Namespace {
    pub(crate) fn new(prefix: &str) -> Self {
        Self(Bytes::copy_from_slice(prefix.as_bytes()))
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    fn inside(&self, key: &Bytes) -> Bytes {
        [self.0.as_ref(), key].concat().into()
    }

    /// Both ends of a range. One without an end ends with the prefix.
    pub(crate) fn range(&self, key: &mut Bytes, end: &mut Bytes) {
        if self.is_none() {
            return;
        }
        *key = self.inside(key);
        *end = match end.as_ref() {
            b"" => Bytes::new(),
            b"\0" => after(&self.0),
            _ => self.inside(end),
        };
    }

    pub(crate) fn outside(&self, key: &mut Bytes) {
        if key.starts_with(&self.0) {
            *key = key.slice(self.0.len()..);
        }
    }

    pub(crate) fn pair(&self, pair: &mut KeyValue) {
        self.outside(&mut pair.key);
    }

    fn pairs<'p>(&self, pairs: impl IntoIterator<Item = &'p mut KeyValue>) {
        for pair in pairs {
            self.pair(pair);
        }
    }

    fn mapped<M: Message + Default + Keys>(&self, message: &Bytes) -> Result<Bytes, Damaged> {
        let mut message = M::decode(message.clone())?;
        message.keys(self);
        Ok(message.encode_to_vec().into())
    }

    /// Whether a method's messages have keys in them.
    pub(crate) fn concerns(&self, path: &str) -> bool {
        const METHODS: [&str; 13] = [
            "/etcdserverpb.KV/Range",
            "/etcdserverpb.KV/RangeStream",
            "/etcdserverpb.KV/Put",
            "/etcdserverpb.KV/DeleteRange",
            "/etcdserverpb.KV/Txn",
            "/etcdserverpb.Lease/LeaseTimeToLive",
            "/v3lockpb.Lock/Lock",
            "/v3lockpb.Lock/Unlock",
            "/v3electionpb.Election/Campaign",
            "/v3electionpb.Election/Proclaim",
            "/v3electionpb.Election/Leader",
            "/v3electionpb.Election/Observe",
            "/v3electionpb.Election/Resign",
        ];
        !self.is_none() && METHODS.contains(&path)
    }

    /// A client's message as the cluster is to have it.
    pub(crate) fn request(&self, path: &str, message: &Bytes) -> Result<Bytes, Damaged> {
        match path {
            "/etcdserverpb.KV/Range" | "/etcdserverpb.KV/RangeStream" => {
                self.mapped::<pb::RangeRequest>(message)
            }
            "/etcdserverpb.KV/Put" => self.mapped::<pb::PutRequest>(message),
            "/etcdserverpb.KV/DeleteRange" => self.mapped::<pb::DeleteRangeRequest>(message),
            "/etcdserverpb.KV/Txn" => self.mapped::<pb::TxnRequest>(message),
            "/v3lockpb.Lock/Lock" => self.mapped::<lock::LockRequest>(message),
            "/v3lockpb.Lock/Unlock" => self.mapped::<lock::UnlockRequest>(message),
            "/v3electionpb.Election/Campaign" => self.mapped::<election::CampaignRequest>(message),
            "/v3electionpb.Election/Proclaim" => self.mapped::<election::ProclaimRequest>(message),
            "/v3electionpb.Election/Leader" | "/v3electionpb.Election/Observe" => {
                self.mapped::<election::LeaderRequest>(message)
            }
            "/v3electionpb.Election/Resign" => self.mapped::<election::ResignRequest>(message),
            _ => Ok(message.clone()),
        }
    }

    /// The cluster's message as a client is to have it.
    pub(crate) fn response(&self, path: &str, message: &Bytes) -> Result<Bytes, Damaged> {
        match path {
            "/etcdserverpb.KV/Range" => self.mapped::<pb::RangeResponse>(message),
            "/etcdserverpb.KV/RangeStream" => self.mapped::<pb::RangeStreamResponse>(message),
            "/etcdserverpb.KV/Put" => self.mapped::<pb::PutResponse>(message),
            "/etcdserverpb.KV/DeleteRange" => self.mapped::<pb::DeleteRangeResponse>(message),
            "/etcdserverpb.KV/Txn" => self.mapped::<pb::TxnResponse>(message),
            "/etcdserverpb.Lease/LeaseTimeToLive" => {
                self.mapped::<pb::LeaseTimeToLiveResponse>(message)
            }
            "/v3lockpb.Lock/Lock" => self.mapped::<lock::LockResponse>(message),
            "/v3electionpb.Election/Campaign" => self.mapped::<election::CampaignResponse>(message),
            "/v3electionpb.Election/Leader" | "/v3electionpb.Election/Observe" => {
                self.mapped::<election::LeaderResponse>(message)
            }
            _ => Ok(message.clone()),
        }
    }
}

/// The first key that does not begin with the prefix; one zero byte if there is none.
fn after(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(b"\0")
}

impl Keys for pb::RangeRequest {
    fn keys(&mut self, namespace: &Namespace) {
        // What is wrong without a prefix is wrong with it: an empty key is refused upstream.
        if !self.key.is_empty() {
            namespace.range(&mut self.key, &mut self.range_end);
        }
    }
}

impl Keys for pb::PutRequest {
    fn keys(&mut self, namespace: &Namespace) {
        if !self.key.is_empty() {
            self.key = namespace.inside(&self.key);
        }
    }
}

impl Keys for pb::DeleteRangeRequest {
    fn keys(&mut self, namespace: &Namespace) {
        if !self.key.is_empty() {
            namespace.range(&mut self.key, &mut self.range_end);
        }
    }
}

impl Keys for pb::TxnRequest {
    fn keys(&mut self, namespace: &Namespace) {
        use pb::request_op::Request;
        for compare in self
            .compare
            .iter_mut()
            .filter(|compare| !compare.key.is_empty())
        {
            namespace.range(&mut compare.key, &mut compare.range_end);
        }
        for operation in self.success.iter_mut().chain(&mut self.failure) {
            match &mut operation.request {
                Some(Request::RequestRange(range)) => range.keys(namespace),
                Some(Request::RequestPut(put)) => put.keys(namespace),
                Some(Request::RequestDeleteRange(delete)) => delete.keys(namespace),
                Some(Request::RequestTxn(txn)) => txn.keys(namespace),
                None => {}
            }
        }
    }
}

impl Keys for pb::RangeResponse {
    fn keys(&mut self, namespace: &Namespace) {
        namespace.pairs(&mut self.kvs);
    }
}

impl Keys for pb::RangeStreamResponse {
    fn keys(&mut self, namespace: &Namespace) {
        if let Some(response) = &mut self.range_response {
            response.keys(namespace);
        }
    }
}

impl Keys for pb::PutResponse {
    fn keys(&mut self, namespace: &Namespace) {
        namespace.pairs(&mut self.prev_kv);
    }
}

impl Keys for pb::DeleteRangeResponse {
    fn keys(&mut self, namespace: &Namespace) {
        namespace.pairs(&mut self.prev_kvs);
    }
}

impl Keys for pb::TxnResponse {
    fn keys(&mut self, namespace: &Namespace) {
        use pb::response_op::Response;
        for operation in &mut self.responses {
            match &mut operation.response {
                Some(Response::ResponseRange(range)) => range.keys(namespace),
                Some(Response::ResponsePut(put)) => put.keys(namespace),
                Some(Response::ResponseDeleteRange(delete)) => delete.keys(namespace),
                Some(Response::ResponseTxn(txn)) => txn.keys(namespace),
                None => {}
            }
        }
    }
}

impl Keys for pb::LeaseTimeToLiveResponse {
    fn keys(&mut self, namespace: &Namespace) {
        for key in &mut self.keys {
            namespace.outside(key);
        }
    }
}

impl Keys for lock::LockRequest {
    fn keys(&mut self, namespace: &Namespace) {
        self.name = namespace.inside(&self.name);
    }
}

impl Keys for lock::UnlockRequest {
    fn keys(&mut self, namespace: &Namespace) {
        self.key = namespace.inside(&self.key);
    }
}

impl Keys for lock::LockResponse {
    fn keys(&mut self, namespace: &Namespace) {
        namespace.outside(&mut self.key);
    }
}

impl Keys for election::CampaignRequest {
    fn keys(&mut self, namespace: &Namespace) {
        self.name = namespace.inside(&self.name);
    }
}

impl Keys for election::LeaderRequest {
    fn keys(&mut self, namespace: &Namespace) {
        self.name = namespace.inside(&self.name);
    }
}

fn lead(namespace: &Namespace, leader: &mut Option<election::LeaderKey>) {
    if let Some(leader) = leader {
        leader.name = namespace.inside(&leader.name);
        leader.key = namespace.inside(&leader.key);
    }
}

impl Keys for election::ProclaimRequest {
    fn keys(&mut self, namespace: &Namespace) {
        lead(namespace, &mut self.leader);
    }
}

impl Keys for election::ResignRequest {
    fn keys(&mut self, namespace: &Namespace) {
        lead(namespace, &mut self.leader);
    }
}

impl Keys for election::CampaignResponse {
    fn keys(&mut self, namespace: &Namespace) {
        if let Some(leader) = &mut self.leader {
            namespace.outside(&mut leader.name);
            namespace.outside(&mut leader.key);
        }
    }
}

impl Keys for election::LeaderResponse {
    fn keys(&mut self, namespace: &Namespace) {
        namespace.pairs(&mut self.kv);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(key: &'static [u8], end: &'static [u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut key, mut end) = (Bytes::from_static(key), Bytes::from_static(end));
        Namespace::new("n/").range(&mut key, &mut end);
        (key.to_vec(), end.to_vec())
    }

    #[test]
    fn ranges_stay_within_the_prefix() {
        assert_eq!(ends(b"a", b""), (b"n/a".to_vec(), b"".to_vec()));
        assert_eq!(ends(b"a", b"c"), (b"n/a".to_vec(), b"n/c".to_vec()));
        assert_eq!(ends(b"\0", b"\0"), (b"n/\0".to_vec(), b"n0".to_vec()));
        assert_eq!(after(b"a\xff\xff").as_ref(), b"b");
        assert_eq!(after(b"\xff").as_ref(), b"\0");
    }

    #[test]
    fn transactions_are_moved_whole() {
        use pb::request_op::Request;
        let put = pb::PutRequest {
            key: "k".into(),
            ..pb::PutRequest::default()
        };
        let operation = |request| pb::RequestOp {
            request: Some(request),
        };
        let inner = pb::TxnRequest {
            success: vec![operation(Request::RequestPut(put))],
            ..pb::TxnRequest::default()
        };
        let outer = pb::TxnRequest {
            compare: vec![pb::Compare {
                key: "c".into(),
                ..pb::Compare::default()
            }],
            failure: vec![operation(Request::RequestTxn(inner))],
            ..pb::TxnRequest::default()
        };
        let namespace = Namespace::new("n/");
        let moved = namespace.request("/etcdserverpb.KV/Txn", &outer.encode_to_vec().into());
        let moved = pb::TxnRequest::decode(moved.unwrap()).unwrap();
        assert_eq!(moved.compare[0].key.as_ref(), b"n/c");
        let Some(Request::RequestTxn(inner)) = &moved.failure[0].request else {
            panic!("{moved:?}");
        };
        let Some(Request::RequestPut(put)) = &inner.success[0].request else {
            panic!("{inner:?}");
        };
        assert_eq!(put.key.as_ref(), b"n/k");
    }

    #[test]
    fn damage_is_an_error_and_what_has_no_keys_is_left_alone() {
        let namespace = Namespace::new("n/");
        let damaged = Bytes::from_static(b"\xff\xff");
        assert!(namespace.request("/etcdserverpb.KV/Put", &damaged).is_err());
        assert!(
            namespace
                .response("/etcdserverpb.KV/Put", &damaged)
                .is_err()
        );
        assert!(!namespace.concerns("/etcdserverpb.Lease/LeaseGrant"));
        assert!(!Namespace::default().concerns("/etcdserverpb.KV/Put"));
    }
}
