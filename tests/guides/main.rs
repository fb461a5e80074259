//! The guides as a reader takes them: every command in them that is marked to be run is run as it stands there, by one
//! shell after the other, and must print what the guide says it prints.

mod migration;
mod quickstart;
mod script;
mod security;

use std::path::{Path, PathBuf};
use std::time::Duration;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
/// 60 s for each block: a start on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// `PATH` with the program under test in front, and these folders.
fn path_with(folders: &[PathBuf]) -> String {
    let own = Path::new(MUSTER).parent().expect("a file is in a folder");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = std::iter::once(own.to_owned())
        .chain(folders.iter().cloned())
        .chain(std::env::split_paths(&path))
        .chain(system);
    let joined = std::env::join_paths(all).expect("folders without colons");
    joined.into_string().expect("a path in UTF-8")
}
