//! Pure: The engine for Go templates, so that the templates of existing confd set-ups run as they are: `text/template`
//! by the `gotmpl` crate, executed without data, with confd's functions in `functions.rs` and those of its fork in
//! `additions.rs`. `source.rs` reads the parsed template: which functions it calls where, and what it includes.

mod additions;
mod arguments;
mod blocks;
mod display;
mod functions;
mod json;
mod quotes;
mod source;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError as GoError, Value};

use self::arguments::{Arguments, Fault, Function};
use self::source::Call;
use super::frame::Slot;
use super::functions::HINT_MARK;
use super::{CompileOptions, Engine, Globals, Rendered, Sources, Template, TemplateError};
use crate::tree::Reader;

/// Levels of `include`, as in confd's fork.
const INCLUDE_DEPTH_MAX: usize = 10;
/// Built into the language; everything else a template calls must be in the tables of functions.
const BUILTINS: &[&str] = &[
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print",
    "printf", "println", "call", "html", "js", "urlquery",
];

/// See the module text.
#[derive(Debug, Clone, Copy)]
pub struct GoTemplates;

struct Compiled {
    name: String,
    files: Arc<BTreeMap<String, File>>,
    names: BTreeSet<String>,
}

/// One parsed file.
struct File {
    template: gotmpl::Template,
    calls: Vec<Call>,
}

impl Engine for GoTemplates {
    fn compile(
        &self,
        name: &str,
        sources: &Sources,
        _: &CompileOptions,
    ) -> Result<Box<dyn Template>, TemplateError> {
        let functions = all_functions();
        let mut files = BTreeMap::new();
        let mut wanted = vec![(name.to_owned(), name.to_owned())];
        while let Some((name, asked_by)) = wanted.pop() {
            if files.contains_key(&name) {
                continue;
            }
            let Some(text) = sources.get(&name) else {
                return Err(TemplateError::of_file(
                    &asked_by,
                    format!("template {name:?} does not exist"),
                )
                .with_hint("templates are looked up below the template directory"));
            };
            let (file, includes) = compile(&name, text, &functions)?;
            files.insert(name.clone(), file);
            wanted.extend(includes.into_iter().map(|inner| (inner, name.clone())));
        }
        Ok(Box::new(Compiled {
            name: name.to_owned(),
            names: files.keys().cloned().collect(),
            files: Arc::new(files),
        }))
    }
}

/// A file and the names it includes.
fn compile(
    name: &str,
    text: &str,
    functions: &FuncMap,
) -> Result<(File, Vec<String>), TemplateError> {
    let parsed = |error: GoError| match error {
        GoError::Parse {
            line, col, message, ..
        }
        | GoError::Lex {
            line, col, message, ..
        } => TemplateError {
            place: format!("{name}:{line}:{col}"),
            message,
            hint: None,
        },
        other => TemplateError::of_file(name, other.to_string()),
    };
    // Parsed twice: here for the faults of whole templates, such as two definitions of one name, below for its tree.
    let mut template = gotmpl::Template::new(name)
        .funcs(functions.clone())
        .parse(text)
        .map_err(parsed)?;
    blocks::check(text).map_err(|(place, message)| TemplateError {
        place: format!("{name}:{}:{}", place.line, place.column),
        message,
        hint: None,
    })?;
    let source = source::read(name, text, &|function| {
        BUILTINS.contains(&function) || functions.contains_key(function)
    })
    .map_err(parsed)?;
    if let Some((place, unknown)) = source.unknown {
        let fault = |message| TemplateError {
            place: format!("{name}:{}:{}", place.line, place.column),
            message,
            hint: None,
        };
        if unknown.starts_with('$') {
            return Err(fault(format!("undefined variable {unknown:?}")));
        }
        let error = fault(format!("function {unknown:?} not defined"));
        let known = functions
            .keys()
            .map(String::as_str)
            .chain(BUILTINS.iter().copied());
        return Err(match crate::spelling::nearest(&unknown, known) {
            Some(near) => error.with_hint(format!("did you mean {near:?}?")),
            None => error,
        });
    }
    for (name, tree) in source.trees {
        template = template.add_parse_tree(&name, tree);
    }
    let calls = source.calls;
    Ok((File { template, calls }, source.includes))
}

/// Every function of a template, ready to be called.
fn all_functions() -> FuncMap {
    let tables = functions::FUNCTIONS
        .iter()
        .chain(additions::FUNCTIONS)
        .chain(quotes::FUNCTIONS);
    let mut map: FuncMap = tables
        .map(|function| (function.name.to_owned(), callable(*function)))
        .collect();
    map.insert("include".to_owned(), callable(INCLUDE));
    map.insert(
        source::SHOW.to_owned(),
        Arc::new(|values| {
            let shown = values.first().map_or_else(String::new, display::shown);
            Ok(Value::String(shown.into()))
        }),
    );
    map.insert(
        source::FLOAT.to_owned(),
        Arc::new(|values| {
            Ok(match values.first() {
                Some(Value::Float(number)) => Value::String(display::float(*number).into()),
                other => other.cloned().unwrap_or(Value::Nil),
            })
        }),
    );
    map
}

fn callable(function: Function) -> gotmpl::ValueFunc {
    Arc::new(move |values| {
        let arguments = Arguments::new(function, values);
        let result = arguments.and_then(|arguments| (function.call)(&arguments));
        result.map_err(|fault| {
            blame(function.name, values.first().and_then(Value::as_str));
            let hint = fault
                .hint
                .map(|hint| format!("{HINT_MARK}{hint}"))
                .unwrap_or_default();
            GoError::Exec(format!(
                "error calling {}: {}{hint}",
                function.name, fault.message
            ))
        })
    })
}

