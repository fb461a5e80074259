//! `muster upgrade --check`: whether the members of a store can be brought to another version one after the other. It asks
//! the cluster alone and changes nothing. What members say of themselves is gathered as `doctor` does; here it is judged.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

use crate::doctor::finding::Finding;
use crate::doctor::members::{self, Examined};
use crate::doctor::{self, page};
use crate::flags::Globals;

/// The version of this program, and so of the members once they run it.
const OWN: &str = env!("CARGO_PKG_VERSION");

/// The command line of `muster upgrade`.
#[derive(Debug, Parser)]
#[command(
    name = "muster upgrade",
    about = "Says whether the members of a store can be brought to this program's version one after the other",
    after_help = "Exit statuses:\n  0  they can\n  1  they can, but something is warned of\n  2  wrong usage\n  3  they cannot, or not now\n\n\
                  Versions may be one minor number apart, up or down, and members of both serve together meanwhile. Replace \
                  the program of one member, start it, wait until it is healthy, go on with the next; the leader last, \
                  after `muster ctl move-leader`. The global flags and their ETCDCTL_… variables are those of `muster ctl`.\n\n\
                  Examples:\n  muster upgrade --check\n  muster upgrade --check --to 0.2.0 --endpoints http://10.0.0.5:2379",
    max_term_width = 100
)]
struct Args {
    #[command(flatten)]
    globals: Globals,
    /// Look and judge, which is all it does
    #[arg(long, required = true)]
    check: bool,
    /// Version that the members are to have
    #[arg(long, value_name = "VERSION", default_value = OWN, value_parser = version)]
    to: Version,
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
    let words = std::iter::once("muster upgrade".into()).chain(words);
    let mut args = match Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let examined = match doctor::located(&mut args.globals).await {
        Ok(()) => doctor::examined(&args.globals).await,
        Err(failure) => Err(Finding::wrong("store", failure.whole(), "")),
    };
    let found = match examined {
        Ok(all) => judge(&all, args.to),
        Err(finding) => vec![finding],
    };
    doctor::told(&found, args.json)
}

/// Major, minor and patch number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u64, u64, u64);

