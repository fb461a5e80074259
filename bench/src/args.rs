//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::cases::Settings;
use crate::contender::{Contender, Programs};
use crate::cores::Mode;

/// Measures muster side by side with its peers on this machine: same run, same load, fsync on.
#[derive(Debug, Parser)]
#[command(name = "bench", version, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Run only this case (may be repeated; `bench list` shows all)
    #[arg(long = "case", value_name = "NAME")]
    pub(crate) cases: Vec<String>,

    /// Run only against this contender (may be repeated)
    #[arg(long = "contender", value_name = "WHO")]
    pub(crate) contenders: Vec<Contender>,

    /// Run only this way of sharing the machine (may be repeated)
    #[arg(long = "mode", value_name = "HOW")]
    pub(crate) modes: Vec<Mode>,

    /// Runs of every case against every contender, interleaved
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,

    /// Milliseconds of each run that count
    #[arg(long, default_value_t = 4000)]
    pub(crate) measured_ms: u64,

    /// Milliseconds of each run before anything counts
    #[arg(long, default_value_t = 1000)]
    pub(crate) warm_up_ms: u64,

    /// Clients of the cases with many
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) clients: u32,

    /// Connections they share
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,

    /// Bytes of a key (decimal digits)
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=127))]
    pub(crate) key_bytes: u32,

    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=50_000))]
    pub(crate) value_bytes: u32,

    /// Different keys
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,

    /// The etcd to compare with [default: the one `make deps` fetched]
    #[arg(long, value_name = "PROGRAM", env = "MUSTER_BENCH_ETCD")]
    etcd: Option<PathBuf>,

    /// The muster to measure [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM", env = "MUSTER_BENCH_MUSTER")]
    muster: Option<PathBuf>,

    /// Where contenders keep their data: a folder on the disk to be measured
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    pub(crate) data_dir: PathBuf,

    /// First of the ports contenders listen on
    #[arg(long, default_value_t = 21_500)]
    pub(crate) port: u16,

    /// Seconds that may be spent waiting for a quiet machine and repeating disturbed runs
    #[arg(long, default_value_t = 0)]
    pub(crate) patience_s: u64,

    /// Write all figures into this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the tables into the generated part of this document, and a picture of the ratios beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Option<PathBuf>,

    /// A remark for the report, such as what else ran on the machine
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
}

/// What else this program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the cases
    List,
    /// Say what 1,000 to 100,000 hosts do to a store, by the costs in a report
    Scale {
        /// The report
        #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.json")]
        json: PathBuf,
        /// Write the tables into the generated part of this document
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
    },
    /// Serve gRPC with nothing behind it (the ceiling)
    Nothing {
        /// Address to listen on
        #[arg(long)]
        listen: SocketAddr,
        /// Bytes of the value that reads are answered with
        #[arg(long, default_value_t = 256)]
        value_bytes: usize,
    },
}

impl Args {
    /// How much of everything.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            clients: self.clients as usize,
            connections: self.connections as usize,
            key_bytes: self.key_bytes as usize,
            value_bytes: self.value_bytes as usize,
            keys: self.keys,
            warm_up_ms: self.warm_up_ms,
            measured_ms: self.measured_ms,
        }
    }

    /// Where the programs are.
    pub(crate) fn programs(&self) -> Programs {
        let bench = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("bench"));
        Programs {
            etcd: self.etcd.clone().unwrap_or_else(fetched_etcd),
            muster: self
                .muster
                .clone()
                .unwrap_or_else(|| bench.with_file_name("muster")),
            bench,
        }
    }
}

/// The etcd that `make deps` fetched (see `scripts/deps.sh`), or whichever is on the path.
fn fetched_etcd() -> PathBuf {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = folder("MUSTER_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("muster")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/muster")));
    cache
        .map(|cache| cache.join("etcd-3.5.1/etcd"))
        .filter(|program| program.exists())
        .unwrap_or_else(|| PathBuf::from("etcd"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["bench", "--value-bytes", "7"]).is_err());
        let args = Args::try_parse_from(["bench", "--muster", "m", "--mode", "free"]).unwrap();
        assert_eq!(args.programs().muster, PathBuf::from("m"));
        assert_eq!(args.modes, [Mode::Free]);
    }
}
