//! Requests in the words of etcd 2: path, parameters of the URL, form in the body.
//!
//! They are refused, or decided by what there is and done, and the answer is JSON.

use store_machine::command::Command;
use store_machine::reply::Reply;
use store_machine::revision::{Index, LeaseId};
use store_v2::{Lives, Look, Params, Path, Verb, decide};

use crate::seeds;

/// A moment: the answers hold dates.
const NOW_MS: i64 = 1_700_000_000_000;

/// A verb in the first byte, then path, query and form, a line each; the rest of a form may hold lines.
///
/// # Panics
/// When what was decided makes no sense to the machine, or the answer is no JSON.
pub fn run(data: &[u8]) {
    let Some((verb, text)) = data.split_first() else {
        return;
    };
    let verb = [Verb::Get, Verb::Put, Verb::Post, Verb::Delete][usize::from(*verb % 4)];
    let text = String::from_utf8_lossy(text);
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (raw, query, form) = (line(), line(), line());
    let params = match Params::parse(verb, raw, &[form, query]) {
        Ok(params) => params,
        Err(error) => return is_json(&error.json()),
    };
    let mut machine = seeds::machine();
    let look = |path: Path| {
        let reply = machine.read_txn(&Look::request(&path)).ok()?;
        Look::of(path, reply, machine.revision().0)
    };
    if verb == Verb::Get {
        return;
    }
    let path = params.target(machine.revision().0);
    let look = look(path).expect("an answer to what was asked");
    let plan = match decide(&params, &look, &Lives::new(), NOW_MS) {
        Ok(plan) => plan,
        Err(error) => return is_json(&error.json()),
    };
    let lease = plan.lease.map(|(term, _)| term.lease(7));
    if let (Some(id), Some((_, ttl_seconds))) = (lease, plan.lease) {
        let next = Index(machine.applied().0 + 1);
        machine.apply(next, Command::LeaseGrant { id, ttl_seconds });
    }
    let next = Index(machine.applied().0 + 1);
    let applied = machine.apply(
        next,
        Command::Txn(plan.txn(lease.filter(|id| *id != LeaseId::NONE))),
    );
    if let Ok(Reply::Txn(txn)) = applied.reply {
        assert!(txn.succeeded, "nobody else writes here");
        is_json(&plan.done(txn.revision.0).json());
    }
}

fn is_json(text: &str) {
    serde_json::from_str::<serde_json::Value>(text).expect("JSON");
}
