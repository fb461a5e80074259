//! Pure: Text rules of Go's standard library that templates of every engine share: paths and truth values.

/// The last name of a path, as Go's `path.Base`: `.` for nothing, `/` for slashes only.
pub(super) fn base(path: &str) -> &str {
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    match (name, path) {
        ("", "") => ".",
        ("", _) => "/",
        (name, _) => name,
    }
}

/// All but the last name of a path, as Go's `path.Dir`: the shortest path that means the same.
pub(super) fn dir(path: &str) -> String {
    let above = path.rfind('/').map_or("", |slash| &path[..=slash]);
    let rooted = above.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in above.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if rooted => {}
            name => names.push(name),
        }
    }
    match (rooted, names.is_empty()) {
        (true, _) => format!("/{}", names.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => names.join("/"),
    }
}

/// The spellings of Go's `strconv.ParseBool`, which existing keys use.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Pieces between separators, as Go's `strings.Split`: an empty separator gives the characters.
pub(super) fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    if separator.is_empty() {
        // Splitting at nothing gives an empty piece at either end.
        let pieces = text.split("");
        return pieces.filter(|piece| !piece.is_empty()).collect();
    }
    text.split(separator).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_gos() {
        for (path, last, above) in [
            ("", ".", "."),
            ("/", "/", "/"),
            ("//", "/", "/"),
            ("a", "a", "."),
            ("a/b", "b", "a"),
            ("/a/b/", "b", "/a/b"),
            ("/a//b", "b", "/a"),
            ("/a/../b/c", "c", "/b"),
            ("../a", "a", ".."),
            ("a/../../b", "b", ".."),
            ("/../a", "a", "/"),
            ("./a", "a", "."),
        ] {
            assert_eq!(base(path), last, "base of {path:?}");
            assert_eq!(dir(path), above, "dir of {path:?}");
        }
    }

    #[test]
    fn an_empty_separator_gives_characters() {
        assert_eq!(split("aö", ""), ["a", "ö"]);
        assert!(split("", "").is_empty());
        assert_eq!(split("", ","), [""]);
    }
}
