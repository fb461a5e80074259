//! Clients that ask: one request at a time, with a patience that is sometimes too short, at a pace that leaves the
//! machine some air.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{
    Client, CompareOp, DeleteOptions, Error, LeaseGrantOptions, PutOptions, Txn, TxnOp,
};
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use store_sim::recorded::{
    self as record, Body, Command, Compare, CompareTarget, Consistency, DeleteRequest, Failure,
    Header, KeyRange, LeaseId, PutRequest, RangeRequest, Relation, Reply, TxnRequest, What,
};

use super::asker::{Asker, KEY_COUNT, PACE_MS, Told, prefix};
use super::{Clients, KEYS, LEASE_SECONDS, LEASED, Stop};
use crate::history::{History, wire};

/// Milliseconds a client waits for an answer: from less than an election takes to longer than a member tries.
const PATIENCE_MS: std::ops::Range<u64> = 400..8_000;

/// A client that asks.
pub(super) struct Worker {
    number: usize,
    /// It goes on with its member, whatever happens to it.
    stays: bool,
    member: usize,
    asker: Asker,
    chance: SmallRng,
    /// Requests so far: makes each value its own.
    count: u64,
    lease: Option<i64>,
}

impl Worker {
    pub(super) fn new(number: usize, stays: bool, clients: Clients, history: History) -> Self {
        Self {
            number,
            stays,
            member: number % clients.members(),
            asker: Asker { clients, history },
            // What differs from run to run is the machine's doing.
            chance: SmallRng::seed_from_u64(number as u64),
            count: 0,
            lease: None,
        }
    }

