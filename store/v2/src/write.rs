//! What a write does: from what is there to one conditional transaction, which fails when anything it was decided by has
//! changed, and the answer if it does not.

use bytes::Bytes;
use store_machine::reply::KeyValue;
use store_machine::request::{
    Compare, CompareTarget, DeleteRequest, KeyRange, PutRequest, Relation, TxnOp, TxnRequest,
};
use store_machine::revision::LeaseId;

use crate::error::{Code, Error};
use crate::look::{Look, Seat, one};
use crate::node::{Answer, Clock, Lives, Node};
use crate::params::{Params, Verb};
use crate::path::Path;
use crate::term::Term;

/// A decided write.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The lease to grant first, and for how many seconds.
    pub lease: Option<(Term, i64)>,
    compare: Vec<Compare>,
    ops: Vec<TxnOp>,
    /// Lease of what is put, unless one is granted.
    inherited: LeaseId,
    answer: Answer,
    silent: bool,
}

impl Plan {
    /// The transaction, once the lease is granted.
    #[must_use]
    pub fn txn(&self, lease: Option<LeaseId>) -> TxnRequest {
        let mut success = self.ops.clone();
        for op in &mut success {
            if let TxnOp::Put(put) = op {
                put.lease = self.inherited;
            }
        }
        // The node itself comes last; what leads to it lives on.
        if let (Some(TxnOp::Put(put)), Some(lease)) = (success.last_mut(), lease) {
            put.lease = lease;
        }
        TxnRequest {
            compare: self.compare.clone(),
            success,
            failure: Vec::new(),
        }
    }

    /// The answer, once it was done at that revision.
    #[must_use]
    pub fn done(mut self, revision: i64) -> Answer {
        self.answer.index = revision;
        if let Some(node) = &mut self.answer.node {
            node.modified = revision;
            if node.created == 0 {
                node.created = revision;
            }
        }
        if self.silent {
            self.answer.node = None;
            self.answer.prev = None;
        }
        self.answer
    }
}

/// Decides a write by what is there.
///
/// # Errors
/// Why not.
pub fn decide(params: &Params, look: &Look, lives: &Lives, now_ms: i64) -> Result<Plan, Error> {
    let writing = Writing {
        params,
        look,
        clock: Clock { now_ms, lives },
    };
    if params.verb == Verb::Post {
        return writing.create("create");
    }
    if look.path.is_root() {
        return Err(look.refuse(Code::RootReadOnly, "/"));
    }
    let conditional = params.prev_index > 0 || params.prev_value.is_some();
    match (params.verb, params.prev_exist) {
        (Verb::Delete, _) if conditional => writing.delete("compareAndDelete"),
        (Verb::Delete, _) => writing.delete("delete"),
        (_, Some(false)) => writing.create("create"),
        (_, Some(true)) if !conditional => writing.update(),
        (_, None) if !conditional => writing.create("set"),
        _ => writing.swap(),
    }
}

impl Params {
    /// The path a write is about: that of a POST is a new one below, named so that names are in order. The store's next
    /// index it is, unless somebody else writes at the same moment.
    #[must_use]
    pub fn target(&self, index: i64) -> Path {
        if self.verb == Verb::Post {
            self.path.child(&format!("{:020}", index + 1))
        } else {
            self.path.clone()
        }
    }
}

struct Writing<'a> {
    params: &'a Params,
    look: &'a Look,
    clock: Clock<'a>,
}

