//! Documents: links that resolve, paths that exist, and no path of somebody's machine.

use crate::tree::Tree;

/// Links in `*.md` that lead nowhere.
pub(crate) fn link_faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (line, target) in links(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target
                .split_once('#')
                .map_or((target.as_str(), None), |(file, anchor)| {
                    (file, Some(anchor))
                });
            let file = if file.is_empty() {
                Some(path.to_owned())
            } else {
                resolve(path, file)
            };
            match file {
                Some(file) if tree.has(&file) => {
                    let missing = |anchor: &&str| {
                        file.ends_with(".md")
                            && !anchors(tree.text(&file)).contains(&anchor.to_string())
                    };
                    if let Some(anchor) = anchor.filter(missing) {
                        faults.push(format!("{path}:{line}: {file} has no heading #{anchor}"));
                    }
                }
                _ => faults.push(format!("{path}:{line}: the link to {target} leads nowhere")),
            }
        }
    }
    faults
}

/// Pages of the book that its list of contents leaves out, and links of its pages that lead out of it: they would be
/// broken there.
pub(crate) fn book_faults(tree: &Tree) -> Vec<String> {
    const CONTENTS: &str = "docs/SUMMARY.md";
    let mut faults = Vec::new();
    let listed: Vec<String> = links(tree.text(CONTENTS))
        .into_iter()
        .filter_map(|(_, target)| resolve(CONTENTS, &target))
        .collect();
    for (path, text) in tree.ending(".md") {
        if !path.starts_with("docs/") || path == CONTENTS {
            continue;
        }
        match listed.iter().filter(|page| *page == path).count() {
            1 => {}
            times => faults.push(format!("{CONTENTS} lists {path} {times} times")),
        }
        for (line, target) in links(text) {
            let within = target.contains("://")
                || target.starts_with('#')
                || resolve(path, &target).is_some_and(|file| file.starts_with("docs/"));
            if !within {
                faults.push(format!("{path}:{line}: {target} is not in the book"));
            }
        }
    }
    faults
}

/// Paths in back quotes in the document at `path` that do not exist. A path is one from the root, or
/// from a folder (or its `src`) named on the same line or in the heading above.
pub(crate) fn path_faults(tree: &Tree, path: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut room = Vec::new();
    for (number, line) in prose(tree.text(path)) {
        let quoted: Vec<&str> = line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|quoted| is_path(quoted))
            .collect();
        let folders = quoted
            .iter()
            .filter(|quoted| quoted.ends_with('/') && tree.has(quoted));
        let folders: Vec<&str> = folders.copied().collect();
        if line.starts_with('#') {
            room = folders.clone();
        }
        for quoted in quoted {
            let below = |folder: &&str| {
                tree.has(&format!("{folder}{quoted}")) || tree.has(&format!("{folder}src/{quoted}"))
            };
            if !tree.has(quoted) && !folders.iter().chain(&room).any(below) {
                faults.push(format!("{path}:{number}: there is no {quoted}"));
            }
        }
    }
    faults
}

/// Whether what stands in back quotes is meant as a path in the tree.
fn is_path(quoted: &str) -> bool {
    let ends = [".rs", ".md", ".proto", ".toml", "/"]
        .iter()
        .any(|end| quoted.len() > end.len() && quoted.ends_with(end));
    ends && !quoted.starts_with('/')
        && quoted
            .chars()
            .all(|char| char.is_alphanumeric() || "/_-.".contains(char))
}

