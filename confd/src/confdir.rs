//! Reads the configuration directory: `conf.d/` with resources, `templates/` with their templates, and compiles each
//! resource by itself, so that a fault stays where it is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::{Fault, Loaded};
use crate::defaults::Defaults;
use crate::engine::{self, CompileOptions, Sources, Template};
use crate::plan::ContentHash;
use crate::resource::{self, Resource};

/// Largest template or resource file. 16 MiB: anything larger is not one.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Levels of directories below the two; a loop of links ends here.
const DEPTH_MAX: usize = 8;

/// A resource ready to be rendered.
#[derive(Clone)]
pub struct Unit {
    /// The resource.
    pub resource: Arc<Resource>,
    /// Its compiled template.
    pub template: Arc<dyn Template>,
    /// Hash of the resource file and all template files behind it.
    pub version: ContentHash,
    /// The files of a set, in the order of the resource's; empty for a single file.
    pub files: Vec<Unit>,
}

impl Unit {
    /// Its files, each as a unit: those of a set, or itself.
    pub fn parts(&self) -> &[Self] {
        match self.files.is_empty() {
            true => std::slice::from_ref(self),
            false => &self.files,
        }
    }
}

impl std::fmt::Debug for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unit({} {:?})", self.resource.name, self.version)
    }
}

impl From<&Unit> for Loaded {
    fn from(unit: &Unit) -> Self {
        Self {
            resource: unit.resource.clone(),
            version: unit.version,
        }
    }
}

/// All resources by name, the faulty ones with their fault.
pub type Units = BTreeMap<String, Result<Unit, Fault>>;

/// Reads everything below a configuration directory. A directory that does not exist holds nothing.
///
/// # Errors
/// One of the two directories cannot be listed.
pub fn load(confdir: &Path, defaults: &Defaults) -> Result<Units, ConfdirError> {
    let (sources, unreadable) = sources(&confdir.join("templates"))?;
    let mut units = Units::new();
    for (name, path) in files(&confdir.join("conf.d"))? {
        if !name
            .rsplit('/')
            .next()
            .is_some_and(resource::is_resource_file)
        {
            continue;
        }
        let unit = read(&path)
            .map_err(|problem| Fault {
                message: format!("resource {name}: {problem}"),
                hint: None,
            })
            .and_then(|text| unit(&name, &text, defaults, &sources, &unreadable));
        let short = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(stem, _)| stem);
        // `a.yaml` beside `a.toml`: both keep their full names then.
        let key = if units.contains_key(short) {
            name.clone()
        } else {
            short.to_owned()
        };
        units.insert(key, unit);
    }
    refuse_duplicates(&mut units);
    Ok(units)
}

/// Turns what wants another's destination into a fault.
pub(crate) fn refuse_duplicates(units: &mut Units) {
    let resources: Vec<Resource> = units
        .values()
        .flatten()
        .map(|unit| (*unit.resource).clone())
        .collect();
    for (name, error) in resource::duplicates(&resources) {
        units.insert(name, Err(error.into()));
    }
}

fn unit(
    name: &str,
    text: &str,
    defaults: &Defaults,
    sources: &Sources,
    unreadable: &BTreeMap<String, String>,
) -> Result<Unit, Fault> {
    let resource = resource::parse(name, text, defaults)?;
    for warning in &resource.warnings {
        tracing::warn!(resource = name, "{warning}");
    }
    compiled(
        resource,
        &format!("{defaults:?}\0{text}"),
        sources,
        unreadable,
    )
}

/// A resource with its template, or those of its files; `said` is what it was read from.
fn compiled(
    resource: Resource,
    said: &str,
    sources: &Sources,
    unreadable: &BTreeMap<String, String>,
) -> Result<Unit, Fault> {
    if let Some(problem) = unreadable.get(&resource.src) {
        return Err(Fault {
            message: format!("template {}: {problem}", resource.src),
            hint: None,
        });
    }
    let options = CompileOptions {
        trim_blocks: resource.trim_blocks,
    };
    let template = engine::for_file(&resource.src, resource.engine).compile(
        &resource.src,
        sources,
        &options,
    )?;
    let mut all = said.to_owned();
    for file in template.files() {
        all.push('\0');
        all.push_str(file);
        all.push('\0');
        all.push_str(sources.get(file).map_or("", String::as_str));
    }
    let parts = resource.files.iter().cloned();
    let files: Vec<Unit> = parts
        .map(|part| compiled(part, said, sources, unreadable))
        .collect::<Result<_, _>>()?;
    for part in &files {
        all.push_str(&part.version.to_string());
    }
    Ok(Unit {
        resource: Arc::new(resource),
        template: template.into(),
        version: ContentHash::of(all.as_bytes()),
        files,
    })
}

