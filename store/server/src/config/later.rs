//! Flags of etcd that this version does not act on.
//!
//! They are taken when they ask for what happens anyway (the default, or nothing at all) and refused
//! otherwise: a store that ignored `--cert-file` would be less safe than it was told to be.

/// A flag of etcd.
#[derive(Clone, Copy, Debug)]
pub(super) struct Later {
    /// Its name.
    pub(super) name: &'static str,
    /// It is on or off and may stand without a value.
    pub(super) switch: bool,
    /// The value that asks for nothing; empty is always one.
    pub(super) default: &'static str,
    /// It changes nothing a user of this store could notice, so any value is taken.
    pub(super) moot: bool,
}

const fn value(name: &'static str, default: &'static str) -> Later {
    Later {
        name,
        switch: false,
        default,
        moot: false,
    }
}

const fn switch(name: &'static str, default: &'static str) -> Later {
    Later {
        name,
        switch: true,
        default,
        moot: false,
    }
}

/// What tunes bbolt, Go or etcd's own logger.
const fn moot(name: &'static str) -> Later {
    Later {
        name,
        switch: false,
        default: "",
        moot: true,
    }
}

const fn moot_switch(name: &'static str) -> Later {
    Later {
        name,
        switch: true,
        default: "",
        moot: true,
    }
}

pub(super) const LATER: &[Later] = &[
    // Storage
    value("wal-dir", ""),
    moot_switch("memory-mlock"),
    moot("backend-bbolt-freelist-type"),
    moot("backend-batch-interval"),
    moot("backend-batch-limit"),
    moot("bootstrap-defrag-threshold-megabytes"),
    moot("compaction-batch-limit"),
    moot("compaction-sleep-interval"),
    switch("force-new-cluster", "false"),
    // Clients
    switch("enable-v2", "true"),
    // Peers and discovery
    moot("raft-read-timeout"),
    moot("raft-write-timeout"),
    moot("downgrade-check-time"),
    value("discovery", ""),
    value("discovery-fallback", "exit"),
    value("discovery-proxy", ""),
    value("discovery-srv", ""),
    value("discovery-srv-name", ""),
    value("discovery-token", ""),
    value("discovery-endpoints", ""),
    value("discovery-dial-timeout", "2s"),
    value("discovery-request-timeout", "5s"),
    value("discovery-keepalive-time", "2s"),
    value("discovery-keepalive-timeout", "6s"),
    switch("discovery-insecure-transport", "true"),
    switch("discovery-insecure-skip-tls-verify", "false"),
    value("discovery-cert", ""),
    value("discovery-key", ""),
    value("discovery-cacert", ""),
    value("discovery-user", ""),
    value("discovery-password", ""),
    value("v2-deprecation", "not-yet"),
    // Security
    // What etcd's gateway shows to its own port; here it is no client.
    moot("client-cert-file"),
    moot("client-key-file"),
    // Operations
    value("metrics", "basic"),
    moot("warning-apply-duration"),
    switch("enable-distributed-tracing", "false"),
    moot("distributed-tracing-address"),
    moot("distributed-tracing-service-name"),
    moot("distributed-tracing-instance-id"),
    moot("distributed-tracing-sampling-rate"),
    moot_switch("enable-lease-checkpoint"),
    moot_switch("enable-lease-checkpoint-persist"),
];

/// The flag of that name.
pub(super) fn find(name: &str) -> Option<&'static Later> {
    LATER.iter().find(|later| later.name == name)
}

impl Later {
    /// Asks for nothing that is not so anyway.
    pub(super) fn accepts(&self, value: &str) -> bool {
        self.moot || value.is_empty() || value == self.default
    }
}
