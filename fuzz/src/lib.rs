//! What the fuzzer feeds with bytes: one function for each place where bytes come in that nobody vouches for.
//!
//! Each panics when a promise breaks. Without a fuzzer, `tests/corpus.rs` runs them over what is kept in
//! `fuzz/corpus/`.

pub mod command;
pub mod etcd_file;
pub mod form;
pub mod log;
pub mod peer_message;
pub mod request;
pub mod seeds;
pub mod snapshot;
pub mod snapshot_file;

/// Runs a target by its name; false when there is none of that name.
///
/// # Panics
/// When a promise of the target breaks.
pub fn run(target: &str, data: &[u8]) -> bool {
    match target {
        "command" => command::run(data),
        "etcd_file" => etcd_file::run(data),
        "form" => form::run(data),
        "gateway" => request::run_json(data),
        "log" => log::run(data),
        "peer_message" => peer_message::run(data),
        "request" => request::run(data),
        "snapshot" => snapshot::run(data),
        "snapshot_file" => snapshot_file::run(data),
        _ => return false,
    }
    true
}