/// Files that name a place on the machine they were written on.
pub(crate) fn machine_faults(tree: &Tree) -> Vec<String> {
    // Put together here, so that this file does not hold what it looks for.
    let places =
        ["root/", "home/", "Users/", "work/", "tmp/setup"].map(|place| format!("/{place}"));
    let mut faults = Vec::new();
    for path in tree.paths().filter(|path| !path.ends_with("Cargo.lock")) {
        for (number, line) in tree.text(path).lines().enumerate() {
            // A place begins where no path runs into it: `a/work/b` is one of the tree's own.
            let begins = |at: usize| {
                !line[..at]
                    .ends_with(|char: char| char.is_alphanumeric() || "._-}>*$".contains(char))
            };
            if places
                .iter()
                .any(|place| line.match_indices(place.as_str()).any(|(at, _)| begins(at)))
            {
                faults.push(format!(
                    "{path}:{}: a path of one machine: {}",
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    faults
}

/// Lines outside of code blocks, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((number + 1, line))
    })
}

/// Targets of links, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // What stands in back quotes is no link.
        let line: String = line.split('`').step_by(2).collect::<Vec<_>>().join("_");
        for piece in line.split("](").skip(1) {
            if let Some((target, _)) = piece.split_once(')') {
                let target = target.split_whitespace().next().unwrap_or_default();
                links.push((number, target.to_owned()));
            }
        }
    }
    links
}

/// Anchors that headings of `text` give, by the rule code hosts use.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        let anchor: String = kept
            .map(|char| if char == ' ' { '-' } else { char })
            .collect();
        let same = anchors.iter().filter(|known| **known == anchor).count();
        anchors.push(if same == 0 {
            anchor
        } else {
            format!("{anchor}-{same}")
        });
    }
    anchors
}

/// `target` as seen from the file at `path`; `None` where it leads out of the tree.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[test]
fn links_that_lead_nowhere_are_faults() {
    let tree = Tree::of(&[
        (
            "README.md",
            "[a](docs/a.md) [b](docs/a.md#two-words) [c](#top) [d](https://x.y/z) [e](docs/)\n# Top\n`[no](link)`\n```\n[no](link)\n```\n",
        ),
        (
            "docs/a.md",
            "## Two words!\n[up](../README.md#top \"title\")\n",
        ),
        (
            "docs/bad.md",
            "[a](b.md)\n[b](a.md#three)\n[c](../../out.md)\n[d](#none)\n[e](/absolute.md)\n",
        ),
    ]);
    let faults = link_faults(&tree);
    assert_eq!(faults.len(), 5, "{faults:?}");
    for (number, fault) in faults.iter().enumerate() {
        assert!(
            fault.starts_with(&format!("docs/bad.md:{}:", number + 1)),
            "{fault}"
        );
    }
}

#[test]
fn pages_nobody_is_led_to_are_faults() {
    let tree = Tree::of(&[
        ("docs/SUMMARY.md", "- [a](a.md)\n- [b](b.md)\n- [b](b.md)\n"),
        ("docs/a.md", "[b](b.md#x) [c](https://c.d) [e](#e)\n"),
        ("docs/b.md", "[r](../README.md)\n"),
        ("docs/c.md", ""),
        ("README.md", ""),
    ]);
    assert_eq!(
        book_faults(&tree),
        [
            "docs/SUMMARY.md lists docs/b.md 2 times",
            "docs/b.md:1: ../README.md is not in the book",
            "docs/SUMMARY.md lists docs/c.md 0 times",
        ]
    );
}

#[test]
fn paths_that_do_not_exist_are_faults() {
    let text = "`x/src/a.rs` and `x/` and `a/b` and `/etc/x.md` and `a.rs`\n\
        `src/b.rs`\n`gone/`\n`a.rs`\n### `x/`\n`a.rs`, `b.rs`\n";
    let tree = Tree::of(&[("A.md", text), ("x/src/a.rs", "")]);
    let faults = path_faults(&tree, "A.md");
    let expected = [(2, "src/b.rs"), (3, "gone/"), (4, "a.rs"), (6, "b.rs")];
    assert_eq!(
        faults,
        expected.map(|(line, path)| format!("A.md:{line}: there is no {path}"))
    );
}

#[test]
fn places_on_a_machine_are_faults() {
    let home = format!("run {}home/me/x", '/');
    let ours = format!("see tests{}work/x and $HOME{}root/y", '/', '/');
    let tree = Tree::of(&[("a.txt", &home), ("b.txt", &ours), ("Cargo.lock", &home)]);
    let faults = machine_faults(&tree);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("a.txt:1:"));
}
