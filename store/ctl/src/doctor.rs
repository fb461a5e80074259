//! `muster doctor`: looks at a store from outside and at the machine it runs on, and says in plain words what is not as it
//! should be and what to do. `finding.rs` is what is found, and each of the others looks at one thing. It changes
//! nothing: it reads, and measures the disk with a file that has no name.

mod addresses;
mod certificates;
mod clock;
mod disk;
mod engine;
pub(crate) mod finding;
pub(crate) mod members;
pub(crate) mod page;
mod prefixes;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use store_proto::etcdserverpb::cluster_client::ClusterClient;
use store_proto::etcdserverpb::kv_client::KvClient;
use store_proto::etcdserverpb::{Member, MemberListRequest, RangeRequest};
use tokio::task::JoinSet;

pub(crate) use self::finding::bytes;
use self::finding::{Finding, State};
use self::members::Examined;
use self::prefixes::Prefixes;
use crate::command::in_time;
use crate::connect::connect;
use crate::failure::Failure;
use crate::flags::Globals;

/// Something was warned of, nothing is wrong.
const WARNED: u8 = 1;
/// Something is wrong.
const WRONG: u8 = 3;

/// Where Docker listens unless told otherwise.
const ENGINE: &str = "unix:///var/run/docker.sock";

/// 1 MiB: what one answer is to hold, so that looking is no burden.
const PAGE_BYTES: usize = 1 << 20;
/// Pairs of the first page; the later ones go by what came.
const FIRST_PAGE: i64 = 256;
/// 10,000: keys in a page however small they are.
const PAGE_KEYS_MAX: i64 = 10_000;

/// The command line of `muster doctor`.
#[derive(Debug, Parser)]
#[command(
    name = "muster doctor",
    about = "Looks at a store (muster's or an etcd) and its machine, and says what to do about what it finds",
    after_help = "Exit statuses:\n  0  all is fine\n  1  something is warned of\n  2  wrong usage\n  3  something is wrong\n\n\
                  A line for each thing: `ok`, `WARN`, `WRONG`, or `-` for what could not be looked at. The global flags \
                  and their ETCDCTL_… variables are those of `muster ctl`; what is asked about this machine has the names \
                  of the store's flags and their ETCD_… variables.\n\n\
                  Examples:\n  muster doctor\n  \
                  muster doctor --endpoints https://10.0.0.5:2379 --cacert ca.pem --data-dir /var/lib/muster --json",
    max_term_width = 100
)]
struct Args {
    #[command(flatten)]
    globals: Globals,
    /// Data folder of the store of this machine: its disk is measured there
    #[arg(long, env = "ETCD_DATA_DIR", value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Where the store of this machine is to listen for clients
    #[arg(
        long,
        env = "ETCD_LISTEN_CLIENT_URLS",
        value_name = "URLS",
        value_delimiter = ','
    )]
    listen_client_urls: Vec<String>,
    /// Where the store of this machine is to listen for other members
    #[arg(
        long,
        env = "ETCD_LISTEN_PEER_URLS",
        value_name = "URLS",
        value_delimiter = ','
    )]
    listen_peer_urls: Vec<String>,
    /// Container engine of this machine
    #[arg(
        long,
        env = "DOCKER_HOST",
        value_name = "URL",
        default_value = ENGINE
    )]
    docker_host: String,
    /// Certificate the store shows to clients
    #[arg(long, env = "ETCD_CERT_FILE", value_name = "FILE")]
    cert_file: Option<PathBuf>,
    /// Authorities the store believes about clients
    #[arg(long, env = "ETCD_TRUSTED_CA_FILE", value_name = "FILE")]
    trusted_ca_file: Option<PathBuf>,
    /// Certificate the store shows to other members
    #[arg(long, env = "ETCD_PEER_CERT_FILE", value_name = "FILE")]
    peer_cert_file: Option<PathBuf>,
    /// Authorities the store believes about other members
    #[arg(long, env = "ETCD_PEER_TRUSTED_CA_FILE", value_name = "FILE")]
    peer_trusted_ca_file: Option<PathBuf>,
    /// Keys that are read to find the largest prefixes; 0 = leave it
    #[arg(long, value_name = "KEYS", default_value_t = 1_000_000)]
    keys_max: u64,
    /// Print JSON: a list with what, ok, state, detail and advice
    #[arg(long)]
    json: bool,
}