impl Version {
    /// Whether members of both may serve together.
    fn is_near(self, other: Self) -> bool {
        self.0 == other.0 && self.1.abs_diff(other.1) <= 1
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What follows the numbers (`-rc.1`) makes no difference to what fits together.
fn version(text: &str) -> Result<Version, String> {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<Option<u64>> = numbers.split('.').map(|part| part.parse().ok()).collect();
    match numbers[..] {
        [Some(major), Some(minor), Some(patch)] => Ok(Version(major, minor, patch)),
        _ => Err("a version is major.minor.patch, such as 0.2.0".to_owned()),
    }
}

/// The product's own version, as a member's metrics have it.
fn of_member(one: &Examined) -> Option<Version> {
    version(page::label(
        &one.metrics.as_ref()?.text,
        "muster_build_info",
        "version",
    )?)
    .ok()
}

fn judge(all: &[Examined], to: Version) -> Vec<Finding> {
    let mut found = members::well(all);
    found.push(room(all));
    found.extend(
        all.iter()
            .filter(|one| one.status.is_ok())
            .map(|one| judge_one(one, to)),
    );
    let known: std::collections::BTreeSet<Version> = all.iter().filter_map(of_member).collect();
    if known.len() > 1 {
        let list: Vec<String> = known.iter().map(Version::to_string).collect();
        found.push(match known.contains(&to) {
            true => Finding::fine(
                "upgrade",
                format!("under way: {} run side by side", list.join(", ")),
            ),
            false => Finding::warning(
                "upgrade",
                format!("{} run side by side already", list.join(", ")),
                "finish one upgrade before the next",
            ),
        });
    }
    found
}

/// Whether the cluster serves while one member is away to be replaced.
fn room(all: &[Examined]) -> Finding {
    const WHAT: &str = "majority";
    let voters: Vec<&Examined> = all.iter().filter(|one| !one.learner).collect();
    let well = voters.iter().filter(|one| one.status.is_ok()).count();
    let needed = voters.len() / 2 + 1;
    let detail = format!(
        "{well} of {} voters answer, {needed} are needed",
        voters.len()
    );
    if well > needed {
        Finding::fine(WHAT, format!("{detail}: one may be away"))
    } else if voters.len() < 3 {
        let advice = "with fewer than three voters nothing is served while one is replaced: plan for the seconds, or add members";
        Finding::warning(WHAT, detail, advice)
    } else {
        let advice = "bring back the member that is missing first";
        Finding::wrong(WHAT, format!("{detail}: none may be away"), advice)
    }
}

fn judge_one(one: &Examined, to: Version) -> Finding {
    const WHAT: &str = "version";
    let Some(has) = of_member(one) else {
        let detail = format!(
            "{} at {} does not say which muster it is",
            one.name, one.endpoint
        );
        let advice = match one.metrics {
            None => {
                "its /metrics has to be readable from here (--listen-metrics-urls may have moved it)"
            }
            Some(_) => {
                "an etcd: members of both cannot serve together; move by a snapshot or `muster ctl make-mirror`"
            }
        };
        return Finding::wrong(WHAT, detail, advice);
    };
    let detail = format!("{} at {}: {has} to {to}", one.name, one.endpoint);
    if !has.is_near(to) {
        let advice = "go there by the versions between, one minor number at a time";
        Finding::wrong(WHAT, detail, advice)
    } else if (has.0, has.1) > (to.0, to.1) {
        let advice = "a downgrade: take a snapshot first; what only the newer version knows must not be in use";
        Finding::warning(WHAT, detail, advice)
    } else {
        Finding::fine(WHAT, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::members::tests::examined;

    #[test]
    fn the_command_line_is_well_formed() {
        declared().debug_assert();
    }

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(version("1.2.3"), Ok(Version(1, 2, 3)));
        assert_eq!(version("1.2.3-rc.1"), Ok(Version(1, 2, 3)));
        for text in ["", "1", "1.2", "1.2.x", "1.2.3.4", "v1.2.3"] {
            assert!(version(text).is_err(), "{text}");
        }
        for (one, other, near) in [
            ("1.2.3", "1.2.9", true),
            ("1.2.3", "1.3.0", true),
            ("1.3.0", "1.2.3", true),
            ("1.2.3", "1.4.0", false),
            ("1.9.9", "2.0.0", false),
        ] {
            let [one, other] = [one, other].map(|text| version(text).unwrap());
            assert_eq!(one.is_near(other), near, "{one} {other}");
        }
    }

    fn member(name: &str, version: &str) -> Examined {
        let mut one = examined(1, "3.7.0");
        one.name = name.to_owned();
        if let Some(page) = one.metrics.as_mut() {
            page.text = format!("muster_build_info{{version=\"{version}\"}} 1\n");
        }
        one
    }

    fn worst(all: &[Examined], to: &str) -> State {
        let found = judge(all, version(to).unwrap());
        found.iter().map(|one| one.state).max().unwrap()
    }

    #[test]
    fn three_members_go_up_one_minor_number_and_no_more() {
        let three = |version: &str| ["a", "b", "c"].map(|name| member(name, version));
        assert_eq!(worst(&three("0.1.0"), "0.1.0"), State::Fine);
        assert_eq!(worst(&three("0.1.0"), "0.1.7"), State::Fine);
        assert_eq!(worst(&three("0.1.0"), "0.2.0"), State::Fine);
        assert_eq!(worst(&three("0.2.0"), "0.1.0"), State::Warning);
        assert_eq!(worst(&three("0.1.0"), "0.3.0"), State::Wrong);
        assert_eq!(worst(&three("not one"), "0.1.0"), State::Wrong);
        let mut mixed = three("0.1.0");
        mixed[0] = member("a", "0.2.0");
        assert_eq!(worst(&mixed, "0.2.0"), State::Fine);
        assert_eq!(worst(&mixed, "0.1.1"), State::Warning);
    }

    #[test]
    fn one_must_be_able_to_be_away() {
        let mut three = ["a", "b", "c"].map(|name| member(name, "0.1.0"));
        three[1].status = Err("it does not answer".to_owned());
        assert_eq!(worst(&three, "0.1.0"), State::Wrong);
        assert_eq!(room(&three).state, State::Wrong);
        assert_eq!(room(&[member("a", "0.1.0")]).state, State::Warning);
    }
}
