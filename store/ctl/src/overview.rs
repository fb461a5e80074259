//! `muster services`, `muster agents` and `muster status`: what a person wants to know first. `services.rs`, `agents.rs` and
//! `status.rs` are pure: rows from records, with `now` passed in. `follow.rs` and `survey.rs` ask the store, `screen.rs`
//! prints. All of it is read from outside, and works with an etcd as well.

mod agents;
mod follow;
mod screen;
mod services;
pub(crate) mod status;
pub(crate) mod survey;
mod table;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use registrator_catalog::layout::Layout;
use serde_json::json;

use self::agents::Agents;
use self::screen::{Screen, write};
use self::services::Services;
use self::view::View;
use crate::failure::Failure;
use crate::flags::Globals;

/// 2 s: members, alarms and leases are no keys that could be watched, so they are asked for.
const ASKED_EVERY: Duration = Duration::from_secs(2);

/// How it is shown.
#[derive(Clone, Debug, Args)]
struct Shown {
    /// Print JSON: a list, or with --watch an object for each change
    #[arg(long)]
    json: bool,
    /// Go on showing what changes: drawn anew on a terminal, a line for each change in a pipe
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    globals: Globals,
}

/// The command line of `muster services`.
#[derive(Debug, Parser)]
#[command(
    name = "muster services",
    about = "Services and their instances, with health and age, as a store (muster's or an etcd) has them",
    after_help = "Exit statuses:\n  0  shown\n  1  the store refused or cannot be reached\n  2  a stream broke\n\n\
                  The global flags and their ETCDCTL_… variables are those of `muster ctl`.\n\n\
                  Examples:\n  muster services\n  muster services web --watch\n  \
                  muster services --json | jq -r '.[] | select(.state == \"up\") | .address'",
    max_term_width = 100
)]
pub struct ServicesCli {
    /// Only these services
    #[arg(value_name = "SERVICE")]
    names: Vec<String>,
    /// Where keys of native and registrator begin
    #[arg(long, value_name = "PATH", default_value = "/services")]
    prefix: String,
    /// Forms of keys and values, as the registrator's flag of that name: native, registrator, skydns=<domain>, grpc, traefik
    #[arg(long, value_name = "LAYOUTS", value_delimiter = ',', default_values = ["native", "registrator"])]
    layout: Vec<String>,
    #[command(flatten)]
    shown: Shown,
}

/// The command line of `muster agents`.
#[derive(Debug, Parser)]
#[command(
    name = "muster agents",
    about = "Which registrators and confds live, which version each runs, how far it is, and which files fail",
    after_help = "Exit statuses:\n  0  shown\n  1  the store refused or cannot be reached\n  2  a stream broke\n\n\
                  The agents say so themselves, below /muster/status/ and under leases: what is shown lives. The global \
                  flags and their ETCDCTL_… variables are those of `muster ctl`.\n\n\
                  Examples:\n  muster agents\n  muster agents host-7 --watch\n  muster agents --json",
    max_term_width = 100
)]
pub struct AgentsCli {
    /// Only the agents of these nodes
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    shown: Shown,
}

/// The command line of `muster status`.
#[derive(Debug, Parser)]
#[command(
    name = "muster status",
    about = "The store at a glance: members, leader, room, history, alarms, and leases near their end",
    after_help = "Exit statuses:\n  0  there is a leader, every member answers, no alarm is on\n  \
                  1  not so, or the store cannot be reached\n\n\
                  The global flags and their ETCDCTL_… variables are those of `muster ctl`. A lease is near its end when \
                  less than half of its time is left: whoever keeps one renews it when a third is over.\n\n\
                  Examples:\n  muster status\n  muster status --watch\n  muster status --json",
    max_term_width = 100
)]
pub struct StatusCli {
    #[command(flatten)]
    shown: Shown,
}

