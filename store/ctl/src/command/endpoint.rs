//! Each endpoint for itself: `endpoint health`, `status`, `hashkv`, and `defrag`.

use std::time::Instant;

use clap::{Args, Subcommand};
use store_proto::etcdserverpb::cluster_client::ClusterClient;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use store_proto::etcdserverpb::{
    AlarmRequest, AlarmType, DefragmentRequest, HashKvRequest, MemberListRequest, RangeRequest,
    StatusRequest,
};

use super::in_time;
use crate::connect::{Connection, connect, to};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Health, Printer};

/// What to ask each endpoint.
#[derive(Debug, Subcommand)]
pub enum Endpoint {
    /// Does it take part?
    Health(Whom),
    /// Version, size, leader, raft
    Status(Whom),
    /// Hash of all keys and their history
    Hashkv {
        #[command(flatten)]
        whom: Whom,
        /// Up to a revision
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
}

/// Which endpoints.
#[derive(Debug, Args)]
pub struct Whom {
    words: Vec<String>,
    /// Those of all members, not those given
    #[arg(long)]
    cluster: bool,
}

/// `defrag`
#[derive(Debug, Args)]
pub struct Defrag {
    #[command(flatten)]
    whom: Whom,
}

impl Whom {
    async fn endpoints(&self, globals: &Globals) -> Result<Vec<String>, Failure> {
        if !self.cluster {
            return Ok(globals.endpoints.clone());
        }
        let mut client = ClusterClient::new(connect(globals).await?);
        let request = MemberListRequest { linearizable: true };
        let list = in_time(globals, client.member_list(request)).await?;
        Ok(list
            .members
            .into_iter()
            .flat_map(|member| member.client_ur_ls)
            .collect())
    }
}

impl Endpoint {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        match self {
            Self::Health(whom) => health(&whom.endpoints(globals).await?, globals, printer).await,
            Self::Status(whom) => {
                let mut all = Vec::new();
                let mut failed = false;
                for endpoint in whom.endpoints(globals).await? {
                    let asked = async {
                        in_time(
                            globals,
                            maintenance(&endpoint, globals)
                                .await?
                                .status(StatusRequest {}),
                        )
                        .await
                    };
                    match asked.await {
                        Ok(status) => all.push((endpoint, status)),
                        Err(failure) => {
                            eprintln!(
                                "Failed to get the status of endpoint {endpoint} ({failure})"
                            );
                            failed = true;
                        }
                    }
                }
                printer.print(&Answer::Status(all))?;
                if failed { Err(Failure::told()) } else { Ok(()) }
            }
            Self::Hashkv { whom, rev } => {
                let mut all = Vec::new();
                for endpoint in whom.endpoints(globals).await? {
                    let request = HashKvRequest { revision: rev };
                    let asked = async {
                        in_time(
                            globals,
                            maintenance(&endpoint, globals).await?.hash_kv(request),
                        )
                        .await
                    };
                    let hash = asked.await.inspect_err(|failure| {
                        eprintln!("Failed to get the hash of endpoint {endpoint} ({failure})");
                    })?;
                    all.push((endpoint, hash));
                }
                printer.print(&Answer::Hash(all))
            }
        }
    }
}

impl Defrag {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let mut failed = false;
        for endpoint in self.whom.endpoints(globals).await? {
            let asked = async {
                in_time(
                    globals,
                    maintenance(&endpoint, globals)
                        .await?
                        .defragment(DefragmentRequest {}),
                )
                .await
            };
            match asked.await {
                Ok(_) => println!("Finished defragmenting etcd member[{endpoint}]"),
                Err(failure) => {
                    eprintln!("Failed to defragment etcd member[{endpoint}] ({failure})");
                    failed = true;
                }
            }
        }
        if failed { Err(Failure::told()) } else { Ok(()) }
    }
}

async fn maintenance(
    endpoint: &str,
    globals: &Globals,
) -> Result<MaintenanceClient<Connection>, Failure> {
    Ok(MaintenanceClient::new(
        to(&[endpoint.to_owned()], globals).await?,
    ))
}

async fn health(endpoints: &[String], globals: &Globals, printer: &Printer) -> Result<(), Failure> {
    let mut all = Vec::new();
    for endpoint in endpoints {
        let began = Instant::now();
        let error = well(endpoint, globals)
            .await
            .err()
            .map(|failure| failure.to_string());
        all.push(Health {
            endpoint: endpoint.clone(),
            took: store_duration::written(began.elapsed()),
            error,
        });
    }
    let errors = all.iter().filter_map(|health| health.error.as_deref());
    let hint = advice(errors);
    printer.print(&Answer::Health(all))?;
    match hint {
        Some(hint) => Err(Failure::error("unhealthy cluster").hint(hint)),
        None => Ok(()),
    }
}

/// What to do about endpoints that are not well; nothing if all are.
fn advice<'e>(errors: impl Iterator<Item = &'e str>) -> Option<&'static str> {
    let mut advice = None;
    for error in errors {
        advice = Some(if error.starts_with(ALARMS) {
            "`alarm list` says whose alarm it is: NOSPACE wants room (compaction, a larger quota) and then `alarm disarm`, \
             CORRUPT the member's data made anew"
        } else {
            "`muster doctor` looks at every member and says what to do; writes go on while a majority of them is well"
        });
    }
    advice
}

/// How an endpoint's error begins that has alarms on.
const ALARMS: &str = "Active Alarm(s)";

/// A linearizable read goes through, and no alarm is on.
async fn well(endpoint: &str, globals: &Globals) -> Result<(), Failure> {
    let connection = to(&[endpoint.to_owned()], globals).await?;
    let request = RangeRequest {
        key: "health".into(),
        ..RangeRequest::default()
    };
    let read = in_time(globals, KvClient::new(connection.clone()).range(request)).await;
    // Whoever is told so was told by a store that works.
    if let Err(failure) = read
        && failure.to_string() != "etcdserver: permission denied"
    {
        return Err(failure);
    }
    let alarms = in_time(
        globals,
        MaintenanceClient::new(connection).alarm(AlarmRequest::default()),
    )
    .await
    .map_err(|_| Failure::error("Unable to fetch the alarm list"))?;
    if alarms.alarms.is_empty() {
        return Ok(());
    }
    let names = alarms
        .alarms
        .iter()
        .map(|alarm| AlarmType::try_from(alarm.alarm).map_or("", |alarm| alarm.as_str_name()));
    let mut text = format!("{ALARMS}: ");
    for name in names {
        text.push_str(name);
        text.push(' ');
    }
    Err(Failure::error(text))
}
