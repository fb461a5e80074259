//! `downgrade validate`, `enable` and `cancel`.

use clap::Subcommand;
use store_proto::etcdserverpb::DowngradeRequest;
use store_proto::etcdserverpb::downgrade_request::DowngradeAction;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;

use super::in_time;
use crate::connect::connect;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer};

/// What to do about going back to an older version.
#[derive(Debug, Subcommand)]
pub enum Downgrade {
    /// Whether it would be possible
    Validate { words: Vec<String> },
    /// Begin
    Enable { words: Vec<String> },
    /// Call it off
    Cancel { words: Vec<String> },
}

impl Downgrade {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let (words, action, what) = match &self {
            Self::Validate { words } => (words, DowngradeAction::Validate, "validate"),
            Self::Enable { words } => (words, DowngradeAction::Enable, "enable"),
            Self::Cancel { words } => (words, DowngradeAction::Cancel, "cancel"),
        };
        let version = match (words.as_slice(), action) {
            ([], DowngradeAction::Cancel) => String::new(),
            ([version], DowngradeAction::Validate | DowngradeAction::Enable) => version.clone(),
            ([], _) => {
                return Err(Failure::bad_arguments("TARGET_VERSION not provided"));
            }
            _ => return Err(Failure::bad_arguments("too many arguments")),
        };
        let request = DowngradeRequest {
            action: action.into(),
            version,
        };
        let mut client = MaintenanceClient::new(connect(globals).await?);
        let done = in_time(globals, client.downgrade(request)).await?;
        let line = format!("Downgrade {what} success, cluster version {}", done.version);
        printer.print(&Answer::done(done.header, line))
    }
}
