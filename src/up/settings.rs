//! What a person may say about `muster up`, and what it comes to: flags checked, defaults filled in, before anything is
//! started. Owns where data and resources stand by default.

use std::path::{Path, PathBuf};

use clap::{ArgAction, ValueEnum};
use registrator::config::Config as RegistratorConfig;
use store_server::config::Config as StoreConfig;
use store_server::config::args::Args as StoreArgs;

use crate::failure::Failure;

/// Where the embedded store listens: etcd's client port, on this machine only.
const LISTEN_DEFAULT: &str = "http://127.0.0.1:2379";
/// Where existing confd set-ups stand.
const CONFDIR_DEFAULT: &str = "/etc/confd";
/// Old versions are kept for an hour: a watcher that comes back within it misses nothing, and a machine that runs for
/// years does not fill its memory with the past.
const HISTORY: &str = "1h";

/// Flags of `muster up`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  muster up                                  everything, data in the default folder
  muster up --internal                       containers are reached at their own addresses, not at published ports
  muster up --without confd                  store and registrator only
  muster up --endpoints http://10.0.0.5:2379 registrator and confd for a store elsewhere

What comes of it:
  docker run -d -p 8000:80 nginx             appears under /services/nginx/ in the store
  etcdctl get --prefix /services/            shows it (any etcd v3 client does)
  /etc/confd/conf.d/*.yaml, *.toml           say which files to render from it, and what to reload

SIGTERM or Ctrl-C stops confd, then the registrator, then the store; registrations stay for their time to live, so that a
quick restart changes nothing for anybody. Each part alone: muster store, muster registrator, muster confd.")]
pub(crate) struct Args {
    /// Folder for everything that is kept [default: /var/lib/muster as root, else ~/.local/share/muster]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Where the store listens for clients, comma-separated
    #[arg(long, value_name = "URLS", default_value = LISTEN_DEFAULT)]
    pub(crate) listen_client_urls: String,

    /// A store elsewhere to use instead of the embedded one, comma-separated
    #[arg(long, value_name = "URLS")]
    pub(crate) endpoints: Option<String>,

    /// The container engine: unix:///path, tcp://host:port or http://host:port [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "URL", env = "DOCKER_HOST")]
    pub(crate) docker_host: Option<String>,

    /// Register containers at their own addresses and ports instead of published ones
    #[arg(long)]
    pub(crate) internal: bool,

    /// Address of this host that published ports are registered with [default: that of the default route]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Option<String>,

    /// Form of keys and values: native (JSON records) or registrator (ip:port) [default: native]
    #[arg(long, value_name = "LAYOUT")]
    pub(crate) layout: Option<String>,

    /// How long registrations outlive this process, such as 15s [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<String>,

    /// Folder with conf.d/ (resources) and templates/
    #[arg(long, value_name = "FOLDER", default_value = CONFDIR_DEFAULT)]
    pub(crate) confdir: PathBuf,

    /// Leave a part out
    #[arg(long, value_name = "PART", value_enum, action = ArgAction::Append, value_delimiter = ',')]
    pub(crate) without: Vec<Kind>,
}

/// The parts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The embedded store
    Store,
    /// Registers containers
    Registrator,
    /// Renders files
    Confd,
}

/// What is to be started. A part that is `None` stays out.
pub(crate) struct Settings {
    pub(crate) store: Option<StoreConfig>,
    pub(crate) registrator: Option<RegistratorConfig>,
    pub(crate) confd: Option<confd::Config>,
    /// Things worth knowing that are no faults.
    pub(crate) notes: Vec<String>,
}

impl Settings {
    /// Checks what was said.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub(crate) fn checked(args: &Args) -> Result<Self, Failure> {
        let wanted = |kind| !args.without.contains(&kind);
        let data_dir = args.data_dir.clone().map_or_else(default_data_dir, Ok)?;
        let store = match (&args.endpoints, wanted(Kind::Store)) {
            (Some(_), _) => None,
            (None, true) => Some(store(args, &data_dir)?),
            (None, false) => {
                return Err(Failure::usage(
                    "--without store leaves registrator and confd without a store",
                )
                .hint("say which to use with --endpoints, or leave --without store out"));
            }
        };
        let endpoints = match (&args.endpoints, &store) {
            (Some(endpoints), _) => endpoints.clone(),
            (None, Some(store)) => store.advertise_client_urls.join(","),
            (None, None) => LISTEN_DEFAULT.to_owned(),
        };
        let registrator = if wanted(Kind::Registrator) {
            Some(registrator(args, &endpoints)?)
        } else {
            None
        };
        let mut notes = Vec::new();
        let confd = if wanted(Kind::Confd) {
            confd(args, &data_dir, &endpoints, &mut notes)?
        } else {
            None
        };
        Ok(Self {
            store,
            registrator,
            confd,
            notes,
        })
    }
}

fn store(args: &Args, data_dir: &Path) -> Result<StoreConfig, Failure> {
    let mut flags = StoreArgs::defaults();
    flags.data_dir = Some(data_dir.join("store"));
    flags
        .listen_client_urls
        .clone_from(&args.listen_client_urls);
    flags.auto_compaction_retention = Some(HISTORY.to_owned());
    // For one machine: whoever wants more members starts the store by itself.
    flags.listen_peer_urls = Some(String::new());
    StoreConfig::checked(flags)
        .map_err(|error| Failure::of(&error).maybe_hint(error.hint().or_else(help)))
}

fn registrator(args: &Args, endpoints: &str) -> Result<RegistratorConfig, Failure> {
    let flags = registrator::Args {
        docker_host: args.docker_host.clone(),
        endpoints: Some(endpoints.to_owned()),
        ttl: args.ttl.clone(),
        layout: args.layout.iter().cloned().collect(),
        ip: args.ip.clone(),
        internal: args.internal,
        ..registrator::Args::default()
    };
    RegistratorConfig::resolve(&flags)
        .map_err(|error| Failure::of(&error).maybe_hint(error.hint().or_else(help)))
}

/// `None` when there is nothing to render and nobody asked for it.
fn confd(
    args: &Args,
    data_dir: &Path,
    endpoints: &str,
    notes: &mut Vec<String>,
) -> Result<Option<confd::Config>, Failure> {
    if !args.confdir.is_dir() {
        if args.confdir == Path::new(CONFDIR_DEFAULT) {
            notes.push(format!(
                "no folder {CONFDIR_DEFAULT}: no files are rendered"
            ));
            return Ok(None);
        }
        return Err(Failure::new(format!(
            "--confdir {}: no such folder",
            args.confdir.display()
        ))
        .hint("it holds conf.d/ with resources and templates/; --without confd leaves confd out"));
    }
    let flags = confd::Args {
        endpoints: Some(endpoints.to_owned()),
        confdir: Some(args.confdir.clone()),
        state_dir: Some(data_dir.join("confd")),
        ..confd::Args::default()
    };
    flags
        .resolve()
        .map(Some)
        .map_err(|error| Failure::of(&error).maybe_hint(error.hint().or_else(help)))
}

/// Root's data stands where services keep theirs, anybody else's in the home folder (XDG base directories).
fn default_data_dir() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/muster"));
    }
    let from = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    from("XDG_DATA_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("muster"))
        .ok_or_else(|| {
            Failure::usage("no folder to keep data in: HOME is not set")
                .hint("say where with --data-dir")
        })
}

/// For values whose error line already says what they should be.
#[expect(
    clippy::unnecessary_wraps,
    reason = "stands in for a hint there may be"
)]
fn help() -> Option<String> {
    Some("`muster up --help` explains every flag".to_owned())
}
