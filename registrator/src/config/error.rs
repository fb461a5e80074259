//! What can be wrong with the configuration, and what a person can do about it.

use std::path::PathBuf;

use registrator_catalog::layout::LayoutError;
use store_client::endpoint::EndpointError;

use super::file::NAMES;

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An endpoint cannot be read.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A layout cannot be read.
    #[error("option layout: {0}")]
    Layout(#[from] LayoutError),
    /// A value does not fit its option.
    #[error("option {name}: {text:?} is not {want}")]
    Value {
        /// Name of the option.
        name: &'static str,
        /// What was given.
        text: String,
        /// What would fit.
        want: &'static str,
    },
    /// The filter is no expression.
    #[error("option filter: {text:?}: {why}")]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A layout of the user's own is none.
    #[error("option layout-template: {text:?}: {why}")]
    Template {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be read.
    #[error("read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file sets something that does not exist.
    #[error("{path}:{line}: unknown option {name:?}", path = path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What it sets.
        name: String,
        /// The option that was probably meant.
        meant: Option<&'static str>,
    },
    /// The configuration file is no YAML, or a value has another type.
    #[error("read configuration {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What and where.
        source: Box<serde_yaml::Error>,
    },
}

impl ConfigError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Endpoint(error) => error.hint(),
            Self::Layout(_) => Some(
                "--layout native,registrator=/compat,skydns=cluster.local,grpc,traefik would be all of them"
                    .to_owned(),
            ),
            Self::Value { name, .. } => Some(format!(
                "it is set by --{name} or in the file of --config; --help shows what fits"
            )),
            Self::Filter { .. } => Some(
                "names: labels, image, name, networks, compose, swarm, env, node; such as \
                 'compose.project == \"shop\" and not labels.internal'"
                    .to_owned(),
            ),
            Self::Template { .. } => Some(
                "write it as '/mine/{{ name }}/{{ instance }} = {{ address }}:{{ port }}'".to_owned(),
            ),
            Self::Read { .. } => Some("check the path and that this user may read it".to_owned()),
            Self::Unknown {
                meant: Some(name), ..
            } => Some(format!("did you mean {name}?")),
            Self::Unknown { .. } | Self::File { .. } => {
                Some(format!("known options: {}", NAMES.join(", ")))
            }
        }
    }
}
