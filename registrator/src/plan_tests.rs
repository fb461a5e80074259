use super::*;
use proptest::prelude::*;

/// A store that does what a transaction says, and counts.
#[derive(Clone, Default)]
struct Model {
    keys: BTreeMap<String, Held>,
    revision: i64,
}

impl Model {
    fn commit(&mut self, txn: &Txn) -> bool {
        let holds = |write: &Write| {
            self.keys
                .get(&write.key)
                .map_or(0, |held| held.mod_revision)
                == write.guard
        };
        if !txn.writes.iter().all(holds) {
            return false;
        }
        self.revision += 1;
        for write in &txn.writes {
            match &write.value {
                Some(value) => {
                    let held = Held {
                        value: value.clone().into_bytes(),
                        mod_revision: self.revision,
                        leased: true,
                    };
                    self.keys.insert(write.key.clone(), held);
                }
                None => {
                    self.keys.remove(&write.key);
                }
            }
        }
        true
    }
}

/// The dumb twin: every key that anybody mentions, looked at one by one.
fn twin(
    wanted: &BTreeMap<String, String>,
    held: &BTreeMap<String, Held>,
) -> BTreeMap<String, Option<String>> {
    let mut writes = BTreeMap::new();
    for key in wanted.keys().chain(held.keys()) {
        let is = held
            .get(key)
            .filter(|held| held.leased)
            .map(|held| held.value.clone());
        let should = wanted.get(key).map(|value| value.clone().into_bytes());
        if is != should {
            writes.insert(key.clone(), wanted.get(key).cloned());
        }
    }
    writes
}

fn small_key() -> impl Strategy<Value = String> {
    "[a-e]{1,2}"
}

fn any_held() -> impl Strategy<Value = BTreeMap<String, Held>> {
    let held =
        ("[xyz]", 1_i64..50, prop::bool::weighted(0.8)).prop_map(|(value, rev, leased)| Held {
            value: value.into_bytes(),
            mod_revision: rev,
            leased,
        });
    prop::collection::btree_map(small_key(), held, 0..20)
}

proptest! {
    #[test]
    fn the_same_writes_as_the_twin_and_then_none(
        wanted in prop::collection::btree_map(small_key(), "[xyz]", 0..20),
        held in any_held(),
    ) {
        let plan_now = plan(&wanted, &held);
        let writes: BTreeMap<_, _> = plan_now
            .iter()
            .flat_map(|txn| txn.writes.iter().map(|w| (w.key.clone(), w.value.clone())))
            .collect();
        prop_assert_eq!(&writes, &twin(&wanted, &held));
        let mut model = Model { keys: held, revision: 100 };
        for txn in &plan_now {
            prop_assert!(!txn.writes.is_empty());
            prop_assert!(model.commit(txn), "a guard failed although nobody else wrote");
        }
        prop_assert!(plan(&wanted, &model.keys).is_empty());
    }

    #[test]
    fn what_another_writer_changed_stays(
        wanted in prop::collection::btree_map(small_key(), "[xyz]", 1..10),
        held in any_held(),
        changed in small_key(),
    ) {
        let mut model = Model { keys: held.clone(), revision: 100 };
        let foreign = Held { value: b"foreign".to_vec(), mod_revision: 200, leased: false };
        model.keys.insert(changed.clone(), foreign.clone());
        for txn in plan(&wanted, &held) {
            let touches = txn.writes.iter().any(|write| write.key == changed);
            prop_assert_eq!(model.commit(&txn), !touches);
        }
        prop_assert_eq!(&model.keys[&changed], &foreign);
    }
}

#[test]
fn large_plans_are_split_and_new_comes_first() {
    let wanted = (0..200)
        .map(|n| (format!("k{n:03}"), "v".to_owned()))
        .collect();
    let held = (150..400)
        .map(|n| {
            let held = Held {
                value: b"old".to_vec(),
                mod_revision: n,
                leased: true,
            };
            (format!("k{n:03}"), held)
        })
        .collect();
    let txns = plan(&wanted, &held);
    assert_eq!(
        txns.iter().map(|txn| txn.writes.len()).collect::<Vec<_>>(),
        [127, 127, 127, 19]
    );
    let flat: Vec<&Write> = txns.iter().flat_map(|txn| &txn.writes).collect();
    let deletes_from = flat.iter().position(|write| write.value.is_none()).unwrap();
    assert_eq!(deletes_from, 200);
    assert!(
        flat[deletes_from..]
            .iter()
            .all(|write| write.value.is_none())
    );
}