impl Writing<'_> {
    /// Puts a node where one may be, or may not.
    fn create(&self, action: &'static str) -> Result<Plan, Error> {
        let (params, look) = (self.params, self.look);
        for (path, seat) in &look.ancestors {
            if seat.file.is_some() && !seat.is_dir() {
                return Err(look.refuse(Code::NotDir, path.as_str()));
            }
        }
        let there = look.seat.is_dir() || look.seat.file.is_some();
        if there && action == "create" {
            return Err(look.refuse(Code::NodeExists, look.path.as_str()));
        }
        if params.refresh && !there {
            look.found()?;
            return Err(look.refuse(Code::KeyNotFound, look.path.as_str()));
        }
        if look.seat.is_dir() {
            return Err(look.refuse(Code::NotFile, look.path.as_str()));
        }
        let mut plan = self.plan(action, 0);
        for (path, seat) in &look.ancestors {
            plan.compare.push(unchanged(path.marker(), seat.marker()));
            if seat.is_dir() {
                continue;
            }
            // Made in the same revision as what it is made for, unless somebody was quicker.
            plan.compare.push(unchanged(path.key(), None));
            plan.ops.push(put(path.marker(), Bytes::new()));
        }
        plan.answer.created = !there;
        if params.dir {
            if there {
                plan.ops.push(delete(one(look.path.key())));
            }
            plan.ops.push(put(look.path.marker(), Bytes::new()));
        } else {
            let value = self.value();
            plan.ops.push(put(look.path.key(), value));
        }
        plan.compare.push(nothing(look.path.below()));
        Ok(plan)
    }

    /// Changes value or time of what is there.
    fn update(&self) -> Result<Plan, Error> {
        let look = self.look;
        look.found()?;
        if look.seat.is_dir() {
            if !self.params.value.is_empty() {
                return Err(look.refuse(Code::NotFile, look.path.as_str()));
            }
            return Ok(self.renew_dir());
        }
        Ok(self.overwrite("update"))
    }

    /// Changes a file if it is the one that is meant.
    fn swap(&self) -> Result<Plan, Error> {
        self.is_meant()?;
        Ok(self.overwrite("compareAndSwap"))
    }

    fn delete(&self, action: &'static str) -> Result<Plan, Error> {
        let (params, look) = (self.params, self.look);
        if action == "compareAndDelete" {
            self.is_meant()?;
        }
        look.found()?;
        let dir = look.seat.is_dir();
        if dir && !params.dir && !params.recursive {
            return Err(look.refuse(Code::NotFile, look.path.as_str()));
        }
        if dir && !params.recursive && !look.seat.is_empty() {
            return Err(look.refuse(Code::DirNotEmpty, look.path.as_str()));
        }
        let created = self.pair().map_or(0, |pair| pair.create_revision.0);
        let mut plan = self.plan(action, created);
        plan.lease = None;
        plan.silent = false;
        if let Some(node) = &mut plan.answer.node {
            node.value = None;
            node.end = None;
            node.dir = dir;
        }
        // A directory is gone with its last key: those above stay, even if version 3 made this one.
        for (path, seat) in &look.ancestors {
            plan.compare.push(unchanged(path.marker(), seat.marker()));
            if seat.marker().is_none() {
                plan.ops.push(put(path.marker(), Bytes::new()));
            }
        }
        if dir {
            if !params.recursive {
                let marker = look.path.marker();
                plan.compare
                    .push(unchanged(marker.clone(), look.seat.marker()));
                let after = KeyRange {
                    start: [&marker[..], b"\0"].concat().into(),
                    end: look.path.below().end,
                };
                plan.compare.push(nothing(after));
            }
            plan.ops.push(delete(look.path.below()));
        }
        if look.seat.file.is_some() {
            plan.ops.push(delete(one(look.path.key())));
        }
        Ok(plan)
    }

    /// Gives a directory another time to live, or none. What was made below it keeps the one it had.
    fn renew_dir(&self) -> Plan {
        let created = self.pair().map_or(0, |pair| pair.create_revision.0);
        let mut plan = self.plan("update", created);
        if let Some(node) = &mut plan.answer.node {
            node.value = None;
            node.dir = true;
        }
        let marker = self.look.path.marker();
        plan.compare
            .push(unchanged(marker.clone(), self.look.seat.marker()));
        plan.ops.push(put(marker, Bytes::new()));
        plan
    }

    fn overwrite(&self, action: &'static str) -> Plan {
        let created = self.pair().map_or(0, |pair| pair.create_revision.0);
        let mut plan = self.plan(action, created);
        if let Some(node) = &mut plan.answer.node {
            // What a condition is about is a file, whatever else is asked.
            node.dir = false;
            node.value = Some(self.value());
        }
        plan.ops.push(put(self.look.path.key(), self.value()));
        plan
    }

    fn value(&self) -> Bytes {
        match &self.look.seat.file {
            Some(file) if self.params.refresh => file.value.clone(),
            _ => Bytes::from(self.params.value.clone()),
        }
    }

    /// Whether value and index are those that the request names.
    fn is_meant(&self) -> Result<(), Error> {
        let (params, look) = (self.params, self.look);
        look.found()?;
        let Some(file) = look.seat.file.as_ref().filter(|_| !look.seat.is_dir()) else {
            return Err(look.refuse(Code::NotFile, look.path.as_str()));
        };
        let mut causes = Vec::new();
        if let Some(wanted) = &params.prev_value
            && wanted.as_bytes() != &file.value[..]
        {
            let have = String::from_utf8_lossy(&file.value);
            causes.push(format!("[{wanted} != {have}]"));
        }
        let index = file.mod_revision.0;
        if params.prev_index > 0 && params.prev_index != index.cast_unsigned() {
            causes.push(format!("[{} != {index}]", params.prev_index));
        }
        if causes.is_empty() {
            Ok(())
        } else {
            Err(look.refuse(Code::TestFailed, causes.join(" ")))
        }
    }

    /// The pair that says when the node came and changed.
    fn pair(&self) -> Option<&KeyValue> {
        let Seat { file, first, .. } = &self.look.seat;
        first.as_ref().or(file.as_ref())
    }

    /// What all writes have in common. `created`: 0 = by this write.
    fn plan(&self, action: &'static str, created: i64) -> Plan {
        let (params, look) = (self.params, self.look);
        let inherited = look.inherited();
        let term = params.ttl.map(|ttl| {
            let term = Term::after(self.clock.now_ms, ttl, params.refresh);
            (
                term,
                i64::try_from(ttl)
                    .unwrap_or(i64::MAX)
                    .clamp(1, TTL_SECONDS_MAX),
            )
        });
        let there = look.seat.is_dir() || look.seat.file.is_some();
        let end = term.map(|(term, _)| (term.moment(), term.seconds_left(self.clock.now_ms)));
        let prev = self.pair().filter(|_| there);
        // Whatever is below a directory goes with it: no lease outlives that one's.
        let outlived = |term: &Term| {
            let terms = inherited.iter().filter_map(|lease| Term::of_lease(*lease));
            terms.into_iter().any(|above| above.ends_ms < term.ends_ms)
        };
        Plan {
            lease: term.filter(|(term, _)| !outlived(term)),
            compare: vec![unchanged(look.path.key(), look.seat.file.as_ref())],
            ops: Vec::new(),
            inherited: inherited.last().copied().unwrap_or(LeaseId::NONE),
            answer: Answer {
                action,
                node: Some(Node {
                    key: look.path.as_str().to_owned(),
                    value: (!params.dir).then(|| self.value()),
                    dir: params.dir,
                    end,
                    nodes: Vec::new(),
                    modified: 0,
                    created,
                }),
                prev: prev.map(|pair| {
                    Node::of(
                        &look.path,
                        pair,
                        look.seat.is_dir(),
                        &self.clock,
                        &inherited,
                    )
                }),
                created: false,
                index: look.revision,
            },
            silent: params.no_value_on_success,
        }
    }
}

/// The store's longest time to live, as etcd's.
const TTL_SECONDS_MAX: i64 = 9_000_000_000;

fn put(key: Bytes, value: Bytes) -> TxnOp {
    TxnOp::Put(PutRequest {
        key,
        value,
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

const fn delete(keys: KeyRange) -> TxnOp {
    TxnOp::Delete(DeleteRequest {
        keys,
        prev_kv: false,
    })
}

/// The pair is as it was, or there is none, as before.
fn unchanged(key: Bytes, pair: Option<&KeyValue>) -> Compare {
    Compare {
        keys: one(key),
        relation: Relation::Equal,
        target: CompareTarget::Mod(pair.map_or(0, |pair| pair.mod_revision.0)),
    }
}

/// There is nothing at all.
const fn nothing(keys: KeyRange) -> Compare {
    Compare {
        keys,
        relation: Relation::Equal,
        target: CompareTarget::Create(0),
    }
}