/// How far the render on this thread is.
struct Progress {
    files: Arc<BTreeMap<String, File>>,
    /// The file being rendered last, those that include it before.
    open: Vec<String>,
    /// The first call that failed.
    failed: Option<Failed>,
}

struct Failed {
    file: String,
    function: &'static str,
    argument: Option<String>,
}

thread_local! {
    static PROGRESS: RefCell<Option<Progress>> = const { RefCell::new(None) };
}

/// Notes a failed call. Errors travel outwards, so the first one is the cause.
fn blame(function: &'static str, argument: Option<&str>) {
    PROGRESS.with_borrow_mut(|progress| {
        if let Some(progress) = progress {
            let file = progress.open.last().cloned().unwrap_or_default();
            progress.failed.get_or_insert(Failed {
                file,
                function,
                argument: argument.map(str::to_owned),
            });
        }
    });
}

const INCLUDE: Function = Function {
    name: "include",
    arguments_min: 1,
    arguments_max: 2,
    call: include,
};

fn include(arguments: &Arguments<'_>) -> Result<Value, Fault> {
    let name = arguments.text(0)?;
    let data = arguments.get(1).cloned().unwrap_or(Value::Nil);
    let files = PROGRESS.with_borrow_mut(|progress| {
        let progress = progress.as_mut().ok_or_else(Fault::outside)?;
        if !progress.files.contains_key(name) {
            return Err(Fault::new(format!("template {name:?} is not known"))
                .hinted("names of included templates must stand in the template as texts"));
        }
        if progress.open.iter().any(|open| open == name) {
            return Err(Fault::new(format!("template {name:?} includes itself")));
        }
        if progress.open.len() > INCLUDE_DEPTH_MAX {
            return Err(Fault::new(format!(
                "includes go deeper than {INCLUDE_DEPTH_MAX} levels"
            )));
        }
        progress.open.push(name.to_owned());
        Ok(progress.files.clone())
    })?;
    let result = execute(&files, name, &data);
    PROGRESS.with_borrow_mut(|progress| {
        if let Some(progress) = progress {
            progress.open.pop();
        }
    });
    result
        .map(|text| Value::String(text.into()))
        .map_err(|error| {
            let (message, hint) = told(&error);
            Fault { message, hint }
        })
}

fn execute(files: &BTreeMap<String, File>, name: &str, data: &Value) -> Result<String, GoError> {
    match files.get(name) {
        Some(file) => file.template.execute_template_to_string(name, data),
        None => Err(GoError::UndefinedTemplate(name.to_owned())),
    }
}

impl Template for Compiled {
    fn render(&self, reader: Reader, globals: &Globals) -> Rendered {
        let slot = Slot::fill(reader, globals.clone());
        PROGRESS.set(Some(Progress {
            files: self.files.clone(),
            open: vec![self.name.clone()],
            failed: None,
        }));
        let result = execute(&self.files, &self.name, &Value::Nil);
        let failed = PROGRESS.take().and_then(|progress| progress.failed);
        let seen = slot.empty();
        let result = result.map_err(|error| self.fault(failed.as_ref(), &error));
        Rendered::new(result, seen)
    }

    fn files(&self) -> &BTreeSet<String> {
        &self.names
    }
}

impl Compiled {
    /// The language's runtime errors carry no place, so the call is looked for in the source: by its function and, if
    /// it is written there, by its first argument. What is found in several lines is told as such.
    fn fault(&self, failed: Option<&Failed>, error: &GoError) -> TemplateError {
        let (message, hint) = told(error);
        let (file, function, argument) = match failed {
            Some(failed) => (
                failed.file.as_str(),
                failed.function,
                failed.argument.as_deref(),
            ),
            None => (self.name.as_str(), builtin_of(error), None),
        };
        let calls = self.files.get(file).map_or(&[][..], |file| &file.calls);
        let all = || calls.iter().filter(|call| call.function == function);
        let mut found: Vec<&Call> = all()
            .filter(|call| argument.is_some() && call.argument.as_deref() == argument)
            .collect();
        if found.is_empty() {
            found = all()
                .filter(|call| argument.is_none() || call.argument.is_none())
                .collect();
        }
        let mut lines: Vec<String> = found
            .iter()
            .map(|call| call.place.line.to_string())
            .collect();
        lines.dedup();
        let (place, lines) = match (found.first(), lines.len()) {
            (Some(call), 1) => (
                format!("{file}:{}:{}", call.place.line, call.place.column),
                None,
            ),
            (None, _) => (file.to_owned(), None),
            _ => (
                file.to_owned(),
                Some(format!("one of the calls in lines {}", lines.join(", "))),
            ),
        };
        let hints: Vec<String> = [hint, lines].into_iter().flatten().collect();
        TemplateError {
            place,
            message,
            hint: (!hints.is_empty()).then(|| hints.join("; ")),
        }
    }
}

/// The built-in function that alone gives this error; empty if there are several.
fn builtin_of(error: &GoError) -> &str {
    match error {
        GoError::IndexOutOfRange { .. } => "index",
        GoError::ArgCount { name, .. } | GoError::FuncPanic { name, .. } => name,
        _ => "",
    }
}

/// Message and hint.
fn told(error: &GoError) -> (String, Option<String>) {
    let text = match error {
        GoError::Exec(text) => text.clone(),
        other => other.to_string(),
    };
    match text.split_once(HINT_MARK) {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    }
}

#[cfg(test)]
#[path = "gotmpl_tests.rs"]
mod tests;
