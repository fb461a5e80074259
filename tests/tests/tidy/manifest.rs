//! What a `Cargo.toml` says about dependencies.

use std::collections::BTreeSet;

/// One crate's manifest.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Folder of the crate; empty for the root.
    pub(crate) folder: String,
    /// Package name.
    pub(crate) name: String,
    /// Names of what it is built from: dependencies and build-dependencies, of every target.
    /// What only tests use is no arrow: it is not there when the crate is.
    pub(crate) uses: BTreeSet<String>,
    /// Workspace members; empty for all but the root.
    pub(crate) members: Vec<String>,
}

impl Manifest {
    /// Reads the text of the manifest at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Manifest, String> {
        let table: toml::Table = text.parse().map_err(|error| format!("{path}: {error}"))?;
        let name = table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(toml::Value::as_str);
        let mut uses = BTreeSet::new();
        collect(&table, &mut uses);
        for (_, target) in table
            .get("target")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
        {
            collect(
                target
                    .as_table()
                    .ok_or(format!("{path}: a target is no table"))?,
                &mut uses,
            );
        }
        let members = table
            .get("workspace")
            .and_then(|workspace| workspace.get("members"));
        let members = members
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten();
        Ok(Manifest {
            folder: path
                .trim_end_matches("Cargo.toml")
                .trim_end_matches('/')
                .to_owned(),
            name: name.ok_or(format!("{path}: no package name"))?.to_owned(),
            uses,
            members: members
                .filter_map(toml::Value::as_str)
                .map(str::to_owned)
                .collect(),
        })
    }
}

fn collect(table: &toml::Table, uses: &mut BTreeSet<String>) {
    for section in ["dependencies", "build-dependencies"] {
        for (name, how) in table
            .get(section)
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten()
        {
            // A renamed dependency counts under the name of the package it is.
            let package = how.get("package").and_then(toml::Value::as_str);
            uses.insert(package.unwrap_or(name).to_owned());
        }
    }
}

#[test]
fn all_kinds_of_dependencies_but_those_of_tests_are_arrows() {
    let text = r#"
        [package]
        name = "x"
        [dependencies]
        a.workspace = true
        renamed = { package = "b", version = "1" }
        [build-dependencies]
        c = "1"
        [dev-dependencies]
        d = "1"
        [target.'cfg(unix)'.dependencies]
        e = "1"
        [workspace]
        members = [".", "y"]
    "#;
    let manifest = Manifest::parse("some/x/Cargo.toml", text).unwrap();
    assert_eq!(
        (manifest.name.as_str(), manifest.folder.as_str()),
        ("x", "some/x")
    );
    assert_eq!(
        manifest.uses.iter().map(String::as_str).collect::<Vec<_>>(),
        ["a", "b", "c", "e"]
    );
    assert_eq!(manifest.members, [".", "y"]);
    assert!(Manifest::parse("Cargo.toml", "[package]").is_err());
    assert!(Manifest::parse("Cargo.toml", "nonsense").is_err());
}
