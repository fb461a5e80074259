use super::*;
use crate::agent::tests::web;

const SECOND: i64 = 1_000_000_000;

#[test]
fn every_policy_with_every_result() {
    let (starting, down) = (
        Some("its health check has not passed yet"),
        Some("its health check fails"),
    );
    for (policy, health, state, closed) in [
        (Policy::Off, None, State::Up, None),
        (Policy::Off, Some(Health::Starting), State::Up, None),
        (Policy::Off, Some(Health::Unhealthy), State::Up, None),
        (Policy::Wait, None, State::Up, None),
        (
            Policy::Wait,
            Some(Health::Starting),
            State::Starting,
            starting,
        ),
        (Policy::Wait, Some(Health::Healthy), State::Up, None),
        (Policy::Wait, Some(Health::Unhealthy), State::Down, down),
        (Policy::Mark, None, State::Up, None),
        (Policy::Mark, Some(Health::Starting), State::Starting, None),
        (Policy::Mark, Some(Health::Healthy), State::Up, None),
        (Policy::Mark, Some(Health::Unhealthy), State::Down, None),
    ] {
        let mut container = web("a", 0);
        container.health = health;
        let gate = Gate {
            policy,
            timeout_ms: None,
        };
        let got = gate.ask(&container, SECOND);
        let want = Passage {
            state,
            closed,
            again_ms: None,
            warnings: Vec::new(),
        };
        assert_eq!(got, want, "{policy} {health:?}");
    }
}

#[test]
fn the_wait_for_a_first_result_ends() {
    let mut container = web("a", 0);
    let gate = Gate {
        policy: Policy::Wait,
        timeout_ms: Some(5_000),
    };
    for (health, at, closed, again_ms) in [
        (Health::Starting, 0, true, Some(5_000)),
        (Health::Starting, 4 * SECOND, true, Some(1_000)),
        (Health::Starting, 5 * SECOND, false, None),
        (Health::Starting, i64::MAX, false, None),
        // The engine's clock is ahead of ours.
        (Health::Starting, -SECOND, true, Some(5_000)),
        // A result counts whenever it comes.
        (Health::Unhealthy, 9 * SECOND, true, None),
        (Health::Healthy, SECOND, false, None),
    ] {
        container.health = Some(health);
        let got = gate.ask(&container, at);
        assert_eq!(
            (got.closed.is_some(), got.again_ms),
            (closed, again_ms),
            "{at}"
        );
    }
}

#[test]
fn labels_beat_the_agent_and_a_wrong_one_is_told() {
    for (label, text, closed, again_ms, warnings) in [
        ("muster.gate", "off", false, None, 0),
        ("muster.gate", "mark", false, None, 0),
        ("muster.gate", "maybe", true, None, 1),
        ("muster.gate.timeout", "2s", true, Some(2_000), 0),
        ("muster.gate.timeout", "0", false, None, 0),
        ("muster.gate.timeout", "soon", true, None, 1),
    ] {
        let mut container = web("a", 0);
        container.health = Some(Health::Starting);
        container.labels.insert(label.to_owned(), text.to_owned());
        let got = Gate::default().ask(&container, 0);
        assert_eq!(
            (got.closed.is_some(), got.again_ms, got.warnings.len()),
            (closed, again_ms, warnings),
            "{label}={text}"
        );
    }
}
