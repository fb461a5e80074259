//! `confd lint`: what is wrong or doubtful about resources and templates, found without keys.

use std::fmt::Write as _;

use super::FAILED;
use super::rendering::calls_of;
use crate::agent::Fault;
use crate::config::Config;
use crate::each;
use crate::explain::remarks;

/// Says what it finds, a line each.
pub(super) fn run(config: &Config) -> Result<u8, Fault> {
    let units = super::single(super::units(config)?);
    let (mut faults, mut doubts) = (0, 0);
    let mut out = String::new();
    let mut line = |name: &str, fault: bool, text: &str| {
        let word = if fault { "fault" } else { "doubt" };
        *(if fault { &mut faults } else { &mut doubts }) += 1;
        // Writing to a string does not fail.
        let _ = writeln!(out, "{name}: {word}: {text}");
    };
    for (name, unit) in &units {
        let unit = match unit {
            Ok(unit) => unit,
            Err(fault) => {
                line(name, true, &fault.message);
                if let Some(hint) = &fault.hint {
                    line(name, false, hint);
                }
                continue;
            }
        };
        for warning in &unit.resource.warnings {
            line(name, false, warning);
        }
        // Of those with a file for each name one is looked at: all are alike.
        let sample = unit
            .resource
            .for_each
            .as_ref()
            .map(|_| each::sample(&unit.resource));
        let keys = &sample.as_ref().unwrap_or(&unit.resource).keys;
        for (fault, text) in remarks(&calls_of(&config.confdir, unit), keys) {
            line(name, fault, &text);
        }
        if unit.resource.is_told() && unit.resource.check_cmd.is_none() {
            let text = "is reloaded but not checked: what the service cannot read is noticed late";
            line(name, false, text);
        }
    }
    let _ = writeln!(
        out,
        "{} resources: {faults} faults, {doubts} doubts",
        units.len()
    );
    super::say(&out);
    Ok(if faults == 0 { 0 } else { FAILED })
}
