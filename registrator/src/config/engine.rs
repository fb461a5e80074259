//! Which container engines are watched: one or several, each with the name its host has in the registry. Reads the
//! certificates' folder as Docker's own tools do; never connects.

use std::path::{Path, PathBuf};

use super::{ConfigError, wrong};

/// A container engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAt {
    /// Its URL, or `none`.
    pub host: String,
    /// Name of its host in keys and records; `None` asks the engine.
    pub node: Option<String>,
}

/// Certificates towards engines, PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineTls {
    /// Certificates that may have signed the engine's; `None`: those the system trusts.
    pub authorities: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl EngineTls {
    /// `ca.pem`, `cert.pem` and `key.pem` in a folder, as far as they are there.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let file = |name| Some(folder.join(name)).filter(|path| path.is_file());
        Self {
            authorities: file("ca.pem"),
            identity: file("cert.pem").zip(file("key.pem")),
        }
    }
}

const SCHEMES: [&str; 5] = ["unix://", "tcp://", "http://", "https://", "ssh://"];

/// Reads `URL` or `NODE=URL`, several with commas.
pub(super) fn engines(text: &str) -> Result<Vec<EngineAt>, ConfigError> {
    let mut engines: Vec<EngineAt> = Vec::new();
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (node, host) = match part.split_once('=') {
            Some((node, host)) if !node.contains("://") => (Some(node), host),
            _ => (None, part),
        };
        let known = host == "none" || SCHEMES.iter().any(|scheme| host.starts_with(scheme));
        if !known || node.is_some_and(str::is_empty) {
            let want = "unix://, tcp://, http://, https:// or ssh:// URLs with commas, each with NODE= before it or not; or none";
            return Err(wrong("docker-host", part, want));
        }
        let twice =
            |one: &EngineAt| one.host == host || (node.is_some() && one.node.as_deref() == node);
        if engines.iter().any(twice) {
            return Err(wrong("docker-host", part, "named once"));
        }
        engines.push(EngineAt {
            host: host.to_owned(),
            node: node.map(str::to_owned),
        });
    }
    if engines.is_empty() {
        return Err(wrong("docker-host", text, "at least one URL"));
    }
    Ok(engines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_several() {
        for (text, want) in [
            ("unix:///a.sock", "unix:///a.sock"),
            ("none", "none"),
            ("tcp://h:1, edge=ssh://me@h2", "tcp://h:1 edge=ssh://me@h2"),
            // An equals sign in a URL is the URL's.
            ("http://h:1/?a=b", "http://h:1/?a=b"),
        ] {
            let found = engines(text).unwrap();
            let shown = found.iter().map(|engine| match &engine.node {
                Some(node) => format!("{node}={}", engine.host),
                None => engine.host.clone(),
            });
            assert_eq!(shown.collect::<Vec<_>>().join(" "), want);
        }
        for (text, part) in [
            ("", "at least one"),
            ("/run/docker.sock", "URLs"),
            ("=unix:///a", "URLs"),
            ("a=unix:///a,a=unix:///b", "named once"),
            ("unix:///a,unix:///a", "named once"),
        ] {
            let why = engines(text).unwrap_err().to_string();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
