//! Sequences from a seed. A few keys, users and leases, so that steps meet; edges and nonsense along with the ordinary.

mod auth;
mod keys;
mod text;
mod turns;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use store_proto::etcdserverpb as pb;

use crate::excuse::Series;
use crate::operation::{Act, COMPACTED, CURRENT, Operation};

/// Leases a sequence grants by name; ids below zero are as good as others.
const LEASES: [i64; 5] = [7, 77, 0x7777_7777, i64::MAX, -4];
/// Never granted.
const NO_LEASE: i64 = 404;
/// Watch streams side by side.
const STREAMS: usize = 2;
/// Of the steps that can be said in JSON, so many are.
const OVER_JSON_PERCENT: u32 = 25;
/// Steps of a sequence.
const STEPS: std::ops::Range<usize> = 40..90;

/// What a sequence is mostly about.
#[derive(Clone, Copy, Debug)]
enum Theme {
    Keys,
    Watches,
    Leases,
    Auth,
    All,
}

const THEMES: [Theme; 5] = [
    Theme::Keys,
    Theme::Watches,
    Theme::Leases,
    Theme::Auth,
    Theme::All,
];

/// The sequence of a seed.
pub(crate) fn sequence(seed: u64, series: Series) -> Vec<Operation> {
    let theme = THEMES[usize::try_from(seed % 5).unwrap_or(0)];
    let mut generator = Generator {
        chance: StdRng::seed_from_u64(seed),
        theme,
        series,
        permissions: Vec::new(),
    };
    let steps = generator.chance.random_range(STEPS);
    let mut operations = Vec::new();
    generator.begin(&mut operations);
    while operations.len() < steps {
        generator.step(&mut operations);
    }
    for operation in &mut operations {
        operation.over_json = generator.odds(OVER_JSON_PERCENT);
    }
    operations
}

struct Generator {
    chance: StdRng,
    theme: Theme,
    series: Series,
    /// Permissions granted so far: role, key, end.
    permissions: Vec<(String, Vec<u8>, Vec<u8>)>,
}

impl Generator {
    fn odds(&mut self, percent: u32) -> bool {
        self.chance.random_range(0..100) < percent
    }

    fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices
            .choose(&mut self.chance)
            .unwrap_or_else(|| panic!("nothing to choose from"))
            .clone()
    }

    fn begin(&mut self, operations: &mut Vec<Operation>) {
        if matches!(self.theme, Theme::Auth) {
            self.enable_auth(operations);
        }
        for _ in 0..self.chance.random_range(0..6) {
            let put = self.put();
            operations.push(self.by_somebody(Act::Put(put)));
        }
    }

    /// One step, or a few that belong together.
    fn step(&mut self, operations: &mut Vec<Operation>) {
        // Weights: keys, watches, leases, auth, cluster and maintenance, locks and elections, JSON written by hand.
        let weights: [u32; 7] = match self.theme {
            Theme::Keys => [80, 0, 4, 0, 6, 0, 10],
            Theme::Watches => [60, 36, 4, 0, 0, 0, 0],
            Theme::Leases => [25, 8, 35, 0, 2, 30, 0],
            Theme::Auth => [40, 6, 8, 44, 2, 0, 0],
            Theme::All => [44, 16, 18, 0, 8, 10, 4],
        };
        let mut lot = self.chance.random_range(0..weights.iter().sum());
        let kind = weights
            .iter()
            .position(|weight| {
                let here = lot < *weight;
                lot = lot.saturating_sub(*weight);
                here
            })
            .unwrap_or(0);
        let act = match kind {
            0 => self.keys(),
            1 => self.watch(),
            2 => return self.lease(operations),
            3 => self.auth(),
            4 => self.maintenance(),
            5 => self.turn(),
            _ => self.text(),
        };
        operations.push(self.by_somebody(act));
    }

    /// Who takes a step: mostly root where users matter, so that something comes of it.
    fn by_somebody(&mut self, act: Act) -> Operation {
        let user = match (self.theme, &act) {
            // 3.4 and 3.5.1 ask nobody who he is here.
            (Theme::Auth, Act::Grant(_) | Act::Revoke(_) | Act::KeepAlive(_) | Act::Leases(_)) => {
                Some("root")
            }
            // Not for root: with authentication off, 3.4 and 3.5.1 go on refusing tokens that have aged.
            (Theme::Auth, Act::AuthDisable(_)) => None,
            (Theme::Auth, _) => self.pick(&[
                Some("root"),
                Some("root"),
                Some("root"),
                Some("alice"),
                Some("alice"),
                Some("bob"),
                None,
            ]),
            _ => None,
        };
        Operation::new(user, act)
    }

    /// A revision to read or begin at: mostly none, else about the edges of what there is.
    fn revision(&mut self) -> i64 {
        match self.chance.random_range(0..100) {
            0..60 => 0,
            60..80 => CURRENT - self.chance.random_range(0..12),
            80..88 => COMPACTED + self.chance.random_range(-1..=1),
            88..94 => CURRENT + self.chance.random_range(0..3),
            94..96 => -1,
            96..98 => 1,
            98 => i64::MAX,
            _ => i64::MIN,
        }
    }

    /// Bounds of revisions filters may have: mostly none.
    fn bound(&mut self) -> i64 {
        if self.odds(80) {
            0
        } else {
            CURRENT - self.chance.random_range(-2..10)
        }
    }

    fn lease_id(&mut self) -> i64 {
        if self.odds(10) {
            NO_LEASE
        } else {
            self.pick(&LEASES)
        }
    }

    fn lease(&mut self, operations: &mut Vec<Operation>) {
        let id = self.lease_id();
        let act = match self.chance.random_range(0..100) {
            0..35 => {
                let ttl = self.pick(&[3600, 7200, 9_000_000_000, 9_000_000_001, i64::MAX]);
                let id = if self.odds(95) {
                    self.pick(&LEASES)
                } else {
                    id
                };
                Act::Grant(pb::LeaseGrantRequest { ttl, id })
            }
            35..45 => {
                // Too short to be left to itself: what it ends with would be a matter of time.
                let ttl = self.pick(&[i64::MIN, -1, 0, 1, 2, 3]);
                let grant = Act::Grant(pb::LeaseGrantRequest { ttl, id });
                operations.push(self.by_somebody(grant));
                let user = operations.last().and_then(|operation| operation.user);
                if self.odds(8) {
                    operations.push(Operation::new(user, Act::Expire(id)));
                }
                let revoke = Act::Revoke(pb::LeaseRevokeRequest { id });
                operations.push(Operation::new(user, revoke));
                return;
            }
            45..60 => Act::Revoke(pb::LeaseRevokeRequest { id }),
            60..72 => Act::KeepAlive(id),
            72..90 => Act::TimeToLive(pb::LeaseTimeToLiveRequest {
                id,
                keys: self.odds(60),
            }),
            _ => Act::Leases(pb::LeaseLeasesRequest {}),
        };
        operations.push(self.by_somebody(act));
    }

    fn watch(&mut self) -> Act {
        use pb::watch_request::RequestUnion;
        let stream = self.chance.random_range(0..STREAMS);
        let request = match self.chance.random_range(0..100) {
            0..70 => {
                let (key, mut range_end) = self.range_of_keys();
                if matches!(self.theme, Theme::Auth) && range_end == [0] {
                    // Whoever may read the first key may watch all behind it in 3.4 and 3.5.1.
                    range_end.clear();
                }
                let filters = match self.chance.random_range(0..10) {
                    0 => vec![0],
                    1 => vec![1],
                    2 => vec![0, 1],
                    3 => vec![5],
                    _ => Vec::new(),
                };
                let watch_id = if self.odds(80) {
                    0
                } else {
                    self.pick(&[1, 2, 3, 9, -5])
                };
                RequestUnion::CreateRequest(pb::WatchCreateRequest {
                    key: key.into(),
                    range_end: range_end.into(),
                    // Below zero: 3.4 and 3.5.1 make a watcher and cancel it at once, later ones refuse.
                    start_revision: self.revision().max(0),
                    progress_notify: self.odds(20),
                    filters,
                    prev_kv: self.odds(50),
                    watch_id,
                    fragment: self.odds(30),
                })
            }
            70..90 => RequestUnion::CancelRequest(pb::WatchCancelRequest {
                watch_id: self.pick(&[1, 2, 3, 4, 9, 99]),
            }),
            _ => RequestUnion::ProgressRequest(pb::WatchProgressRequest {}),
        };
        Act::Watch { stream, request }
    }

    /// What cannot change a cluster of one, and what it says about itself.
    fn maintenance(&mut self) -> Act {
        let bad_urls = |generator: &mut Self| -> Vec<String> {
            let url = generator.pick(&["", "nonsense", "http://", "http://x", "ftp://127.0.0.1:1"]);
            if generator.odds(20) {
                Vec::new()
            } else {
                vec![url.to_owned()]
            }
        };
        match self.chance.random_range(0..11) {
            0 => Act::MemberList(pb::MemberListRequest {
                linearizable: self.odds(50),
            }),
            1 => Act::MemberAdd(pb::MemberAddRequest {
                peer_ur_ls: bad_urls(self),
                is_learner: self.odds(50),
            }),
            2 => Act::MemberRemove(pb::MemberRemoveRequest { id: 404 }),
            3 => Act::MemberUpdate(pb::MemberUpdateRequest {
                id: 404,
                peer_ur_ls: if self.odds(50) {
                    bad_urls(self)
                } else {
                    vec!["http://127.0.0.1:1".to_owned()]
                },
            }),
            4 => Act::MemberPromote(pb::MemberPromoteRequest { id: 404 }),
            5 => Act::Alarm(pb::AlarmRequest {
                action: self.pick(&[0, 2]),
                member_id: 0,
                alarm: self.pick(&[0, 1]),
            }),
            6 => Act::Status(pb::StatusRequest {}),
            7 => Act::Defragment(pb::DefragmentRequest {}),
            8 => Act::Hash(pb::HashRequest {}),
            9 => Act::HashKv(pb::HashKvRequest {
                revision: self.revision(),
            }),
            _ => Act::MoveLeader(pb::MoveLeaderRequest {
                target_id: self.pick(&[0, 404]),
            }),
        }
    }
}
