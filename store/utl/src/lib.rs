//! What etcdutl does: looks at a store's files, and turns a snapshot into a member's data folder, while no store runs on
//! them. Flags, output and exit statuses are etcdutl's.
//!
//! `source.rs` opens a snapshot and vouches for it, `restore.rs` makes a folder of one, `status.rs` and `hash.rs` look
//! at one, `export.rs` writes one for etcd. `backup.rs` copies a folder, `migrate.rs` makes one of what an etcd 2 kept,
//! which `etcd2/` reads; `founding.rs` is what all new folders have in common. `table.rs` prints, `progress.rs` shows
//! how far something is.

mod backup;
mod etcd2;
mod exit;
mod export;
mod failure;
mod folder;
mod founding;
mod hash;
mod migrate;
pub mod progress;
mod restore;
mod source;
mod status;
mod table;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use store_server::version;

pub use crate::backup::Backup;
pub use crate::exit::Exit;
pub use crate::failure::Failure;
pub use crate::restore::Restore;
pub use crate::status::Status;
pub use crate::table::{drawn, size};

/// The command line after the program's name.
#[derive(Debug, Parser)]
#[command(
    name = "etcdutl",
    about = "A command line tool for the files of a store that is stopped",
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How to print.
#[derive(Clone, Debug, Args)]
struct Output {
    /// Output format: simple, fields, json or table
    #[arg(short = 'w', long, global = true, default_value = "simple")]
    write_out: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Snapshots
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Checksum of the keys in a snapshot, as `endpoint hashkv` gives it for a member
    Hashkv(hash::Hashkv),
    /// There is nothing to defragment; says so
    Defrag(folder::Defrag),
    /// Copy the data folder of a member that is stopped
    Backup(Backup),
    /// Make a member's data folder of the keys of version 2 in an etcd's
    Migrate(migrate::Migrate),
    /// Version of this tool
    Version,
}

/// What to do with a snapshot.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// What is in it
    Status(Status),
    /// Make the data folder of a member of a new cluster of it
    Restore(Restore),
    /// Write it in the format of another store
    Export(export::Export),
}

/// Runs the command that `words` spell out (without the program's name) and gives its exit status.
#[must_use]
pub fn run(words: Vec<std::ffi::OsString>) -> ExitCode {
    let words = std::iter::once("etcdutl".into()).chain(words);
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) if error.exit_code() == 0 => error.exit(),
        Err(error) => return Failure::error(first_line(&error)).report(),
    };
    let format = &cli.output.write_out;
    let done = match cli.command {
        Command::Snapshot(snapshot) => snapshot.run(format),
        Command::Hashkv(hashkv) => hashkv.run(format),
        Command::Defrag(defrag) => defrag.run(),
        Command::Backup(backup) => backup.run(),
        Command::Migrate(migrate) => migrate.run(),
        Command::Version => {
            println!(
                "etcdutl version: {}\nAPI version: {}",
                version::ETCD_VERSION,
                version::API_VERSION
            );
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// What is wrong with a command line, without how it should be.
#[must_use]
pub fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

impl Snapshot {
    /// Does it, and prints in that format.
    ///
    /// # Errors
    /// Why it could not be done.
    pub fn run(self, format: &str) -> Result<(), Failure> {
        match self {
            Self::Status(status) => status.run(format),
            Self::Restore(restore) => restore.run(),
            Self::Export(export) => export.run(),
        }
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
