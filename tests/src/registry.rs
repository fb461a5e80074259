//! One service as the store shows it, looked at with an official client: which containers are registered, and what
//! anybody changes about them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::docker::Container;
use crate::etcdctl::Etcdctl;
use crate::process::Process;
use crate::wait;

/// A service no other test uses, and the store it is registered in.
pub struct Service {
    name: String,
    client: Etcdctl,
}

impl Service {
    /// A new name in the store behind `client`.
    #[must_use]
    pub fn new(client: Etcdctl) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("web-{}-{number}", std::process::id()),
            client,
        }
    }

    /// Its name, for the label.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its instances stand in the native layout.
    #[must_use]
    pub fn prefix(&self) -> String {
        format!("/services/{}/", self.name)
    }

    /// Its keys and values now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn records(&self) -> Result<Vec<(String, String)>, String> {
        let keys = self.client.keys(&self.prefix())?;
        let record = |key: String| {
            self.client
                .value(&key)
                .map(|value| value.map(|value| (key, value)))
        };
        keys.into_iter()
            .filter_map(|key| record(key).transpose())
            .collect()
    }

    /// Waits until exactly these containers are registered, one key each.
    ///
    /// # Panics
    /// When it does not come to that.
    #[track_caller]
    pub fn becomes(&self, containers: &[&Container]) {
        self.becomes_within(containers, wait::LONG);
    }

    /// [`Service::becomes`] with a deadline.
    ///
    /// # Panics
    /// When it does not come to that.
    #[track_caller]
    pub fn becomes_within(&self, containers: &[&Container], deadline: Duration) {
        let expected: BTreeSet<&str> = containers
            .iter()
            .map(|container| container.short_id())
            .collect();
        let what = format!("{} registered under {}", expected.len(), self.prefix());
        wait::until(&what, deadline, || {
            let keys = self.client.keys(&self.prefix())?;
            let known = |id: &&str| keys.iter().any(|key| key.contains(id));
            let right = keys.len() == expected.len() && expected.iter().all(known);
            if right {
                Ok(())
            } else {
                Err(format!("keys {keys:?}, expected {expected:?}"))
            }
        });
    }

    /// A watch on it from now on; see [`Quiet::holds`].
    ///
    /// # Panics
    /// When the watch does not start.
    #[track_caller]
    #[must_use]
    pub fn watch(&self) -> Quiet {
        // One level up, so that a write of our own beside the instances shows that the watch runs.
        let above = self.prefix().trim_end_matches('/').to_owned();
        let probe = format!("{above}.probe");
        let process = self.client.spawn(&["watch", "--prefix", &above]);
        wait::until("the watch to run", wait::LONG, || {
            self.client.try_run(&["put", &probe, "x"])?;
            if process.lines().contains(&probe) {
                Ok(())
            } else {
                Err(process.tail())
            }
        });
        Quiet {
            process,
            prefix: self.prefix(),
        }
    }
}

/// A running watch that should stay without events for its service.
pub struct Quiet {
    process: Process,
    prefix: String,
}

impl Quiet {
    /// The keys of its service that were written or deleted so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        let lines = self.process.lines().into_iter();
        lines
            .filter(|line| line.starts_with(&self.prefix))
            .collect()
    }

    /// Checks that nothing under the service's prefix was written or deleted so far.
    ///
    /// # Errors
    /// Everything seen, when something was.
    pub fn holds(&self) -> Result<(), String> {
        let lines = self.events();
        if lines.is_empty() {
            Ok(())
        } else {
            Err(lines.join(" "))
        }
    }
}
