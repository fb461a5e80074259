//! Which process speaks for a node, as it writes itself into the registry so that others can tell whether it still
//! runs. Reads the process table; knows no registry.

use serde::{Deserialize, Serialize};

/// Where the keys stand that name the agents of nodes.
pub(super) const PREFIX: &str = "/muster/agents/";

/// A process, as others can tell whether it still runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Name of its machine, for people.
    pub(super) host: String,
    /// Its number.
    pub(super) pid: u32,
    /// The kernel's number for this boot of the machine.
    boot: String,
    /// Its process namespace: the same number means another process in another one.
    namespace: String,
    /// When it started, in the kernel's ticks since boot; a number that is used again has another time.
    ticks: u64,
    /// Tells two agents of one process apart.
    nonce: u64,
}

impl Identity {
    /// This process.
    #[must_use]
    pub(crate) fn own(nonce: u64) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let pid = std::process::id();
        let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            host: read("/proc/sys/kernel/hostname").trim().to_owned(),
            pid,
            boot: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            namespace: namespace.display().to_string(),
            ticks: started_at(pid).unwrap_or(0),
            nonce,
        }
    }

    /// Whether it has ended, as far as this process can see; `None` when it cannot.
    pub(super) fn has_ended(&self, own: &Self) -> Option<bool> {
        let visible =
            !self.boot.is_empty() && self.boot == own.boot && self.namespace == own.namespace;
        // A process has one agent for one node, so an earlier one of this process is gone.
        visible.then(|| self.pid == own.pid || started_at(self.pid) != Some(self.ticks))
    }
}

impl Identity {
    /// Whether this process may speak for `node` in place of `other`, which has not said good-bye: when it is known to
    /// have ended, or when `takeover` says so, once. Where that cannot be seen from here, what the other one holds goes
    /// with its session, so there is nothing to do but wait.
    ///
    /// # Errors
    /// Who speaks for the node.
    pub(super) fn follow(
        &self,
        other: &Self,
        node: &str,
        takeover: &mut bool,
    ) -> Result<(), String> {
        if std::mem::take(takeover) {
            tracing::warn!("taking over from process {} on {}", other.pid, other.host);
            return Ok(());
        }
        if other.has_ended(self) == Some(true) {
            return Ok(());
        }
        Err(format!(
            "another agent speaks for node {node}: process {} on {}",
            other.pid, other.host
        ))
    }
}

/// When a process started: field 22 of its `stat` (proc(5)), counted behind the name, which may hold blanks.
fn started_at(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let state = rest.split_whitespace().next()?;
    // A zombie has ended; only its parent has not noticed.
    (state != "Z" && state != "X").then_some(())?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_ended() {
        let own = Identity::own(1);
        assert!(
            own.ticks > 0 && !own.boot.is_empty() && !own.namespace.is_empty(),
            "{own:?}"
        );
        let mut other = own.clone();
        other.nonce = 2;
        assert_eq!(
            other.has_ended(&own),
            Some(true),
            "an earlier agent of this process"
        );
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        other.pid = child.id();
        other.ticks = started_at(other.pid).unwrap();
        assert_eq!(other.has_ended(&own), Some(false));
        let mut reused = other.clone();
        reused.ticks += 1;
        assert_eq!(
            reused.has_ended(&own),
            Some(true),
            "the number belongs to another process"
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(other.has_ended(&own), Some(true));
        other.boot = "another".into();
        assert_eq!(other.has_ended(&own), None);
    }
}
