//! Completions and manual pages of muster and of the names it answers to, made from the declarations the command lines
//! are read with. Owns how the parts that read their own words are put together into one tree.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Subcommand as _};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::name::NAMES;

/// Program names, the first one our own.
const OWN: &str = "muster";

/// 40: half a line, so that words up to it can be spaced.
const WORD_BYTES_MAX: usize = 40;

/// `muster completions`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  source <(muster completions bash)
  muster completions zsh > \"${fpath[1]}/_muster\"
  muster completions fish > ~/.config/fish/completions/muster.fish
  muster completions bash --name etcdctl > /etc/bash_completion.d/etcdctl")]
pub(crate) struct Completions {
    /// Shell they are for
    #[arg(value_enum)]
    shell: Shell,
    /// Name the program is called by: muster, etcd, etcdctl, etcdutl, registrator or confd
    #[arg(long, value_name = "NAME", default_value = OWN)]
    name: String,
}

/// `muster man`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  muster man | man -l -
  muster man ctl get | man -l -
  muster man etcdctl get | man -l -
  muster man --out /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Command the page is about: words as they are typed, of muster or of a name it answers to
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Folder to write every page into, those of every name included
    #[arg(long, value_name = "FOLDER", conflicts_with = "words")]
    out: Option<PathBuf>,
}

impl Completions {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let mut tree = called(&self.name).ok_or_else(|| unknown(&self.name))?;
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut tree, &self.name, &mut script);
        printed(&script)
    }
}

impl Man {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if let Some(folder) = &self.out {
            return written(folder).map_err(|cause| {
                Failure::new(format!(
                    "write manual pages into {}: {cause}",
                    folder.display()
                ))
                .hint("the folder has to be there already")
            });
        }
        let (tree, rest) = match self.words.split_first() {
            Some((name, rest))
                if NAMES.iter().any(|(other, _)| other == name) && !is_ours(name) =>
            {
                (called(name), rest)
            }
            _ => (called(OWN), self.words.as_slice()),
        };
        let mut command = tree.ok_or_else(|| unknown(OWN))?;
        command.build();
        let mut place = &command;
        for word in rest {
            let found = place.find_subcommand(word);
            place = found.ok_or_else(|| {
                Failure::usage(format!("there is no command {}", self.words.join(" ")))
                    .hint("`muster help` shows the commands, `muster ctl help` those of etcdctl")
            })?;
        }
        let page = page(place).map_err(|cause| Failure::new(cause.to_string()))?;
        printed(&page)
    }
}

/// Whether a name is a command of muster too, whose page is that one.
fn is_ours(name: &str) -> bool {
    crate::Command::has_subcommand(name)
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    Failure::usage(format!("{name} is no name this program answers to"))
        .hint(format!("known: {OWN}, {}", names.join(", ")))
}

