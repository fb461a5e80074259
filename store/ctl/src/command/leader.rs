//! `move-leader`: hands the lead to another member.

use clap::Args;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::{MoveLeaderRequest, StatusRequest};

use super::in_time;
use crate::connect::to;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer};

/// `move-leader MEMBER`
#[derive(Debug, Args)]
pub struct MoveLeader {
    words: Vec<String>,
}

impl MoveLeader {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let [member] = self.words.as_slice() else {
            return Err(Failure::bad_arguments(
                "move-leader command needs 1 argument",
            ));
        };
        let target_id = u64::from_str_radix(member, 16).map_err(|_| {
            Failure::bad_arguments(format!(
                "strconv.ParseUint: parsing {member:?}: invalid syntax"
            ))
        })?;
        // Only the leader can hand it over.
        for endpoint in &globals.endpoints {
            let connection = to(std::slice::from_ref(endpoint), globals).await?;
            let mut client = MaintenanceClient::new(connection);
            let status = in_time(globals, client.status(StatusRequest {})).await?;
            if status.leader != status.header.unwrap_or_default().member_id {
                continue;
            }
            let request = MoveLeaderRequest { target_id };
            let done = in_time(globals, client.move_leader(request)).await?;
            let line = format!(
                "Leadership transferred from {:x} to {target_id:x}",
                status.leader
            );
            return printer.print(&Answer::done(done.header, line));
        }
        Err(Failure::bad_arguments(format!(
            "no leader endpoint given at [{}]",
            globals.endpoints.join(" ")
        )))
    }
}
