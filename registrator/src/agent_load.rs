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
    let now = Now {
        mono_ms: 5_000,
        wall_nanos: 5_000_000_000,
    };
    let lease = Input::Leased {
        lease: 7,
        adopted: false,
        held: Vec::new(),
    };
    let facts = VecDeque::from([lease, Input::EngineUp]);
    let (inspections, transactions, spent) = run(&mut agent, &containers, facts, now);
    println!("{CONTAINERS} containers: {spent:?} of the agent's time");
    assert_eq!((inspections, transactions), (CONTAINERS, CONTAINERS));
    assert_eq!(agent.held.len(), 2 * CONTAINERS);
    assert!(agent.status().is_ready());
    assert!(spent < LIMIT, "{spent:?}");
}

/// Gives the agent these facts and good answers to everything it orders; says how many inspections and transactions it
/// ordered, and how long it thought.
fn run(
    agent: &mut Agent,
    containers: &BTreeMap<String, Container>,
    mut facts: VecDeque<Input>,
    now: Now,
) -> (usize, usize, Duration) {
    let mut open = VecDeque::new();
    let (mut inspections, mut transactions, mut spent) = (0, 0, Duration::ZERO);
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
                    containers: containers.values().map(summary).collect(),
                }),
                Effect::Inspect { token, id } => {
                    inspections += 1;
                    let found = containers.get(&id).cloned();
                    let found = found.map_or(Inspected::Gone, |c| Inspected::Found(Box::new(c)));
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
    (inspections, transactions, spent)
}

fn summary(container: &Container) -> Summary {
    Summary {
        id: container.id.clone(),
        name: container.name.clone(),
        running: true,
        shape: String::new(),
    }
}

/// Each of a thousand containers says it has the same id. One gets the key, the others wait, each asks a few times and
/// not with every change of any other.
#[test]
fn a_thousand_containers_that_contend_for_one_key() {
    let mut agent = Agent::new(rules(Kind::Registrator), SETTINGS);
    let mut containers: BTreeMap<String, Container> = (0..CONTAINERS)
        .map(|number| {
            let mut container = web(&format!("{number:012x}{number:052x}"), 1_000);
            container.name = format!("web-{number}");
            container.labels.insert("SERVICE_ID".into(), "same".into());
            (container.id.clone(), container)
        })
        .collect();
    let at = |mono_ms: u64| Now {
        mono_ms,
        wall_nanos: i64::try_from(mono_ms).unwrap() * 1_000_000,
    };
    let lease = Input::Leased {
        lease: 7,
        adopted: false,
        held: Vec::new(),
    };
    let facts = VecDeque::from([lease, Input::EngineUp]);
    let (_, transactions, _) = run(&mut agent, &containers, facts, at(5_000));
    agent.check();
    assert_eq!((transactions, agent.held.len()), (1, 1));
    assert_eq!(
        agent.contenders.values().next().unwrap().len(),
        CONTAINERS - 1
    );
    let tried = agent.claims_tried;
    assert!(tried <= 4 * CONTAINERS, "{tried} tries");
    // The one that has it goes, and the next one gets it, again and again.
    for round in 0..100 {
        let owner = agent.owners.values().next().unwrap().clone();
        containers.remove(&*owner);
        let now = at(6_000 + round);
        let event = Input::Happened(Event {
            time_nanos: now.wall_nanos,
            id: owner.to_string(),
            action: Action::Destroy,
        });
        let (_, transactions, _) = run(&mut agent, &containers, VecDeque::from([event]), now);
        assert_eq!((transactions, agent.held.len()), (2, 1));
        assert!(agent.owners.values().all(|next| *next != owner));
    }
    agent.check();
    let tried = agent.claims_tried - tried;
    assert!(tried <= 100 * 8, "{tried} tries for a hundred changes");
}
