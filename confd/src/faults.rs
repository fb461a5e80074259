//! Errors as one line for people: the operation, then its causes, each said once.

use std::error::Error;

use crate::agent::Fault;
use crate::command::CommandError;
use crate::engine::TemplateError;
use crate::files::FileError;
use crate::resource::ResourceError;

/// The error and its causes, joined by colons.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self {
            message: chain(&error),
            hint: error.hint(),
        }
    }
}

impl From<CommandError> for Fault {
    fn from(error: CommandError) -> Self {
        Self {
            message: chain(&error),
            hint: error.hint(),
        }
    }
}

impl From<TemplateError> for Fault {
    fn from(error: TemplateError) -> Self {
        Self {
            message: chain(&error),
            hint: error.hint(),
        }
    }
}

impl From<ResourceError> for Fault {
    fn from(error: ResourceError) -> Self {
        Self {
            message: chain(&error),
            hint: error.hint(),
        }
    }
}
