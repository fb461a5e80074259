//! The file that Prometheus' `file_sd` reads: the same list as `/prometheus/targets`, replaced in one step whenever it
//! changes. Decides nothing.

use std::path::Path;

use tokio::sync::watch;

use crate::status::Status;

/// Keeps the file for ever. Safe to cancel at any time: a file that was not renamed yet is written again next time.
pub(crate) async fn keep(path: Option<&Path>, mut status: watch::Receiver<Status>) {
    let Some(path) = path else {
        return std::future::pending().await;
    };
    let mut written: Option<String> = None;
    loop {
        if status.changed().await.is_err() {
            return std::future::pending().await;
        }
        // An agent that has not seen everything yet would empty the list.
        let text = {
            let status = status.borrow_and_update();
            status.synced.then(|| status.targets())
        };
        let Some(text) = text.filter(|text| written.as_ref() != Some(text)) else {
            continue;
        };
        match replace(path, &text).await {
            Ok(()) => written = Some(text),
            Err(error) => tracing::warn!("write {}: {error}", path.display()),
        }
    }
}

async fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    tokio::fs::write(&beside, text).await?;
    tokio::fs::rename(&beside, path).await
}
