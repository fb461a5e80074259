//! What the agent says about its decisions, each thing once.

use super::decided::{Decided, Ruled};
use super::effect::{Effect, Level, Note};

/// Says once what is odd or left out about a running container.
pub(super) fn tell_new(name: &str, before: &Decided, after: &Decided, effects: &mut Vec<Effect>) {
    // What was registered is reported when it is deregistered, with the same reason.
    let known = |why: &&String| before.skipped.as_ref() == Some(*why) || !before.wanted.is_empty();
    if let Some(why) = after.skipped.as_ref().filter(|why| !known(why)) {
        note(effects, Level::Info, name, format!("not registered: {why}"));
    }
    for warning in &after.warnings {
        if !before.warnings.contains(warning) {
            note(effects, Level::Warn, name, warning.clone());
        }
    }
    for ruling in after
        .rulings
        .iter()
        .filter(|ruling| !before.rulings.contains(ruling))
    {
        if let Ruled::Skipped(why) = &ruling.outcome {
            let text = format!("port {}: skipped, {why}", ruling.port);
            note(effects, Level::Info, name, text);
        }
        let told = |warning| {
            let mut of_port = before
                .rulings
                .iter()
                .filter(|known| known.port == ruling.port);
            of_port.any(|known| known.warnings.contains(warning))
        };
        for warning in ruling.warnings.iter().filter(|warning| !told(warning)) {
            note(
                effects,
                Level::Warn,
                name,
                format!("port {}: {warning}", ruling.port),
            );
        }
    }
}

pub(super) fn note(effects: &mut Vec<Effect>, level: Level, subject: &str, text: String) {
    effects.push(Effect::Note(Note {
        level,
        subject: subject.to_owned(),
        text,
    }));
}
