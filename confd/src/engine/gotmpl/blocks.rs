//! Pure: Whether the blocks of a Go template are closed, and in order. The parser lets these pass: at an `{{end}}` too
//! many it would leave out the rest of the template without a word.

use super::source::Place;

/// A block that is open.
struct Open<'a> {
    keyword: &'a str,
    place: Place,
    /// Its `{{else}}` without a condition has been there.
    last_branch: bool,
}

/// Checks the blocks of a template that the lexer accepts.
///
/// # Errors
/// The first fault and its place: of what is one too many, or of the innermost block that is not closed.
pub(super) fn check(text: &str) -> Result<(), (Place, String)> {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        let start = text.len() - rest.len() + at;
        let action = &text[start + 2..];
        let inside = action.strip_prefix('-').unwrap_or(action).trim_start();
        let length = action_length(inside);
        rest = &inside[length..];
        let place = Place::of(text, start + 2);
        let mut words = inside[..length].split(|char: char| !char.is_alphanumeric() && char != '_');
        let keyword = words.next().unwrap_or_default();
        match keyword {
            "define" if !open.is_empty() => {
                return Err((place, "unexpected {{define}}".to_owned()));
            }
            "if" | "range" | "with" | "define" | "block" => open.push(Open {
                keyword,
                place,
                last_branch: false,
            }),
            "end" if open.pop().is_none() => {
                return Err((place, "unexpected {{end}}".to_owned()));
            }
            "else" => match open.last_mut() {
                Some(block)
                    if !block.last_branch && ["if", "range", "with"].contains(&block.keyword) =>
                {
                    block.last_branch = !words.any(|word| !word.is_empty());
                }
                _ => return Err((place, "unexpected {{else}}".to_owned())),
            },
            "break" | "continue" if !open.iter().any(|block| block.keyword == "range") => {
                return Err((place, format!("{{{{{keyword}}}}} outside {{{{range}}}}")));
            }
            _ => {}
        }
    }
    match open.pop() {
        Some(block) => Err((
            block.place,
            format!(
                "unexpected EOF: {{{{{}}}}} has no {{{{end}}}}",
                block.keyword
            ),
        )),
        None => Ok(()),
    }
}

/// Bytes up to behind the closing `}}`, which does not count inside of texts and comments.
fn action_length(inside: &str) -> usize {
    if let Some(comment) = inside.strip_prefix("/*") {
        return comment.find("*/").map_or(inside.len(), |end| end + 4);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, char) in inside.char_indices() {
        match quote {
            None if inside[at..].starts_with("}}") => return at + 2,
            None if matches!(char, '"' | '`' | '\'') => quote = Some(char),
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if char == '\\' => escaped = true,
            Some(open) if char == open => quote = None,
            _ => {}
        }
    }
    inside.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_closed_in_order() {
        for text in [
            "",
            "a {{.}} b",
            "{{if 1}}{{else if 2}}{{else}}{{end}}",
            "{{- range seq 1 2 -}}{{break}}{{else}}{{end -}}",
            "{{with 1}}{{else with 2}}{{else}}{{end}}",
            "{{/* {{if}} */}}{{\"{{if}}\"}}{{`{{end}}`}}{{'\\''}}",
            "{{define \"x\"}}{{block \"y\" .}}{{end}}{{end}}",
            "{{endings}} {{$end := 1}} }} {{ \"\\\"}}\" }}",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn blocks_that_are_not_are_faults() {
        for (text, line, column, wanted) in [
            ("a\n{{if 1}}", 2, 3, "unexpected EOF: {{if}} has no {{end}}"),
            (
                "{{range 1}}{{with 1}}{{end}}",
                1,
                3,
                "unexpected EOF: {{range}} has no {{end}}",
            ),
            ("{{if 1}}{{end}}\n {{end}} rest", 2, 4, "unexpected {{end}}"),
            ("{{else}}", 1, 3, "unexpected {{else}}"),
            (
                "{{if 1}}{{else}}{{else}}{{end}}",
                1,
                19,
                "unexpected {{else}}",
            ),
            (
                "{{if 1}}{{else}}{{else if 2}}{{end}}",
                1,
                19,
                "unexpected {{else}}",
            ),
            (
                "{{define \"x\"}}{{else}}{{end}}",
                1,
                17,
                "unexpected {{else}}",
            ),
            (
                "{{if 1}}{{define \"x\"}}{{end}}{{end}}",
                1,
                11,
                "unexpected {{define}}",
            ),
            (
                "{{if 1}}{{break}}{{end}}",
                1,
                11,
                "{{break}} outside {{range}}",
            ),
        ] {
            let expected = Err((Place { line, column }, wanted.to_owned()));
            assert_eq!(check(text), expected, "{text}");
        }
    }
}
