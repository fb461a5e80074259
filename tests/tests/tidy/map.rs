//! The map in `ARCHITECTURE.md`: which crate may use which, and what is pure.
//!
//! Two Markdown tables, found by the first cell of their heads. The map and the manifests must say
//! the same in both directions: an arrow that is not drawn, and one drawn that does not exist.

use std::collections::BTreeSet;

use crate::manifest::Manifest;
use crate::tree::Tree;

/// First cell in the head of the table of crates, and of the table of pure files.
const CRATES: &str = "crate";
/// See [`CRATES`].
const PURE_FILES: &str = "pure in";

/// What stands where a crate may use anything from outside.
const ANY: &str = "any";

/// The whole map.
#[derive(Debug)]
pub(crate) struct Map {
    rooms: Vec<Room>,
    /// Files and folders (with a slash at the end) that are pure, from the root.
    pure_files: Vec<String>,
}

#[derive(Debug)]
struct Room {
    name: String,
    folder: String,
    pure: bool,
    ours: BTreeSet<String>,
    /// `None` = any.
    others: Option<BTreeSet<String>>,
}

impl Map {
    /// Reads the tables in `document`.
    pub(crate) fn parse(document: &str) -> Result<Map, String> {
        let mut rooms = Vec::new();
        for row in table(document, CRATES)? {
            let [name, folder, kind, ours, others] = &row[..] else {
                return Err(format!(
                    "a row of crates has {} cells, not 5: {row:?}",
                    row.len()
                ));
            };
            let pure = match kind.as_str() {
                "pure" => true,
                "shell" => false,
                other => return Err(format!("{name} is {other}: pure or shell?")),
            };
            let others = (others != ANY).then(|| names(others));
            if pure && others.is_none() {
                return Err(format!(
                    "{name} is pure: what it may use from outside must be listed"
                ));
            }
            if rooms.iter().any(|room: &Room| room.name == *name) {
                return Err(format!("{name} stands on the map twice"));
            }
            let folder = folder.trim_matches('/').trim_matches('.').to_owned();
            rooms.push(Room {
                name: name.clone(),
                folder,
                pure,
                ours: names(ours),
                others,
            });
        }
        let mut pure_files = Vec::new();
        for row in table(document, PURE_FILES)? {
            let [folder, files] = &row[..] else {
                return Err(format!(
                    "a row of pure files has {} cells, not 2: {row:?}",
                    row.len()
                ));
            };
            pure_files.extend(
                names(files)
                    .iter()
                    .map(|file| format!("{}/{file}", folder.trim_matches('/'))),
            );
        }
        Ok(Map { rooms, pure_files })
    }

    /// Differences between the map and `manifests`.
    pub(crate) fn faults(&self, manifests: &[Manifest]) -> Vec<String> {
        let mut faults = Vec::new();
        let ours: BTreeSet<&str> = manifests
            .iter()
            .map(|manifest| manifest.name.as_str())
            .collect();
        for room in &self.rooms {
            if !ours.contains(room.name.as_str()) {
                faults.push(format!(
                    "the map has {}, the workspace has not: take it off the map",
                    room.name
                ));
            }
        }
        for manifest in manifests {
            match self.rooms.iter().find(|room| room.name == manifest.name) {
                None => faults.push(format!(
                    "{} is not on the map: what may it use, what must it never know?",
                    manifest.name
                )),
                Some(room) => room.compare(manifest, &ours, &mut faults),
            }
        }
        faults
    }

    /// Whether the source at `path` must be pure.
    pub(crate) fn is_pure(&self, path: &str) -> bool {
        let in_room = |room: &Room| {
            path.strip_prefix(&room.folder)
                .is_some_and(|rest| rest.starts_with("/src/"))
        };
        let is_file = |file: &String| {
            path == file || (file.ends_with('/') && path.starts_with(file.as_str()))
        };
        self.rooms.iter().any(|room| room.pure && in_room(room))
            || self.pure_files.iter().any(is_file)
    }

    /// Sources that call themselves pure in their first line, but are not on the map.
    pub(crate) fn pure_files_undrawn<'a>(&self, tree: &'a Tree) -> Vec<&'a str> {
        let calls_itself_pure = |text: &str| {
            text.lines()
                .next()
                .is_some_and(|line| line.starts_with("//! [pure]"))
        };
        let undrawn = tree
            .ending(".rs")
            .filter(|(path, text)| calls_itself_pure(text) && !self.is_pure(path));
        undrawn.map(|(path, _)| path).collect()
    }

    /// Pure files on the map that are not in the tree.
    pub(crate) fn pure_files_missing<'a>(&'a self, tree: &Tree) -> Vec<&'a str> {
        self.pure_files
            .iter()
            .map(String::as_str)
            .filter(|file| !tree.has(file))
            .collect()
    }
}

