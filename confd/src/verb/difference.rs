//! `confd diff`: what the next pass would change in each file, as a unified difference without secrets.

use super::{FAILED, PENDING};
use crate::agent::Fault;
use crate::config::Config;
use crate::disk::OsDisk;
use crate::run::preview::{coloured, has_colours, secrets};
use crate::{files, run};

/// Shows all differences.
pub(super) async fn run(config: &Config) -> Result<u8, Fault> {
    let units = super::single(super::units(config)?);
    let snapshot = super::snapshot(config, &units).await?;
    let units = super::expanded(units, &snapshot);
    let (globals, colours) = (run::globals(), has_colours());
    let (mut faults, mut pending) = (0, 0);
    for (name, unit) in &units {
        let difference = unit.clone().and_then(|unit| {
            let text = super::rendered(&unit, &snapshot, &globals).result?;
            let difference = files::difference(&OsDisk, &unit.resource, &text)?;
            let hidden = secrets(&unit, &snapshot);
            Ok(difference.map(|text| hidden.hide_in_difference(&text)))
        });
        match difference {
            Ok(None) => {}
            Ok(Some(text)) => {
                pending += 1;
                super::say(&coloured(&text, colours));
            }
            Err(fault) => {
                faults += 1;
                super::complain(&Fault {
                    message: format!("{name}: {}", fault.message),
                    hint: fault.hint,
                });
            }
        }
    }
    Ok(match (faults, pending) {
        (0, 0) => 0,
        (0, _) => PENDING,
        _ => FAILED,
    })
}
