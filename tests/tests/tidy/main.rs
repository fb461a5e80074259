//! Whether the tree is as its documents say: arrows between crates, purity, sizes, names, links.
//!
//! Each check is a function from text to faults and runs twice: on the tree itself, and on a bad
//! example, which shows that it can fail. A fault says what to do.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is a test: a panic is how it fails"
)]

mod document;
mod manifest;
mod map;
mod purity;
mod source;
mod tree;

use crate::manifest::Manifest;
use crate::map::Map;
use crate::source::Source;
use crate::tree::Tree;

/// Longest source file, in lines that hold code outside of tests. A longer one owns two nouns.
const CODE_LINES_MAX: usize = 500;

/// Files that may be longer, up to how many lines, and why. Short, and each with its reason.
const LONGER: &[(&str, usize, &str)] = &[];

/// Sources of pure rooms that may say a forbidden word, which one, and why.
const IMPURE: &[(&str, &str, &str)] = &[];

/// Words that say nothing about what is inside: what two want needs a noun and an owner first.
const DRAWERS: [&str; 9] = [
    "util", "utils", "common", "core", "types", "helper", "helpers", "misc", "shared",
];

#[test]
fn the_map_and_the_manifests_say_the_same() {
    let tree = Tree::read();
    let map = Map::parse(tree.text("ARCHITECTURE.md")).unwrap();
    expect_none(&map.faults(&manifests(&tree)));
}

#[test]
fn pure_rooms_are_pure() {
    let tree = Tree::read();
    let map = Map::parse(tree.text("ARCHITECTURE.md")).unwrap();
    let mut faults = purity_faults(&Source::all(&tree), |path| map.is_pure(path), IMPURE);
    for file in map.pure_files_missing(&tree) {
        faults.push(format!(
            "ARCHITECTURE.md calls {file} pure, but there is none: correct the table"
        ));
    }
    for file in map.pure_files_undrawn(&tree) {
        faults.push(format!(
            "{file} calls itself pure, but the map in ARCHITECTURE.md does not: draw it"
        ));
    }
    expect_none(&faults);
}

#[test]
fn source_files_are_short() {
    let sources = Source::all(&Tree::read());
    expect_none(&length_faults(&sources, LONGER));
}

#[test]
fn modules_are_named_by_nouns() {
    expect_none(&name_faults(Tree::read().paths()));
}

#[test]
fn links_in_documents_resolve() {
    expect_none(&document::link_faults(&Tree::read()));
}

#[test]
fn the_book_has_every_page() {
    expect_none(&document::book_faults(&Tree::read()));
}

#[test]
fn paths_in_the_architecture_exist() {
    let tree = Tree::read();
    expect_none(&document::path_faults(&tree, "ARCHITECTURE.md"));
}

#[test]
fn no_file_names_somebody_s_machine() {
    expect_none(&document::machine_faults(&Tree::read()));
}

fn manifests(tree: &Tree) -> Vec<Manifest> {
    let root = Manifest::parse("Cargo.toml", tree.text("Cargo.toml")).unwrap();
    let mut manifests = Vec::new();
    for member in &root.members {
        let path = if member == "." {
            "Cargo.toml".to_owned()
        } else {
            format!("{member}/Cargo.toml")
        };
        manifests.push(Manifest::parse(&path, tree.text(&path)).unwrap());
    }
    manifests
}

/// Forbidden words in pure sources, and permissions that are not needed any more.
fn purity_faults(
    sources: &[Source],
    is_pure: impl Fn(&str) -> bool,
    impure: &[(&str, &str, &str)],
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut needed = vec![false; impure.len()];
    for source in sources
        .iter()
        .filter(|source| !source.test_only && is_pure(&source.path))
    {
        for word in purity::forbidden_words(&source.code) {
            match impure
                .iter()
                .position(|(path, what, _)| *path == source.path && *what == word.text)
            {
                Some(permission) => needed[permission] = true,
                None => faults.push(format!(
                    "{}:{}: {} in a pure room: {}",
                    source.path, word.line, word.text, word.instead
                )),
            }
        }
    }
    for ((path, what, _), _) in impure.iter().zip(needed).filter(|(_, needed)| !needed) {
        faults.push(format!(
            "{path}: permitted to say {what}, but does not: take it off the list"
        ));
    }
    faults
}

