//! Members: `member list`, `add`, `remove`, `update` and `promote`; `add --safe` goes on in `safely.rs`.

mod safely;
mod shortfall;

use std::time::Duration;

use clap::Subcommand;
use store_proto::etcdserverpb::cluster_client::ClusterClient;
use store_proto::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest,
};

use self::shortfall::Change;
use super::in_time;
use crate::connect::{Connection, connect};
use crate::failure::Failure;
use crate::flags::{Globals, duration};
use crate::format::{Answer, Printer};

/// What to do with members; ids are in hex.
#[derive(Debug, Subcommand)]
pub enum Member {
    /// All members
    List {
        words: Vec<String>,
        /// l: as the cluster agrees on it; s: as the member that is asked knows it
        #[arg(long, default_value = "l")]
        consistency: String,
    },
    /// Add a member, which is to be started afterwards, on an empty folder
    Add {
        words: Vec<String>,
        /// Where the others reach it, separated by commas
        #[arg(long, value_name = "URLS", default_value = "")]
        peer_urls: String,
        /// It is to have the data only, and no vote
        #[arg(long)]
        learner: bool,
        /// Add it as a learner, give it a vote when it has the data, and take it out again when nothing is
        /// heard of it: a member that never comes cannot cost the cluster its majority
        #[arg(long)]
        safe: bool,
        /// With --safe: how long nothing may be heard of it
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5m")]
        undo_after: Duration,
    },
    /// Take a member out for good
    Remove { words: Vec<String> },
    /// Change where the others reach a member
    Update {
        words: Vec<String>,
        /// Where, separated by commas
        #[arg(long, value_name = "URLS", default_value = "")]
        peer_urls: String,
    },
    /// Give a learner that has the data a vote
    Promote { words: Vec<String> },
}

impl Member {
    pub(super) async fn run(self, globals: &Globals, printer: &Printer) -> Result<(), Failure> {
        match self {
            Self::List { consistency, .. } => {
                let linearizable = match consistency.as_str() {
                    "l" => true,
                    "s" => false,
                    _ => {
                        let line = format!("unknown consistency flag {consistency:?}");
                        return Err(Failure::bad_feature(line));
                    }
                };
                let request = MemberListRequest { linearizable };
                let list = in_time(globals, client(globals).await?.member_list(request)).await?;
                printer.print(&Answer::Members(list))
            }
            Self::Add {
                words,
                peer_urls,
                learner,
                safe,
                undo_after,
            } => {
                let name = name(&words)?;
                let request = MemberAddRequest {
                    peer_ur_ls: urls(&peer_urls)?,
                    is_learner: learner || safe,
                };
                let asked = in_time(globals, client(globals).await?.member_add(request)).await;
                let added = shortfall::explained(asked, globals, Change::Add).await?;
                let id = added.member.as_ref().map_or(0, |member| member.id);
                printer.print(&Answer::MemberAdd(added, name.to_owned(), peer_urls))?;
                if safe {
                    let promoted = safely::see_through(globals, id, name, undo_after).await?;
                    printer.print(&Answer::MemberPromote(promoted, id))?;
                }
                Ok(())
            }
            Self::Remove { words } => {
                let id = id(&words)?;
                let request = MemberRemoveRequest { id };
                let asked = in_time(globals, client(globals).await?.member_remove(request)).await;
                let done = shortfall::explained(asked, globals, Change::Remove(id)).await?;
                printer.print(&Answer::MemberRemove(done, id))
            }
            Self::Update { words, peer_urls } => {
                let id = id(&words)?;
                let peer_ur_ls = urls(&peer_urls)?;
                let request = MemberUpdateRequest { id, peer_ur_ls };
                let done = in_time(globals, client(globals).await?.member_update(request)).await?;
                printer.print(&Answer::MemberUpdate(done, id))
            }
            Self::Promote { words } => {
                let id = id(&words)?;
                let request = MemberPromoteRequest { id };
                let asked = in_time(globals, client(globals).await?.member_promote(request)).await;
                let done = shortfall::explained(asked, globals, Change::Promote(id)).await?;
                printer.print(&Answer::MemberPromote(done, id))
            }
        }
    }
}

async fn client(globals: &Globals) -> Result<ClusterClient<Connection>, Failure> {
    Ok(ClusterClient::new(connect(globals).await?))
}

fn name(words: &[String]) -> Result<&str, Failure> {
    match words {
        [] => Err(Failure::bad_arguments("member name not provided")),
        [name] => Ok(name),
        more => {
            let mut line = String::from("too many arguments");
            for word in more {
                if word.to_lowercase().starts_with("http") {
                    line.push_str(&format!(", did you mean --peer-urls={word}"));
                }
            }
            Err(Failure::bad_arguments(line))
        }
    }
}

fn urls(urls: &str) -> Result<Vec<String>, Failure> {
    if urls.is_empty() {
        return Err(Failure::bad_arguments("member peer urls not provided"));
    }
    Ok(urls.split(',').map(str::to_owned).collect())
}

fn id(words: &[String]) -> Result<u64, Failure> {
    let [word] = words else {
        return Err(Failure::bad_arguments("member ID is not provided"));
    };
    u64::from_str_radix(word, 16).map_err(|_| {
        Failure::bad_arguments(format!(
            "bad member ID arg (strconv.ParseUint: parsing {word:?}: invalid syntax), expecting ID in Hex"
        ))
    })
}
