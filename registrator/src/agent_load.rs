//! A thousand containers from nothing: how long the agent itself thinks about them, and that it orders no more than it has
//! to: one inspection and one transaction each.

use std::time::{Duration, Instant};

use registrator_catalog::layout::Kind;

use super::*;

const CONTAINERS: usize = 1_000;
/// 2 s for all of them, in a build without optimisation.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn a_thousand_containers_from_nothing() {
    let mut rules = rules(Kind::Native);
    rules.layouts.push(Layout::new(Kind::Registrator, "compat"));
    let mut agent = Agent::new(rules, SETTINGS);
    let containers: BTreeMap<String, Container> = (0..CONTAINERS)
        .map(|number| {
            let mut container = web(&format!("{number:012x}{number:052x}"), 1_000);
            container.name = format!("web-{number}");
            container
                .labels
                .insert("muster.tags".into(), "a,{{ name }}".into());
            (container.id.clone(), container)
        })
        .collect();
    let summaries: Vec<Summary> = containers
        .values()
        .map(|container| Summary {
            id: container.id.clone(),
            name: container.name.clone(),
            running: true,
            shape: String::new(),
        })
        .collect();
    let now = Now {
        mono_ms: 5_000,
        wall_nanos: 5_000_000_000,
    };
    let mut open = VecDeque::new();
    let (mut inspections, mut transactions, mut spent) = (0, 0, Duration::ZERO);
    let lease = Input::Leased {
        lease: 7,
        adopted: false,
        held: Vec::new(),
    };
    let mut facts = VecDeque::from([lease, Input::EngineUp]);
    while let Some(fact) = facts.pop_front() {
        let mut effects = Vec::new();
        let begun = Instant::now();
        agent.step(now, fact, &mut effects);
        spent += begun.elapsed();
        open.extend(effects);
        while let Some(effect) = open.pop_front() {
            match effect {
                Effect::List { token } => facts.push_back(Input::Listed {
                    token,
                    containers: summaries.clone(),
                }),
                Effect::Inspect { token, id } => {
                    inspections += 1;
                    let found = Inspected::Found(Box::new(containers[&id].clone()));
                    facts.push_back(Input::Inspected {
                        token,
                        id,
                        answer: found,
                    });
                }
                Effect::Commit { token, .. } => {
                    transactions += 1;
                    facts.push_back(Input::Committed {
                        token,
                        revision: 10,
                    });
                }
                _ => {}
            }
        }
    }
    println!("{CONTAINERS} containers: {spent:?} of the agent's time");
    assert_eq!((inspections, transactions), (CONTAINERS, CONTAINERS));
    assert_eq!(agent.held.len(), 2 * CONTAINERS);
    assert!(agent.status().is_ready());
    assert!(spent < LIMIT, "{spent:?}");
}
