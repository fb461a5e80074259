//! The checksum of what is in a snapshot: `hashkv`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use store_machine::revision::Revision;

use crate::failure::Failure;
use crate::source::{self, Digest};
use crate::table::{self, Row};

/// `hashkv FILE`
#[derive(Debug, Args)]
pub(crate) struct Hashkv {
    files: Vec<PathBuf>,
    /// Revision to take it at; 0 = the last
    #[arg(long, default_value_t = 0)]
    rev: i64,
}

impl Hashkv {
    pub(crate) fn run(self, format: &str) -> Result<(), Failure> {
        let [file] = self.files.as_slice() else {
            return Err(Failure::bad_arguments(
                "hashkv requires exactly one argument",
            ));
        };
        let machine = source::open(file, Digest::IfThere)?.import(|_| {})?.machine;
        let (hash, compacted, at) = machine.hash_kv(Revision(self.rev)).map_err(|_| {
            Failure::error(format!(
                "revision {} is not in the snapshot, which has {} to {}",
                self.rev,
                machine.compacted(),
                machine.revision()
            ))
        })?;
        let compacted = if compacted.0 == 0 { -1 } else { compacted.0 };
        table::print(
            format,
            &Row {
                names: &["hash", "hash revision", "compact revision"],
                fields: &["Hash", "HashRevision", "CompactRevision"],
                cells: &[hash.to_string(), at.to_string(), compacted.to_string()],
                numbers: &[i64::from(hash), at.0, compacted],
                json: json!({
                    "hash": hash, "hashRevision": at.0, "compactRevision": compacted
                }),
            },
        )
    }
}
