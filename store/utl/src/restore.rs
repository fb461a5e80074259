//! A snapshot as the data folder of a member of a new cluster: `snapshot restore`.
//!
//! The new cluster goes on with keys, history, leases, alarms, users and roles. Its members, its ids and its log are new.
//! Unlike etcdutl, it raises the revision and marks all history compacted unless told otherwise: whoever watched or
//! cached the store as it was after the snapshot would else see revisions come again with other content.

use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use sha2::{Digest as _, Sha256};
use store_bolt::etcd::Imported;
use store_machine::MemberRecord;
use store_machine::auth::Auth;
use store_machine::revision::{Index, Revision};
use store_member::record::Voters;
use store_server::config::cluster::{self, InitialMember};
use store_server::identity;
use store_wal::{Identity, RealDisk, Vote, Wal, WalConfig};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::source::{self, Digest as Check};
use crate::table::size;

/// What the revision is raised by: more than a store is likely to have written between the snapshot and its end. etcd's
/// documentation advises a thousand million.
const BUMP: i64 = 1_000_000_000;

/// Last entry of the log that the snapshot stands for. One above the entry that every cluster begins with, so that a member
/// which was started without its restored folder has not the same log.
const INDEX: u64 = 2;

/// The term of that entry.
const TERM: u64 = 1;

/// Bytes handed to the log at once.
const CHUNK_BYTES: usize = 256 << 10;

/// `snapshot restore FILE`
#[derive(Debug, Args)]
pub struct Restore {
    files: Vec<PathBuf>,
    /// Data folder to make; empty or not there yet [default: NAME.etcd]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Name of the member
    #[arg(long, default_value = "default")]
    name: String,
    /// All members of the new cluster: name=peer URL, separated by commas
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Part of the new cluster's id
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Where the other members reach this one
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// Do not compare the checksum behind the snapshot; needed for a file copied from a data folder of etcd
    #[arg(long)]
    skip_hash_check: bool,
    /// Raise the revision by this, so that none comes twice; 0 goes on where the snapshot ends
    #[arg(long, default_value_t = BUMP)]
    bump_revision: i64,
    /// Let nobody read history from before the restore [default: true if the revision is raised]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    mark_compacted: Option<bool>,
    /// There is no such folder here: the log stands in the data folder
    #[arg(long, default_value = "", hide = true)]
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
        if !self.wal_dir.is_empty() {
            return Err(Failure::bad_arguments(
                "--wal-dir is not served: the log stands in the data folder",
            )
            .hint("leave it out; to have the log on another disk, put the data folder there"));
        }
        if self.bump_revision < 0 {
            return Err(Failure::bad_arguments(format!(
                "--bump-revision={}: expected a number from 0 on",
                self.bump_revision
            )));
        }
        let members = cluster::listed(
            &self.name,
            &self.initial_advertise_peer_urls,
            Some(&self.initial_cluster),
        );
        let members = members
            .map_err(|error| Failure::of("restore snapshot", &error).maybe_hint(error.hint()))?;
        let plan = Plan::new(&self, &members);
        plan.check_vacant()?;
        let digest = if self.skip_hash_check {
            Check::Ignored
        } else {
            Check::Needed
        };
        let snapshot = source::open(file, digest)?;
        let bytes = snapshot.bytes();
        let mut before = Revision(0);
        let imported = snapshot.import(|state| {
            before = state.revision;
            state.applied = Index(INDEX);
            state.lease_term = 0;
            state.members = plan.members.clone();
            state.removed = Vec::new();
            state.auth = plan.with_token_key(&state.auth);
            state.revision = Revision(before.0.saturating_add(self.bump_revision));
            if self.mark_compacted.unwrap_or(self.bump_revision > 0) {
                state.compacted = state.revision.0;
            }
        })?;
        plan.make(&imported, bytes)?;
        plan.tell(file, before, &imported);
        Ok(())
    }
}

/// The folder to make.
struct Plan {
    dir: PathBuf,
    identity: Identity,
    token: String,
    members: Vec<MemberRecord>,
}