/// Runs `muster services` with the words after the program's name.
pub async fn services(words: Vec<std::ffi::OsString>) -> ExitCode {
    let cli = match parsed::<ServicesCli>("muster services", words) {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    let layouts = cli.layout.iter();
    let layouts = layouts.map(|text| Layout::parse(text, &cli.prefix));
    let layouts = layouts.collect::<Result<Vec<_>, _>>();
    let shown = match layouts {
        Ok(layouts) => {
            let view = Services {
                layouts,
                names: cli.names,
            };
            keys(&view, cli.shown).await
        }
        Err(why) => Err(Failure::bad_arguments(format!("--layout: {why}"))),
    };
    ended(shown)
}

/// Runs `muster agents` with the words after the program's name.
pub async fn agents(words: Vec<std::ffi::OsString>) -> ExitCode {
    match parsed::<AgentsCli>("muster agents", words) {
        Ok(cli) => ended(keys(&Agents { nodes: cli.nodes }, cli.shown).await),
        Err(status) => status,
    }
}

/// Runs `muster status` with the words after the program's name.
pub async fn status(words: Vec<std::ffi::OsString>) -> ExitCode {
    match parsed::<StatusCli>("muster status", words) {
        Ok(cli) => match store(cli.shown).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => Failure::told().report(),
            Err(failure) => failure.report(),
        },
        Err(status) => status,
    }
}

fn parsed<P: Parser>(name: &str, words: Vec<std::ffi::OsString>) -> Result<P, ExitCode> {
    let words = std::iter::once(name.into()).chain(words);
    P::try_parse_from(words).map_err(|error| {
        // Help goes to standard output and is no failure; clap knows which is which.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
    })
}

fn ended(shown: Result<(), Failure>) -> ExitCode {
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

impl Shown {
    async fn ready(self) -> Result<(Globals, Screen, bool), Failure> {
        let mut globals = self.globals;
        globals.ask_password()?;
        globals.checked()?;
        let globals = globals.located().await?;
        let json = self.json || globals.write_out == "json";
        Ok((globals, Screen::new(json, self.watch), self.watch))
    }
}

async fn keys<V: View>(view: &V, shown: Shown) -> Result<(), Failure> {
    let (globals, screen, watch) = shown.ready().await?;
    if watch {
        follow::live(view, &globals, screen).await
    } else {
        follow::once(view, &globals, screen).await
    }
}

/// Shows the store; whether it is well.
async fn store(shown: Shown) -> Result<bool, Failure> {
    let (globals, screen, watch) = shown.ready().await?;
    let picture = survey::picture(&globals).await?;
    if !watch {
        match screen.is_json() {
            true => write(&format!("{}\n", picture.json()))?,
            false => screen.page(|style| picture.page(style))?,
        }
        return Ok(picture.is_well());
    }
    let mut facts = std::collections::BTreeMap::new();
    let mut asked = Ok(picture);
    loop {
        let now = match &asked {
            Ok(picture) => picture.facts(),
            Err(failure) => [("store".to_owned(), Failure::whole(failure))].into(),
        };
        if screen.is_live() {
            screen.page(|style| match &asked {
                Ok(picture) => picture.page(style),
                Err(failure) => format!("{}\n", failure.whole()),
            })?;
        } else {
            for (what, was, is) in status::news(&facts, &now) {
                let line = match screen.is_json() {
                    true => json!({ "what": what, "was": was, "is": is }).to_string(),
                    false => format!(
                        "{what}: {} -> {}",
                        was.as_deref().unwrap_or("-"),
                        is.as_deref().unwrap_or("-")
                    ),
                };
                write(&format!("{line}\n"))?;
            }
        }
        facts = now;
        tokio::time::sleep(ASKED_EVERY).await;
        asked = survey::picture(&globals).await;
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_lines_are_well_formed() {
        super::ServicesCli::command().debug_assert();
        super::AgentsCli::command().debug_assert();
        super::StatusCli::command().debug_assert();
    }
}
