//! The registrator and an engine that comes and goes: restarted, killed, changed behind everybody's back. On an engine of
//! the test's own, so that the machine's is left in peace.

use std::path::PathBuf;
use std::time::Duration;

use end_to_end::agents::Agent;
use end_to_end::docker::{Container, Engine, Spec};
use end_to_end::own_engine::OwnEngine;
use end_to_end::process::kill_stranger;
use end_to_end::registry::Service;
use end_to_end::store::{Maker, Store};
use end_to_end::wait;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

struct Scene {
    // Dropped in this order: containers go before the engine they run on.
    agent: Agent,
    own: OwnEngine,
    engine: Engine,
    service: Service,
    _store: Store,
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let own = OwnEngine::start(options);
        let engine = own.engine();
        engine
            .build_web_image()
            .unwrap_or_else(|reason| panic!("{reason}"));
        let store = Store::start(Maker::Muster(PathBuf::from(MUSTER)));
        let service = Service::new(store.client());
        let agent = Agent::registrator(MUSTER, &engine, &store.endpoint()).started();
        Self {
            agent,
            own,
            engine,
            service,
            _store: store,
        }
    }

    fn web(&self, restart: &str) -> Container {
        self.engine
            .start(&Spec::web(self.service.name()).option(restart))
    }
}

#[test]
fn an_engine_restarted_under_churn_ends_in_the_truth() {
    let mut scene = Scene::new(&[]);
    let returns: Vec<Container> = (0..3).map(|_| scene.web("--restart=always")).collect();
    let ends: Vec<Container> = (0..2).map(|_| scene.web("--restart=no")).collect();
    let all: Vec<&Container> = returns.iter().chain(&ends).collect();
    scene.service.becomes(&all);
    for round in 0..2 {
        // Containers come and go until the moment the engine goes, and from the moment it is back.
        drop(scene.web("--restart=no"));
        let _doomed = scene.web("--restart=no");
        scene.own.stop();
        scene.own.restart();
        let fresh = scene.web("--restart=no");
        let mut expected: Vec<&Container> = returns.iter().collect();
        expected.push(&fresh);
        scene.service.becomes(&expected);
        assert!(scene.agent.process().exited().is_none(), "round {round}");
    }
    scene.service.becomes(&returns.iter().collect::<Vec<_>>());
}

#[test]
fn what_changed_while_a_killed_engine_was_away_is_found_out() {
    let mut scene = Scene::new(&["--live-restore"]);
    let stays = scene.web("--restart=no");
    let dies = scene.web("--restart=no");
    scene.service.becomes(&[&stays, &dies]);
    let pid = dies
        .inspect("{{.State.Pid}}")
        .unwrap()
        .parse()
        .expect("a pid");
    scene.own.kill();
    // The container lives on without the engine, and dies without anybody to say so.
    kill_stranger(pid);
    let watch = scene.service.watch();
    scene.agent.process().wait_line("engine", wait::LONG);
    scene.own.restart();
    scene.service.becomes(&[&stays]);
    let survivor = format!("{}-8080", stays.short_id());
    assert!(
        watch.events().iter().all(|line| !line.contains(&survivor)),
        "{:?}",
        watch.events()
    );
}

/// Six times the TTL: the agent keeps its lease alive meanwhile, for the containers still serve.
const AWAY: Duration = Duration::from_secs(30);

#[test]
fn an_engine_that_is_gone_for_long_takes_no_registration_along() {
    let mut scene = Scene::new(&["--live-restore"]);
    let stays = scene.web("--restart=no");
    let dies = scene.web("--restart=no");
    let goes = scene.web("--restart=no");
    scene.service.becomes(&[&stays, &dies, &goes]);
    let pid = dies
        .inspect("{{.State.Pid}}")
        .unwrap()
        .parse()
        .expect("a pid");
    scene.own.kill();
    let watch = scene.service.watch();
    kill_stranger(pid);
    wait::stays("registered while the engine is away", AWAY, || {
        watch.holds()
    });
    scene.own.restart();
    drop(goes);
    drop(scene.web("--restart=no"));
    let comes = scene.web("--restart=no");
    scene.service.becomes(&[&stays, &comes]);
    let survivor = format!("{}-8080", stays.short_id());
    assert!(
        watch.events().iter().all(|line| !line.contains(&survivor)),
        "{:?}",
        watch.events()
    );
}
