//! Taking items: find the first that is free, claim it, have it worked on, and confirm or give it back.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use store_client::mirror::{Event, KeyRange, Snapshot};
use store_proto::mvccpb::KeyValue;
use store_recipes::condition::Condition;
use store_recipes::queue::{self, Queue as Keys};

use super::{Taking, Which, behind};
use crate::child::{self, Job};
use crate::command::lock::{Held, grace, under};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::recipe::follow::Follow;
use crate::recipe::link::{Link, Patience};
use crate::recipe::{TOKEN, ask, checked_ttl, myself};
use crate::session::Session;

/// 1,000: more than there are consumers of one queue, so that one of the first items is free.
const ITEMS_READ: i64 = 1_000;

/// One that takes items.
pub(super) struct Take {
    keys: Keys,
    name: String,
    link: Link,
    session: Session,
    at_most_once: bool,
    ttl_seconds: i64,
    grace: Duration,
}

/// An item that was found free.
struct Free {
    id: String,
    created: i64,
}

/// An item that was taken.
struct Taken {
    id: String,
    value: Bytes,
    /// The claim; none for one that was removed.
    claim: Option<Held>,
}

impl Take {
    pub(super) async fn open(
        which: &Which,
        taking: Taking,
        globals: &Globals,
    ) -> Result<Self, Failure> {
        checked_ttl(taking.ttl)?;
        let link = Link::open(globals).await?;
        let grace = grace(taking.grace, taking.ttl);
        Ok(Self {
            keys: which.keys(),
            name: which.queue.to_string(),
            session: Session::open(&link, taking.ttl, grace).await?,
            link,
            at_most_once: taking.at_most_once,
            ttl_seconds: taking.ttl,
            grace,
        })
    }

    /// Gives back what is claimed.
    pub(super) async fn close(self) {
        self.session.close().await;
    }

    /// Takes one item; `false` if there is none and it is not to be waited for.
    ///
    /// # Errors
    /// The command's, or that the item was lost under it.
    pub(super) async fn one(&mut self, at_once: bool, command: &[String]) -> Result<bool, Failure> {
        // Safe to cancel: a claim hangs on the lease, which ends right after.
        let taken = tokio::select! {
            taken = self.next(at_once) => taken?,
            () = child::interrupted() => return Err(Failure::error("context canceled")),
        };
        match taken {
            None => Ok(false),
            Some(taken) => self.worked(taken, command).await.map(|()| true),
        }
    }

