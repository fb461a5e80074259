//! Lines that hold only block tags or comments leave nothing in the output.
//!
//! Tera has `{%-`, which also eats blank lines that were meant; in configuration files the wish is nearly always "this
//! line is for the template, not for the file". So before compiling, such a line loses its indent and its line break:
//! ```text
//!   upstream web {
//!       {% for s in servers %}        <- gone
//!       server {{ s }};
//!       {% endfor %}                  <- gone
//!   }
//! ```
//! A line with any other text, or with `{{ … }}`, stays as it is. Cuts are remembered so that faults are reported at the
//! place in the file as written. A resource can turn this off with `trim_blocks: false`.

/// A source with its cuts.
#[derive(Debug, Clone)]
pub(super) struct Trimmed {
    pub(super) text: String,
    original: String,
    /// For each cut: offset in `text` behind it, bytes cut up to there. Sorted.
    cuts: Vec<(usize, usize)>,
}

/// A piece of a template source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text that is copied to the output.
    Text,
    /// `{% … %}` or `{# … #}`.
    Silent,
    /// `{{ … }}`.
    Printed,
}

impl Trimmed {
    /// Leaves the source as it is.
    pub(super) fn untouched(source: &str) -> Self {
        Self {
            text: source.to_owned(),
            original: source.to_owned(),
            cuts: Vec::new(),
        }
    }

    /// Cuts lines that hold only block tags or comments.
    pub(super) fn new(source: &str) -> Self {
        let mut trimmed = Self {
            text: String::with_capacity(source.len()),
            original: source.to_owned(),
            cuts: vec![],
        };
        let mut cut_bytes = 0;
        let mut copied = 0;
        for cut in cuts(source) {
            trimmed.text.push_str(&source[copied..cut.start]);
            copied = cut.end;
            cut_bytes += cut.len();
            trimmed.cuts.push((trimmed.text.len(), cut_bytes));
        }
        trimmed.text.push_str(&source[copied..]);
        trimmed
    }

    /// The offset in `text` of a line and column of `text` (from 1, in characters).
    pub(super) fn offset(&self, line: usize, column: usize) -> Option<usize> {
        let before = line.checked_sub(1)?;
        let start: usize = self
            .text
            .split_inclusive('\n')
            .take(before)
            .map(str::len)
            .sum();
        let text = self.text.get(start..)?;
        Some(
            start
                + text
                    .char_indices()
                    .nth(column.checked_sub(1)?)
                    .map_or(text.len(), |(at, _)| at),
        )
    }

    /// Line and column (from 1, in characters) in the file as written of an offset in `text`.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.cuts.partition_point(|(at, _)| *at <= offset);
        let shift = before.checked_sub(1).map_or(0, |index| self.cuts[index].1);
        let mut at = (offset + shift).min(self.original.len());
        while !self.original.is_char_boundary(at) {
            at -= 1;
        }
        let head = &self.original[..at];
        let line_start = head.rfind('\n').map_or(0, |newline| newline + 1);
        (
            head.matches('\n').count() + 1,
            head[line_start..].chars().count() + 1,
        )
    }
}

/// The byte ranges to cut, in order.
fn cuts(source: &str) -> Vec<std::ops::Range<usize>> {
    let mut cuts = Vec::new();
    // Of the line being read (a tag may span several, they count as one): where it starts, the blanks in it, whether
    // it holds a tag, and whether anything else.
    let mut blanks: Vec<std::ops::Range<usize>> = Vec::new();
    let (mut tagged, mut other) = (false, false);
    for (kind, piece) in pieces(source) {
        match kind {
            Kind::Silent => tagged = true,
            Kind::Printed => other = true,
            Kind::Text => {
                let mut at = piece.start;
                for line in source[piece.clone()].split_inclusive('\n') {
                    let range = at..at + line.len();
                    at = range.end;
                    other |= !line.trim().is_empty();
                    blanks.push(range);
                    if line.ends_with('\n') {
                        if tagged && !other {
                            cuts.append(&mut blanks);
                        }
                        blanks.clear();
                        (tagged, other) = (false, false);
                    }
                }
            }
        }
    }
    // The last line may end without a line break.
    if tagged && !other {
        cuts.append(&mut blanks);
    }
    cuts
}

