//! `elect`: takes part in an election with a proposal, or only watches who leads.

use clap::Args;
use store_proto::etcdserverpb::RangeResponse;
use store_proto::v3electionpb::election_client::ElectionClient;
use store_proto::v3electionpb::{CampaignRequest, LeaderRequest, ResignRequest};

use super::lock::{expired, show};
use crate::child;
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::Globals;
use crate::format::{Answer, Printer, RangeStyle};
use crate::session::Session;

/// Seconds after which a leader that is gone leads no more.
const TTL_SECONDS: i64 = 60;

/// `elect NAME [PROPOSAL]`
#[derive(Debug, Args)]
pub struct Elect {
    words: Vec<String>,
    /// Only watch who leads
    #[arg(short, long)]
    listen: bool,
}

impl Elect {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        let (name, proposal) = match self.words.as_slice() {
            [name] => (name, None),
            [name, proposal] => (name, Some(proposal)),
            _ => {
                return Err(Failure::bad_arguments(
                    "elect takes one election name argument and an optional proposal argument",
                ));
            }
        };
        match (self.listen, proposal) {
            (true, Some(_)) => Err(Failure::bad_arguments("proposal given but -l is set")),
            (false, None) => Err(Failure::bad_arguments(
                "no proposal argument but -l not set",
            )),
            (true, None) => listen(name, connect(globals).await?, printer).await,
            (false, Some(proposal)) => {
                let connection = connect(globals).await?;
                let mut session = Session::open(connection.clone(), TTL_SECONDS).await?;
                let led = lead(name, proposal, &connection, &mut session, printer).await;
                session.close().await;
                led
            }
        }
    }
}

async fn lead(
    name: &str,
    proposal: &str,
    connection: &Connection,
    session: &mut Session,
    printer: &Printer,
) -> Result<(), Failure> {
    let mut client = ElectionClient::new(connection.clone());
    let request = CampaignRequest {
        name: name.to_owned().into(),
        lease: session.lease(),
        value: proposal.to_owned().into(),
    };
    // Each is safe to cancel: the place in the queue is the lease's, which ends right after.
    let campaign = tokio::select! {
        campaign = client.campaign(request) => campaign?.into_inner(),
        () = session.lost() => return Err(expired()),
        () = child::interrupted() => return Err(Failure::error("context canceled")),
    };
    let leader = campaign.leader.unwrap_or_default();
    show(&leader.key, connection, printer).await?;
    tokio::select! {
        () = session.lost() => return Err(Failure::error("elect: session expired")),
        () = child::interrupted() => {}
    }
    let request = ResignRequest {
        leader: Some(leader),
    };
    client.resign(request).await?;
    Ok(())
}

async fn listen(name: &str, connection: Connection, printer: &Printer) -> Result<(), Failure> {
    let mut client = ElectionClient::new(connection);
    let request = LeaderRequest {
        name: name.to_owned().into(),
    };
    let watched = async {
        let mut leaders = client.observe(request).await?.into_inner();
        while let Some(leader) = leaders.message().await? {
            let range = RangeResponse {
                header: leader.header,
                kvs: leader.kv.into_iter().collect(),
                ..RangeResponse::default()
            };
            printer.print(&Answer::Range(range, RangeStyle::default()))?;
        }
        Err(Failure::error("elect: observer lost"))
    };
    // Safe to cancel: it only prints.
    tokio::select! {
        ended = watched => ended,
        () = child::interrupted() => Ok(()),
    }
}