/// The command line, as clap knows it.
#[must_use]
pub fn declared() -> clap::Command {
    Args::command()
}

/// Looks, prints and gives the exit status. `words` are those after the program's name.
pub async fn run(words: Vec<std::ffi::OsString>) -> ExitCode {
    let words = std::iter::once("muster doctor".into()).chain(words);
    let mut args = match Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => {
            // Help goes to standard output and is no failure; clap knows which is which.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG));
        }
    };
    let found = match located(&mut args.globals).await {
        Ok(()) => look(&args).await,
        Err(failure) => vec![Finding::wrong("store", failure.whole(), "")],
    };
    told(&found, args.json)
}

/// Prints what was found and gives the exit status.
pub(crate) fn told(found: &[Finding], as_json: bool) -> ExitCode {
    if as_json {
        let list: Vec<_> = found.iter().map(Finding::to_json).collect();
        println!("{}", serde_json::Value::from(list));
    } else {
        for one in found {
            print!("{one}");
        }
    }
    match found.iter().map(|one| one.state).max() {
        Some(State::Wrong) => ExitCode::from(WRONG),
        Some(State::Warning) => ExitCode::from(WARNED),
        _ => ExitCode::SUCCESS,
    }
}

/// Finds the endpoints where records are to name them.
pub(crate) async fn located(globals: &mut Globals) -> Result<(), Failure> {
    globals.checked()?;
    *globals = globals.located().await?;
    Ok(())
}

async fn look(args: &Args) -> Vec<Finding> {
    let globals = &args.globals;
    let mut found = this_machine(args).await;
    let listed = match reached(globals).await {
        Ok(listed) => listed,
        Err(finding) => {
            found.push(finding);
            return found;
        }
    };
    let all = asked(listed.clone(), globals).await;
    found.extend(members::judge(&all));
    for one in &all {
        let date = one
            .metrics
            .as_ref()
            .and_then(|page| Some((page.date?, page)));
        if let Some((date, page)) = date {
            let ahead = clock::ahead(date, page.asked, page.answered);
            found.push(clock::judge_skew(&one.endpoint, ahead));
        }
    }
    found.extend(addresses::advertised(&listed));
    found.extend(addresses::peers(&listed, globals).await);
    let urls = listed
        .iter()
        .flat_map(|member| member.client_ur_ls.iter().chain(&member.peer_ur_ls));
    for url in urls.filter(|url| url.starts_with("https:") || url.starts_with("unixs:")) {
        found.push(certificates::shown_at(url, globals).await);
    }
    found.extend(largest(args).await);
    found
}

/// What needs no store.
async fn this_machine(args: &Args) -> Vec<Finding> {
    let mut found = Vec::new();
    let folder = args.data_dir.clone();
    let (host, named) = (args.docker_host.clone(), args.docker_host != ENGINE);
    // One after the other: a disk under test makes processes wait.
    let measured = tokio::task::spawn_blocking(move || {
        let disk = match &folder {
            Some(folder) => disk::look(folder),
            None => Finding::skipped("disk", "not measured: name the store's --data-dir"),
        };
        [disk, clock::look(), engine::look(&host, named)]
    });
    found.extend(measured.await.into_iter().flatten());
    let listen = args.listen_client_urls.iter().chain(&args.listen_peer_urls);
    let listen = listen.filter(|url| !url.is_empty());
    found.extend(listen.map(|url| addresses::listenable(url)));
    let globals = &args.globals;
    let files = certificates::given([
        ("of the store", args.cert_file.as_ref()),
        ("authorities of the store", args.trusted_ca_file.as_ref()),
        ("of the store for members", args.peer_cert_file.as_ref()),
        (
            "authorities of the store for members",
            args.peer_trusted_ca_file.as_ref(),
        ),
        ("of this client", globals.cert.as_ref()),
        ("authorities of this client", globals.cacert.as_ref()),
    ]);
    found.extend(
        files
            .into_iter()
            .map(|(kind, path)| certificates::of_file(kind, path)),
    );
    found
}