impl Plan {
    fn new(restore: &Restore, listed: &[InitialMember]) -> Self {
        let token = &restore.initial_cluster_token;
        let mut own = 0;
        let members = listed.iter().map(|member| {
            let mut peer_urls = member.urls();
            let id = identity::member_id(&peer_urls, token);
            if member.name == restore.name {
                own = id;
            }
            peer_urls.sort_unstable();
            MemberRecord {
                id,
                name: member.name.clone(),
                peer_urls,
                ..MemberRecord::default()
            }
        });
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by_key(|member| member.id);
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        let dir = restore.data_dir.clone();
        Self {
            dir: dir.unwrap_or_else(|| PathBuf::from(format!("{}.etcd", restore.name))),
            identity: identity::of_member(&ids, own),
            token: token.clone(),
            members,
        }
    }

    /// Gives users a key that signs their tokens. It must be the same on all members, who know nothing of each other
    /// yet, so it is made of what they share: the users' password hashes and the new cluster's ids and token.
    fn with_token_key(&self, auth: &Auth) -> Auth {
        if *auth == Auth::default() {
            return auth.clone();
        }
        let mut key = Sha256::new();
        key.update(self.identity.cluster.to_be_bytes());
        key.update(&self.token);
        for (name, user) in auth.users() {
            key.update(name);
            key.update(user.password.as_deref().unwrap_or_default());
        }
        let roles = auth.roles().map(|name| {
            let permissions = auth.role(name).unwrap_or_default().to_vec();
            (name.to_owned(), permissions)
        });
        let users = auth.users().map(|(name, user)| {
            let parts = (user.password.clone(), user.roles.clone());
            (name.to_owned(), parts)
        });
        let numbers = (auth.enabled(), auth.revision());
        Auth::of_parts(
            numbers,
            key.finalize().into(),
            roles.collect(),
            users.collect(),
        )
    }

    /// Finds out early what would be found late.
    fn check_vacant(&self) -> Result<(), Failure> {
        let found = Wal::occupant(&RealDisk, &self.dir);
        let found = found
            .map_err(|error| Failure::of("restore snapshot", &error).maybe_hint(error.hint()))?;
        let Some(found) = found else {
            return Ok(());
        };
        let dir = self.dir.display();
        Err(Failure::error(format!(
            "data-dir {:?} not empty or could not be read: expected nothing in it, found {found:?}",
            dir.to_string()
        ))
        .hint("name a folder that is empty or does not exist yet"))
    }

    /// Makes it; the snapshot had so many bytes, and what is written has about as many.
    fn make(&self, imported: &Imported, bytes: u64) -> Result<(), Failure> {
        let voters = Voters {
            voters: self.members.iter().map(|member| member.id).collect(),
            ..Voters::default()
        };
        let vote = Vote {
            term: TERM,
            vote: 0,
            commit: INDEX,
        };
        let mut content = imported.machine.snapshot_begin();
        let (mut progress, mut done) = (Progress::new(), 0);
        let made = Wal::restore(
            &RealDisk,
            WalConfig::new(&self.dir),
            self.identity,
            (INDEX, TERM),
            &voters.encode(),
            vote,
            &mut || {
                let chunk = content.chunk(CHUNK_BYTES).map(Bytes::from);
                done += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                let name = || format!("{} to restore", size(bytes.cast_signed()));
                progress.show(done.min(bytes), bytes, name);
                chunk
            },
        );
        progress.clear();
        made.map_err(|error| {
            let doing = format!("restore into {}", self.dir.display());
            Failure::of(&doing, &error).maybe_hint(error.hint())
        })
    }

    /// Says what was done, where etcdutl logs it.
    fn tell(&self, file: &std::path::Path, before: Revision, imported: &Imported) {
        let machine = &imported.machine;
        eprintln!(
            "restored {} into {}: member {:x} of cluster {:x}, {} keys, {} leases",
            file.display(),
            self.dir.display(),
            self.identity.member,
            self.identity.cluster,
            machine.keys(),
            machine.leases().len(),
        );
        let (revision, compacted) = (machine.revision(), machine.compacted());
        if revision != before {
            eprintln!(
                "revision {revision}: {before} in the snapshot, raised so that none comes twice"
            );
        }
        if compacted == revision {
            eprintln!(
                "history before revision {revision} is marked compacted: watchers begin anew"
            );
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
}
