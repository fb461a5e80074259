//! A place in line, as etcd's clients stand in one: a key below a prefix, named by the lease, in the order of creation. The
//! one at the head holds what the line is for.

use bytes::Bytes;
use store_client::mirror::KeyRange;
use store_recipes::turn::{Turn, turn};

use super::ask;
use super::follow;
use super::link::{Link, Patience};
use crate::failure::Failure;

/// A place in line.
#[derive(Debug)]
pub(crate) struct Place {
    /// The key that stands for it.
    pub(crate) key: String,
    /// Its create revision: the fencing token.
    pub(crate) token: i64,
    /// What all keys of the line begin with.
    prefix: String,
}

impl Place {
    /// Takes the last place in the line of that name.
    ///
    /// # Errors
    /// What the store refuses.
    pub(crate) async fn take(
        link: &Link,
        name: &str,
        value: Bytes,
        lease: i64,
    ) -> Result<Self, Failure> {
        let prefix = format!("{name}/");
        let key = format!("{prefix}{lease:x}");
        // A lease stands once: asked twice, the second finds what the first has put.
        let request = ask::txn(
            [ask::absent(&key)],
            [ask::put(&key, value, lease), ask::get_key(&key)],
            [ask::get_key(&key), ask::get_key(&key)],
        );
        let answer = link.txn(Patience::Endless, request).await?;
        let standing = ask::key_of(&answer, 1).ok_or_else(lost)?;
        Ok(Self {
            token: standing.create_revision,
            key,
            prefix,
        })
    }

    /// Whether anybody stands before it, and who.
    async fn turn(&self, link: &Link) -> Result<(Option<Bytes>, i64), Failure> {
        let range = KeyRange::prefix(self.prefix.as_bytes());
        let mut request = ask::read(&range);
        request.keys_only = true;
        let line = link.range(Patience::Endless, request).await?;
        let standing = line.kvs.iter().map(|kv| (&kv.key[..], kv.create_revision));
        let revision = line.header.unwrap_or_default().revision;
        match turn(self.key.as_bytes(), self.token, standing) {
            Turn::Mine => Ok((None, revision)),
            Turn::Behind(key) => Ok((Some(Bytes::copy_from_slice(key)), revision)),
            Turn::Gone => Err(lost()),
        }
    }

    /// Waits until nobody stands before it; gives the revision of the store at which that was so. Safe to cancel: the place
    /// stays.
    ///
    /// # Errors
    /// The place is lost, or what the store refuses.
    pub(crate) async fn wait(&self, link: &Link) -> Result<i64, Failure> {
        loop {
            match self.turn(link).await? {
                (None, revision) => return Ok(revision),
                (Some(before), _) => follow::gone(link, &before).await?,
            }
        }
    }

    /// Whether nobody stands before it now: the revision of the store, or the key of who stands there.
    ///
    /// # Errors
    /// As [`Place::wait`].
    pub(crate) async fn is_first(&self, link: &Link) -> Result<Result<i64, Bytes>, Failure> {
        let (before, revision) = self.turn(link).await?;
        Ok(before.map_or(Ok(revision), Err))
    }
}

fn lost() -> Failure {
    Failure::error("session expired")
}
