//! What is shipped to run muster by: an image, a package, files for Compose, units for systemd, manifests for Kubernetes,
//! alerts and dashboards. The programs they are for read them, and the commands in them run as they stand there.

#![expect(clippy::unwrap_used, reason = "a fault in a test ends it")]

mod compose;
mod images;
mod kubernetes;
mod monitoring;
mod package;
mod project;
mod systemd;

use std::path::{Path, PathBuf};
use std::time::Duration;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
/// Enough for a start on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(path)
}
