//! Web servers in containers, and who answers through the proxy in front of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::OnceLock;

use crate::docker::{Container, Engine, Spec};
use crate::http;

/// Starts one web server container under `service`; the image is built once per process.
///
/// # Panics
/// When the image cannot be built or the container not be started.
#[track_caller]
#[must_use]
pub fn start(engine: &Engine, service: &str) -> Container {
    start_with(engine, &Spec::web(service))
}

/// [`start`] with further options.
///
/// # Panics
/// As [`start`].
#[track_caller]
#[must_use]
pub fn start_with(engine: &Engine, spec: &Spec) -> Container {
    static BUILT: OnceLock<Result<String, String>> = OnceLock::new();
    if let Err(reason) = BUILT.get_or_init(|| Engine::of_machine().build_web_image()) {
        panic!("{reason}");
    }
    engine.start(spec)
}

/// The instances that answer behind `proxy`, asked `tries` times in a row.
///
/// # Errors
/// The first failed request.
pub fn instances_behind(proxy: SocketAddr, tries: usize) -> Result<BTreeSet<String>, String> {
    let mut seen = BTreeSet::new();
    for _ in 0..tries {
        let response = http::get(proxy, "/")?;
        match (response.status, response.header("x-instance")) {
            (200, Some(instance)) => drop(seen.insert(instance.to_owned())),
            (status, _) => return Err(format!("status {status}")),
        }
    }
    Ok(seen)
}
