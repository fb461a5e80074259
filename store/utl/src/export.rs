//! A snapshot in the format of another store: `snapshot export`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use sha2::{Digest as _, Sha256};
use store_bolt::etcd::Export as Pages;
use store_machine::Machine;

use crate::failure::Failure;
use crate::source::{self, Digest};

/// The term written beside the index of the last entry; whoever restores the file begins a log of their own.
const TERM: u64 = 1;

/// Written at once.
const PIECE_BYTES: usize = 1 << 20;

/// Which other store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// etcd 3.5 and later: `etcdutl snapshot restore` takes it, with a checksum that it checks
    Etcd,
}

/// `snapshot export FILE OUT`
#[derive(Debug, Args)]
pub struct Export {
    files: Vec<PathBuf>,
    /// Format to write
    #[arg(long, value_enum, default_value = "etcd")]
    format: Format,
    /// Do not compare the checksum behind the snapshot; needed for a file copied from a data folder of etcd
    #[arg(long)]
    skip_hash_check: bool,
}

impl Export {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let [file, out] = self.files.as_slice() else {
            return Err(Failure::bad_arguments(
                "snapshot export requires exactly two arguments: the snapshot, and the file to write",
            ));
        };
        let Format::Etcd = self.format;
        let shown = out.display();
        if out.exists() {
            return Err(
                Failure::error(format!("{shown} exists: it is not overwritten"))
                    .hint("name a file that does not exist yet, or remove it"),
            );
        }
        let digest = if self.skip_hash_check {
            Digest::Ignored
        } else {
            Digest::Needed
        };
        let imported = source::open(file, digest)?.import(|_| {})?;
        write(&imported.machine, out)
            .map_err(|cause| Failure::of(&format!("write {shown}"), &cause))?;
        println!("Snapshot exported to {shown}");
        Ok(())
    }
}

/// Writes the file beside its place and moves it there once it is durable.
fn write(machine: &Machine, out: &Path) -> io::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".snapshot-")
        .suffix(".part")
        .tempfile_in(folder)?;
    let mut pages = Pages::new(machine.snapshot_begin(), TERM);
    let mut digest = Sha256::new();
    while let Some(piece) = pages.piece(PIECE_BYTES) {
        digest.update(&piece);
        file.write_all(&piece)?;
    }
    file.write_all(&digest.finalize())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(out).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}
