//! Snapshots: `snapshot save`, and what etcdctl 3.5 still does of etcdutl's work.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use sha2::{Digest as _, Sha256};
use store_proto::etcdserverpb::SnapshotRequest;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_utl::progress::Progress;
use store_utl::size;
use tempfile::NamedTempFile;
use tokio::signal::unix::{SignalKind, signal};

use crate::connect::connect;
use crate::failure::Failure;
use crate::flags::Globals;

/// Bytes of the checksum behind a snapshot.
const DIGEST_BYTES: usize = 32;

/// A snapshot is whole pages, all of them multiples of this.
const SECTOR_BYTES: u64 = 512;

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Save all there is to a file, over one of that name
    Save { files: Vec<PathBuf> },
    /// [deprecated: use `etcdutl snapshot status`] What is in a snapshot
    Status(store_utl::Status),
    /// [deprecated: use `etcdutl snapshot restore`] Make the data folder of a member of a new cluster of it
    Restore(store_utl::Restore),
}

impl Snapshot {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let done = match self {
            Self::Save { files } => return save(&files, globals).await,
            Self::Status(status) => {
                eprintln!("Deprecated: Use `etcdutl snapshot status` instead.\n");
                status.run(&globals.write_out)
            }
            Self::Restore(restore) => {
                eprintln!("Deprecated: Use `etcdutl snapshot restore` instead.\n");
                restore.run()
            }
        };
        done.map_err(Failure::from)
    }
}

async fn save(files: &[PathBuf], globals: &Globals) -> Result<(), Failure> {
    let [file] = files else {
        return Err(Failure::bad_arguments("snapshot save expects one argument"));
    };
    if globals.endpoints.len() != 1 {
        return Err(Failure::interrupted(format!(
            "snapshot must be requested to one selected node, not multiple [{}]",
            globals.endpoints.join(" ")
        )));
    }
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let shown = file.display();
    let stopped = |cause| Failure::error(format!("listen for signals: {cause}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(stopped)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(stopped)?;
    // Under another name until it is whole and durable; dropped, it is gone. Signals are listened for by now.
    let part = tempfile::Builder::new()
        .prefix(".snapshot-")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(|cause| Failure::interrupted(format!("could not open {shown}.part ({cause})")))?;
    let mut saving = Saving {
        part,
        digest: Sha256::new(),
        tail: Vec::new(),
        bytes: 0,
        progress: Progress::new(),
    };
    let received = tokio::select! {
        received = saving.receive(globals) => received,
        // Safe to cancel, both: what was received so far is removed.
        _ = interrupt.recv() => Err(interrupted()),
        _ = terminate.recv() => Err(interrupted()),
    };
    saving.progress.clear();
    received?;
    let failed = |cause: std::io::Error| Failure::interrupted(format!("write {shown}: {cause}"));
    saving.part.as_file().sync_all().map_err(failed)?;
    let persisted = saving.part.persist(file);
    persisted.map_err(|error| failed(error.error))?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed)?;
    println!("Snapshot saved at {shown}");
    Ok(())
}

fn interrupted() -> Failure {
    Failure::interrupted("interrupted: nothing was saved")
}

/// A snapshot on its way into a file.
struct Saving {
    part: NamedTempFile,
    /// Of all but the tail.
    digest: Sha256,
    /// The last bytes that came: at the end, the checksum.
    tail: Vec<u8>,
    bytes: u64,
    progress: Progress,
}

impl Saving {
    async fn receive(&mut self, globals: &Globals) -> Result<(), Failure> {
        let mut client = MaintenanceClient::new(connect(globals).await?);
        let mut stream = client.snapshot(SnapshotRequest {}).await?.into_inner();
        while let Some(message) = stream.message().await? {
            let written = self.part.write_all(&message.blob);
            written
                .map_err(|cause| Failure::interrupted(format!("write the snapshot: {cause}")))?;
            self.bytes += message.blob.len() as u64;
            self.tail.extend_from_slice(&message.blob);
            let before = self.tail.len().saturating_sub(DIGEST_BYTES);
            self.digest.update(&self.tail[..before]);
            self.tail.drain(..before);
            let total = self.bytes.saturating_add(message.remaining_bytes);
            let name = || size(total.cast_signed());
            self.progress.show(self.bytes, total, name);
        }
        if self.bytes % SECTOR_BYTES != DIGEST_BYTES as u64 {
            let bytes = self.bytes;
            return Err(Failure::interrupted(format!(
                "sha256 checksum not found [bytes: {bytes}]"
            ))
            .hint("the transfer broke off: save again"));
        }
        if self.digest.finalize_reset()[..] != self.tail[..] {
            return Err(Failure::interrupted(
                "the checksum behind the snapshot is not that of what came before it",
            )
            .hint("save again; if it comes to the same, through another member"));
        }
        Ok(())
    }
}