    /// Takes one item after the other until told to end, or until there is none.
    ///
    /// # Errors
    /// As [`Take::one`].
    pub(super) async fn all(
        &mut self,
        until_empty: bool,
        command: &[String],
    ) -> Result<(), Failure> {
        let mut stop = std::pin::pin!(child::interrupted());
        loop {
            // Safe to cancel: a claim hangs on the lease, which ends right after. The wish to end comes first, as it may
            // have come while the command ran.
            let taken = tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                taken = self.next(until_empty) => taken?,
            };
            match taken {
                None => return Ok(()),
                Some(taken) => self.worked(taken, command).await?,
            }
        }
    }

    /// The next item, claimed or removed.
    async fn next(&mut self, at_once: bool) -> Result<Option<Taken>, Failure> {
        loop {
            if let Some(free) = self.free().await? {
                if let Some(taken) = self.claim(free).await? {
                    return Ok(Some(taken));
                }
                // Somebody was faster.
                continue;
            }
            if at_once {
                return Ok(None);
            }
            // Both are safe to cancel: they only wait.
            tokio::select! {
                changed = changed(&self.keys, &self.link) => changed?,
                () = self.session.lost() => self.renew().await?,
            }
        }
    }

    /// Another lease for one that was lost while nothing was claimed.
    async fn renew(&mut self) -> Result<(), Failure> {
        self.session = Session::open(&self.link, self.ttl_seconds, self.grace).await?;
        Ok(())
    }

    /// The first free item, if items may be taken.
    async fn free(&self) -> Result<Option<Free>, Failure> {
        let (items, claims) = (self.keys.items(), self.keys.claims());
        let mut limit = ITEMS_READ;
        loop {
            let request = ask::txn(
                [],
                [
                    ask::get_keys(&KeyRange::prefix(items.as_bytes()), limit),
                    ask::get_keys(&KeyRange::prefix(claims.as_bytes()), 0),
                    ask::get_key(&self.keys.condition()),
                    ask::get_key(&self.keys.started()),
                ],
                [],
            );
            let answer = self.link.txn(Patience::Endless, request).await?;
            let (found, claimed) = (ask::found(&answer, 0), ask::found(&answer, 1));
            let more = ask::range_of(&answer, 0).is_some_and(|range| range.more);
            let ids = found.iter().map(|kv| behind(&items, kv));
            let ids = ids.filter(|id| queue::is_id(id));
            let claimed = claimed.iter().map(|kv| behind(&claims, kv)).collect();
            let condition = ask::key_of(&answer, 2);
            if let (Some(condition), None) = (condition, ask::key_of(&answer, 3)) {
                if !fulfilled(condition, ids.clone())? {
                    if !more {
                        return Ok(None);
                    }
                    limit = 0;
                    continue;
                }
                self.start(condition).await?;
            }
            if let Some(id) = queue::next(ids, &claimed) {
                let created = found.iter().find(|kv| behind(&items, kv) == id);
                return Ok(Some(Free {
                    id: id.to_owned(),
                    created: created.map_or(0, |kv| kv.create_revision),
                }));
            }
            if !more {
                return Ok(None);
            }
            limit = 0;
        }
    }

    /// Writes down that the condition was fulfilled, unless it is another one by now.
    async fn start(&self, condition: &KeyValue) -> Result<(), Failure> {
        let (key, started) = (self.keys.condition(), self.keys.started());
        let conditions = [
            ask::changed(&key, condition.mod_revision),
            ask::absent(&started),
        ];
        let put = [ask::put(&started, condition.value.clone(), 0)];
        let request = ask::txn(conditions, put, []);
        self.link.txn(Patience::Endless, request).await.map(|_| ())
    }

    /// Takes an item that was free; `None` if somebody else has taken it meanwhile.
    async fn claim(&self, free: Free) -> Result<Option<Taken>, Failure> {
        let (item, claim) = (self.keys.item(&free.id), self.keys.claim(&free.id));
        let is_free = [ask::created(&item, free.created), ask::absent(&claim)];
        if self.at_most_once {
            let remove = [ask::get_key(&item), ask::delete(&item)];
            let request = ask::txn(is_free, remove, []);
            let answer = self.link.txn(Patience::Once, request).await?;
            return Ok(ask::key_of(&answer, 0).map(|kv| Taken {
                id: free.id,
                value: kv.value.clone(),
                claim: None,
            }));
        }
        let lease = self.session.lease();
        let look = || [ask::get_key(&claim), ask::get_key(&item)];
        let [mine, value] = look();
        let request = ask::txn(
            is_free,
            [ask::put(&claim, myself(), lease), mine, value],
            look(),
        );
        let answer = match self.link.txn(Patience::Endless, request).await {
            Err(failure) if failure.to_string().contains("lease not found") => return Ok(None),
            answer => answer?,
        };
        let at = usize::from(answer.succeeded);
        // Asked twice, the second finds what the first has put.
        let claimed = ask::key_of(&answer, at).filter(|kv| kv.lease == lease);
        let (Some(claimed), Some(found)) = (claimed, ask::key_of(&answer, at + 1)) else {
            return Ok(None);
        };
        Ok(Some(Taken {
            value: found.value.clone(),
            claim: Some(Held {
                key: claim,
                token: claimed.create_revision,
                revision: ask::revision_of(&answer),
            }),
            id: free.id,
        }))
    }

    /// Has an item worked on, and confirms it or gives it back.
    async fn worked(&mut self, taken: Taken, command: &[String]) -> Result<(), Failure> {
        if command.is_empty() {
            print(&taken.value)?;
        }
        let mut variables = vec![
            ("MUSTER_QUEUE", self.name.clone()),
            ("MUSTER_QUEUE_ITEM", taken.id.clone()),
        ];
        if let Some(claim) = &taken.claim {
            variables.push((TOKEN, claim.token.to_string()));
        }
        let job = Job {
            words: command,
            variables,
            input: Some(taken.value),
            grace: self.grace,
            ..Job::default()
        };
        let Some(claim) = taken.claim else {
            return job.run(std::future::pending()).await;
        };
        let done = under(&mut self.session, &self.link, &claim, job).await;
        let item = self.keys.item(&taken.id);
        let mine = [ask::created(&claim.key, claim.token)];
        match done {
            Ok(()) => {
                let removed = [ask::delete(&item), ask::delete(&claim.key)];
                let request = ask::txn(mine, removed, [ask::get_key(&item)]);
                let answer = self.link.txn(Patience::Short, request).await?;
                // Asked twice, the second finds that the item is gone.
                if answer.succeeded || ask::key_of(&answer, 0).is_none() {
                    return Ok(());
                }
                let line = format!("the claim on {} was lost before it was confirmed", taken.id);
                Err(Failure::error(line).hint("it is worked on again"))
            }
            Err(failure) => {
                let request = ask::txn(mine, [ask::delete(&claim.key)], []);
                // One that cannot be given back comes back with the end of the lease.
                let _ = self.link.txn(Patience::Short, request).await;
                Err(failure)
            }
        }
    }
}