    pub(super) async fn run(mut self, stop: Arc<Stop>) {
        while !stop.quiet() {
            self.count += 1;
            let told = match self.chance.random_range(0..100) {
                0..34 => self.put().await,
                34..40 => self.delete().await,
                40..50 => self.txn().await,
                50..76 => self.read(Consistency::Linearizable).await,
                76..84 => self.read(Consistency::Serializable).await,
                _ => self.lease().await,
            };
            let served = matches!(told, Some(Ok(_) | Err(Failure::Refused(_))));
            if !served && !self.stays {
                self.member = (self.member + 1) % self.asker.clients.members();
            }
            let pace = self.chance.random_range(PACE_MS);
            tokio::time::sleep(Duration::from_millis(pace)).await;
        }
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("{KEYS}{}", self.chance.random_range(0..KEY_COUNT)))
    }

    /// A value nobody else writes.
    fn value(&self) -> Bytes {
        Bytes::from(format!("{}/{}", self.number, self.count))
    }

    fn patience(&mut self) -> Duration {
        Duration::from_millis(self.chance.random_range(PATIENCE_MS))
    }

    async fn put(&mut self) -> Told {
        let put = PutRequest {
            key: self.key(),
            value: self.value(),
            lease: LeaseId::NONE,
            prev_kv: self.chance.random_ratio(1, 4),
            ignore_value: false,
            ignore_lease: false,
        };
        self.put_as(put).await
    }

    async fn put_as(&mut self, put: PutRequest) -> Told {
        let mut options = PutOptions::new().with_lease(put.lease.0);
        if put.prev_kv {
            options = options.with_prev_key();
        }
        let (key, value) = (put.key.clone(), put.value.clone());
        let patience = self.patience();
        let call = |mut client: Client| async move {
            let response = client.put(key, value, Some(options)).await?;
            let header = wire::header(response.header());
            Ok((header, Body::Applied(Reply::Put(wire::put(&response)))))
        };
        let what = What::Write(Command::Put(put));
        self.asker.ask(self.member, patience, what, call).await
    }

    async fn delete(&mut self) -> Told {
        let (key, patience) = (self.key(), self.patience());
        let delete = DeleteRequest {
            keys: KeyRange::single(key.clone()),
            prev_kv: true,
        };
        let call = |mut client: Client| async move {
            let options = DeleteOptions::new().with_prev_key();
            let response = client.delete(key, Some(options)).await?;
            let header = wire::header(response.header());
            Ok((
                header,
                Body::Applied(Reply::Delete(wire::delete(&response))),
            ))
        };
        let what = What::Write(Command::Delete(delete));
        self.asker.ask(self.member, patience, what, call).await
    }

    /// Two keys in one revision where a condition holds, one where it does not; or a read of one or two.
    async fn txn(&mut self) -> Told {
        let (key, other, value) = (self.key(), self.key(), self.value());
        let (patience, writes) = (self.patience(), self.chance.random_ratio(2, 3));
        let both = key != other;
        let (success, failure) = if writes {
            let put = |key: &Bytes| TxnOp::put(key.clone(), value.clone(), None);
            let mut success = vec![put(&key)];
            if both {
                success.push(put(&other));
            }
            success.push(TxnOp::get(key.clone(), None));
            (success, vec![put(&other)])
        } else {
            let get = |key: &Bytes| TxnOp::get(key.clone(), None);
            (vec![get(&key), get(&other)], vec![get(&other)])
        };
        let recorded = {
            let put = |key: &Bytes| {
                record::TxnOp::Put(PutRequest {
                    key: key.clone(),
                    value: value.clone(),
                    lease: LeaseId::NONE,
                    prev_kv: false,
                    ignore_value: false,
                    ignore_lease: false,
                })
            };
            let get = |key: &Bytes| {
                record::TxnOp::Range(RangeRequest::latest(KeyRange::single(key.clone())))
            };
            let (success, failure) = if writes {
                let mut success = vec![put(&key)];
                if both {
                    success.push(put(&other));
                }
                success.push(get(&key));
                (success, vec![put(&other)])
            } else {
                (vec![get(&key), get(&other)], vec![get(&other)])
            };
            TxnRequest {
                compare: vec![Compare {
                    keys: KeyRange::single(key.clone()),
                    relation: Relation::Greater,
                    target: CompareTarget::Version(2),
                }],
                success,
                failure,
            }
        };
        let condition = etcd_client::Compare::version(key, CompareOp::Greater, 2);
        let txn = Txn::new()
            .when([condition])
            .and_then(success)
            .or_else(failure);
        let call = |mut client: Client| async move {
            let response = client.txn(txn).await?;
            let (header, reply) = (wire::header(response.header()), wire::txn(&response));
            let body = if writes {
                Body::Applied(Reply::Txn(reply))
            } else {
                Body::Txn(reply)
            };
            Ok((header, body))
        };
        let what = if writes {
            What::Write(Command::Txn(recorded))
        } else {
            What::Txn(recorded, Consistency::Linearizable)
        };
        self.asker.ask(self.member, patience, what, call).await
    }

    async fn read(&mut self, consistency: Consistency) -> Told {
        let keys = if self.chance.random_ratio(1, 4) {
            prefix(KEYS)
        } else {
            KeyRange::single(self.key())
        };
        let mut range = RangeRequest::latest(keys);
        range.limit = u64::from(self.chance.random_ratio(1, 6)) * 2;
        let patience = self.patience();
        self.asker
            .range(self.member, patience, range, consistency)
            .await
    }

    /// Holds a lease: grants it, puts a key under it, keeps it alive, lets it end or revokes it.
    async fn lease(&mut self) -> Told {
        let patience = self.patience();
        let Some(id) = self.lease else {
            let id = (self.number as i64 + 1) << 32 | i64::try_from(self.count).unwrap_or(0);
            let told = self.grant(id, patience).await;
            self.lease = matches!(told, Some(Ok(_))).then_some(id);
            return told;
        };
        let told = match self.chance.random_range(0..12) {
            0 => {
                // Left to end by itself.
                self.lease = None;
                return Some(Ok(Body::KeepAlive(0)));
            }
            1 => {
                self.lease = None;
                self.revoke(id, patience).await
            }
            2..6 => {
                let put = PutRequest {
                    key: Bytes::from(format!("{LEASED}{}", self.number)),
                    value: self.value(),
                    lease: LeaseId(id),
                    prev_kv: false,
                    ignore_value: false,
                    ignore_lease: false,
                };
                self.put_as(put).await
            }
            _ => self.keep_alive(id, patience).await,
        };
        if matches!(
            told,
            Some(Ok(Body::KeepAlive(0)) | Err(Failure::Refused(_)))
        ) {
            self.lease = None;
        }
        told
    }

    async fn grant(&mut self, id: i64, patience: Duration) -> Told {
        let command = Command::LeaseGrant {
            id: LeaseId(id),
            ttl_seconds: LEASE_SECONDS,
        };
        let call = |mut client: Client| async move {
            let options = LeaseGrantOptions::new().with_id(id);
            let response = client.lease_grant(LEASE_SECONDS, Some(options)).await?;
            let reply = Reply::LeaseGrant {
                id: LeaseId(response.id()),
                ttl_seconds: response.ttl(),
            };
            Ok((wire::header(response.header()), Body::Applied(reply)))
        };
        self.asker
            .ask(self.member, patience, What::Write(command), call)
            .await
    }

    async fn revoke(&mut self, id: i64, patience: Duration) -> Told {
        let command = Command::LeaseRevoke {
            id: LeaseId(id),
            term: 0,
        };
        let call = |mut client: Client| async move {
            let response = client.lease_revoke(id).await?;
            let header = wire::header(response.header());
            Ok((header, Body::Applied(Reply::LeaseRevoke)))
        };
        self.asker
            .ask(self.member, patience, What::Write(command), call)
            .await
    }

    async fn keep_alive(&mut self, id: i64, patience: Duration) -> Told {
        let call = |mut client: Client| async move {
            let gone = (Header::default(), Body::KeepAlive(0));
            // The client looks at the first answer itself and says only whether there is such a lease.
            let (mut keeper, mut answers) = match client.lease_keep_alive(id).await {
                Err(Error::LeaseKeepAliveError(_)) => return Ok(gone),
                opened => opened?,
            };
            keeper.keep_alive().await?;
            let answer = answers.message().await?;
            let answer =
                answer.ok_or_else(|| Error::LeaseKeepAliveError("the stream ended".to_owned()))?;
            let header = wire::header(answer.header());
            Ok((header, Body::KeepAlive(answer.ttl())))
        };
        let what = What::KeepAlive(LeaseId(id));
        self.asker.ask(self.member, patience, what, call).await
    }
}
