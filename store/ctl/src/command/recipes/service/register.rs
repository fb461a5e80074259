//! `service register`: an instance under a lease that is kept, registered again when the lease was lost, and taken away
//! when the command ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use registrator_catalog::instance::{LABEL_BYTES_MAX, instance, label};
use registrator_catalog::layout::registrator_id;
use registrator_catalog::record::{
    PRIORITY_DEFAULT, Proto, Record, State, VERSION, WEIGHT_DEFAULT,
};
use registrator_catalog::timestamp;
use store_transport::dial::Place as Dial;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::sleep;

use super::Place;
use crate::child::{self, Job};
use crate::connect::Target;
use crate::failure::Failure;
use crate::flags::Globals;
use crate::recipe::instances::{Registry, place};
use crate::recipe::link::{Link, Patience};
use crate::recipe::{ask, checked_ttl, follow, host, say};
use crate::session::Session;

/// 50 ms: soon after the port is open, rarely enough not to be seen in the program's log.
const KNOCK: Duration = Duration::from_millis(50);
/// 1 s: how soon to try again what the store has refused.
const AGAIN: Duration = Duration::from_secs(1);

/// `service register NAME --port PORT [-- COMMAND]`
#[derive(Debug, Args)]
pub struct Register {
    name: String,
    /// Port at which the instance is reached
    #[arg(long)]
    port: u16,
    /// Address at which it is reached [default: this machine's, as the store sees it]
    #[arg(long)]
    address: Option<IpAddr>,
    /// The port is one of UDP
    #[arg(long)]
    udp: bool,
    /// Name of the instance [default: of the machine, the service and the port]
    #[arg(long)]
    id: Option<String>,
    /// A tag; may be given several times
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// An attribute; may be given several times
    #[arg(long = "meta", value_name = "KEY=VALUE")]
    meta: Vec<String>,
    /// Share of traffic, 0 for none
    #[arg(long, default_value_t = WEIGHT_DEFAULT)]
    weight: u32,
    /// Instances of the lowest number are preferred
    #[arg(long, default_value_t = PRIORITY_DEFAULT)]
    priority: u32,
    /// Seconds after which an instance that is gone without a word is forgotten
    #[arg(long, default_value_t = 10)]
    ttl: i64,
    /// Register only when something accepts connections at the port
    #[arg(long, conflicts_with = "udp")]
    ready: bool,
    #[command(flatten)]
    place: Place,
    /// Command that offers the service; the registration ends with it
    #[arg(last = true)]
    command: Vec<String>,
}

impl Register {
    pub(super) async fn run(self, globals: &Globals, json: bool) -> Result<(), Failure> {
        checked_ttl(self.ttl)?;
        let record = self.record(globals).await?;
        let (key, value) = Registry::new(&self.place.prefix).entry(&record)?;
        let link = Link::open(globals).await?;
        // Granted before the command starts: what cannot be registered is not started.
        let mut session = Some(Session::open(&link, self.ttl, Duration::ZERO).await?);
        let told = if json {
            record.to_json()
        } else {
            format!("{key}\n{}", place(&record))
        };
        let registered = async {
            if self.ready {
                accepting(SocketAddr::new(record.address, record.port)).await;
            }
            keep((&key, &value), &told, &link, self.ttl, &mut session).await
        };
        let running = async {
            if self.command.is_empty() {
                child::interrupted().await;
                return Ok(());
            }
            let job = Job {
                words: &self.command,
                variables: vec![
                    ("MUSTER_SERVICE", record.name.clone()),
                    ("MUSTER_INSTANCE", record.instance.clone()),
                    ("MUSTER_ADDRESS", place(&record)),
                ],
                ..Job::default()
            };
            job.run(std::future::pending()).await
        };
        // Safe to cancel: what is registered hangs on the session, which is closed right after.
        let done = tokio::select! {
            done = running => done,
            failure = registered => Err(failure),
        };
        if let Some(session) = session {
            session.close().await;
        }
        done
    }

