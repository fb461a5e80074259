//! What etcdctl does: a person or a script reads, writes and looks after a store from the command line. Flags,
//! environment, output and exit statuses are etcdctl's 3.5. `flags.rs` holds the global flags, `connect.rs` the way to a
//! member, `command/` a file for each family of commands, `format/` one for each form of output, `doctor/` one for each thing
//! that `muster doctor` looks at and `upgrade.rs` judges anew, `overview/` what `muster services`, `agents` and `status` show. It knows the wire and
//! nothing of any server; what etcdctl does with files is `store-utl`'s.

mod child;
mod command;
mod connect;
pub mod doctor;
mod failure;
mod flags;
mod format;
mod login;
pub mod overview;
mod prompt;
mod recipe;
mod secure;
mod session;
mod spelling;
pub mod upgrade;
mod v2;
mod web;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

pub use crate::command::Command;
pub use crate::flags::Globals;

use crate::failure::Failure;

/// The command line after the program's name.
#[derive(Debug, Parser)]
#[command(
    name = "etcdctl",
    about = "A command line client for the store",
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Runs the command that `words` spell out (without the program's name) and gives its exit status.
pub async fn run(words: Vec<std::ffi::OsString>) -> ExitCode {
    if std::env::var_os("ETCDCTL_API").is_some_and(|api| api == "2") {
        return v2::run(words).await;
    }
    let words = match spelling::plain(words, &Cli::command()) {
        Ok(words) => std::iter::once("etcdctl".into()).chain(words),
        Err(failure) => return failure.report(),
    };
    let mut cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) if error.exit_code() == 0 => error.exit(),
        Err(error) => return Failure::error(store_utl::first_line(&error)).report(),
    };
    if let Err(failure) = cli.globals.ask_password() {
        return failure.report();
    }
    match command::run(cli.command, &cli.globals).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
