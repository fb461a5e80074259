//! Pure: Where templates of either language read keys: the calls in their tags, with the paths that are written out.

use std::collections::BTreeMap;

/// What a call reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One key.
    Key,
    /// The keys of a pattern.
    Pattern,
    /// Names below a path.
    Names,
    /// All below a path.
    Tree,
    /// Something that is no key, so that the output may change by itself.
    Outside,
}

/// A call in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name of the template.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The function.
    pub function: &'static str,
    /// What it reads.
    pub kind: Kind,
    /// The path, where it is written out whole.
    pub path: Option<String>,
}

/// Functions of both languages that read.
const FUNCTIONS: &[(&str, Kind)] = &[
    ("get", Kind::Key),
    ("getv", Kind::Key),
    ("exists", Kind::Key),
    ("json", Kind::Key),
    ("gets", Kind::Pattern),
    ("getvs", Kind::Pattern),
    ("ls", Kind::Names),
    ("lsdir", Kind::Names),
    ("exists_dir", Kind::Names),
    ("tree", Kind::Tree),
    ("services", Kind::Tree),
    ("service_names", Kind::Tree),
    ("lookup_ip", Kind::Outside),
    ("lookupIP", Kind::Outside),
    ("lookupIPV4", Kind::Outside),
    ("lookupIPV6", Kind::Outside),
    ("file_exists", Kind::Outside),
    ("fileExists", Kind::Outside),
];

/// All calls of some templates, by file and line.
pub fn calls<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Call> {
    let sources: BTreeMap<&str, &str> = sources.into_iter().collect();
    let mut found = Vec::new();
    for (file, text) in sources {
        let go = file.ends_with(".tmpl");
        for (start, tag) in tags(text) {
            for (at, function, kind) in words(tag) {
                // Go's `json` takes a text and reads no key, and neither does a filter of Tera.
                let filter = tag[..at].trim_end().ends_with('|');
                if (go && function == "json") || (!go && filter) {
                    continue;
                }
                let rest = &tag[at + function.len()..];
                let argument = if go {
                    go_argument(rest)
                } else {
                    tera_argument(rest)
                };
                let Some(path) = argument else { continue };
                let named = matches!(function, "services" | "service_names");
                found.push(Call {
                    file: file.to_owned(),
                    line: text[..start + at].matches('\n').count() + 1,
                    function,
                    kind,
                    path: path.filter(|_| !named),
                });
            }
        }
    }
    found
}

/// What stands between `{{` and `}}`, and `{%` and `%}`, with its place.
fn tags(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|found| at + found) {
        let close = match text.as_bytes().get(open + 1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            _ => {
                at = open + 1;
                continue;
            }
        };
        let start = open + 2;
        let end = text[start..]
            .find(close)
            .map_or(text.len(), |end| start + end);
        if !text[start..]
            .trim_start_matches('-')
            .trim_start()
            .starts_with("/*")
        {
            found.push((start, &text[start..end]));
        }
        at = end;
    }
    found
}

/// The functions named in a tag, outside of its texts.
fn words(tag: &str) -> Vec<(usize, &'static str, Kind)> {
    let mut found = Vec::new();
    let mut quote: Option<char> = None;
    let mut word: Option<usize> = None;
    // A blank behind the end closes the last word.
    for (at, char) in tag.char_indices().chain([(tag.len(), ' ')]) {
        if let Some(end) = quote {
            quote = (char != end).then_some(end);
            continue;
        }
        let part = char.is_alphanumeric() || char == '_' || char == '.' || char == '$';
        match (word, part) {
            (None, true) => word = Some(at),
            (Some(start), false) => {
                let function = FUNCTIONS.iter().find(|(name, _)| *name == &tag[start..at]);
                found.extend(function.map(|(name, kind)| (start, *name, *kind)));
                word = None;
            }
            _ => {}
        }
        if matches!(char, '"' | '\'' | '`') {
            quote = Some(char);
        }
    }
    found
}

/// The first argument of a Go call: `Some(None)` if it is not written out, `None` if this is no call.
fn go_argument(rest: &str) -> Option<Option<String>> {
    let rest = rest.strip_prefix([' ', '\t', '\n'])?.trim_start();
    match rest.chars().next()? {
        quote @ ('"' | '`') => Some(literal(&rest[1..], quote)),
        '$' | '(' | '.' => Some(None),
        _ => None,
    }
}

/// The first text among the arguments of a Tera call.
fn tera_argument(rest: &str) -> Option<Option<String>> {
    let inner = rest.trim_start().strip_prefix('(')?;
    let Some(open) = inner.find(['"', '\'', '`', ')']) else {
        return Some(None);
    };
    let (head, quote) = (&inner[..open], inner[open..].chars().next()?);
    if quote == ')' || head.contains('~') || head.contains(',') {
        return Some(None);
    }
    let text = literal(&inner[open + 1..], quote);
    let behind = text
        .as_ref()
        .and_then(|text| inner.get(open + text.len() + 2..));
    // Joined with something: not the whole path.
    let joined = behind.is_none_or(|behind| behind.trim_start().starts_with('~'));
    Some(text.filter(|_| !joined))
}

fn literal(rest: &str, quote: char) -> Option<String> {
    let text = &rest[..rest.find(quote)?];
    (!text.contains('\\')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file: &str, text: &str) -> Vec<String> {
        let calls = calls([(file, text)]);
        let shown = calls.iter().map(|call| {
            let path = call.path.as_deref().unwrap_or("?");
            format!("{}:{} {path}", call.line, call.function)
        });
        shown.collect()
    }

    #[test]
    fn calls_of_both_languages_are_found() {
        let go = "get \"/no\"\n{{getv \"/a\"}} {{if exists \"/b\"}}\n{{range gets (printf \"/c/%s\" .)}}{{end}}\n\
            {{- getv $x \"default\" }}{{/* getv \"/comment\" */}}{{json (getv \"/d\")}}{{printf \"getv %s\" .}}";
        assert_eq!(
            shown("x.tmpl", go),
            [
                "2:getv /a",
                "2:exists /b",
                "3:gets ?",
                "4:getv ?",
                "4:getv /d"
            ]
        );
        let tera = "{{ getv(key=\"/a\") }}{% for p in gets(pattern='/b/*') %}\n{{ getv(key='/c/' ~ name) }}\
            {{ getv(key=name, default='x') }}{{ services(name='web') }}{{ json(key='/j') }}{{ x | get(key='n') }}";
        let found = shown("x.tera", tera);
        assert_eq!(
            found,
            [
                "1:getv /a",
                "1:gets /b/*",
                "2:getv ?",
                "2:getv ?",
                "2:services ?",
                "2:json /j"
            ]
        );
        assert!(shown("x.tera", "{{ unclosed getv(").len() <= 1);
        assert!(shown("x.tera", "{ {% { getv").is_empty());
    }
}
