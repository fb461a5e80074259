//! What stands between clients and a cluster on a host: `gateway.rs` forwards connections and knows nothing of what is in
//! them. Flags are etcd's (`upstream.rs`, `outcome.rs`).

mod gateway;
mod outcome;
mod upstream;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use crate::outcome::Outcome;

/// `etcd gateway`: `words` are those after it. Needs a runtime with network and time; gives the exit status.
pub async fn gateway(words: Vec<OsString>) -> ExitCode {
    run("gateway", words, gateway::run).await
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
    use clap::CommandFactory as _;

    #[test]
    fn the_command_lines_are_well_formed() {
        crate::gateway::Cli::command().debug_assert();
    }
}
