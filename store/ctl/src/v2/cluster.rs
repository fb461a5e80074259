//! Members: `member list|add|remove|update` and `cluster-health`.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};
use store_utl::Exit;

use super::client::Client;
use super::refused;
use crate::failure::Failure;

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(super) enum Member {
    /// All members
    List,
    /// Add a member: NAME URL
    Add { words: Vec<String> },
    /// Take a member out
    Remove { words: Vec<String> },
    /// Change where the others reach a member: ID URL
    Update { words: Vec<String> },
}

impl Member {
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::List => list(client).await,
            Self::Add { words } => {
                let [name, url] = words.as_slice() else {
                    return Err(refused("Provide a name and a single member peerURL"));
                };
                add(client, name, url).await
            }
            Self::Remove { words } => {
                let [id] = words.as_slice() else {
                    return Err(refused("Provide a single member ID"));
                };
                let all = members(client).await?;
                if let Some(named) = all.iter().find(|member| part(member, "name") == id) {
                    eprintln!(
                        "Found a member named {id}; if this is correct, please use its ID, eg:\n\tetcdctl member remove {}",
                        part(named, "id")
                    );
                }
                if !all.iter().any(|member| part(member, "id") == id) {
                    return Err(refused(format_args!(
                        "Couldn't find a member in the cluster with an ID of {id}."
                    )));
                }
                changed(client, Method::DELETE, id, "").await?;
                println!("Removed member {id} from cluster");
                Ok(())
            }
            Self::Update { words } => {
                let [id, urls] = words.as_slice() else {
                    return Err(refused(
                        "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)",
                    ));
                };
                let urls: Vec<_> = urls.split(',').collect();
                let body = json!({ "peerURLs": urls }).to_string();
                changed(client, Method::PUT, id, &body).await?;
                println!("Updated member with ID {id} in cluster");
                Ok(())
            }
        }
    }
}

async fn changed(client: &Client, method: Method, id: &str, body: &str) -> Result<(), Failure> {
    let (status, text) = client
        .plain(method, &format!("/v2/members/{id}"), body)
        .await?;
    answered(status, &text).map(|_| ())
}

/// The body of an answer that went well.
fn answered(status: u16, text: &str) -> Result<Value, Failure> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    if (200..300).contains(&status) {
        Ok(value)
    } else {
        Err(refused(value["message"].as_str().unwrap_or(text.trim())))
    }
}

async fn members(client: &Client) -> Result<Vec<Value>, Failure> {
    let (status, text) = client.plain(Method::GET, "/v2/members", "").await?;
    let list = answered(status, &text)?;
    Ok(list["members"].as_array().cloned().unwrap_or_default())
}

fn joined(member: &Value, name: &str) -> String {
    let urls = member[name].as_array().into_iter().flatten();
    urls.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn part<'v>(member: &'v Value, name: &str) -> &'v str {
    member[name].as_str().unwrap_or_default()
}

async fn list(client: &Client) -> Result<(), Failure> {
    let all = members(client).await?;
    let leader = client.plain(Method::GET, "/v2/members/leader", "").await;
    let leader = leader.and_then(|(status, text)| answered(status, &text));
    let leader = leader.map(|leader| part(&leader, "id").to_owned());
    let leader = leader.unwrap_or_default();
    for member in &all {
        let (id, name, peers) = (
            part(member, "id"),
            part(member, "name"),
            joined(member, "peerURLs"),
        );
        if name.is_empty() {
            println!("{id}[unstarted]: peerURLs={peers}");
        } else {
            let (clients, leads) = (joined(member, "clientURLs"), id == leader);
            println!("{id}: name={name} peerURLs={peers} clientURLs={clients} isLeader={leads}");
        }
    }
    Ok(())
}

async fn add(client: &Client, name: &str, url: &str) -> Result<(), Failure> {
    let body = json!({ "peerURLs": [url] }).to_string();
    let (status, text) = client.plain(Method::POST, "/v2/members", &body).await?;
    let added = answered(status, &text)?;
    let id = part(&added, "id");
    println!("Added member named {name} with ID {id} to cluster\n");
    let mut cluster = Vec::new();
    for member in members(client).await? {
        let name = if part(&member, "id") == id {
            name
        } else {
            part(&member, "name")
        };
        let urls = joined(&member, "peerURLs");
        cluster.extend(urls.split(',').map(|url| format!("{name}={url}")));
    }
    println!(
        "ETCD_NAME={name:?}\nETCD_INITIAL_CLUSTER={:?}\nETCD_INITIAL_CLUSTER_STATE=\"existing\"",
        cluster.join(",")
    );
    Ok(())
}

/// `cluster-health`
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Go on, every 10 seconds, until told to end
    #[arg(short, long)]
    forever: bool,
}

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Health {
    /// Asks every member itself.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let asked = members(client).await.map_err(|failure| {
            println!("cluster may be unhealthy: failed to list members");
            failure.ending(Exit::BadFeature)
        });
        let all = asked?;
        loop {
            let mut well = 0;
            for member in &all {
                well += usize::from(is_well(client, member).await);
            }
            let state = match well {
                well if well == all.len() => "healthy",
                0 => "unavailable",
                _ => "degraded",
            };
            println!("cluster is {state}");
            match (self.forever, well == all.len()) {
                (true, _) => println!("\nnext check after 10 second...\n"),
                (false, true) => return Ok(()),
                // As etcdctl ends: it was told.
                (false, false) => return Err(Failure::told().ending(Exit::Interrupted)),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// The first of a member's URLs that answers says how it is.
async fn is_well(client: &Client, member: &Value) -> bool {
    let id = part(member, "id");
    let urls = joined(member, "clientURLs");
    if urls.is_empty() {
        println!("member {id} is unreachable: no available published client urls");
        return false;
    }
    for url in urls.split(',') {
        match client.is_healthy(url).await {
            Ok(true) => {
                println!("member {id} is healthy: got healthy result from {url}");
                return true;
            }
            Ok(false) => {
                println!("member {id} is unhealthy: got unhealthy result from {url}");
                return false;
            }
            Err(why) => {
                println!("failed to check the health of member {id} on {url}: {why}");
            }
        }
    }
    let urls = urls.replace(',', " ");
    println!("member {id} is unreachable: [{urls}] are all unreachable");
    false
}
