//! What an etcd keeps of version 2: `member/snap` has the tree of keys now and then, as JSON, and `member/wal` every request
//! since. `snapshot.rs` reads the one, `log.rs` the other, `tree.rs` does the requests again, `message.rs` is their
//! form. The formats are those of etcd 2.1 to 3.5 (packages `walpb`, `snappb`, `raftpb` and `etcdserverpb`).
//!
//! Bytes in, a tree out: nothing in a folder is changed.

mod log;
mod message;
mod snapshot;
#[cfg(test)]
mod tests;
mod tree;

use std::path::{Path, PathBuf};

use self::message::{ConfChange, ConfChangeKind, EntryKind, Proposal};
use crate::failure::Failure;

pub(crate) use self::tree::{Content, Node, Tree};

/// What was found.
pub(crate) struct Found {
    /// All there is, of the cluster too.
    pub(crate) tree: Tree,
    /// Requests of version 3 in the log: they are about other keys.
    pub(crate) foreign: u64,
    /// Files that were passed over, and why.
    pub(crate) passed_over: Vec<String>,
    /// The log ended in the middle of a record, as a crash leaves it.
    pub(crate) torn: bool,
}

/// Reads a data folder of etcd, or a backup of one.
///
/// # Errors
/// It is none, or damaged.
pub(crate) fn read(dir: &Path, wal: Option<&Path>) -> Result<Found, Failure> {
    let base = base(dir)?;
    let wal = wal.map_or_else(|| base.join("wal"), Path::to_owned);
    let (start, passed_over) = snapshot::newest(&base.join("snap"))?;
    let log = log::read(&wal, (start.index, start.term))?;
    let mut tree = match &start.tree {
        Some((bytes, file)) => Tree::of_json(bytes).map_err(|expected| {
            damaged(
                file,
                format_args!("expected {expected} in the tree of keys"),
            )
        })?,
        None => Tree::new(),
    };
    let mut foreign = 0;
    for entry in &log.entries {
        let unreadable = |what: &str| {
            let what = format_args!("entry {} is no {what}", entry.index);
            damaged(&wal, what)
        };
        match entry.kind() {
            EntryKind::Normal => match Proposal::decode(&entry.data) {
                Some(Proposal::None) => {}
                Some(Proposal::Foreign) => foreign += 1,
                Some(Proposal::Request(request)) => match request.method() {
                    Some(method) => tree.perform(method, &request),
                    None => return Err(unreadable("request that etcd knows")),
                },
                None => return Err(unreadable("request")),
            },
            EntryKind::ConfChange => match ConfChange::decode(&entry.data) {
                Some(change) => change_members(&mut tree, &change),
                None => return Err(unreadable("change of members")),
            },
            EntryKind::Other => {}
        }
    }
    Ok(Found {
        tree,
        foreign,
        passed_over,
        torn: log.torn,
    })
}

/// Members stand in the tree too, and so count for the index.
fn change_members(tree: &mut Tree, change: &ConfChange) {
    let member = format!("/0/members/{:x}", change.member);
    let attributes = format!("{member}/raftAttributes");
    let removed = format!("/0/removed_members/{:x}", change.member);
    let (known, gone) = (tree.get(&member).is_some(), tree.get(&removed).is_some());
    match change.kind() {
        _ if gone => {}
        ConfChangeKind::Add if !known => tree.make(&attributes),
        ConfChangeKind::Add if change.promotes() => tree.touch(&attributes),
        ConfChangeKind::Update if known => tree.touch(&attributes),
        ConfChangeKind::Remove if known => {
            tree.drop_all(&member);
            tree.make(&removed);
        }
        _ => {}
    }
}

/// Where `snap` and `wal` are.
fn base(dir: &Path) -> Result<PathBuf, Failure> {
    let member = dir.join("member");
    if member.join("snap").is_dir() || member.join("wal").is_dir() {
        return Ok(member);
    }
    let shown = dir.display();
    if !dir.exists() {
        return Err(Failure::error(format!(
            "stat {shown}: no such file or directory"
        )));
    }
    Err(
        Failure::error(format!("{shown} is not the data folder of an etcd")).hint(
            "name the folder that etcd was started with (--data-dir), or one that `etcdctl backup` made: it has the folders \
             member/snap and member/wal",
        ),
    )
}

fn damaged(file: &Path, what: impl std::fmt::Display) -> Failure {
    Failure::error(format!("read {}: {what}", file.display()))
        .hint("take another copy of the folder, or that of another member; etcd must not run on it while it is copied")
}
