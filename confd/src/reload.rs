//! Pure: How a service is made to read its new file, where a shell command says less than a driver knows: whom to tell,
//! how, and what proves that it was taken. The deciding parts of nginx and haproxy stand below, the doing in `drivers.rs`.

pub mod haproxy;
pub mod master;
pub mod nginx;

use std::path::PathBuf;
use std::time::Duration;

/// A way to make a service read its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// A signal to the process whose number stands in a file.
    Signal {
        /// Where its number stands.
        pid_file: PathBuf,
        /// Name without `SIG`.
        signal: String,
        /// Whether all is well when there is no such file: a service that starts later reads the new one by itself.
        may_be_absent: bool,
    },
    /// `systemctl <action> <unit>`, and the unit must be active afterwards.
    Systemd {
        /// The unit.
        unit: String,
        /// `reload`, `restart`, `try-restart` or `reload-or-restart`.
        action: String,
    },
    /// All running containers that carry a label.
    Docker {
        /// `name` or `name=value`.
        label: String,
        /// What becomes of them.
        action: DockerAction,
        /// The engine's socket.
        socket: PathBuf,
    },
    /// A request that must be answered with a status of 200 to 299.
    Http {
        /// Where to.
        url: String,
        /// The method.
        method: String,
    },
    /// nginx: its own check, the signal, and workers of a new generation as proof.
    Nginx(NginxSettings),
    /// haproxy in master-worker mode, told over its master socket.
    HaproxyMaster {
        /// The master's socket (`-S`).
        socket: PathBuf,
    },
    /// haproxy's runtime API for changes of server lines; anything else is a reload over the master socket or by
    /// `reload_cmd`.
    HaproxyRuntime {
        /// The statistics socket, at level admin.
        socket: PathBuf,
        /// The master's socket; without one `reload_cmd` reloads.
        master: Option<PathBuf>,
    },
}

/// How to find nginx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NginxSettings {
    /// Where the master's number stands.
    pub pid_file: PathBuf,
    /// How it is called, with the flags it was started with; its check adds `-t`.
    pub command: String,
    /// Longest until workers of the new generation are there. nginx tells nobody that it refused: this wait does.
    pub proof_timeout: Duration,
}

/// What becomes of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerAction {
    /// A signal, its name without `SIG`.
    Signal(String),
    /// Stopped and started.
    Restart,
}

impl Driver {
    /// The names resources use.
    pub const NAMES: &'static [&'static str] = &[
        "signal",
        "systemd",
        "docker",
        "http",
        "nginx",
        "haproxy_master",
        "haproxy_runtime",
    ];

    /// Whether it needs what the service runs on now, to find out what is to be told.
    pub fn compares(&self) -> bool {
        matches!(self, Self::HaproxyRuntime { .. })
    }
}

/// Signals that a service may be sent, without `SIG`.
pub const SIGNALS: &[&str] = &[
    "HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "WINCH", "ALRM", "CONT",
];

/// The name of a signal, whether or not it was given with `SIG`.
pub fn signal_name(text: &str) -> Option<&'static str> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    SIGNALS.iter().find(|known| **known == name).copied()
}
