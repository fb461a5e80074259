//! Real parts as values: a store process, a Docker engine, a container, an nginx, an etcdctl. The suites (the `.rs`
//! files beside this folder, tests of the root package, which is how they get the binary under test) and the demo put
//! them together. Each part owns what it starts and takes it away when dropped: processes by pid, containers by id.
//!
//! Two habits: a test waits for a state with a deadline and says what it saw when the deadline passes ([`wait`]), and a
//! missing tool is a failure with its reason, never a skip ([`programs`]).

pub mod agents;
pub mod authority;
pub mod cluster;
pub mod complaint;
pub mod confdir;
pub mod consul;
pub mod dns;
pub mod docker;
pub mod etcdctl;
pub mod fake_engine;
pub mod haproxy;
pub mod history;
pub mod http;
pub mod load;
pub mod net;
pub mod nginx;
pub mod own_engine;
pub mod port;
pub mod process;
pub mod programs;
pub mod redis;
pub mod registry;
pub mod segment;
pub mod small_disk;
pub mod sshd;
pub mod store;
pub mod traffic;
pub mod vault;
pub mod wait;
pub mod web;
pub mod zookeeper;
