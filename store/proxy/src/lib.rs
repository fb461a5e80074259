//! What stands between clients and a cluster on a host. `gateway.rs` forwards connections and knows nothing of what is in
//! them; `grpc.rs` speaks the protocol: `watch.rs`, `keep_alive.rs`, `cache.rs` and `namespace.rs` decide, and know no task and
//! no socket. `clients.rs` is who comes in; flags are etcd's (`upstream.rs`, `outcome.rs`).

mod cache;
mod clients;
mod gateway;
mod grpc;
mod keep_alive;
mod namespace;
mod outcome;
mod upstream;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::outcome::Outcome;

/// `etcd gateway`: `words` are those after it. Needs a runtime with network and time; gives the exit status.
pub async fn gateway(words: Vec<OsString>) -> ExitCode {
    run("gateway", words, gateway::run).await
}

/// The same for `etcd grpc-proxy`.
pub async fn grpc_proxy(words: Vec<OsString>) -> ExitCode {
    run("grpc-proxy", words, grpc::run).await
}

/// The command line of the gateway, as clap knows it.
#[must_use]
pub fn gateway_declared() -> clap::Command {
    gateway::Cli::command()
}

/// The same of the proxy.
#[must_use]
pub fn grpc_proxy_declared() -> clap::Command {
    grpc::Cli::command()
}

async fn run<C: Parser, F: Future<Output = Result<ExitCode, Outcome>>>(
    name: &str,
    words: Vec<OsString>,
    serve: impl FnOnce(C) -> F,
) -> ExitCode {
    let words = std::iter::once(OsString::from(name)).chain(words);
    let cli = match C::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no failure; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match serve(cli).await {
        Ok(status) => status,
        Err(outcome) => outcome.report(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_lines_are_well_formed() {
        super::gateway_declared().debug_assert();
        super::grpc_proxy_declared().debug_assert();
    }
}