    async fn record(&self, globals: &Globals) -> Result<Record, Failure> {
        if self.port == 0 {
            return Err(Failure::bad_arguments("port 0 is none"));
        }
        let address = match self.address {
            Some(address) => address,
            None => own_address(globals).await?,
        };
        if address.is_unspecified() || address.is_multicast() {
            let line = format!("address {address} is not one a client can connect to");
            return Err(Failure::bad_arguments(line));
        }
        let (proto, port_name) = if self.udp {
            (Proto::Udp, format!("{}-udp", self.port))
        } else {
            (Proto::Tcp, self.port.to_string())
        };
        let node = host();
        let label = match &self.id {
            Some(id) => label(id, LABEL_BYTES_MAX),
            None => instance(&node, &self.name, &port_name),
        };
        if label.is_empty() {
            return Err(Failure::bad_arguments("--id has no letter or digit"));
        }
        Ok(Record {
            version: VERSION,
            id: self
                .id
                .clone()
                .unwrap_or_else(|| registrator_id(&node, &self.name, self.port, proto)),
            instance: label,
            name: self.name.clone(),
            node,
            address,
            addresses: vec![address.into()],
            port: self.port,
            proto,
            port_name,
            weight: self.weight,
            priority: self.priority,
            state: State::Up,
            health: None,
            tags: self.tags.clone(),
            meta: self.attributes()?,
            container: None,
            updated_at: now(),
        })
    }

    fn attributes(&self) -> Result<BTreeMap<String, String>, Failure> {
        let pairs = self.meta.iter().map(|text| {
            let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
            let pair = pair.map(|(key, value)| (key.to_owned(), value.to_owned()));
            pair.ok_or_else(|| Failure::bad_arguments(format!("--meta {text:?} is not KEY=VALUE")))
        });
        pairs.collect()
    }
}

/// Registers, and again whenever the registration is lost; says so the first time. Comes back only when stdout is gone.
/// Safe to cancel: the session holds all there is.
async fn keep(
    (key, value): (&str, &str),
    told: &str,
    link: &Link,
    ttl_seconds: i64,
    session: &mut Option<Session>,
) -> Failure {
    let mut said = false;
    loop {
        let held = match session {
            Some(held) => held,
            None => match Session::open(link, ttl_seconds, Duration::ZERO).await {
                Ok(opened) => session.insert(opened),
                Err(failure) => {
                    complain(&failure);
                    sleep(AGAIN).await;
                    continue;
                }
            },
        };
        // Whoever was registered under this name before is gone, or is this one.
        let request = ask::txn(
            [],
            [
                ask::put(key, value.to_owned(), held.lease()),
                ask::get_key(key),
            ],
            [],
        );
        let put = tokio::select! {
            // Both are safe to cancel: what is put hangs on the lease.
            put = link.txn(Patience::Endless, request) => put,
            () = held.lost() => {
                *session = None;
                continue;
            }
        };
        let created = match &put {
            Ok(answer) => ask::key_of(answer, 1).map_or(0, |kv| kv.create_revision),
            Err(failure) => {
                complain(failure);
                sleep(AGAIN).await;
                // The lease may be gone, which the store says by refusing the key.
                *session = None;
                continue;
            }
        };
        if !said {
            said = true;
            if let Err(failure) = say(told) {
                return failure;
            }
        }
        tokio::select! {
            // Both are safe to cancel: they only wait.
            () = held.lost() => *session = None,
            gone = follow::ended(link, key.as_bytes(), created) => if gone.is_err() {
                held.lost().await;
                *session = None;
            },
        }
        eprintln!("the registration was lost and is made again");
    }
}

fn complain(failure: &Failure) {
    eprintln!("register: {}; trying again", failure.whole());
}

/// Waits until something accepts connections there.
async fn accepting(mut at: SocketAddr) {
    if at.ip().is_unspecified() {
        at.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    while TcpStream::connect(at).await.is_err() {
        sleep(KNOCK).await;
    }
}

/// The address from which this machine talks to the store: others reach it there if they reach the store.
async fn own_address(globals: &Globals) -> Result<IpAddr, Failure> {
    let unknown = |why: String| Failure::error(why).hint("give --address");
    let endpoint = globals.endpoints.first().map_or("", String::as_str);
    let Dial::Host(name, port) = Target::parse(endpoint, globals)?.place().clone() else {
        return Err(unknown(
            "a store behind a socket file shows no address".into(),
        ));
    };
    let found = async {
        let mut all = tokio::net::lookup_host((name.as_str(), port)).await?;
        let store = all.next().ok_or(std::io::ErrorKind::NotFound)?;
        let any: IpAddr = if store.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        // Looks up the route and sends nothing.
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(store).await?;
        socket.local_addr()
    };
    let found: std::io::Result<SocketAddr> = found.await;
    let address = found.map_err(|why| unknown(format!("own address towards {name}: {why}")))?;
    Ok(address.ip())
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    timestamp::format_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}
