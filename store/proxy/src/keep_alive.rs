//! [pure] Renewals of many clients on one stream upstream: who asks for a lease that is being asked for already gets the same
//! answer.

use std::collections::BTreeMap;

use store_proto::etcdserverpb::LeaseKeepAliveResponse;

/// A client's stream.
pub(crate) type Client = u64;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Ask upstream for this lease.
    Upstream(i64),
    /// Send to a client.
    Client(Client, LeaseKeepAliveResponse),
}

/// The renewals under way of one identity.
#[derive(Debug, Default)]
pub(crate) struct KeepAlives {
    /// Who waits for which lease, in the order of asking; the same client once for each of its messages.
    waiting: BTreeMap<i64, Vec<Client>>,
    effects: Vec<Effect>,
    /// Renewals that joined one under way.
    coalesced: u64,
}

impl KeepAlives {
    /// What is to be done since the last call.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// How often one joined another.
    pub(crate) fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// A client renews a lease.
    pub(crate) fn client_said(&mut self, client: Client, lease: i64) {
        let waiting = self.waiting.entry(lease).or_default();
        if waiting.is_empty() {
            self.effects.push(Effect::Upstream(lease));
        } else {
            self.coalesced += 1;
        }
        waiting.push(client);
    }

    /// A client's stream has ended.
    pub(crate) fn client_left(&mut self, client: Client) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(|other| *other != client);
            !waiting.is_empty()
        });
    }

    /// An answer from upstream.
    pub(crate) fn upstream_said(&mut self, response: &LeaseKeepAliveResponse) {
        for client in self.waiting.remove(&response.id).unwrap_or_default() {
            self.effects.push(Effect::Client(client, *response));
        }
    }

    /// There is a new stream upstream: what was not answered is asked for again.
    pub(crate) fn upstream_came(&mut self) {
        let again = self.waiting.keys().map(|lease| Effect::Upstream(*lease));
        self.effects.extend(again);
    }

    /// Nobody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(id: i64) -> LeaseKeepAliveResponse {
        LeaseKeepAliveResponse {
            id,
            ttl: 10,
            ..LeaseKeepAliveResponse::default()
        }
    }

    #[test]
    fn one_question_answers_all_who_ask() {
        let mut leases = KeepAlives::default();
        for client in [1, 2, 2] {
            leases.client_said(client, 7);
        }
        leases.client_said(3, 8);
        assert_eq!(leases.take(), [Effect::Upstream(7), Effect::Upstream(8)]);
        leases.upstream_said(&answer(7));
        let told = [1, 2, 2].map(|client| Effect::Client(client, answer(7)));
        assert_eq!(leases.take(), told);
        assert_eq!(leases.coalesced(), 2);
        leases.upstream_said(&answer(7));
        assert!(leases.take().is_empty());
        leases.upstream_came();
        assert_eq!(leases.take(), [Effect::Upstream(8)]);
        leases.client_left(3);
        assert!(leases.is_idle());
    }

    proptest! {
        /// The twin answers every message by itself.
        #[test]
        fn each_message_of_who_stays_is_answered_once(
            steps in prop::collection::vec((0_u8..4, 1_u64..4, 1_i64..4), 0..60)
        ) {
            let mut leases = KeepAlives::default();
            let mut asked: BTreeMap<(Client, i64), usize> = BTreeMap::new();
            let mut told: BTreeMap<(Client, i64), usize> = BTreeMap::new();
            let mut under_way: Vec<i64> = Vec::new();
            let mut settle = |leases: &mut KeepAlives, under_way: &mut Vec<i64>| {
                for effect in leases.take() {
                    match effect {
                        Effect::Upstream(lease) => under_way.push(lease),
                        Effect::Client(client, answer) => *told.entry((client, answer.id)).or_default() += 1,
                    }
                }
            };
            for (step, client, lease) in steps {
                match step {
                    0 | 1 => {
                        *asked.entry((client, lease)).or_default() += 1;
                        leases.client_said(client, lease);
                    }
                    2 if !under_way.is_empty() => leases.upstream_said(&answer(under_way.remove(0))),
                    _ => {
                        under_way.clear();
                        leases.upstream_came();
                    }
                }
                settle(&mut leases, &mut under_way);
                let unique: std::collections::BTreeSet<i64> = under_way.iter().copied().collect();
                prop_assert_eq!(unique.len(), under_way.len(), "asked for twice at a time");
            }
            while let Some(lease) = under_way.pop() {
                leases.upstream_said(&answer(lease));
                settle(&mut leases, &mut under_way);
            }
            prop_assert_eq!(told, asked);
        }
    }
}
