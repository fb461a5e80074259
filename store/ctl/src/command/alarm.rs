//! Alarms: `alarm list` and `alarm disarm`.

use clap::Subcommand;
use store_proto::etcdserverpb::alarm_request::AlarmAction;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::{AlarmRequest, AlarmResponse};

use super::in_time;
use crate::connect::connect;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer};

/// What to do with alarms.
#[derive(Debug, Subcommand)]
pub enum Alarm {
    /// All alarms
    List { words: Vec<String> },
    /// Take all alarms away
    Disarm { words: Vec<String> },
}

impl Alarm {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let (words, name) = match &self {
            Self::List { words } => (words, "list"),
            Self::Disarm { words } => (words, "disarm"),
        };
        if !words.is_empty() {
            return Err(Failure::bad_arguments(format!(
                "alarm {name} command accepts no arguments"
            )));
        }
        let mut client = MaintenanceClient::new(connect(globals).await?);
        let all = AlarmRequest {
            action: AlarmAction::Get.into(),
            ..AlarmRequest::default()
        };
        let mut alarms = in_time(globals, client.alarm(all)).await?;
        if name == "disarm" {
            let active = std::mem::take(&mut alarms).alarms;
            alarms = AlarmResponse::default();
            for alarm in active {
                let request = AlarmRequest {
                    action: AlarmAction::Deactivate.into(),
                    member_id: alarm.member_id,
                    alarm: alarm.alarm,
                };
                alarms
                    .alarms
                    .extend(in_time(globals, client.alarm(request)).await?.alarms);
            }
        }
        printer.print(&Answer::Alarms(alarms))
    }
}
