//! A thousand containers from nothing: an agent that starts on a host where they run already. They run on an engine that
//! only says so, because no machine of this size starts a thousand; the agent and the store below are real.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use end_to_end::fake_engine::{self, FakeEngine};
use serde_json::json;

use super::registration::Keys;
use super::{Bout, Case, CaseError, Figures};
use crate::contender::Contender;
use crate::cores::Mode;
use crate::sample::{Meter, Sample};

/// Containers on the host.
const CONTAINERS: usize = 1_000;

/// All of them.
pub(crate) const CROWD: Case = Case {
    name: "crowd",
    about: "start of `muster registrator` beside 1,000 containers to the key of each, received by a watcher; the row \
            names the store below, CPU and memory are the registrator's",
    modes: &[Mode::Free],
    contenders: &[Contender::Etcd, Contender::Muster],
    members: 1,
    figures: Figures::Named,
    run: |bout| run(bout),
};

fn run(bout: &Bout<'_>) -> Result<Sample, CaseError> {
    let engine = FakeEngine::start();
    for number in 0..CONTAINERS {
        let id = format!("{number:012x}{:052x}", 0);
        let address = format!("10.9.{}.{}", number / 250, number % 250 + 1);
        let name = format!("crowd-{number}");
        let mut found = fake_engine::container(&id, &name, &address, None);
        // As many as a Compose project gives each of its own.
        found["Config"]["Labels"] = json!({
            "SERVICE_NAME": "crowd", "SERVICE_TAGS": "blue,eu", "com.docker.compose.project": "crowd",
            "com.docker.compose.service": name, "com.docker.compose.container-number": "1",
            "com.docker.compose.config-hash": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
            "com.docker.compose.project.working_dir": "/srv/crowd", "com.docker.compose.version": "2.40.0",
        });
        engine.put(found);
    }
    let mut keys = Keys::watch(bout)?;
    let begun = Instant::now();
    let agent = bout.agent(
        "registrator",
        &[
            "--internal",
            "--ttl",
            "60",
            "--node",
            "bench",
            "--docker-host",
            &engine.address(),
        ],
    )?;
    let mut meter = Meter::of_part(agent.id(), bout.server);
    meter.begin()?;
    let mut seen: BTreeSet<Bytes> = BTreeSet::new();
    keys.puts(&agent, |key| {
        if seen.insert(key) {
            meter.count(begun.elapsed());
        }
        seen.len() == CONTAINERS
    })?;
    Ok(meter.finish()?)
}
