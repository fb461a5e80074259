//! Rust sources without what is not code: comments, the insides of literals, and tests.

use std::collections::BTreeSet;

use crate::tree::Tree;

/// One source file.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    /// The text with comments, literals and `#[cfg(test)]` items blanked out; lines stay lines.
    pub(crate) code: String,
    /// Whether all of it is tests.
    pub(crate) test_only: bool,
}

impl Source {
    /// The source at `path`.
    pub(crate) fn new(path: &str, text: &str, test_only: bool) -> Source {
        Source {
            path: path.to_owned(),
            code: without_tests(&blanked(text)),
            test_only,
        }
    }

    /// All sources in `tree`.
    pub(crate) fn all(tree: &Tree) -> Vec<Source> {
        let mut tests = BTreeSet::new();
        for (path, text) in tree.ending(".rs") {
            tests.extend(test_modules(path, text));
        }
        let is_test = |path: &str| {
            let in_folder = |module: &String| {
                path.strip_prefix(module.trim_end_matches(".rs"))
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            tests.contains(path)
                || tests.iter().any(in_folder)
                || path.split('/').any(|part| part == "tests")
        };
        tree.ending(".rs")
            .map(|(path, text)| Source::new(path, text, is_test(path)))
            .collect()
    }

    /// Lines that hold code.
    pub(crate) fn code_lines(&self) -> usize {
        self.code
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    }
}

/// `text` with comments and the insides of literals turned into blanks.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => comment_end(&chars, at),
            ('"', _) => string_end(&chars, at),
            ('r', Some('"' | '#')) if starts_word(&chars, at) => raw_string_end(&chars, at),
            ('b', Some('r')) if starts_word(&chars, at) => raw_string_end(&chars, at + 1),
            ('\'', _) => char_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|char| if *char == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Whether no identifier runs into the character at `at`, but for the `b` of a byte string.
fn starts_word(chars: &[char], at: usize) -> bool {
    at == 0 || !(chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') || chars[at - 1] == 'b'
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|char| *char == '\n')
        .map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// End of `r"…"` or `r#"…"#`; `start` itself where it is neither (a raw identifier).
fn raw_string_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..]
        .iter()
        .take_while(|char| **char == '#')
        .count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return start;
    }
    let mut at = open + 1;
    while at < chars.len() {
        if chars[at] == '"'
            && chars[at + 1..]
                .iter()
                .take_while(|char| **char == '#')
                .count()
                >= hashes
        {
            return at + 1 + hashes;
        }
        at += 1;
    }
    chars.len()
}

/// End of a character literal; `start` itself where the quote begins a lifetime.
fn char_end(chars: &[char], start: usize) -> usize {
    match (chars.get(start + 1), chars.get(start + 2)) {
        (Some('\\'), _) => {
            // Behind the escaped character, which may itself be a quote.
            let close = chars[(start + 3).min(chars.len())..]
                .iter()
                .position(|char| *char == '\'');
            close.map_or(chars.len(), |length| start + 3 + length + 1)
        }
        (Some(_), Some('\'')) => start + 3,
        _ => start,
    }
}

/// `code` (already blanked) with every item behind `#[cfg(test)]` blanked too.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = item_end(item);
        out.extend(
            item[..end]
                .chars()
                .map(|char| if char == '\n' { '\n' } else { ' ' }),
        );
        rest = &item[end..];
    }
    out + rest
}

/// Where the item at the start of `code` ends: at its `;`, or behind its block.
fn item_end(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, char) in code.char_indices() {
        match char {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && char == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Files of the modules that the source at `path` declares behind `#[cfg(test)]`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let inside = if ["lib", "main", "mod"].contains(&stem) {
        folder.to_owned()
    } else {
        format!("{folder}/{stem}")
    };
    let mut files = Vec::new();
    for item in text.split("#[cfg(test)]").skip(1) {
        let item = &item[..item.find(['{', ';']).unwrap_or(item.len())];
        let Some((attributes, name)) = item.rsplit_once("mod ") else {
            continue;
        };
        if let Some((_, named)) = attributes.split_once("#[path = \"") {
            files.push(format!(
                "{folder}/{}",
                named.split('"').next().unwrap_or_default()
            ));
        } else {
            files.push(format!("{inside}/{}.rs", name.trim()));
        }
    }
    files
}

#[test]
fn only_code_is_left() {
    for (text, literal) in [
        ("a <// b>\nc", ""),
        ("a </* b /* c */ d */> e", ""),
        ("f(<\"x // y\\\" z\">) g", ""),
        ("f(<r#\"x \" y\"#>) g", ""),
        ("f(<br\"x\\\">) g", ""),
        ("r#type + <'a'> + <'\\''> + <'\\u{1f}'>", ""),
        ("fn f@'a>(x: &'a str) {}", "<"),
    ] {
        // What stands between < and > must become blanks; @ stands for < itself.
        let mut expected = String::new();
        let mut inside = false;
        for char in text.chars() {
            match char {
                '<' => inside = true,
                '>' if inside => inside = false,
                '@' => expected.push_str(literal),
                char => expected.push(if inside { ' ' } else { char }),
            }
        }
        let plain = if literal.is_empty() {
            text.replace(['<', '>'], "")
        } else {
            text.replace('@', literal)
        };
        assert_eq!(blanked(&plain), expected, "{text}");
    }
}

#[test]
fn tests_are_not_code() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { [1; 2]; }\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}\n";
    let source = Source::new("x.rs", text, false);
    assert_eq!(source.code_lines(), 3, "{}", source.code);
    assert!(!source.code.contains("fn b") && source.code.contains("fn e"));
    assert_eq!(source.code.lines().count(), text.lines().count());
}

#[test]
fn files_of_test_modules_are_known() {
    let tree = Tree::of(&[
        ("x/src/lib.rs", "#[cfg(test)]\nmod twin;\nmod a;"),
        ("x/src/twin.rs", ""),
        (
            "x/src/a.rs",
            "#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;\n#[cfg(test)]\nmod tests2;",
        ),
        ("x/src/a_tests.rs", ""),
        ("x/src/a/tests2.rs", "mod deeper;"),
        ("x/src/a/tests2/deeper.rs", ""),
        ("x/tests/it.rs", ""),
        ("x/src/twins.rs", ""),
    ]);
    let sources = Source::all(&tree);
    let tests: Vec<_> = sources
        .iter()
        .filter(|source| source.test_only)
        .map(|source| source.path.as_str())
        .collect();
    assert_eq!(
        tests,
        [
            "x/src/a/tests2.rs",
            "x/src/a/tests2/deeper.rs",
            "x/src/a_tests.rs",
            "x/src/twin.rs",
            "x/tests/it.rs"
        ]
    );
}
