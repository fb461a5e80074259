//! What a request needs, taken apart: a list of single needs, whatever its nesting.
//!
//! Every kind of command and read must say here what it needs; one that does not fails to compile.
//! Which methods of the protocol need the root role or any user at all is said where they come in.

use crate::command::Command;
use crate::error::Refusal;
use crate::request::{DeleteRequest, PutRequest, RangeEnd, RangeRequest, TxnOp, TxnRequest};
use crate::revision::LeaseId;

/// What the request of a client wants to do.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// Have a command applied.
    Command(&'a Command),
    /// Read a range.
    Range(&'a RangeRequest),
    /// Run a transaction that writes nothing.
    Txn(&'a TxnRequest),
    /// Renew a lease.
    LeaseRenew(LeaseId),
    /// See how long a lease lives.
    LeaseLife,
    /// See which keys are on a lease.
    LeaseKeys(LeaseId),
    /// See which leases there are.
    Leases,
    /// See what is not the clients' data; the method that shows it is guarded where it comes in.
    Guarded,
}

/// One thing a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// Nothing.
    Nothing,
    /// To be somebody.
    Identity,
    /// The root role.
    Root,
    /// To be this user, or the root role.
    Oneself(&'a str),
    /// To have this role, or the root role.
    OwnRole(&'a str),
    /// To read these keys.
    Read(&'a [u8], &'a RangeEnd),
    /// To write these keys.
    Write(&'a [u8], &'a RangeEnd),
    /// To read every key on a lease.
    ReadLease(LeaseId),
    /// To write every key on a lease; nothing when there is no such lease.
    WriteLease(LeaseId),
    /// To read every key that is on any lease.
    ReadAllLeases,
}

/// Is handed one need after the other; an error ends it.
type Visit<'v> = dyn FnMut(Need<'_>) -> Result<(), Refusal> + 'v;

impl Access<'_> {
    /// Hands all needs to `visit`.
    pub(super) fn needs(self, visit: &mut Visit<'_>) -> Result<(), Refusal> {
        match self {
            Self::Command(command) => of_command(command, visit),
            Self::Range(range) => of_range(range, visit),
            Self::Txn(txn) => of_txn(txn, visit),
            Self::LeaseRenew(id) => {
                visit(Need::Identity)?;
                visit(Need::WriteLease(id))
            }
            Self::LeaseLife => visit(Need::Identity),
            Self::LeaseKeys(id) => {
                visit(Need::Identity)?;
                visit(Need::ReadLease(id))
            }
            Self::Leases => {
                visit(Need::Identity)?;
                visit(Need::ReadAllLeases)
            }
            Self::Guarded => Ok(()),
        }
    }
}

fn of_command(command: &Command, visit: &mut Visit<'_>) -> Result<(), Refusal> {
    match command {
        Command::As { command, .. } => of_command(command, visit),
        Command::Put(put) => of_put(put, visit),
        Command::Delete(delete) => of_delete(delete, visit),
        Command::Txn(txn) => of_txn(txn, visit),
        Command::LeaseGrant { .. } => visit(Need::Identity),
        // A leader's clock has decided, and says so by its term.
        Command::LeaseRevoke { term, .. } if *term != 0 => Ok(()),
        Command::LeaseRevoke { id, .. } => {
            visit(Need::Identity)?;
            visit(Need::WriteLease(*id))
        }
        Command::Compact { .. }
        | Command::AlarmRaise { .. }
        | Command::AlarmClear { .. }
        | Command::Auth(_) => visit(Need::Root),
        // No client can ask for these. Changes of the members are guarded where they come in: by the
        // time they are applied, raft has long followed them.
        Command::LeaseCheckpoint { .. }
        | Command::Space(_)
        | Command::MemberPublish { .. }
        | Command::Members(_) => Ok(()),
    }
}

fn of_range(range: &RangeRequest, visit: &mut Visit<'_>) -> Result<(), Refusal> {
    visit(Need::Read(&range.keys.start, &range.keys.end))
}

fn of_put(put: &PutRequest, visit: &mut Visit<'_>) -> Result<(), Refusal> {
    visit(Need::Write(&put.key, &RangeEnd::Single))?;
    // Whoever puts a key on a lease can have it deleted by revoking that, and could in turn keep
    // alive keys of others that are on it.
    if put.lease != LeaseId::NONE {
        visit(Need::WriteLease(put.lease))?;
    }
    if put.prev_kv {
        visit(Need::Read(&put.key, &RangeEnd::Single))?;
    }
    Ok(())
}

fn of_delete(delete: &DeleteRequest, visit: &mut Visit<'_>) -> Result<(), Refusal> {
    visit(Need::Write(&delete.keys.start, &delete.keys.end))?;
    if delete.prev_kv {
        visit(Need::Read(&delete.keys.start, &delete.keys.end))?;
    }
    Ok(())
}

/// Both branches count, whichever would run: what a compare says of a key is reading it, too. One
/// without any operation is not for nobody either.
fn of_txn(txn: &TxnRequest, visit: &mut Visit<'_>) -> Result<(), Refusal> {
    visit(Need::Identity)?;
    for compare in &txn.compare {
        visit(Need::Read(&compare.keys.start, &compare.keys.end))?;
    }
    for op in txn.ops() {
        match op {
            TxnOp::Range(range) => of_range(range, visit)?,
            TxnOp::Put(put) => of_put(put, visit)?,
            TxnOp::Delete(delete) => of_delete(delete, visit)?,
            TxnOp::Txn(nested) => of_txn(nested, visit)?,
        }
    }
    Ok(())
}
