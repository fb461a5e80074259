//! Pure: Which keys a render read, at which revision, and which lines of the template asked for them.

use store_client::mirror::Snapshot;

use crate::calls::{Call, Kind};
use crate::glob::Glob;
use crate::reads::{Read, ReadSet};
use crate::redact::{HIDDEN, Secrets, is_secret};
use crate::tree::Scope;

/// Longest piece of a value that is shown.
const VALUE_CHARS_MAX: usize = 60;

/// A key that a render has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How it was asked for: a key, a pattern or a directory.
    pub asked: String,
    /// The key in the store; `None` if there was none.
    pub key: Option<String>,
    /// Its value, shortened, secrets hidden.
    pub value: String,
    /// Revision that wrote it.
    pub revision: i64,
    /// Lines that asked, like `site.tmpl:3`.
    pub lines: Vec<String>,
}

/// What a render read, in order of what it asked for.
pub fn rows(
    reads: &ReadSet,
    calls: &[Call],
    snapshot: &Snapshot,
    scope: &Scope,
    secrets: &Secrets,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for read in reads.entries() {
        let lines = lines(&read, calls);
        let before = rows.len();
        for (key, entry) in snapshot.iter() {
            let Some(path) = scope.path(key).filter(|path| covers(&read, path)) else {
                continue;
            };
            let value = String::from_utf8_lossy(&entry.value);
            let value = match is_secret(path) {
                true => HIDDEN.to_owned(),
                false => shortened(&secrets.hide(&value)),
            };
            rows.push(Row {
                asked: asked(&read),
                key: Some(String::from_utf8_lossy(key).into_owned()),
                value,
                revision: entry.mod_revision,
                lines: lines.clone(),
            });
        }
        if rows.len() == before {
            rows.push(Row {
                asked: asked(&read),
                key: None,
                value: String::new(),
                revision: 0,
                lines,
            });
        }
    }
    rows
}

fn asked(read: &Read<'_>) -> String {
    match read {
        Read::Key(path) => (*path).to_owned(),
        Read::Pattern(glob) => glob.text().to_owned(),
        Read::Names(path) => format!("names below {path}/"),
        Read::Tree(path) => format!("all below {path}/"),
    }
}

fn covers(read: &Read<'_>, path: &str) -> bool {
    let below = |directory: &str| {
        path.strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
    };
    match read {
        Read::Key(key) => *key == path,
        Read::Pattern(glob) => glob.matches(path),
        Read::Names(directory) | Read::Tree(directory) => below(directory),
    }
}

/// The calls that say just this; where none does, those whose path is put together while rendering.
fn lines(read: &Read<'_>, calls: &[Call]) -> Vec<String> {
    let kind = match read {
        Read::Key(_) => Kind::Key,
        Read::Pattern(_) => Kind::Pattern,
        Read::Names(_) => Kind::Names,
        Read::Tree(_) => Kind::Tree,
    };
    let says = |path: &str| match read {
        Read::Key(key) => rooted(path) == *key,
        Read::Pattern(glob) => rooted(path) == glob.text(),
        Read::Names(directory) | Read::Tree(directory) => {
            rooted(path).trim_end_matches('/') == *directory
        }
    };
    let of_kind = || calls.iter().filter(move |call| call.kind == kind);
    let mut found: Vec<&Call> = of_kind()
        .filter(|call| call.path.as_deref().is_some_and(says))
        .collect();
    if found.is_empty() {
        found = of_kind().filter(|call| call.path.is_none()).collect();
    }
    let mut lines: Vec<String> = found
        .iter()
        .map(|call| format!("{}:{}", call.file, call.line))
        .collect();
    lines.dedup();
    lines
}

