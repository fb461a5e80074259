//! Flags as programs written in Go take them: a switch may say `--prefix=true` or `--prefix=false`. Such words are
//! rewritten before the command line is read, so that the declarations stay plain switches.

use std::ffi::OsString;

use clap::{ArgAction, Command};

use crate::failure::Failure;
use crate::flags::go_bool;

/// The words with every `--switch=BOOL` spelled `--switch` or left out; what stands behind `--` is nobody's flag.
///
/// # Errors
/// A switch that is neither true nor false.
pub(crate) fn plain(words: Vec<OsString>, program: &Command) -> Result<Vec<OsString>, Failure> {
    let mut switches = Vec::new();
    collect(program, &mut switches);
    let mut plain = Vec::with_capacity(words.len());
    let mut flags = true;
    for word in words {
        flags &= word != "--";
        let split = word.to_str().and_then(|word| word.split_once('='));
        match split {
            Some((name, value)) if flags && switches.iter().any(|switch| switch == name) => {
                let yes = go_bool(value).map_err(|_| {
                    Failure::error(format!(
                        "invalid argument {value:?} for {name:?} flag: strconv.ParseBool: parsing {value:?}: invalid syntax"
                    ))
                })?;
                if yes {
                    plain.push(name.into());
                }
            }
            _ => plain.push(word),
        }
    }
    Ok(plain)
}

fn collect(command: &Command, switches: &mut Vec<String>) {
    for argument in command.get_arguments() {
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let short = argument.get_short().map(|short| format!("-{short}"));
            switches.extend(long.into_iter().chain(short));
        }
    }
    for sub in command.get_subcommands() {
        collect(sub, switches);
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn switches_may_say_what_they_are() {
        for (line, wanted) in [
            ("get a --prefix=true", Some("get a --prefix")),
            ("get a --prefix=F", Some("get a")),
            ("get a --prefix=x", None),
            ("get a -w=json --limit=3", Some("get a -w=json --limit=3")),
            ("lock a -- b --prefix=x", Some("lock a -- b --prefix=x")),
        ] {
            let words = line.split(' ').map(OsString::from).collect();
            let wanted = wanted.map(|line| line.split(' ').map(OsString::from).collect::<Vec<_>>());
            let made = plain(words, &crate::Cli::command());
            assert_eq!(made.ok(), wanted, "{line}");
        }
    }
}
