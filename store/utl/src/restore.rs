//! A snapshot as the data folder of a member of a new cluster: `snapshot restore`.
//!
//! The new cluster goes on with keys, history, leases, alarms, users and roles. Its members, its ids and its log are new.
//! Unlike etcdutl, it raises the revision and marks all history compacted unless told otherwise: whoever watched or
//! cached the store as it was after the snapshot would else see revisions come again with other content.

use std::path::{Path, PathBuf};

use clap::Args;
use store_bolt::etcd::Imported;
use store_machine::revision::Revision;

use crate::failure::Failure;
use crate::founding::{self, Founders, Plan};
use crate::source::{self, Digest as Check};

/// What the revision is raised by: more than a store is likely to have written between the snapshot and its end. etcd's
/// documentation advises a thousand million.
const BUMP: i64 = 1_000_000_000;

/// `snapshot restore FILE`
#[derive(Debug, Args)]
pub struct Restore {
    files: Vec<PathBuf>,
    /// Data folder to make; empty or not there yet [default: NAME.etcd]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    founders: Founders,
    /// Do not compare the checksum behind the snapshot; needed for a file copied from a data folder of etcd
    #[arg(long)]
    skip_hash_check: bool,
    /// Raise the revision by this, so that none comes twice; 0 goes on where the snapshot ends
    #[arg(long, default_value_t = BUMP)]
    bump_revision: i64,
    /// Let nobody read history from before the restore [default: true if the revision is raised]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    mark_compacted: Option<bool>,
    /// Folder of the log, if it is to have one of its own [default: in the data folder]
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "",
        hide_default_value = true
    )]
    wal_dir: String,
    /// Taken and ignored
    #[arg(long, hide = true)]
    initial_memory_map_size: Option<u64>,
}

impl Restore {
    /// Does it: everything that can be wrong is found before the folder is touched.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn run(self) -> Result<(), Failure> {
        let [file] = self.files.as_slice() else {
            return Err(Failure::bad_arguments(
                "snapshot restore requires exactly one argument",
            ));
        };
        if self.bump_revision < 0 {
            return Err(Failure::bad_arguments(format!(
                "--bump-revision={}: expected a number from 0 on",
                self.bump_revision
            )));
        }
        let mut plan = self
            .founders
            .plan("restore snapshot", self.data_dir.as_deref())?;
        plan.log_dir = founding::folder(&self.wal_dir);
        plan.check_vacant("data-dir")?;
        let digest = if self.skip_hash_check {
            Check::Ignored
        } else {
            Check::Needed
        };
        let snapshot = source::open(file, digest)?;
        let mut before = Revision(0);
        let imported = snapshot.import(|state| {
            before = state.revision;
            plan.found(state);
            state.revision = Revision(before.0.saturating_add(self.bump_revision));
            if self.mark_compacted.unwrap_or(self.bump_revision > 0) {
                state.compacted = state.revision.0;
            }
        })?;
        plan.make(&imported.machine)?;
        tell(&plan, file, before, &imported);
        Ok(())
    }
}

/// Says what was done.
fn tell(plan: &Plan, file: &Path, before: Revision, imported: &Imported) {
    let machine = &imported.machine;
    plan.tell(&format!("restored {}", file.display()), machine);
    let (revision, compacted) = (machine.revision(), machine.compacted());
    if revision != before {
        eprintln!("revision {revision}: {before} in the snapshot, raised so that none comes twice");
    }
    if compacted == revision {
        eprintln!("history before revision {revision} is marked compacted: watchers begin anew");
    }
    if machine.snapshot_begin().state().auth.enabled() {
        eprintln!(
            "authentication is enabled: passwords are as they were; `auth disable` and `auth enable` make a new key \
                 for tokens, should somebody else have the snapshot"
        );
    }
    if imported.detached > 0 {
        let keys = imported.detached;
        eprintln!(
            "{keys} keys hang on leases that the snapshot does not have: they hang on none now"
        );
    }
}