/// All template sources by name, and those that cannot be read with the reason.
fn sources(directory: &Path) -> Result<(Sources, BTreeMap<String, String>), ConfdirError> {
    let (mut sources, mut unreadable) = (Sources::new(), BTreeMap::new());
    for (name, path) in files(directory)? {
        match read(&path) {
            Ok(text) => {
                sources.insert(name, text);
            }
            Err(problem) => {
                unreadable.insert(name, problem);
            }
        }
    }
    Ok((sources, unreadable))
}

fn read(path: &Path) -> Result<String, String> {
    let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}

/// Regular files below a directory by their path relative to it, links followed. Names that begin with a dot are left
/// out: editors' and mounts' own files (`..data`) are among them.
fn files(directory: &Path) -> Result<BTreeMap<String, PathBuf>, ConfdirError> {
    let mut found = BTreeMap::new();
    walk(directory, "", 0, &mut found).map_err(|source| ConfdirError {
        path: directory.to_owned(),
        source,
    })?;
    Ok(found)
}

fn walk(
    directory: &Path,
    prefix: &str,
    depth: usize,
    found: &mut BTreeMap<String, PathBuf>,
) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|name| !name.starts_with('.'))
        else {
            continue;
        };
        // What vanishes between listing and looking is not there.
        let Ok(meta) = std::fs::metadata(&path) else {
            continue;
        };
        let name = format!("{prefix}{name}");
        if meta.is_file() {
            found.insert(name, path);
        } else if meta.is_dir() && depth < DEPTH_MAX {
            walk(&path, &format!("{name}/"), depth + 1, found)?;
        }
    }
    Ok(())
}

/// A configuration directory that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("read configuration directory {}", path.display())]
pub struct ConfdirError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ConfdirError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some("confd needs to read conf.d and templates below --confdir".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &[u8]) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn resource(src: &str, dest: &str) -> Vec<u8> {
        format!("src: {src}\ndest: {dest}\nkeys: [/]\n").into_bytes()
    }

    #[test]
    fn one_bad_file_does_not_stop_the_others() {
        let home = tempfile::tempdir().unwrap();
        let conf = |name: &str| home.path().join("conf.d").join(name);
        let template = |name: &str| home.path().join("templates").join(name);
        write(&template("good.tera"), b"{{ 1 }}");
        write(&template("bad.tera"), b"\n{{ nope( }}");
        write(&template("binary.tera"), &[0xff]);
        write(&template("x.tmpl"), b"{{getz \"/a\"}}");
        write(&conf("a.yaml"), &resource("good.tera", "/d/a"));
        write(
            &conf("sub/b.toml"),
            b"[template]\nsrc = \"good.tera\"\ndest = \"/d/b\"\nkeys = [\"/\"]\n",
        );
        write(&conf("bad.yaml"), &resource("bad.tera", "/d/c"));
        write(&conf("binary.yaml"), &resource("binary.tera", "/d/d"));
        write(&conf("go.yaml"), &resource("x.tmpl", "/d/e"));
        write(&conf("missing.yaml"), &resource("god.tera", "/d/f"));
        write(&conf("twice.yaml"), &resource("good.tera", "/d/a"));
        write(&conf("notes.txt"), b"not a resource");
        write(&conf(".hidden.yaml"), b"not a resource");
        let units = load(home.path(), &Defaults::default()).unwrap();
        let shown: Vec<String> = units
            .iter()
            .map(|(name, unit)| match unit {
                Ok(_) => name.clone(),
                Err(fault) => format!("{name}: {}", fault.message),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "a",
                "bad: template bad.tera:2:10: found `}}` but expected identifier",
                "binary: template binary.tera: is not UTF-8 text",
                "go: template x.tmpl:1:3: function \"getz\" not defined",
                "missing: template god.tera: template \"god.tera\" does not exist",
                "sub/b",
                "twice: resource twice: dest /d/a belongs to resource \"a\" already",
            ]
        );
    }

    #[test]
    fn the_version_covers_the_resource_and_its_templates_only() {
        let home = tempfile::tempdir().unwrap();
        let version = || {
            load(home.path(), &Defaults::default()).unwrap()["a"]
                .as_ref()
                .unwrap()
                .version
        };
        write(
            &home.path().join("templates/a.tera"),
            b"{% include 'part.tera' %}",
        );
        write(&home.path().join("templates/part.tera"), b"one");
        write(
            &home.path().join("conf.d/a.yaml"),
            &resource("a.tera", "/d/a"),
        );
        let first = version();
        write(&home.path().join("templates/other.tera"), b"{% bad");
        assert_eq!(version(), first);
        write(&home.path().join("templates/part.tera"), b"two");
        assert_ne!(version(), first);
    }

    #[test]
    fn nothing_there_is_nothing_to_do() {
        assert!(
            load(Path::new("/nonexistent/confd"), &Defaults::default())
                .unwrap()
                .is_empty()
        );
    }
}
