//! The keys of version 2 that an etcd kept, as the data folder of a member of a new cluster: `migrate`.
//!
//! As with etcdctl's command of that name, a file `/a/b` becomes the key `/a/b`, created and last changed at the revisions
//! that were its indexes, and one that was to end does so no more. Unlike there, the folder is read only and another one
//! is made; hidden files are taken too, and directories that are empty, which version 2 shows again.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use store_machine::reply::KeyValue;
use store_machine::revision::Revision;
use store_machine::snapshot::{Rebuild, State};
use store_machine::{Limits, Machine};

use crate::etcd2::{self, Content, Found, Node};
use crate::failure::Failure;
use crate::founding::{Founders, Plan};

/// Where the tree has the keys of people, and where their users and roles.
const KEYS: &str = "/1";
const USERS: &str = "/2/users";
const ROLES: &str = "/2/roles";

/// `migrate --data-dir DIR --output-dir DIR`
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Data folder of the etcd, which is stopped, or a backup of it; it is only read
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Where the etcd had its log, if not in the data folder
    #[arg(long)]
    wal_dir: Option<PathBuf>,
    /// Data folder to make; empty or not there yet
    #[arg(long)]
    output_dir: Option<PathBuf>,
    /// Leave out what has a time to live
    #[arg(long)]
    no_ttl: bool,
    #[command(flatten)]
    founders: Founders,
    /// No program is asked what a key becomes
    #[arg(long, default_value = "", hide = true)]
    transformer: String,
    /// That of etcdutl 3.6 is about another thing
    #[arg(long, default_value = "", hide = true)]
    target_version: String,
}

/// What becomes of the tree.
#[derive(Default)]
struct Harvest {
    pairs: Vec<KeyValue>,
    /// Nodes that were to end.
    ending: u64,
    dirs: u64,
}

impl Migrate {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let needed = |folder: &Option<PathBuf>, flag: &str| {
            let missing = || Failure::error(format!("required flag(s) {flag:?} not set"));
            folder.clone().ok_or_else(missing)
        };
        let from = needed(&self.data_dir, "data-dir")?;
        let to = needed(&self.output_dir, "output-dir")?;
        if !self.transformer.is_empty() {
            return Err(
                Failure::error("--transformer is not served: keys become what they were")
                    .hint("leave it out, and change the keys afterwards"),
            );
        }
        if !self.target_version.is_empty() {
            return Err(Failure::error(
                "--target-version is not served: this migrates keys of version 2, and a data folder here has no release",
            )
            .hint("leave it out; a folder of etcd 3 comes in by `snapshot restore`"));
        }
        let plan = self.founders.plan("migrate", Some(&to))?;
        plan.check_vacant("output-dir")?;
        let found = etcd2::read(&from, self.wal_dir.as_deref())?;
        let mut harvest = Harvest::default();
        if let Some(root) = found.tree.get(KEYS) {
            harvest.take(root, &mut Vec::new(), self.no_ttl);
        }
        let named = |path| found.tree.get(path).map_or(0, |dir| dir.children().count());
        let (users, roles) = (named(USERS), named(ROLES));
        if harvest.pairs.is_empty() {
            println!("no v2 keys to migrate");
        } else {
            let machine = harvest.machine(&plan, found.tree.index)?;
            plan.make(&machine)?;
            plan.tell(&format!("migrated {}", from.display()), &machine);
            let revision = machine.revision();
            eprintln!(
                "revision {revision}: the index that etcd had come to; history before it is marked compacted"
            );
        }
        self.tell(&found, &harvest, (users, roles));
        Ok(())
    }

    /// Says what could not be taken, or only in another way.
    fn tell(&self, found: &Found, harvest: &Harvest, (users, roles): (usize, usize)) {
        for file in &found.passed_over {
            eprintln!("passed over a snapshot that is not whole: {file}");
        }
        if found.torn {
            eprintln!("the log ends in the middle of a record: a request that was never answered");
        }
        if harvest.dirs > 0 {
            let dirs = harvest.dirs;
            eprintln!("{dirs} empty directories are keys that end with a slash");
        }
        if harvest.ending > 0 {
            let (keys, what) = (
                harvest.ending,
                if self.no_ttl {
                    "were left out"
                } else {
                    "have none now"
                },
            );
            eprintln!("{keys} keys and directories had a time to live: they {what}");
        }
        if users + roles > 0 {
            eprintln!("{users} users and {roles} roles of version 2 are not taken: make them anew");
        }
        if found.foreign > 0 {
            let requests = found.foreign;
            eprintln!(
                "the log has {requests} requests of version 3, whose keys are not taken: \
                 `snapshot restore --skip-hash-check` takes them from member/snap/db"
            );
        }
    }
}

impl Harvest {
    fn take(&mut self, node: &Node, path: &mut Vec<u8>, no_ttl: bool) {
        if node.ends.is_some() {
            self.ending += 1;
            if no_ttl {
                return;
            }
        }
        match &node.content {
            Content::File(value) => self.add(node, path.clone(), value.clone()),
            Content::Dir(children) => {
                if children.is_empty() && !path.is_empty() {
                    self.dirs += 1;
                    let key = [path, b"/".as_slice()].concat();
                    self.add(node, key, Bytes::new());
                }
                for (name, child) in children {
                    let length = path.len();
                    path.push(b'/');
                    path.extend_from_slice(name);
                    self.take(child, path, no_ttl);
                    path.truncate(length);
                }
            }
        }
    }

    fn add(&mut self, node: &Node, key: Vec<u8>, value: Bytes) {
        let revision = |index: u64| Revision(index.max(1).cast_signed());
        self.pairs.push(KeyValue {
            key: key.into(),
            value,
            create_revision: revision(node.created.min(node.modified)),
            mod_revision: revision(node.modified),
            version: 1,
            ..KeyValue::default()
        });
    }

    /// A store that holds them and is as far as etcd was.
    fn machine(&mut self, plan: &Plan, index: u64) -> Result<Machine, Failure> {
        let damaged = |expected| Failure::error(format!("migrate: expected {expected}"));
        self.pairs.sort_unstable_by(|one, other| {
            let place = |pair: &KeyValue| (pair.mod_revision, pair.key.clone());
            place(one).cmp(&place(other))
        });
        let last = self.pairs.last().map_or(1, |pair| pair.mod_revision.0);
        let index = i64::try_from(index).unwrap_or(i64::MAX).max(last);
        let mut state = State {
            revision: Revision(index),
            compacted: index,
            ..State::default()
        };
        plan.found(&mut state);
        let limits = Limits {
            quota_bytes: u64::MAX,
        };
        let mut rebuild = Rebuild::new(limits, state).map_err(damaged)?;
        for pair in &self.pairs {
            rebuild.record(pair.clone()).map_err(damaged)?;
        }
        rebuild.finish().map_err(damaged)
    }
}