/// Sources longer than they may be, and permissions that are not needed any more.
fn length_faults(sources: &[Source], longer: &[(&str, usize, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources.iter().filter(|source| !source.test_only) {
        let lines = source.code_lines();
        let permitted = longer.iter().find(|(path, ..)| *path == source.path);
        let max = permitted.map_or(CODE_LINES_MAX, |(_, max, _)| *max);
        if lines > max {
            faults.push(format!(
                "{}: {lines} lines of code, {max} at most: which second noun is in it?",
                source.path
            ));
        } else if permitted.is_some() && lines <= CODE_LINES_MAX {
            faults.push(format!(
                "{}: {lines} lines of code need no permission: take it off the list",
                source.path
            ));
        }
    }
    for (path, ..) in longer {
        if !sources.iter().any(|source| source.path == *path) {
            faults.push(format!(
                "{path}: permitted to be long, but there is no such file"
            ));
        }
    }
    faults
}

/// Modules named after drawers.
fn name_faults<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut faults = Vec::new();
    for path in paths.filter(|path| path.ends_with(".rs")) {
        let names = path.trim_end_matches(".rs").split('/');
        if let Some(drawer) = names.into_iter().find(|name| DRAWERS.contains(name)) {
            faults.push(format!(
                "{path}: {drawer} is a drawer, not a noun: name what is inside"
            ));
        }
    }
    faults
}

/// Fails with all faults, one per line.
#[track_caller]
fn expect_none(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}\n",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn an_impure_word_is_a_fault_and_so_is_a_stale_permission() {
    let source = |path: &str, code: &str, test_only| Source::new(path, code, test_only);
    let sources = [
        source(
            "pure/a.rs",
            "let map = HashMap::new(); // Instant::now",
            false,
        ),
        source("pure/b.rs", "let now = Instant::now();", false),
        source("pure/tests.rs", "let now = Instant::now();", true),
        source("shell/c.rs", "let now = Instant::now();", false),
    ];
    let impure = [
        ("pure/a.rs", "HashMap", "why"),
        ("pure/a.rs", "tokio", "why"),
    ];
    let faults = purity_faults(&sources, |path| path.starts_with("pure/"), &impure);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].starts_with("pure/b.rs:1: Instant::now"),
        "{faults:?}"
    );
    assert!(
        faults[1].starts_with("pure/a.rs: permitted to say tokio"),
        "{faults:?}"
    );
}

#[test]
fn a_long_file_is_a_fault_and_so_is_a_stale_permission() {
    let long = |path: &str, lines| Source::new(path, &"let a = 1;\n".repeat(lines), false);
    let sources = [
        long("a.rs", 501),
        long("b.rs", 500),
        long("c.rs", 600),
        long("d.rs", 1),
    ];
    let longer = [
        ("c.rs", 600, "why"),
        ("d.rs", 600, "why"),
        ("gone.rs", 600, "why"),
    ];
    let faults = length_faults(&sources, &longer);
    assert_eq!(faults.len(), 3, "{faults:?}");
    for (fault, path) in faults.iter().zip(["a.rs", "d.rs", "gone.rs"]) {
        assert!(fault.starts_with(path), "{fault}");
    }
    let tests = [Source::new("e_tests.rs", &"let a = 1;\n".repeat(900), true)];
    assert!(length_faults(&tests, &[]).is_empty());
}

#[test]
fn a_drawer_is_a_fault() {
    let paths = [
        "a/src/lib.rs",
        "a/src/util.rs",
        "a/src/common/mod.rs",
        "docs/core/x.md",
        "a/src/utility.rs",
    ];
    assert_eq!(name_faults(paths.into_iter()).len(), 2);
}