/// A page on standard output; a reader that has seen enough is no failure.
fn printed(text: &[u8]) -> Result<ExitCode, Failure> {
    match std::io::stdout().write_all(text) {
        Err(cause) if cause.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("write to stdout: {cause}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Every command line this program reads, by the name it is called by.
fn called(name: &str) -> Option<clap::Command> {
    if name == OWN {
        let own = crate::Cli::command();
        let parts: Vec<String> = own
            .get_subcommands()
            .map(|part| part.get_name().to_owned())
            .collect();
        let whole = |tree: clap::Command, part: String| match declared(&part) {
            Some(real) => tree.mut_subcommand(part, |short| {
                let about = short.get_about().cloned().unwrap_or_default();
                real.about(about)
            }),
            None => tree,
        };
        return Some(parts.into_iter().fold(own, whole));
    }
    let (name, part) = NAMES.iter().find(|(other, _)| *other == name)?;
    let tree = match declared(part) {
        Some(tree) => tree,
        None => crate::Cli::command().find_subcommand(part)?.clone(),
    };
    let tree = match *name {
        // etcd has these as commands of its own.
        "etcd" => tree
            .subcommand(store_proxy::gateway_declared())
            .subcommand(store_proxy::grpc_proxy_declared()),
        _ => tree,
    };
    Some(tree.name(*name).bin_name(*name))
}

/// The command line of a part that reads its own words.
fn declared(part: &str) -> Option<clap::Command> {
    let all = [
        ("store", store_server::config::args::declared()),
        ("ctl", store_ctl::Cli::command()),
        ("utl", store_utl::Cli::command()),
        ("gateway", store_proxy::gateway_declared()),
        ("grpc-proxy", store_proxy::grpc_proxy_declared()),
        ("doctor", store_ctl::doctor::declared()),
        ("upgrade", store_ctl::upgrade::declared()),
        ("services", store_ctl::overview::ServicesCli::command()),
        ("agents", store_ctl::overview::AgentsCli::command()),
        ("status", store_ctl::overview::StatusCli::command()),
    ];
    let found = all.into_iter().find(|(name, _)| *name == part)?;
    Some(found.1.name(found.0))
}

/// The page of one command.
fn page(command: &clap::Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(full_name(command).to_uppercase())
        .source(format!("muster {}", env!("CARGO_PKG_VERSION")))
        .render(&mut page)?;
    Ok(breakable(&String::from_utf8_lossy(&page)).into_bytes())
}

/// With places in long words where a line may break (`\:` of roff): a terminal is 80 columns wide.
fn breakable(page: &str) -> String {
    let word = |word: &str| match word.len() > WORD_BYTES_MAX {
        true => word.replace(',', ",\\:"),
        false => word.to_owned(),
    };
    let line = |line: &str| match line.starts_with('.') {
        true => line.to_owned(),
        false => line.split(' ').map(word).collect::<Vec<_>>().join(" "),
    };
    page.lines().map(|text| line(text) + "\n").collect()
}

/// `muster-ctl-get`, the name of its page.
fn full_name(command: &clap::Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    name.replace(' ', "-")
}

/// Every page of every name.
fn written(folder: &Path) -> std::io::Result<ExitCode> {
    let names = std::iter::once(OWN).chain(NAMES.iter().map(|(name, _)| *name));
    for mut tree in names.filter_map(called) {
        tree.build();
        let mut waiting = vec![&tree];
        while let Some(command) = waiting.pop() {
            if command.get_name() == "help" || command.is_hide_set() {
                continue;
            }
            let path = folder.join(format!("{}.1", full_name(command)));
            std::fs::write(path, page(command)?)?;
            waiting.extend(command.get_subcommands());
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod documents;

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(tree: &clap::Command) -> Vec<&clap::Command> {
        let mut all = vec![tree];
        let mut next = 0;
        while next < all.len() {
            all.extend(all[next].get_subcommands());
            next += 1;
        }
        all
    }

    #[test]
    fn every_name_has_its_commands_and_every_flag_its_text() {
        for (name, wanted) in [
            ("muster", "muster ctl snapshot save"),
            ("etcdctl", "etcdctl snapshot save"),
            ("etcdutl", "etcdutl snapshot restore"),
            ("etcd", "etcd gateway start"),
            ("registrator", "registrator"),
            ("confd", "confd"),
        ] {
            let mut tree = called(name).unwrap();
            tree.build();
            let all = commands(&tree);
            let names: Vec<&str> = all.iter().filter_map(|one| one.get_bin_name()).collect();
            assert!(names.contains(&wanted), "{wanted}: {names:?}");
            for command in all {
                assert!(
                    command.get_about().is_some() || command.get_name() == "help",
                    "{:?} says nothing",
                    command.get_bin_name()
                );
                for flag in command.get_opts().chain(command.get_arguments()) {
                    let says = flag.get_help().is_some() || flag.is_hide_set();
                    assert!(
                        says || flag.is_positional(),
                        "{:?} {} says nothing",
                        command.get_bin_name(),
                        flag.get_id()
                    );
                }
            }
        }
        assert!(called("other").is_none());
    }

    #[test]
    fn the_store_s_flags_stand_in_its_page() {
        let mut tree = called("etcd").unwrap();
        tree.build();
        let page = String::from_utf8(page(&tree).unwrap()).unwrap();
        for flag in ["data\\-dir", "wal\\-dir"] {
            assert!(page.contains(flag), "{flag}");
        }
    }
}
