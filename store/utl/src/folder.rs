//! The data folder of a member that is stopped.

use std::path::PathBuf;

use clap::Args;
use store_wal::{RealDisk, Wal};

use crate::failure::Failure;

/// `defrag --data-dir DIR`
#[derive(Debug, Args)]
pub(crate) struct Defrag {
    /// The folder
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl Defrag {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Some(dir) = self.data_dir else {
            return Err(Failure::error("required flag(s) \"data-dir\" not set"));
        };
        let shown = dir.display();
        match Wal::identity(&RealDisk, &dir) {
            Ok(Some(_)) => {
                println!(
                    "nothing to defragment in {shown}: the state is kept in memory, and the log gives its room back by itself"
                );
                Ok(())
            }
            Ok(None) => Err(
                Failure::error(format!("{shown} is not the data folder of a member"))
                    .hint("name the folder the store was started with (--data-dir)"),
            ),
            Err(error) => Err(Failure::of("open the data folder", &error).maybe_hint(error.hint())),
        }
    }
}
