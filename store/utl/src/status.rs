//! What is in a snapshot: `snapshot status`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use store_bolt::TreeError;

use crate::failure::Failure;
use crate::source::{self, Digest};
use crate::table::{self, Row, size};

/// `snapshot status FILE`
#[derive(Debug, Args)]
pub struct Status {
    files: Vec<PathBuf>,
}

impl Status {
    /// Looks, and prints in that format.
    ///
    /// # Errors
    /// When it is none, or damaged.
    pub fn run(self, format: &str) -> Result<(), Failure> {
        let [file] = self.files.as_slice() else {
            return Err(Failure::bad_arguments(
                "snapshot status requires exactly one argument",
            ));
        };
        let file = source::open(file, Digest::IfThere)?;
        let damaged = |error| file.unreadable(error);
        let mut hash = 0;
        let (mut revision, mut keys) = (0, 0_u64);
        for bucket in file.tree.buckets().map_err(damaged)? {
            hash = crc32c::crc32c_append(hash, &bucket.name);
            let pairs = file.tree.walk(&bucket, &mut |key, value| {
                hash = crc32c::crc32c_append(hash, key);
                hash = crc32c::crc32c_append(hash, value);
                keys += 1;
                if bucket.name == b"key" {
                    let main = key.first_chunk();
                    revision = main.map_or(0, |main| i64::from_be_bytes(*main));
                }
                Ok::<(), TreeError>(())
            });
            pairs.map_err(damaged)?;
        }
        let bytes = file.tree.bytes();
        table::print(
            format,
            &Row {
                names: &["hash", "revision", "total keys", "total size"],
                fields: &["Hash", "Revision", "Keys", "Size"],
                cells: &[
                    format!("{hash:x}"),
                    revision.to_string(),
                    keys.to_string(),
                    size(bytes.cast_signed()),
                ],
                numbers: &[
                    i64::from(hash),
                    revision,
                    keys.cast_signed(),
                    bytes.cast_signed(),
                ],
                json: json!({
                    "hash": hash, "revision": revision, "totalKey": keys, "totalSize": bytes
                }),
            },
        )
    }
}
