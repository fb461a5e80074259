//! Who the other members are, and where: changes while the store runs. Whoever sends looks here, the
//! links follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store_member::answer::MemberInfo;
use tokio::sync::watch;

use super::Peer;
use super::lanes::Lanes;
use crate::config::address::Address;
use crate::counters::{Counters, PeerCounters};

/// The other members by id.
pub(crate) type Others = BTreeMap<u64, Arc<Peer>>;

/// Who is a member, this one included, and who was.
#[derive(Debug, Default)]
struct Roll {
    members: Vec<MemberInfo>,
    former: BTreeSet<u64>,
}

/// The list of the others.
#[derive(Debug)]
pub(crate) struct Directory {
    /// This member's id.
    own: u64,
    others: watch::Sender<Others>,
    roll: Mutex<Roll>,
    counters: Arc<Counters>,
}

impl Directory {
    pub(crate) fn new(own: u64, counters: Arc<Counters>) -> Self {
        Self {
            own,
            others: watch::Sender::default(),
            roll: Mutex::default(),
            counters,
        }
    }

    /// All members, this one included.
    pub(super) fn members(&self) -> Vec<MemberInfo> {
        self.roll().members.clone()
    }

    /// Whether that was a member once, and is not any more.
    pub(super) fn is_former(&self, id: u64) -> bool {
        self.roll().former.contains(&id)
    }

    fn roll(&self) -> MutexGuard<'_, Roll> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the members now, and those were, for good. One that stays where it was keeps its link; one that moved gets
    /// another.
    pub(crate) fn set(&self, members: &[MemberInfo], former: BTreeSet<u64>) {
        // First, so that who follows the others finds it.
        *self.roll() = Roll {
            members: members.to_vec(),
            former,
        };
        let others = members.iter().filter(|member| member.id != self.own);
        let url = |url: &String| {
            let read = Address::parse("initial-cluster", url);
            read.inspect_err(|error| tracing::warn!("passed over a peer's address: {error}"))
                .ok()
        };
        self.others.send_modify(|known| {
            *known = others
                .map(|member| {
                    let urls: Vec<Address> = member.peer_urls.iter().filter_map(url).collect();
                    let before = known.get(&member.id);
                    if let Some(same) = before.filter(|before| before.urls == urls) {
                        return (member.id, Arc::clone(same));
                    }
                    let counters = before.map(|before| Arc::clone(&before.counters));
                    let peer = Peer {
                        id: member.id,
                        name: member.name.clone(),
                        urls,
                        lanes: Lanes::default(),
                        counters: counters.unwrap_or_default(),
                    };
                    (member.id, Arc::new(peer))
                })
                .collect();
            let counters: Vec<(u64, Arc<PeerCounters>)> = known
                .values()
                .map(|peer| (peer.id, Arc::clone(&peer.counters)))
                .collect();
            self.counters.set_peers(counters);
        });
    }

    /// The others now. Not to be kept: it keeps changes out.
    pub(crate) fn others(&self) -> watch::Ref<'_, Others> {
        self.others.borrow()
    }

    /// One of them.
    pub(super) fn find(&self, id: u64) -> Option<Arc<Peer>> {
        self.others().get(&id).cloned()
    }

    /// Tells of changes; the present state counts as one.
    pub(super) fn changes(&self) -> watch::Receiver<Others> {
        let mut changes = self.others.subscribe();
        changes.mark_changed();
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, url: &str) -> MemberInfo {
        MemberInfo {
            id,
            name: format!("m{id}"),
            peer_urls: vec![url.to_owned()],
            client_urls: Vec::new(),
            learner: false,
        }
    }

    #[test]
    fn who_stays_keeps_its_lanes_and_who_moves_its_numbers() {
        let counters = Arc::new(Counters::default());
        let directory = Directory::new(1, Arc::clone(&counters));
        directory.set(
            &[
                member(1, "http://a:1"),
                member(2, "http://b:1"),
                member(3, "http://c:1"),
                member(4, "http://d:1"),
            ],
            BTreeSet::new(),
        );
        assert!(directory.find(1).is_none(), "that is this member");
        let before: Vec<Arc<Peer>> = directory.others().values().cloned().collect();
        directory.set(
            &[
                member(1, "http://a:1"),
                member(2, "http://b:1"),
                member(3, "http://c:2"),
                member(5, "nowhere"),
            ],
            BTreeSet::from([4]),
        );
        assert!(directory.is_former(4) && !directory.is_former(2));
        assert_eq!(directory.members().len(), 4);
        let (two, three) = (directory.find(2).unwrap(), directory.find(3).unwrap());
        assert!(Arc::ptr_eq(&before[0], &two));
        assert!(!Arc::ptr_eq(&before[1], &three));
        assert!(Arc::ptr_eq(&before[1].counters, &three.counters));
        assert!(directory.find(4).is_none());
        assert_eq!(directory.find(5).unwrap().urls, []);
        let counted: Vec<u64> = counters.peers().iter().map(|peer| peer.0).collect();
        assert_eq!(counted, [2, 3, 5]);
    }
}
