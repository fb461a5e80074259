//! What the recipes stand on: the way to a store that may change its leader or restart meanwhile (`link.rs`), requests
//! (`ask.rs`), what is under a prefix as it changes (`follow.rs`), and a place in line (`line.rs`). What they decide is
//! `store-recipes`'.

pub(crate) mod ask;
pub(crate) mod follow;
pub(crate) mod instances;
pub(crate) mod line;
pub(crate) mod link;

use crate::failure::Failure;
use crate::format::{Format, Printer};

/// The variable in which a command finds its fencing token: the create revision of the key that it holds.
pub(crate) const TOKEN: &str = "MUSTER_FENCING_TOKEN";

/// Whether a recipe is to print JSON.
///
/// # Errors
/// Recipes have no form in the other formats.
pub(crate) fn as_json(printer: &Printer) -> Result<bool, Failure> {
    match printer.format {
        Format::Simple => Ok(false),
        Format::Json => Ok(true),
        _ => Err(
            Failure::bad_feature("this command prints text and JSON only")
                .hint("leave -w out, or give -w json"),
        ),
    }
}

/// Writes a line to stdout.
///
/// # Errors
/// Stdout is gone.
pub(crate) fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|cause| Failure::io(format!("write to stdout: {cause}")))
}

/// The name of this machine.
pub(crate) fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Who this is, for those that look: the machine and the process.
pub(crate) fn myself() -> String {
    format!("{}:{}", host(), std::process::id())
}

/// Refuses a time to live that no store grants.
///
/// # Errors
/// Wrong arguments.
pub(crate) fn checked_ttl(ttl_seconds: i64) -> Result<(), Failure> {
    if ttl_seconds < 1 {
        let line = format!("--ttl {ttl_seconds} is not a number of seconds above 0");
        return Err(Failure::bad_arguments(line));
    }
    Ok(())
}
