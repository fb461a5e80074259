//! Pure: Key patterns with the rules of Go's `path.Match`, which confd's `gets` and `getvs` use.
//! `*` and `?` never match a slash, `[a-z]` and `[^a-z]` are classes, a backslash takes the next character literally.

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob {
    /// As it was written.
    pattern: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Literal(char),
    /// One character except a slash.
    One,
    /// Any number of characters except slashes.
    Many,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {pattern:?}: {problem}")]
pub struct GlobError {
    pattern: String,
    problem: &'static str,
}

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// An unclosed or empty class, or a backslash at the end.
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        let fault = |problem| GlobError {
            pattern: pattern.to_owned(),
            problem,
        };
        let mut parts = Vec::new();
        let mut rest = pattern.chars();
        while let Some(char) = rest.next() {
            parts.push(match char {
                '*' => Part::Many,
                '?' => Part::One,
                '[' => class(&mut rest).map_err(fault)?,
                '\\' => Part::Literal(rest.next().ok_or_else(|| fault("ends in a backslash"))?),
                other => Part::Literal(other),
            });
        }
        // Two stars in a row say what one says.
        parts.dedup_by(|a, b| *a == Part::Many && *b == Part::Many);
        Ok(Self {
            pattern: pattern.to_owned(),
            parts,
        })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.pattern
    }

    /// True if the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut at) = (0, 0);
        // Where to go on if the last star takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match self.parts.get(part) {
                Some(Part::Many) => {
                    retry = Some((part + 1, at));
                    part += 1;
                    continue;
                }
                Some(one) if text.get(at).is_some_and(|char| one.takes(*char)) => {
                    part += 1;
                    at += 1;
                    continue;
                }
                None if at == text.len() => return true,
                _ => {}
            }
            // A star stops at a slash, and an earlier star cannot help then: it would have to cross the same slash or
            // leave the later one less.
            match retry {
                Some((after, from)) if text.get(from).is_some_and(|char| *char != '/') => {
                    retry = Some((after, from + 1));
                    part = after;
                    at = from + 1;
                }
                _ => return false,
            }
        }
    }

    /// The text every match begins with.
    pub fn literal_prefix(&self) -> String {
        self.parts
            .iter()
            .map_while(|part| match part {
                Part::Literal(char) => Some(*char),
                _ => None,
            })
            .collect()
    }
}

impl Part {
    fn takes(&self, char: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == char,
            Self::One => char != '/',
            Self::Many => false,
            Self::Class { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&char))
                    != *negated
            }
        }
    }
}

fn class(rest: &mut std::str::Chars<'_>) -> Result<Part, &'static str> {
    const OPEN: &str = "a class is not closed";
    let mut ranges = Vec::new();
    let mut next = rest.next();
    let negated = next == Some('^');
    if negated {
        next = rest.next();
    }
    loop {
        let low = match next.ok_or(OPEN)? {
            ']' if ranges.is_empty() => return Err("a class is empty"),
            ']' => return Ok(Part::Class { negated, ranges }),
            '-' => return Err("a class has a range without a start"),
            '\\' => rest.next().ok_or(OPEN)?,
            char => char,
        };
        next = rest.next();
        let mut high = low;
        if next == Some('-') {
            high = match rest.next().ok_or(OPEN)? {
                ']' | '-' => return Err("a class has a range without an end"),
                '\\' => rest.next().ok_or(OPEN)?,
                char => char,
            };
            next = rest.next();
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rules_of_path_match() {
        for (pattern, text, wanted) in [
            ("/a/*", "/a/b", true),
            ("/a/*", "/a/", true),
            ("/a/*", "/a/b/c", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/*", "/a/b/c", true),
            ("*", "", true),
            ("*", "/", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("/a?", "/ab", true),
            ("/a?", "/a/", false),
            ("/[a-c]x", "/bx", true),
            ("/[^a-c]x", "/bx", false),
            ("/[^a-c]x", "/dx", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[\\]]", "]", true),
            ("*/b", "a/b", true),
            ("*a*/b", "aaa/b", true),
            ("", "", true),
            ("ä*", "äö", true),
        ] {
            assert_eq!(
                Glob::parse(pattern).unwrap().matches(text),
                wanted,
                "{pattern:?} on {text:?}"
            );
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["[", "[]", "[a", "a\\", "[a-]", "[-a]", "[^]"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern:?}");
        }
    }

    /// The rules written down as plain recursion.
    fn twin(parts: &[Part], text: &[char]) -> bool {
        match parts.split_first() {
            None => text.is_empty(),
            Some((Part::Many, rest)) => {
                twin(rest, text)
                    || text
                        .split_first()
                        .is_some_and(|(char, tail)| *char != '/' && twin(parts, tail))
            }
            Some((part, rest)) => text
                .split_first()
                .is_some_and(|(char, tail)| part.takes(*char) && twin(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn matches_like_the_recursive_twin(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,10}") {
            let glob = Glob::parse(&pattern).unwrap();
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(glob.matches(&text), twin(&glob.parts, &chars));
            if glob.matches(&text) {
                prop_assert!(text.starts_with(&glob.literal_prefix()));
            }
        }
    }
}
