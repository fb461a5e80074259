//! Pure: The Tera 2 engine: nothing is escaped, an undefined variable is a fault, functions read through the render's
//! window in [`super::frame`].

use std::collections::BTreeSet;

use tera::{Context, ErrorKind, Value};

use super::frame::{self, Frame, Slot};
use super::lines::Trimmed;
use super::{
    CompileOptions, Engine, Globals, Rendered, Sources, Template, TemplateError, filters, functions,
};
use crate::tree::Reader;

/// Levels of includes. 16: deeper is a mistake, and the chain is followed before Tera can report a circle.
const INCLUDE_DEPTH_MAX: usize = 16;

/// See the module text.
#[derive(Debug, Clone, Copy)]
pub struct Tera;

struct Compiled {
    tera: tera::Tera,
    name: String,
    sources: Vec<(String, Trimmed)>,
    files: BTreeSet<String>,
}

impl Engine for Tera {
    fn compile(
        &self,
        name: &str,
        sources: &Sources,
        options: &CompileOptions,
    ) -> Result<Box<dyn Template>, TemplateError> {
        let mut used = Vec::new();
        gather(name, name, sources, options, 0, &mut used)?;
        let mut tera = tera::Tera::new();
        tera.autoescape_on(Vec::<&'static str>::new());
        functions::register(&mut tera);
        filters::register(&mut tera);
        let texts: Vec<(&str, &str)> = used
            .iter()
            .map(|(name, source)| (name.as_str(), source.text.as_str()))
            .collect();
        tera.add_raw_templates(texts)
            .map_err(|error| fault(name, &used, &error))?;
        let files = used.iter().map(|(name, _)| name.clone()).collect();
        Ok(Box::new(Compiled {
            tera,
            name: name.to_owned(),
            sources: used,
            files,
        }))
    }
}

/// Collects a template and what it names in `include` and `extends`, parents behind children as Tera accepts any order.
fn gather(
    name: &str,
    asked_by: &str,
    sources: &Sources,
    options: &CompileOptions,
    depth: usize,
    used: &mut Vec<(String, Trimmed)>,
) -> Result<(), TemplateError> {
    if used.iter().any(|(have, _)| have == name) {
        return Ok(());
    }
    if depth > INCLUDE_DEPTH_MAX {
        return Err(TemplateError::of_file(
            asked_by,
            format!("includes go deeper than {INCLUDE_DEPTH_MAX} levels"),
        ));
    }
    let Some(source) = sources.get(name) else {
        let error = TemplateError::of_file(asked_by, format!("template {name:?} does not exist"));
        return Err(
            match crate::spelling::nearest(name, sources.keys().map(String::as_str)) {
                Some(near) => error.with_hint(format!("did you mean {near:?}?")),
                None => error.with_hint("templates are looked up below the template directory"),
            },
        );
    };
    let trimmed = if options.trim_blocks {
        Trimmed::new(source)
    } else {
        Trimmed::untouched(source)
    };
    let inner = named_templates(&trimmed.text);
    used.push((name.to_owned(), trimmed));
    for inner in inner {
        gather(&inner, name, sources, options, depth + 1, used)?;
    }
    Ok(())
}

/// Names after `{% include` and `{% extends`. Tera allows only literal names there.
fn named_templates(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for tag in text.split("{%").skip(1) {
        let tag = tag.trim_start_matches('-').trim_start();
        for keyword in ["include", "extends"] {
            let Some(rest) = tag.strip_prefix(keyword) else {
                continue;
            };
            let rest = rest.trim_start();
            if let Some(quote) = rest
                .chars()
                .next()
                .filter(|char| matches!(char, '"' | '\'' | '`'))
                && let Some((name, _)) = rest[1..].split_once(quote)
            {
                names.push(name.to_owned());
            }
        }
    }
    names
}

impl Template for Compiled {
    fn render(&self, reader: Reader, globals: &Globals) -> Rendered {
        let mut context = Context::new();
        let vars = Value::try_from_serializable(&globals.vars).unwrap_or_else(|_| Value::none());
        context.insert_value("vars", vars);
        let slot = Slot::fill(reader, globals.clone());
        let result = self.tera.render(&self.name, &context);
        let seen = slot.empty();
        let result = result.map_err(|error| fault(&self.name, &self.sources, &error));
        Rendered::new(result, seen)
    }

