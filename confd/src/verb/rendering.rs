//! `confd render`: what a resource renders to, and with `--explain` which key, at which revision, asked for by which line,
//! and how the running agent stands with it.

use std::collections::BTreeMap;
use std::path::Path;

use store_client::mirror::Snapshot;

use super::FAILED;
use crate::agent::{Fault, Output};
use crate::calls::{Call, calls};
use crate::confdir::Unit;
use crate::config::Config;
use crate::run::preview::secrets;
use crate::{drivers, explain, run};

/// Prints each resource that is asked for.
pub(super) async fn run(config: &Config, explained: bool) -> Result<u8, Fault> {
    let units = super::single(super::units(config)?);
    let snapshot = super::snapshot(config, &units).await?;
    let units = super::expanded(units, &snapshot);
    let globals = run::globals();
    let status = match config.listen.filter(|_| explained) {
        Some(address) => drivers::fetch(&format!("http://{address}/status")).await,
        None => Err(Fault {
            message: "nobody was asked".to_owned(),
            hint: Some("--listen ADDRESS names the agent that runs".to_owned()),
        }),
    };
    let mut faults = 0;
    for (name, unit) in &units {
        let unit = match unit {
            Ok(unit) => unit,
            Err(fault) => {
                faults += 1;
                super::complain(fault);
                continue;
            }
        };
        let output = super::rendered(unit, &snapshot, &globals);
        faults += usize::from(output.result.is_err());
        if explained {
            let text = explanation(config, unit, &output, &snapshot);
            super::say(&format!("{text}{}\n", standing(name, &status)));
        }
        match &output.result {
            // With an explanation it is looked at by people; without, it may be somebody's file.
            Ok(text) if explained => super::say(&secrets(unit, &snapshot).hide(text)),
            Ok(text) => super::say(text),
            Err(fault) => super::complain(fault),
        }
    }
    Ok(if faults == 0 { 0 } else { FAILED })
}

/// The calls in the template of a resource and what it includes.
pub(super) fn calls_of(confdir: &Path, unit: &Unit) -> Vec<Call> {
    let read = |name: &String| {
        let text = std::fs::read_to_string(confdir.join("templates").join(name)).ok()?;
        Some((name.clone(), text))
    };
    let sources: BTreeMap<String, String> = unit.template.files().iter().filter_map(read).collect();
    calls(
        sources
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    )
}

fn explanation(config: &Config, unit: &Unit, output: &Output, snapshot: &Snapshot) -> String {
    let calls = calls_of(&config.confdir, unit);
    let hidden = secrets(unit, snapshot);
    let rows = explain::rows(
        &output.reads,
        &calls,
        snapshot,
        &super::scope(unit),
        &hidden,
    );
    let mut cells = vec![["key", "value", "revision", "asked for", "read by"].map(str::to_owned)];
    for row in rows {
        cells.push([
            row.key.clone().unwrap_or_else(|| "(none)".to_owned()),
            row.value,
            match row.key {
                Some(_) => row.revision.to_string(),
                None => String::new(),
            },
            row.asked,
            row.lines.join(", "),
        ]);
    }
    let mut text = format!(
        "{}: {} from {} at revision {}\n",
        unit.resource.name,
        unit.resource.dest.display(),
        unit.resource.src,
        snapshot.revision()
    );
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    for row in &cells {
        let padded = row.iter().zip(&widths);
        let line: Vec<String> = padded
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(&format!("  {}\n", line.join("  ").trim_end()));
    }
    for note in &output.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    text
}

/// How the running agent stands with a resource, by its status.
fn standing(name: &str, status: &Result<String, Fault>) -> String {
    let status = match status {
        Ok(text) => serde_json::from_str::<serde_json::Value>(text).unwrap_or_default(),
        Err(fault) => {
            let hint = fault.hint.as_deref().unwrap_or_default();
            return format!("  agent: not known, {}; {hint}", fault.message);
        }
    };
    let resources = status["resources"].as_array();
    let found = resources.and_then(|all| all.iter().find(|one| one["name"] == name));
    let Some(found) = found else {
        return format!("  agent: has no resource {name}");
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!(
        "  agent: {}, right up to revision {}\n  last pass: {}",
        text(&found["state"]),
        found["revision"],
        text(&found["because"])
    );
    if let Some(stale) = found["stale"].as_object() {
        out.push_str(&format!(
            "\n  stale: {} failed: {}",
            text(&stale["step"]),
            text(&stale["message"])
        ));
    }
    if let Some(fault) = found["load_fault"].as_object() {
        out.push_str(&format!(
            "\n  newer version not used: {}",
            text(&fault["message"])
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_s_word_is_told() {
        let status = serde_json::json!({"resources": [{
            "name": "web", "state": "retrying", "revision": 7, "because": "/a changed at revision 9",
            "stale": {"step": "check", "message": "check_cmd failed"},
        }]});
        assert_eq!(
            standing("web", &Ok(status.to_string())),
            "  agent: retrying, right up to revision 7\n  last pass: /a changed at revision 9\n  stale: check failed: check_cmd failed"
        );
        assert_eq!(
            standing("x", &Ok("{}".to_owned())),
            "  agent: has no resource x"
        );
        let fault = Fault {
            message: "no answer".to_owned(),
            hint: None,
        };
        assert!(standing("web", &Err(fault)).contains("not known, no answer"));
    }
}
