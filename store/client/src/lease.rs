//! One lease per agent: taken under an id the agent can compute again after a restart, so that the
//! new process finds its keys alive and changes nothing that need not change.
//! [`Lease::take`] grants or adopts it, [`Lease::hold`] keeps it alive until that fails.

use std::time::Duration;

use etcd_client::{Client, LeaseGrantOptions, LeaseTimeToLiveOptions};

use crate::failure::{self, Class};

/// Id of a lease in the store. Positive, never zero.
pub type LeaseId = i64;

/// A lease id that follows from `owner` and `ttl_seconds` alone, so the same agent computes the same
/// id after a restart. The TTL takes part because a lease cannot change it: an agent started with
/// another one takes another lease, and the former runs out.
///
/// `owner` names a role and a node, for example `registrator/node-1`.
#[must_use]
pub fn lease_id(owner: &str, ttl_seconds: i64) -> LeaseId {
    // FNV-1a, then the murmur3 finisher so that similar names differ in all bits. 63 bits: two of
    // a thousand agents meet with a chance of 1 in 10^13.
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    for byte in owner.bytes().chain([0]).chain(ttl_seconds.to_be_bytes()) {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash ^= hash >> 33;
    i64::try_from(hash >> 1).unwrap_or(1).max(1)
}

/// A lease this agent owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The time to live the store granted; may be above what was asked for (etcd's minimum is 2 s).
    pub ttl: Duration,
}

/// What [`Lease::take`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The lease.
    pub lease: Lease,
    /// Whether it was alive already; otherwise it was granted now and holds no keys.
    pub adopted: bool,
    /// Keys attached to it, in the order the store gave them.
    pub keys: Vec<Vec<u8>>,
}

/// Why a lease is no longer held.
#[derive(Debug)]
pub enum Ended {
    /// It expired or was revoked: its keys are gone.
    Lost,
    /// The connection or the member failed; the lease may live on.
    Broken(String),
}

/// 5 s: what one lease call may take; a member that is slower has lost its leader.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

impl Lease {
    /// Adopts lease `id` with the keys attached to it, or grants it.
    ///
    /// # Errors
    /// What the store answered, or that it did not answer in 5 s.
    pub async fn take(client: &Client, id: LeaseId, ttl_seconds: i64) -> Result<Taken, LeaseError> {
        let mut leases = client.lease_client();
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let found = in_time("look up lease", leases.time_to_live(id, Some(options))).await?;
        // etcd answers a TTL of -1 for a lease it does not know, and 0 for one about to be revoked.
        if found.ttl() > 0 {
            let ttl = Duration::from_secs(u64::try_from(found.granted_ttl()).unwrap_or(1));
            return Ok(Taken {
                lease: Self { id, ttl },
                adopted: true,
                keys: found.keys().to_vec(),
            });
        }
        let options = LeaseGrantOptions::new().with_id(id);
        let granted = in_time("grant lease", leases.grant(ttl_seconds, Some(options))).await?;
        Ok(Taken {
            lease: Self {
                id,
                ttl: Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or(1)),
            },
            adopted: false,
            keys: Vec::new(),
        })
    }

    /// The keys on the lease right now, or `None` when it is gone.
    ///
    /// # Errors
    /// What the store answered, or that it did not answer in 5 s.
    pub async fn keys(self, client: &Client) -> Result<Option<Vec<Vec<u8>>>, LeaseError> {
        let options = LeaseTimeToLiveOptions::new().with_keys();
        let mut leases = client.lease_client();
        let found = in_time(
            "list keys of lease",
            leases.time_to_live(self.id, Some(options)),
        )
        .await?;
        Ok((found.ttl() > 0).then(|| found.keys().to_vec()))
    }

    /// Keeps the lease alive until that fails; returns why. Three beats fit into one TTL, so that
    /// one lost beat costs nothing. `beat` is told the remaining time after every answer.
    ///
    /// Safe to cancel at any time: the lease then lives on for at most its TTL.
    pub async fn hold(self, client: &Client, mut beat: impl FnMut(Duration)) -> Ended {
        let period = self.ttl / 3;
        let mut leases = client.lease_client();
        let opened = tokio::time::timeout(CALL_TIMEOUT.min(self.ttl), leases.keep_alive(self.id));
        let (mut keeper, mut answers) = match opened.await {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => {
                return if failure::classify(&error) == Class::LeaseGone {
                    Ended::Lost
                } else {
                    Ended::Broken(failure::describe(&error))
                };
            }
            Err(_) => return Ended::Broken("no answer to a lease keep-alive".to_owned()),
        };
        beat(self.ttl);
        loop {
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                // Nothing is asked, so an answer means nothing; but a connection that breaks is
                // noticed here, long before the next beat.
                early = answers.message() => match early {
                    Ok(Some(_)) => {}
                    Ok(None) => return Ended::Broken("the store closed the keep-alive".to_owned()),
                    Err(error) => return Ended::Broken(failure::describe(&error)),
                },
            }
            if let Err(error) = keeper.keep_alive().await {
                return Ended::Broken(failure::describe(&error));
            }
            match tokio::time::timeout(period, answers.message()).await {
                Ok(Ok(Some(answer))) if answer.ttl() <= 0 => return Ended::Lost,
                Ok(Ok(Some(answer))) => {
                    beat(Duration::from_secs(
                        u64::try_from(answer.ttl()).unwrap_or(0),
                    ));
                }
                Ok(Ok(None)) => return Ended::Broken("the store closed the keep-alive".to_owned()),
                Ok(Err(error)) => return Ended::Broken(failure::describe(&error)),
                Err(_) => return Ended::Broken("no answer to a lease keep-alive".to_owned()),
            }
        }
    }

    /// Revokes it: the store deletes all its keys at once. A lease that is gone already is success.
    ///
    /// # Errors
    /// What the store answered, or that it did not answer in 5 s.
    pub async fn revoke(self, client: &Client) -> Result<(), LeaseError> {
        let mut leases = client.lease_client();
        match in_time("revoke lease", leases.revoke(self.id)).await {
            Err(error) if error.class() != Class::LeaseGone => Err(error),
            _ => Ok(()),
        }
    }
}

async fn in_time<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, LeaseError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(LeaseError::Failed {
            operation,
            reason: failure::describe(&source),
            source: Box::new(source),
        }),
        Err(_) => Err(LeaseError::TimedOut { operation }),
    }
}

/// Why a lease call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The store refused or the connection broke.
    #[error("{operation}: {reason}")]
    Failed {
        /// What was asked.
        operation: &'static str,
        /// One line from the store.
        reason: String,
        /// The error as the client crate gave it.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// The store did not answer in time.
    #[error("{operation}: no answer within 5 s")]
    TimedOut {
        /// What was asked.
        operation: &'static str,
    },
}

impl LeaseError {
    /// What the failure means for the caller.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Failed { source, .. } => failure::classify(source),
            Self::TimedOut { .. } => Class::Unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_positive_and_apart() {
        // Golden: an agent of a later version must find the lease of an earlier one.
        assert_eq!(
            lease_id("registrator/node-1", 30),
            3_035_699_161_778_882_765
        );
        let mut seen = std::collections::BTreeSet::new();
        for node in 0..5000 {
            for ttl in [10, 15, 30] {
                let id = lease_id(&format!("registrator/node-{node}"), ttl);
                assert!(id > 0);
                assert!(seen.insert(id), "node-{node} ttl {ttl} met another");
            }
        }
    }
}
