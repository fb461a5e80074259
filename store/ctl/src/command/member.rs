//! Members: `member list`.

use clap::Subcommand;
use store_proto::etcdserverpb::MemberListRequest;
use store_proto::etcdserverpb::cluster_client::ClusterClient;

use super::in_time;
use crate::connect::connect;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer};

/// What to do with members.
#[derive(Debug, Subcommand)]
pub enum Member {
    /// All members
    List { words: Vec<String> },
}

impl Member {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let Self::List { .. } = self;
        let mut client = ClusterClient::new(connect(globals).await?);
        let request = MemberListRequest { linearizable: true };
        printer.print(&Answer::Members(
            in_time(globals, client.member_list(request)).await?,
        ))
    }
}