fn fulfilled<'a>(
    condition: &KeyValue,
    ids: impl Iterator<Item = &'a str>,
) -> Result<bool, Failure> {
    let text = String::from_utf8_lossy(&condition.value);
    let condition: Condition = text.parse().map_err(|why| {
        Failure::error(format!("{why}")).hint("set another one with `queue condition`")
    })?;
    Ok(condition.is_fulfilled(ids.map(queue::name)))
}

/// Waits until there may be something to take.
async fn changed(keys: &Keys, link: &Link) -> Result<(), Failure> {
    let mut follow = Follow::new(link, KeyRange::prefix(keys.root().as_bytes()));
    loop {
        let (Event::Listed { snapshot, .. } | Event::Advanced { snapshot, .. }) =
            follow.next().await?;
        if may_take(keys, &snapshot) {
            return Ok(());
        }
    }
}

fn may_take(keys: &Keys, snapshot: &Snapshot) -> bool {
    let (items, claims) = (keys.items(), keys.claims());
    let ids = |prefix: &str| {
        let found = snapshot.prefix(prefix.as_bytes());
        let id = |key: &Bytes| String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
        let ids = found.map(|(key, _)| id(key)).filter(|id| queue::is_id(id));
        ids.collect::<Vec<String>>()
    };
    let (items, claims) = (ids(&items), ids(&claims));
    let claims: BTreeSet<&str> = claims.iter().map(String::as_str).collect();
    let items = items.iter().map(String::as_str);
    let is_open = match snapshot.get(keys.condition().as_bytes()) {
        Some(condition) if snapshot.get(keys.started().as_bytes()).is_none() => {
            let text = String::from_utf8_lossy(&condition.value);
            // What is no condition is looked at, and told of.
            text.parse().map_or(true, |condition: Condition| {
                condition.is_fulfilled(items.clone().map(queue::name))
            })
        }
        _ => true,
    };
    is_open && queue::next(items, &claims).is_some()
}

fn print(value: &Bytes) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(value)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|cause| Failure::io(format!("write to stdout: {cause}")))
}