    fn files(&self) -> &BTreeSet<String> {
        &self.files
    }
}

/// Runs a function of a template on the render under way.
pub(super) fn with_frame<T>(
    call: impl FnOnce(&mut Frame) -> Result<T, tera::Error>,
) -> Result<T, tera::Error> {
    frame::with_frame(call)
        .unwrap_or_else(|| Err(tera::Error::message("called outside of a render")))
}

/// Translates Tera's report into one line with its place in the file as written.
fn fault(name: &str, sources: &[(String, Trimmed)], error: &tera::Error) -> TemplateError {
    match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            let (message, hint) = reworded(report.message());
            let place = placed(sources, report.filename(), |source| {
                Some(report.span().range.start).map(|at| source.place(at))
            });
            TemplateError {
                place,
                message,
                hint,
            }
        }
        other => unknown_name(name, sources, &other.to_string()),
    }
}

/// `file:line:column` with the place in the file as written.
fn placed(
    sources: &[(String, Trimmed)],
    file: &str,
    find: impl FnOnce(&Trimmed) -> Option<(usize, usize)>,
) -> String {
    match sources
        .iter()
        .find(|(name, _)| name == file)
        .and_then(|(_, source)| find(source))
    {
        Some((line, column)) => format!("{file}:{line}:{column}"),
        None => file.to_owned(),
    }
}

/// Names that do not exist are found when all templates are put together, and come as one text of finished reports:
/// ```text
/// error: Unknown function `getz`
///  --> t.tera:1:4
/// ```
fn unknown_name(name: &str, sources: &[(String, Trimmed)], text: &str) -> TemplateError {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines
        .next()
        .unwrap_or("cannot be compiled")
        .trim_start_matches("error: ");
    let place = lines.find_map(|line| {
        let (rest, column) = line.strip_prefix("--> ")?.rsplit_once(':')?;
        let (file, line) = rest.rsplit_once(':')?;
        let (line, column) = (line.parse().ok()?, column.parse().ok()?);
        Some(placed(sources, file, |source| {
            source.offset(line, column).map(|at| source.place(at))
        }))
    });
    let (message, hint) = reworded(message);
    let meant = message.split('`').nth(1).and_then(|unknown| {
        let known: &[&str] = match message.as_str() {
            text if text.contains("function") => functions::NAMES,
            text if text.contains("filter") => filters::NAMES,
            _ => &[],
        };
        crate::spelling::nearest(unknown, known.iter().copied())
    });
    let hint = meant.map(|near| format!("did you mean `{near}`?")).or(hint);
    TemplateError {
        place: place.unwrap_or_else(|| name.to_owned()),
        message,
        hint,
    }
}

/// Our style: message without capital and full stop; what is known, or what was meant, as hint.
fn reworded(message: &str) -> (String, Option<String>) {
    let (head, hint) = match message.split_once(functions::HINT_MARK) {
        Some((head, hint)) => (head, Some(hint.to_owned())),
        None => match message.split_once(". Available ") {
            Some((head, known)) => {
                let known = known.split_once(": ").map_or(known, |(_, known)| known);
                (head, Some(format!("known here: {known}")))
            }
            None => (message, None),
        },
    };
    let head = head
        .lines()
        .next()
        .unwrap_or("cannot be rendered")
        .trim()
        .trim_end_matches('.');
    let mut chars = head.chars();
    let message = match chars.next() {
        // Messages of ours begin with small letters, or with a name that must keep its letters.
        Some(first) if chars.as_str().starts_with(|next: char| next.is_lowercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => head.to_owned(),
    };
    (message, hint)
}

#[cfg(test)]
#[path = "tera_tests.rs"]
mod tests;
