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
    /// What to do instead, for whoever asked for it.
    pub(super) instead: &'static str,
}

impl Later {
    /// What it comes to, for people.
    pub(super) const fn said(&self) -> &'static str {
        if self.moot {
            "Taken for etcd's sake; changes nothing here that could be noticed"
        } else {
            "Taken with etcd's default only: not served by this version"
        }
    }
}

const fn value(name: &'static str, default: &'static str, instead: &'static str) -> Later {
    Later {
        name,
        switch: false,
        default,
        moot: false,
        instead,
    }
}

const fn switch(name: &'static str, instead: &'static str) -> Later {
    Later {
        name,
        switch: true,
        default: "false",
        moot: false,
        instead,
    }
}

/// What tunes bbolt, Go or etcd's own logger.
const fn moot(name: &'static str) -> Later {
    Later {
        name,
        switch: false,
        default: "",
        moot: true,
        instead: "",
    }
}

const fn moot_switch(name: &'static str) -> Later {
    Later {
        name,
        switch: true,
        default: "",
        moot: true,
        instead: "",
    }
}

pub(super) const LATER: &[Later] = &[
    // Storage
    moot_switch("memory-mlock"),
    moot("backend-bbolt-freelist-type"),
    moot("backend-batch-interval"),
    moot("backend-batch-limit"),
    moot("bootstrap-defrag-threshold-megabytes"),
    moot("compaction-batch-limit"),
    moot("compaction-sleep-interval"),
    moot_switch("txn-mode-write-with-shared-buffer"),
    // Clients
    value(
        "enable-v2v3",
        "",
        "leave it out: the keys of version 2 are a view on those of version 3 here (--enable-v2)",
    ),
    // Peers and discovery
    moot("raft-read-timeout"),
    moot("raft-write-timeout"),
    moot("downgrade-check-time"),
    moot("wait-cluster-ready-timeout"),
    switch(
        "set-member-localaddr",
        "leave it out, and let the routes of the system say from which address members are reached",
    ),
    // etcd's proxies of version 2, gone with 3.6
    value(
        "proxy",
        "off",
        "leave it out, and start the proxy by itself: muster gateway forwards connections, muster grpc-proxy requests",
    ),
    moot("proxy-failure-wait"),
    moot("proxy-refresh-interval"),
    moot("proxy-dial-timeout"),
    moot("proxy-write-timeout"),
    moot("proxy-read-timeout"),
    moot("discovery-fallback"),
    value(
        "discovery-proxy",
        "",
        "leave it out: the discovery service is asked directly, so --discovery must lead there",
    ),
    // There is no store of version 2 to do away with.
    moot("v2-deprecation"),
    // Security
    // What etcd's gateway shows to its own port; here it is no client.
    moot("client-cert-file"),
    moot("client-key-file"),
    // Operations
    switch(
        "enable-distributed-tracing",
        "leave it out: slow requests are logged with where their time went, and /metrics has the times of all",
    ),
    moot("distributed-tracing-address"),
    moot("distributed-tracing-service-name"),
    moot("distributed-tracing-instance-id"),
    moot("distributed-tracing-sampling-rate"),
    moot_switch("stop-grpc-service-on-defrag"),
    moot_switch("enable-lease-checkpoint"),
    moot_switch("enable-lease-checkpoint-persist"),
];

/// Flags of etcd 3.4 that [`LATER`] has not: what they ask for is asked for otherwise today.
pub(super) const FORMER: &[&str] = &[DEBUG, "log-package-levels"];

/// The one of them that is a switch.
pub(super) const DEBUG: &str = "debug";

/// What such a flag comes to: another one and its value, if it asks for anything; and what a person should hear.
pub(super) fn former(
    name: &str,
    value: &str,
    warnings: &mut Vec<String>,
) -> Option<(&'static str, &'static str)> {
    if name == DEBUG {
        warnings.push("--debug is of etcd 3.4: write --log-level=debug".into());
        return matches!(value, "" | "1" | "t" | "T" | "true" | "TRUE" | "True")
            .then_some(("log-level", "debug"));
    }
    warnings.push(format!(
        "--{name} is of etcd 3.4 and not used: --log-level says it for all of the store"
    ));
    None
}

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
