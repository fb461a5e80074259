//! A copy of the data folder of a member that is stopped, as the folder of a new cluster of one: `backup`.
//!
//! As with etcd's command of that name, the copy has ids of its own, so that it takes part in nothing that the original
//! takes part in. Unlike there it starts as it is, without `--force-new-cluster`; and since versions 2 and 3 share their
//! keys, all keys are in it, whether or not `--with-v3` is said.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use store_machine::MemberRecord;
use store_server::store;

use crate::failure::Failure;
use crate::founding::{self, Plan};

/// Where a member reaches others that were told nothing.
const PEER_URL: &str = "http://localhost:2380";

/// `backup --data-dir DIR --backup-dir DIR`
#[derive(Debug, Args)]
pub struct Backup {
    /// Data folder of the member
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Folder to make; empty or not there yet
    #[arg(long)]
    backup_dir: Option<PathBuf>,
    /// Taken and ignored: keys of both versions are the same
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    with_v3: Option<bool>,
    /// Folder of the member's log, if it has one of its own
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "",
        hide_default_value = true
    )]
    wal_dir: String,
    /// Folder to make for the copy's log [default: in the backup folder]
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "",
        hide_default_value = true
    )]
    backup_wal_dir: String,
}

impl Backup {
    /// Does it: everything that can be wrong is found before the folder is touched.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn run(self) -> Result<(), Failure> {
        let needed = |folder: Option<PathBuf>, flag: &str| {
            folder.ok_or_else(|| Failure::error(format!("required flag(s) {flag:?} not set")))
        };
        let from = needed(self.data_dir, "data-dir")?;
        let to = needed(self.backup_dir, "backup-dir")?;
        let found = store::read(&from, founding::folder(&self.wal_dir).as_deref());
        let found =
            found.map_err(|error| Failure::of("back up", &error).maybe_hint(error.hint()))?;
        let Some((identity, machine)) = found else {
            return Err(foreign(&from));
        };
        let mut own = machine
            .member(identity.member)
            .cloned()
            .unwrap_or_else(|| MemberRecord {
                name: "default".to_owned(),
                ..MemberRecord::default()
            });
        if own.peer_urls.is_empty() {
            own.peer_urls.push(PEER_URL.to_owned());
        }
        own.learner = false;
        // The moment makes its ids others than those of every other copy.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let token = format!("backup-{}", now.as_nanos());
        let mut plan = Plan::new("back up", to, token, vec![(true, own)]);
        plan.log_dir = founding::folder(&self.backup_wal_dir);
        plan.check_vacant("backup-dir")?;
        let founded = plan.founded(&machine)?;
        plan.make(&founded)?;
        plan.tell(&format!("copied {}", from.display()), &founded);
        Ok(())
    }
}

/// Not a folder of ours; perhaps etcd's.
fn foreign(dir: &Path) -> Failure {
    let shown = dir.display();
    if dir.join("member").is_dir() {
        return Failure::error(format!("{shown} is the data folder of an etcd")).hint(format!(
            "muster utl migrate takes its keys of version 2, muster utl snapshot restore --skip-hash-check \
             {shown}/member/snap/db those of version 3"
        ));
    }
    Failure::error(format!("{shown} is not the data folder of a member"))
        .hint("name the folder the store was started with (--data-dir)")
}
