//! What was last seen of a container, in as little room as it can be kept in: what is asked for all the time as it is, the
//! rest packed, until something has to be decided anew.

use crate::container::{Container, Health, Run};

/// A [`Container`] that is kept.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) run: Run,
    pub(super) health: Option<Health>,
    pub(super) started_nanos: Option<i64>,
    pub(super) stop_signal: i32,
    pub(super) stop_timeout_seconds: u64,
    /// All of it, in postcard's form: one piece of memory instead of three for each label. Never leaves the process.
    packed: Box<[u8]>,
}

impl Seen {
    /// Keeps a container.
    pub(super) fn new(container: &Container) -> Self {
        Self {
            run: container.run,
            health: container.health,
            started_nanos: container.started_nanos,
            stop_signal: container.stop_signal,
            stop_timeout_seconds: container.stop_timeout_seconds,
            // Texts, numbers and maps of them always have this form.
            packed: postcard::to_allocvec(container).unwrap_or_default().into(),
        }
    }

    /// The container. `None` is never, since it was packed by this process.
    pub(super) fn container(&self) -> Option<Container> {
        let container: Container = postcard::from_bytes(&self.packed).ok()?;
        Some(Container {
            health: self.health,
            ..container
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::agent::tests::web;
    use crate::container::{Binding, NetworkMode, Port};

    #[test]
    fn nothing_is_lost_by_keeping_it() {
        let mut container = web("a", 1_000);
        let mut odd = container.clone();
        odd.env = vec!["PATH=/bin".into(), "no equals sign".into(), String::new()];
        odd.labels.insert("schlüssel".into(), "ü\u{0}".into());
        odd.network_mode = NetworkMode::Container("b".into());
        odd.listening = Some(BTreeSet::from([Port::parse("53/udp").unwrap()]));
        odd.networks[0].v6 = Some("fd00::2".parse().unwrap());
        let addresses = ["0.0.0.0", "::"].map(|text| text.parse().unwrap());
        let bindings = addresses.map(|address| Binding {
            address,
            port: 8_080,
        });
        let port = Port::parse("80").unwrap();
        odd.published.insert(port, bindings.into());
        odd.started_nanos = None;
        for container in [&container, &odd] {
            assert_eq!(Seen::new(container).container().as_ref(), Some(container));
        }
        let mut seen = Seen::new(&container);
        seen.health = Some(Health::Starting);
        container.health = Some(Health::Starting);
        assert_eq!(seen.container(), Some(container));
    }
}
