//! The map against the standard library's, with weights counted by hand.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, Default, PartialEq)]
struct Weighed(u64, bool);

impl Weigh for Weighed {
    fn weight(&self) -> u64 {
        u64::from(self.1)
    }
}

/// Checks shape, order, weights and every way of reading against the twin.
fn check(map: &KeyMap<Weighed>, twin: &BTreeMap<Vec<u8>, Weighed>) {
    check_node(&map.root, map.weight, None, None, true);
    let all: Vec<(Vec<u8>, Weighed)> = twin.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    assert_eq!(walked(map, b""), all);
    let mut back = Vec::new();
    map.walk_back(None, |key, value| {
        back.push((key.to_vec(), value.clone()));
        ControlFlow::Continue(())
    });
    back.reverse();
    assert_eq!(back, all);
}

fn walked(map: &KeyMap<Weighed>, from: &[u8]) -> Vec<(Vec<u8>, Weighed)> {
    let mut walked = Vec::new();
    map.walk(from, |key, value| {
        walked.push((key.to_vec(), value.clone()));
        ControlFlow::Continue(())
    });
    walked
}

/// Returns the depth; bounds and weights must hold everywhere.
fn check_node(
    node: &Node<Weighed>,
    weight: u64,
    low: Option<&[u8]>,
    high: Option<&[u8]>,
    root: bool,
) -> usize {
    assert!(node.len() <= FANOUT_MAX);
    match node {
        Node::Leaf(leaf) => {
            assert!(root || !leaf.values.is_empty(), "an empty leaf");
            assert_eq!(leaf.keys.len(), leaf.values.len());
            for position in 0..leaf.keys.len() {
                let key = leaf.keys.get(position);
                assert!(low.is_none_or(|low| key >= low) && high.is_none_or(|high| key < high));
                assert!(position == 0 || leaf.keys.get(position - 1) < key);
            }
            assert_eq!(leaf.values.iter().map(Weigh::weight).sum::<u64>(), weight);
            1
        }
        Node::Inner(inner) => {
            assert!(inner.children.len() >= if root { 2 } else { 1 });
            assert_eq!(inner.bounds.len() + 1, inner.children.len());
            assert_eq!(
                inner.children.iter().map(|child| child.weight).sum::<u64>(),
                weight
            );
            let mut depths = inner.children.iter().enumerate().map(|(position, child)| {
                let low = position.checked_sub(1).map(|p| inner.bounds.get(p)).or(low);
                let high = if position < inner.bounds.len() {
                    Some(inner.bounds.get(position))
                } else {
                    high
                };
                check_node(&child.node, child.weight, low, high, false)
            });
            let depth = depths.next().unwrap();
            assert!(depths.all(|other| other == depth));
            depth + 1
        }
    }
}

fn set(map: &mut KeyMap<Weighed>, twin: &mut BTreeMap<Vec<u8>, Weighed>, key: &[u8], v: Weighed) {
    let before = map.update(key, |value| value.replace(v.clone()));
    assert_eq!(before, twin.insert(key.to_vec(), v));
}

fn unset(map: &mut KeyMap<Weighed>, twin: &mut BTreeMap<Vec<u8>, Weighed>, key: &[u8]) {
    let before = map.update(key, Option::take);
    assert_eq!(before, twin.remove(key));
}

#[test]
fn grows_and_shrinks_in_every_order() {
    const KEYS: u64 = 6_000;
    let key = |number: u64| format!("/services/{number:08}").into_bytes();
    // Ascending, descending, and scattered by a multiplier prime to the count.
    let orders: [fn(u64) -> u64; 3] = [|i| i, |i| KEYS - 1 - i, |i| i * 7919 % KEYS];
    for insert in orders {
        for remove in orders {
            let (mut map, mut twin) = (KeyMap::new(), BTreeMap::new());
            for i in 0..KEYS {
                set(&mut map, &mut twin, &key(insert(i)), Weighed(i, i % 3 != 0));
            }
            check(&map, &twin);
            for i in 0..KEYS {
                unset(&mut map, &mut twin, &key(remove(i)));
                if i % 1_999 == 0 {
                    check(&map, &twin);
                }
            }
            check(&map, &twin);
            assert!(
                matches!(map.root, Node::Leaf(_)),
                "an empty map is one leaf again"
            );
        }
    }
}

#[test]
fn keys_in_order_fill_their_leaves() {
    let mut map = KeyMap::<()>::new();
    for i in 0..10_000u32 {
        map.update(&i.to_be_bytes(), |value| *value = Some(()));
    }
    fn leaves(node: &Node<()>) -> usize {
        match node {
            Node::Leaf(_) => 1,
            Node::Inner(inner) => inner.children.iter().map(|child| leaves(&child.node)).sum(),
        }
    }
    assert_eq!(leaves(&map.root), 10_000usize.div_ceil(FANOUT_MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn equals_the_standard_map(
        ops in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(0u8..6, 0..6), any::<u64>(), any::<bool>()),
            1..2000,
        ),
        probes in prop::collection::vec(prop::collection::vec(0u8..7, 0..6), 20),
    ) {
        let (mut map, mut twin) = (KeyMap::new(), BTreeMap::new());
        for (keep, key, number, weighs) in &ops {
            if *keep || *number % 4 != 0 {
                set(&mut map, &mut twin, key, Weighed(*number, *weighs));
            } else {
                unset(&mut map, &mut twin, key);
            }
        }
        check(&map, &twin);
        for probe in &probes {
            prop_assert_eq!(map.get(probe), twin.get(probe));
            let below: u64 = twin.range(..probe.clone()).map(|(_, v)| v.weight()).sum();
            prop_assert_eq!(map.weight_below(probe), below);
            let from: Vec<_> =
                twin.range(probe.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(walked(&map, probe), from);
            let mut back = Vec::new();
            map.walk_back(Some(probe), |key, _| {
                back.push(key.to_vec());
                if back.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let before: Vec<_> =
                twin.range(..probe.clone()).rev().take(3).map(|(k, _)| k.clone()).collect();
            prop_assert_eq!(back, before);
            map.walk_mut(probe, |_, value| {
                value.0 ^= 1;
                ControlFlow::Continue(())
            });
            for (_, value) in twin.range_mut(probe.clone()..) {
                value.0 ^= 1;
            }
        }
        check(&map, &twin);
    }
}
