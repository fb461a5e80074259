//! Users, roles and whether they count.

use super::bucket;
use super::import::ImportError;
use crate::loader::Loader;
use crate::source::Source;
use crate::tree::{Bucket, Tree};

/// Key of the bucket `auth` under which a single 1 says that users and roles count.
const ENABLED: &[u8] = b"authEnabled";

/// Writes what the machine has of them.
pub(super) fn write(loader: &mut Loader) {
    for name in [bucket::AUTH, bucket::AUTH_ROLES, bucket::AUTH_USERS] {
        loader.bucket(name);
    }
}

/// Reads them. A store without them would let in everybody, so a snapshot in which they count is refused.
pub(super) fn read<S: Source>(tree: &Tree<S>, buckets: &[Bucket]) -> Result<(), ImportError> {
    let Some(auth) = buckets.iter().find(|found| found.name == bucket::AUTH) else {
        return Ok(());
    };
    tree.walk(auth, &mut |key, value| {
        if key == ENABLED && value == [1] {
            return Err(ImportError::Auth);
        }
        Ok(())
    })
}