/// What every member says.
///
/// # Errors
/// Nobody says who they are.
pub(crate) async fn examined(globals: &Globals) -> Result<Vec<Examined>, Finding> {
    Ok(asked(reached(globals).await?, globals).await)
}

async fn asked(listed: Vec<Member>, globals: &Globals) -> Vec<Examined> {
    let mut asking = JoinSet::new();
    for member in listed {
        asking.spawn(members::examine(member, globals.clone()));
    }
    let mut all: Vec<Examined> = asking.join_all().await;
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

async fn reached(globals: &Globals) -> Result<Vec<Member>, Finding> {
    listed(globals).await.map_err(|failure| {
        Finding::wrong(
            "store",
            format!("{}: {}", globals.endpoints.join(", "), failure.whole()),
            "name a member that runs with --endpoints, and what its TLS and users need (--cacert, --user)",
        )
    })
}

/// Who is in the cluster, as one of them has it: it may have no majority.
async fn listed(globals: &Globals) -> Result<Vec<Member>, Failure> {
    let mut client = ClusterClient::new(connect(globals).await?);
    let request = MemberListRequest {
        linearizable: false,
    };
    Ok(in_time(globals, client.member_list(request)).await?.members)
}

/// What takes the most room.
async fn largest(args: &Args) -> Vec<Finding> {
    if args.keys_max == 0 {
        return Vec::new();
    }
    let (prefixes, count) = match read(args).await {
        Ok(read) => read,
        Err(failure) => {
            return vec![Finding::skipped(
                "prefixes",
                format!("not read: {}", failure.whole()),
            )];
        }
    };
    let summary = prefixes.finish();
    let (by_bytes, by_versions) = summary.lines();
    let mut of = format!("{} keys, {}", summary.all.keys, bytes(summary.all.bytes));
    if summary.all.keys < count {
        of = format!("{of} (the first of {count}; --keys-max reads more)");
    }
    if by_bytes.is_empty() {
        return vec![Finding::fine("prefixes", of)];
    }
    vec![
        Finding::fine("prefixes", format!("{of}; by bytes: {by_bytes}")),
        Finding::fine("prefixes", format!("by versions: {by_versions}")),
    ]
}

/// Reads all pairs at one revision, a page at a time, from one member alone; with how many keys there are.
async fn read(args: &Args) -> Result<(Prefixes, u64), Failure> {
    let globals = &args.globals;
    let mut client = KvClient::new(connect(globals).await?)
        .max_decoding_message_size(crate::connect::ANSWER_BYTES_MAX);
    let mut prefixes = Prefixes::new();
    let mut request = RangeRequest {
        key: bytes::Bytes::from_static(b"\0"),
        range_end: bytes::Bytes::from_static(b"\0"),
        limit: FIRST_PAGE,
        serializable: true,
        ..RangeRequest::default()
    };
    let (mut read, mut count) = (0, 0);
    while read < args.keys_max {
        let page = in_time(globals, client.range(request.clone())).await?;
        if request.revision == 0 {
            request.revision = page.header.map_or(0, |header| header.revision);
            count = u64::try_from(page.count).unwrap_or(0);
        }
        let mut page_bytes = 0;
        for pair in &page.kvs {
            let versions = u64::try_from(pair.version).unwrap_or(0);
            prefixes.add(&pair.key, pair.value.len(), versions);
            page_bytes += pair.key.len() + pair.value.len();
        }
        read += page.kvs.len() as u64;
        let Some(last) = page.kvs.last().filter(|_| page.more) else {
            break;
        };
        request.key = [last.key.as_ref(), b"\0"].concat().into();
        let fits = page.kvs.len() * PAGE_BYTES / page_bytes.max(1);
        request.limit = i64::try_from(fits)
            .unwrap_or(PAGE_KEYS_MAX)
            .clamp(1, PAGE_KEYS_MAX);
    }
    Ok((prefixes, count))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::declared().debug_assert();
    }
}