fn rooted(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

fn shortened(text: &str) -> String {
    let line = text.replace('\n', "\\n");
    match line.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// What is wrong or worth knowing about the reads of a template, by what stands in it: the reason first, true if it is
/// a fault.
pub fn remarks(calls: &[Call], keys: &[String]) -> Vec<(bool, String)> {
    let clean = |path: &str| rooted(path).trim_end_matches('/').to_owned();
    let keys: Vec<String> = keys.iter().map(|key| clean(key)).collect();
    let touches = |key: &str, call: &Call| {
        let Some(path) = &call.path else { return true };
        let start = match call.kind {
            Kind::Pattern => Glob::parse(&rooted(path))
                .map_or_else(|_| clean(path), |glob| glob.literal_prefix()),
            _ => clean(path),
        };
        let within = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match call.kind {
            Kind::Key => within(&start, key),
            // `/up*` may mean `/upstream`.
            Kind::Pattern => start.starts_with(key) || key.starts_with(&start),
            _ => within(&start, key) || within(key, &start),
        }
    };
    let mut remarks = Vec::new();
    for call in calls {
        let place = format!("{}:{}", call.file, call.line);
        if call.kind == Kind::Outside {
            remarks.push((
                false,
                format!(
                    "{place}: {} may change by itself, and no pass is made for it",
                    call.function
                ),
            ));
        } else if let Some(path) = &call.path
            && !keys.iter().any(|key| touches(key, call))
        {
            remarks.push((
                true,
                format!(
                    "{place}: {} reads {path}, which is not within keys",
                    call.function
                ),
            ));
        }
    }
    for key in &keys {
        let reads = |call: &Call| call.kind != Kind::Outside && touches(key, call);
        if !calls.iter().any(reads) {
            let shown = if key.is_empty() { "/" } else { key };
            remarks.push((false, format!("keys has {shown}, which no template reads")));
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use store_client::mirror::Entry;

    use super::*;
    use crate::calls::calls;
    use crate::tree::Reader;

    #[test]
    fn rows_name_key_revision_and_line() {
        let entries = [
            ("/p/a", "1", 3),
            ("/p/db/password", "hunter22", 5),
            ("/p/up/x", "2", 4),
        ];
        let entries = entries.map(|(key, value, revision)| {
            let entry = Entry {
                value: Bytes::from(value),
                create_revision: revision,
                mod_revision: revision,
            };
            (Bytes::from(key), entry)
        });
        let snapshot = Snapshot::from_entries(9, entries.to_vec());
        let scope = Scope::new("/p", &["/".to_owned()]);
        let mut reader = Reader::new(snapshot.clone(), scope.clone());
        assert!(reader.get("/a").is_ok() && reader.get("/none").is_err());
        assert!(reader.get("/db/password").is_ok());
        assert_eq!(reader.gets("/up/*").unwrap().len(), 1);
        let reads = reader.finish().reads;
        let text =
            "{{getv \"/a\"}}\n{{getv \"/db/password\"}}{{getv $x}}\n{{range gets \"/up/*\"}}";
        let calls = calls([("t.tmpl", text)]);
        let shown: Vec<String> = rows(&reads, &calls, &snapshot, &scope, &Secrets::default())
            .iter()
            .map(|row| {
                let key = row.key.as_deref().unwrap_or("-");
                format!(
                    "{} {key} {} {} {}",
                    row.asked,
                    row.value,
                    row.revision,
                    row.lines.join(",")
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "/a /p/a 1 3 t.tmpl:1",
                "/db/password /p/db/password [redacted] 5 t.tmpl:2",
                "/none -  0 t.tmpl:2",
                "/up/* /p/up/x 2 4 t.tmpl:3",
            ]
        );
    }

    #[test]
    fn remarks_are_about_what_is_written_out() {
        let text = "{{getv \"/a/x\"}}{{getv \"/b\"}}{{range gets \"/up*\"}}{{lookupIP \"h\"}}";
        let calls = calls([("t.tmpl", text)]);
        let keys = ["/a", "/upstream", "/c"].map(str::to_owned);
        assert_eq!(
            remarks(&calls, &keys),
            [
                (
                    true,
                    "t.tmpl:1: getv reads /b, which is not within keys".to_owned()
                ),
                (
                    false,
                    "t.tmpl:1: lookupIP may change by itself, and no pass is made for it"
                        .to_owned()
                ),
                (false, "keys has /c, which no template reads".to_owned()),
            ]
        );
        assert!(
            remarks(&calls, &["/".to_owned()])
                .iter()
                .all(|(fault, _)| !fault)
        );
    }
}
