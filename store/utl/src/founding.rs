//! A member of a new cluster on what some older store held: who it and the others are, and the folder it begins with.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use sha2::{Digest as _, Sha256};
use store_machine::auth::Auth;
use store_machine::revision::Index;
use store_machine::snapshot::{Rebuild, State};
use store_machine::{Limits, Machine, MemberRecord};
use store_member::record::Voters;
use store_server::config::cluster::{self, InitialMember};
use store_server::identity;
use store_wal::{Identity, RealDisk, Vote, Wal, WalConfig};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::table::size;

/// Last entry of the log that the content stands for. One above the entry that every cluster begins with, so that a member
/// which was started without its folder has not the same log.
const INDEX: u64 = 2;

/// The term of that entry.
const TERM: u64 = 1;

/// Bytes handed to the log at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Who begins the new cluster.
#[derive(Debug, Args)]
pub(crate) struct Founders {
    /// Name of the member
    #[arg(long, default_value = "default")]
    pub(crate) name: String,
    /// All members of the new cluster: name=peer URL, separated by commas
    #[arg(long, default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Part of the new cluster's id
    #[arg(long, default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Where the other members reach this one
    #[arg(long, default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
}

impl Founders {
    /// The folder that this member begins with; by default named after it.
    pub(crate) fn plan(&self, doing: &'static str, dir: Option<&Path>) -> Result<Plan, Failure> {
        let members = cluster::listed(
            &self.name,
            &self.initial_advertise_peer_urls,
            Some(&self.initial_cluster),
        );
        let members =
            members.map_err(|error| Failure::of(doing, &error).maybe_hint(error.hint()))?;
        let own = |member: &InitialMember| member.name == self.name;
        let listed = members.iter().map(|member| {
            let record = MemberRecord {
                name: member.name.clone(),
                peer_urls: member.urls(),
                ..MemberRecord::default()
            };
            (own(member), record)
        });
        let named = || PathBuf::from(format!("{}.etcd", self.name));
        let dir = dir.map_or_else(named, Path::to_owned);
        let token = self.initial_cluster_token.clone();
        Ok(Plan::new(doing, dir, token, listed.collect()))
    }
}

/// The folder to make.
pub(crate) struct Plan {
    doing: &'static str,
    pub(crate) dir: PathBuf,
    /// Where its log goes, if not there.
    pub(crate) log_dir: Option<PathBuf>,
    pub(crate) identity: Identity,
    token: String,
    members: Vec<MemberRecord>,
}

/// The folder that a flag names; empty names none, as in etcd.
pub(crate) fn folder(flag: &str) -> Option<PathBuf> {
    (!flag.is_empty()).then(|| PathBuf::from(flag))
}

impl Plan {
    /// For the one of the members that is marked. Their ids are made here, of their URLs and the token.
    pub(crate) fn new(
        doing: &'static str,
        dir: PathBuf,
        token: String,
        listed: Vec<(bool, MemberRecord)>,
    ) -> Self {
        let mut own = 0;
        let members = listed.into_iter().map(|(is_own, mut member)| {
            member.id = identity::member_id(&member.peer_urls, &token);
            if is_own {
                own = member.id;
            }
            member.peer_urls.sort_unstable();
            member
        });
        let mut members: Vec<_> = members.collect();
        members.sort_unstable_by_key(|member| member.id);
        let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        Self {
            doing,
            dir,
            log_dir: None,
            identity: identity::of_member(&ids, own),
            token,
            members,
        }
    }

    /// Makes the state one that the new cluster begins with: its members, its ids and its log are new.
    pub(crate) fn found(&self, state: &mut State) {
        state.applied = Index(INDEX);
        state.lease_term = 0;
        state.members = self.members.clone();
        state.removed = Vec::new();
        state.auth = self.with_token_key(&state.auth);
    }

    /// The machine with its state [`Plan::found`].
    pub(crate) fn founded(&self, machine: &Machine) -> Result<Machine, Failure> {
        let damaged = |expected| Failure::error(format!("{}: expected {expected}", self.doing));
        let mut content = machine.snapshot_begin();
        let mut state = content.state();
        self.found(&mut state);
        let limits = Limits {
            quota_bytes: u64::MAX,
        };
        let mut rebuild = Rebuild::new(limits, state).map_err(damaged)?;
        while let Some(pairs) = content.records() {
            for pair in pairs {
                rebuild.record(pair).map_err(damaged)?;
            }
        }
        rebuild.finish().map_err(damaged)
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
    pub(crate) fn check_vacant(&self, flag: &str) -> Result<(), Failure> {
        let found = Wal::occupant(&RealDisk, &self.wal());
        let found =
            found.map_err(|error| Failure::of(self.doing, &error).maybe_hint(error.hint()))?;
        let Some(found) = found else {
            return Ok(());
        };
        let dir = self.dir.display();
        Err(Failure::error(format!(
            "{flag} {:?} not empty or could not be read: expected nothing in it, found {found:?}",
            dir.to_string()
        ))
        .hint("name a folder that is empty or does not exist yet"))
    }

    fn wal(&self) -> WalConfig {
        WalConfig::new(&self.dir).with_log(self.log_dir.as_deref())
    }

    /// Makes it.
    pub(crate) fn make(&self, machine: &Machine) -> Result<(), Failure> {
        let voters = Voters {
            voters: self.members.iter().map(|member| member.id).collect(),
            ..Voters::default()
        };
        let vote = Vote {
            term: TERM,
            vote: 0,
            commit: INDEX,
        };
        let mut content = machine.snapshot_begin();
        let bytes = content.bytes_left();
        let (mut progress, mut done) = (Progress::new(), 0);
        let made = Wal::restore(
            &RealDisk,
            self.wal(),
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
            let doing = format!("{} into {}", self.doing, self.dir.display());
            Failure::of(&doing, &error).maybe_hint(error.hint())
        })
    }

    /// Says what was made, where etcdutl logs it.
    pub(crate) fn tell(&self, done: &str, machine: &Machine) {
        eprintln!(
            "{done} into {}: member {:x} of cluster {:x}, {} keys, {} leases",
            self.dir.display(),
            self.identity.member,
            self.identity.cluster,
            machine.keys(),
            machine.leases().len(),
        );
    }
}