/// Cuts a source into pieces. An unclosed tag reaches to the end: the compiler will say so.
fn pieces(source: &str) -> Vec<(Kind, std::ops::Range<usize>)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let open = ["{%", "{{", "{#"]
            .iter()
            .filter_map(|tag| rest.find(tag))
            .min()
            .unwrap_or(rest.len());
        if open > 0 {
            pieces.push((Kind::Text, at..at + open));
            at += open;
            continue;
        }
        let (kind, length) = match &rest[..2] {
            "{#" => (
                Kind::Silent,
                rest.find("#}").map_or(rest.len(), |end| end + 2),
            ),
            "{{" => (Kind::Printed, tag_length(rest, "}}")),
            _ => (Kind::Silent, tag_length(rest, "%}")),
        };
        pieces.push((kind, at..at + length));
        let tag = &rest[..length];
        at += length;
        if kind == Kind::Silent && word(tag) == Some("raw") {
            // Nothing is a tag before the end tag.
            let rest = &source[at..];
            let mut end = 0;
            while let Some(next) = rest[end..].find("{%") {
                end += next;
                if word(&rest[end..]) == Some("endraw") {
                    break;
                }
                end += 2;
            }
            let end = if word(&rest[end..]) == Some("endraw") {
                end
            } else {
                rest.len()
            };
            pieces.push((Kind::Text, at..at + end));
            at += end;
        }
    }
    pieces
}

/// The first word of a block tag.
fn word(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix("{%")?;
    let inner = inner.strip_prefix('-').unwrap_or(inner).trim_start();
    inner
        .split(|char: char| !char.is_alphanumeric() && char != '_')
        .next()
}

/// Length of a tag up to and with `close`, not counting a `close` inside a quoted string.
fn tag_length(rest: &str, close: &str) -> usize {
    let mut quote = None;
    let mut chars = rest.char_indices().skip(2);
    while let Some((at, char)) = chars.next() {
        match quote {
            Some(open) => {
                if char == '\\' {
                    chars.next();
                } else if char == open {
                    quote = None;
                }
            }
            None if matches!(char, '"' | '\'' | '`') => quote = Some(char),
            None if rest[at..].starts_with(close) => return at + close.len(),
            None => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_for_the_template_leave_nothing() {
        for (source, wanted) in [
            (
                "a\n  {% if x %}\nb\n  {% endif %}\nc\n",
                "a\n{% if x %}b\n{% endif %}c\n",
            ),
            ("{# note #}\na\n", "{# note #}a\n"),
            ("a {% if x %}\n", "a {% if x %}\n"),
            ("{% if x %} a\n", "{% if x %} a\n"),
            ("  {{ x }}\n", "  {{ x }}\n"),
            (
                "  {% set y = 1 %}  {% if x %}  \nb",
                "{% set y = 1 %}{% if x %}b",
            ),
            ("{% if a\n   and b %}\nc", "{% if a\n   and b %}c"),
            ("{% set x = \"%}\n\" %}\nc", "{% set x = \"%}\n\" %}c"),
            (
                "{% raw %}\n  {% if %}\n{% endraw %}\nx",
                "{% raw %}  {% if %}\n{% endraw %}x",
            ),
            ("\n\n{% if x %}\n\n", "\n\n{% if x %}\n"),
            ("{% if x %}\r\na\r\n", "{% if x %}a\r\n"),
            ("{% unclosed\nx\n", "{% unclosed\nx\n"),
            ("  {% endfor %}", "{% endfor %}"),
            ("{", "{"),
        ] {
            assert_eq!(Trimmed::new(source).text, wanted, "{source:?}");
        }
    }

    #[test]
    fn places_are_those_of_the_file_as_written() {
        let source = "a\n  {% if x %}\n    {% if y %}\n  ä{{ z }}\n";
        let trimmed = Trimmed::new(source);
        for (what, place) in [
            ("a", (1, 1)),
            ("{% if x", (2, 3)),
            ("{% if y", (3, 5)),
            ("{{ z", (4, 4)),
        ] {
            let offset = trimmed.text.find(what).unwrap();
            assert_eq!(trimmed.place(offset), place, "{what}");
        }
        assert_eq!(trimmed.place(10_000), (5, 1), "behind the end");
    }

    proptest! {
        #[test]
        fn only_blanks_are_cut_and_every_place_maps_back(
            source in proptest::collection::vec(
                prop_oneof!["\n", " ", "x", "\\{% if y %\\}", "\\{\\{ z \\}\\}", "\\{# c #\\}", "\\{%", "'"], 0..30
            )
        ) {
            let source = source.concat();
            let trimmed = Trimmed::new(&source);
            let solid = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&trimmed.text), solid(&source));
            let lines: Vec<&str> = source.split('\n').collect();
            for (offset, char) in trimmed.text.char_indices() {
                let (line, column) = trimmed.place(offset);
                let found = lines[line - 1].chars().nth(column - 1).unwrap_or('\n');
                prop_assert_eq!(found, char);
            }
        }
    }
}
