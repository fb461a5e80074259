//! The text files of the repository, read once, by path from its root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What nobody wrote: folders, and the file that stands for `.git` in a second work tree.
const SKIPPED: [&str; 6] = [
    "target",
    ".git",
    "node_modules",
    "corpus",
    "learnt",
    "artifacts",
];

/// Path from the root → text.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Everything below the root of the repository that is text.
    pub(crate) fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut files = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let path = folder.join(entry.file_name());
                let kind = entry.file_type().unwrap();
                if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                    continue;
                }
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file()
                    && let Ok(text) = std::fs::read_to_string(root.join(&path))
                {
                    files.insert(path.to_str().unwrap().to_owned(), text);
                }
            }
        }
        Tree { files }
    }

    /// A tree of examples.
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let files = files
            .iter()
            .map(|(path, text)| (path.to_string(), text.to_string()));
        Tree {
            files: files.collect(),
        }
    }

    /// Text of a file that must be there.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files
            .get(path)
            .unwrap_or_else(|| panic!("there is no {path}"))
    }

    /// All paths, sorted.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// All files whose path ends so.
    pub(crate) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(end))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Whether there is such a file, or a folder with a file in it.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self.files.contains_key(path)
            || self.files.keys().any(|file| file.starts_with(&folder))
    }
}

#[test]
fn files_and_folders_are_found() {
    let tree = Tree::of(&[("a/b.md", "x")]);
    for (path, there) in [
        ("a/b.md", true),
        ("a", true),
        ("a/", true),
        ("", true),
        ("a/b", false),
        ("b.md", false),
    ] {
        assert_eq!(tree.has(path), there, "{path}");
    }
    assert!(Tree::read().has("tests/tests/tidy/tree.rs"));
    assert!(!Tree::read().has("target"));
}
