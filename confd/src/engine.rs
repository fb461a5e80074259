//! Pure: Template engines behind one seam: compile once, render from a window on a snapshot, report faults with their
//! place. `tera.rs` is the engine for new templates, `gotmpl.rs` that for the Go templates of existing confd set-ups.

mod filters;
mod frame;
mod functions;
mod gotmpl;
mod lines;
mod outside;
mod quote;
mod tera;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::gotmpl::GoTemplates;
pub use self::outside::{Nowhere, Outside, Service};
pub(crate) use self::quote::shell_quote;
pub use self::tera::Tera;
use crate::reads::ReadSet;
use crate::tree::{Reader, Seen};

/// Template sources by name (path below the template directory).
pub type Sources = BTreeMap<String, String>;

/// A template language.
pub trait Engine: Send + Sync {
    /// Compiles one template with everything it includes. Faults of templates it does not use do not matter.
    ///
    /// # Errors
    /// The first fault, with its place.
    fn compile(
        &self,
        name: &str,
        sources: &Sources,
        options: &CompileOptions,
    ) -> Result<Box<dyn Template>, TemplateError>;
}

/// How a template is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileOptions {
    /// Lines that hold only block tags or comments leave nothing in the output.
    pub trim_blocks: bool,
}

/// A compiled template.
pub trait Template: Send + Sync {
    /// Renders from one window. Runs to the end without waiting for anything.
    fn render(&self, reader: Reader, globals: &Globals) -> Rendered;

    /// Names of the sources it was compiled from.
    fn files(&self) -> &BTreeSet<String>;
}

/// What templates can see besides keys.
#[derive(Debug, Clone)]
pub struct Globals {
    /// The resource's `vars`.
    pub vars: serde_json::Map<String, serde_json::Value>,
    /// The environment, as it was at the start.
    pub env: Arc<BTreeMap<String, String>>,
    /// Name of the host.
    pub hostname: String,
    /// The machine's files and names of hosts.
    pub outside: Arc<dyn Outside>,
}

impl Default for Globals {
    fn default() -> Self {
        Self {
            vars: serde_json::Map::new(),
            env: Arc::default(),
            hostname: String::new(),
            outside: Arc::new(Nowhere),
        }
    }
}

/// The result of one render.
#[derive(Debug)]
pub struct Rendered {
    /// The text, or why there is none.
    pub result: Result<String, TemplateError>,
    /// What was read up to the end or the fault.
    pub reads: ReadSet,
    /// What was left out and why, one line each.
    pub notes: Vec<String>,
    /// The key without which it could not go on, if that was the fault.
    pub absent: Option<String>,
}

impl Rendered {
    fn new(result: Result<String, TemplateError>, seen: Seen) -> Self {
        Self {
            absent: seen.absent.filter(|_| result.is_err()),
            result,
            reads: seen.reads,
            notes: seen.notes,
        }
    }
}

/// A fault in a template or in what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {place}: {message}")]
pub struct TemplateError {
    /// `name:line:column`, or the name alone where no place is known. Lines and columns count from 1.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl TemplateError {
    /// A fault of a whole file.
    pub fn of_file(name: &str, message: impl Into<String>) -> Self {
        Self {
            place: name.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// The engine for a template file: `.tmpl` is a Go template, as confd's documents name them, anything else is for Tera.
/// `named` (`tera` or `gotmpl`) overrides that.
pub fn for_file(name: &str, named: Option<EngineName>) -> &'static dyn Engine {
    match named {
        Some(EngineName::GoTemplates) => &GoTemplates,
        Some(EngineName::Tera) => &Tera,
        None if name.ends_with(".tmpl") => &GoTemplates,
        None => &Tera,
    }
}

/// The engines by the names that resources use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineName {
    /// `tera`.
    Tera,
    /// `gotmpl`.
    GoTemplates,
}
