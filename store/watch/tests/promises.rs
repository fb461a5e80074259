//! etcd's watch promises (API guarantees, "Watch APIs": ordered, unique, reliable, atomic, resumable, bookmarkable),
//! each checked on everything a hub hands out, against a twin that keeps all of history in a list.

mod world;

use proptest::prelude::*;
use world::{Op, World};

fn op() -> impl Strategy<Value = Op> {
    let key = 0..4_u8;
    prop_oneof![
        6 => prop::collection::vec((key, any::<bool>()), 1..4).prop_map(Op::Publish),
        3 => (0..3_u8, 0..7_u8, -2..20_i64, 0..16_u8, 0..3_i64)
            .prop_map(|(stream, keys, start, flags, id)| Op::Create { stream, keys, start, flags, id }),
        2 => (0..3_u8, 0..4_i64).prop_map(|(stream, id)| Op::Cancel { stream, id }),
        4 => (0..3_u8, 0..4_u8).prop_map(|(stream, credit)| Op::Credit { stream, credit }),
        4 => Just(Op::Drain),
        2 => (0..3_u8).prop_map(|stream| Op::Progress { stream }),
        1 => Just(Op::ProgressDue),
        1 => (0..4_i64).prop_map(|back| Op::Compact { back }),
        1 => (0..3_u8).prop_map(|stream| Op::Reopen { stream }),
        1 => prop::collection::vec((0..4_u8, any::<bool>()), 1..3).prop_map(Op::Jump),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    #[test]
    fn hold_for_random_histories(ops in prop::collection::vec(op(), 1..80)) {
        let mut world = World::new(3);
        for op in &ops {
            world.step(op);
        }
        world.finish();
    }
}

/// Every sequence of five out of eight moves, on one stream.
#[test]
fn hold_for_all_small_histories() {
    let moves = [
        Op::Publish(vec![(0, true)]),
        Op::Publish(vec![(1, true), (0, false)]),
        Op::Create {
            stream: 0,
            keys: 0,
            start: 0,
            flags: 8,
            id: 0,
        },
        Op::Create {
            stream: 0,
            keys: 4,
            start: 2,
            flags: 0,
            id: 0,
        },
        Op::Credit {
            stream: 0,
            credit: 1,
        },
        Op::Drain,
        Op::Progress { stream: 0 },
        Op::Compact { back: 0 },
    ];
    const LENGTH: u32 = 5;
    for mut number in 0..moves.len().pow(LENGTH) {
        let mut world = World::new(1);
        for _ in 0..LENGTH {
            world.step(&moves[number % moves.len()]);
            number /= moves.len();
        }
        world.finish();
    }
}