impl Room {
    fn compare(&self, manifest: &Manifest, ours: &BTreeSet<&str>, faults: &mut Vec<String>) {
        let name = &self.name;
        if self.folder != manifest.folder {
            faults.push(format!(
                "{name} is in {}, not in {} as the map has it",
                manifest.folder, self.folder
            ));
        }
        for used in &manifest.uses {
            if ours.contains(used.as_str()) {
                if !self.ours.contains(used) {
                    faults.push(format!(
                        "{name} → {used}: the map has no such arrow; may {name} know {used}?"
                    ));
                }
            } else if self
                .others
                .as_ref()
                .is_some_and(|others| !others.contains(used))
            {
                faults.push(format!(
                    "{name} uses {used}: not among what the map allows it from outside"
                ));
            }
        }
        let drawn = self.ours.iter().chain(self.others.iter().flatten());
        for arrow in drawn.filter(|arrow| !manifest.uses.contains(*arrow)) {
            faults.push(format!(
                "{name} → {arrow}: on the map, but not in the manifest: take it off the map"
            ));
        }
    }
}

/// Rows of the first table whose head begins with `head`, cells trimmed, back quotes taken off.
fn table(document: &str, head: &str) -> Result<Vec<Vec<String>>, String> {
    let mut lines = document
        .lines()
        .skip_while(|line| cells(line).first().is_none_or(|cell| cell != head));
    if lines.next().is_none() {
        return Err(format!("there is no table that begins with | {head} |"));
    }
    let rows = lines
        .skip(1)
        .map_while(|line| line.starts_with('|').then(|| cells(line)));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        Err(format!("the table | {head} | is empty"))
    } else {
        Ok(rows)
    }
}

fn cells(line: &str) -> Vec<String> {
    let inner = line
        .trim()
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'));
    let cells = inner.into_iter().flat_map(|inner| inner.split('|'));
    cells
        .map(|cell| cell.replace('`', "").trim().to_owned())
        .collect()
}

/// Names in a cell; a dash is none.
fn names(cell: &str) -> BTreeSet<String> {
    let names = cell.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty() && *name != "—")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
const EXAMPLE: &str = "
Text.

| crate | folder | kind | ours | others |
|---|---|---|---|---|
| `low` | `a/low/` | pure | — | bytes |
| `high` | `high/` | shell | `low` | any |

| pure in | files |
|---|---|
| `high/src/` | `plan.rs`, `agent/` |
";

#[cfg(test)]
fn manifest(path: &str, name: &str, uses: &[&str]) -> Manifest {
    let uses: String = uses.iter().map(|used| format!("{used} = '1'\n")).collect();
    let text = format!("[package]\nname = '{name}'\n[dependencies]\n{uses}");
    Manifest::parse(path, &text).unwrap()
}

#[test]
fn every_difference_is_a_fault() {
    let map = Map::parse(EXAMPLE).unwrap();
    let low = || manifest("a/low/Cargo.toml", "low", &["bytes"]);
    let high = || manifest("high/Cargo.toml", "high", &["low", "anything"]);
    assert_eq!(map.faults(&[low(), high()]), Vec::<String>::new());
    let upward = manifest("a/low/Cargo.toml", "low", &["bytes", "high"]);
    let impure = manifest("a/low/Cargo.toml", "low", &["bytes", "tokio"]);
    let lighter = manifest("a/low/Cargo.toml", "low", &[]);
    let moved = manifest("b/low/Cargo.toml", "low", &["bytes"]);
    let stale = manifest("high/Cargo.toml", "high", &[]);
    let new = manifest("new/Cargo.toml", "new", &[]);
    for (manifests, words) in [
        (vec![upward, high()], "low → high"),
        (vec![impure, high()], "low uses tokio"),
        (vec![lighter, high()], "low → bytes"),
        (vec![moved, high()], "low is in b/low"),
        (vec![low(), stale], "high → low"),
        (vec![low(), high(), new], "new is not on the map"),
        (vec![low()], "the map has high"),
    ] {
        let faults = map.faults(&manifests);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(words), "{faults:?}");
    }
}

#[test]
fn purity_follows_the_map() {
    let map = Map::parse(EXAMPLE).unwrap();
    for (path, pure) in [
        ("a/low/src/lib.rs", true),
        ("a/low/build.rs", false),
        ("a/lowest/src/lib.rs", false),
        ("high/src/plan.rs", true),
        ("high/src/agent/input.rs", true),
        ("high/src/planner.rs", false),
        ("high/src/run.rs", false),
    ] {
        assert_eq!(map.is_pure(path), pure, "{path}");
    }
    let tree = Tree::of(&[("high/src/agent/input.rs", "")]);
    assert_eq!(map.pure_files_missing(&tree), ["high/src/plan.rs"]);
    let pure = "//! [pure] Yes.";
    let tree = Tree::of(&[
        ("high/src/plan.rs", pure),
        ("high/src/x.rs", pure),
        ("high/src/y.rs", "//! Not [pure]."),
    ]);
    assert_eq!(map.pure_files_undrawn(&tree), ["high/src/x.rs"]);
}

#[test]
fn a_map_that_cannot_be_read_is_an_error() {
    for (from, to) in [
        ("| crate |", "| room |"),
        ("| pure in |", "| clean |"),
        ("| pure | — |", "| maybe | — |"),
        ("| pure | — | bytes |", "| pure | — | any |"),
        ("| pure | — | bytes |", "| pure | — |"),
        ("| `plan.rs`, `agent/` |", "| a | b |"),
        ("| `high` |", "| `low` |"),
    ] {
        assert!(EXAMPLE.contains(from));
        assert!(
            Map::parse(&EXAMPLE.replace(from, to)).is_err(),
            "{from} → {to}"
        );
    }
}
