//! Pure: what a live picture of keys is made of. A view says which keys it is about, what each of them tells, and how all
//! of it looks; the shells around it list, watch and print.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::table::Style;

/// What the store holds, as far as the view understands it: by key.
pub(super) type Rows<R> = BTreeMap<Vec<u8>, R>;

/// A picture of keys.
pub(super) trait View {
    /// What one key tells.
    type Row: Clone + PartialEq;

    /// What the keys begin with.
    fn prefixes(&self) -> Vec<String>;
    /// What a key tells; `None` for one that is not shown.
    fn read(&self, key: &str, value: &[u8]) -> Option<Self::Row>;
    /// All of it, at `now` (nanoseconds since 1970).
    fn page(&self, rows: &Rows<Self::Row>, now: i64, style: Style) -> String;
    /// One of them in a line without an end.
    fn line(&self, row: &Self::Row, now: i64) -> String;
    /// One of them for programs.
    fn json(&self, row: &Self::Row, now: i64) -> Value;
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change<R> {
    Added(R),
    Changed(R),
    /// With what it was.
    Removed(R),
}

impl<R> Change<R> {
    /// As a line for people.
    pub(super) fn line<V: View<Row = R>>(&self, view: &V, now: i64) -> String {
        let (mark, row) = match self {
            Self::Added(row) => ('+', row),
            Self::Changed(row) => ('~', row),
            Self::Removed(row) => ('-', row),
        };
        format!("{mark} {}", view.line(row, now))
    }

    /// As an object for programs.
    pub(super) fn json<V: View<Row = R>>(&self, view: &V, now: i64) -> Value {
        let (word, row) = match self {
            Self::Added(row) => ("added", row),
            Self::Changed(row) => ("changed", row),
            Self::Removed(row) => ("removed", row),
        };
        let mut object = json!({ "change": word });
        if let (Some(object), Value::Object(row)) = (object.as_object_mut(), view.json(row, now)) {
            object.extend(row);
        }
        object
    }
}

/// Takes a put (`Some`) or a delete into the rows.
pub(super) fn apply<V: View>(
    view: &V,
    rows: &mut Rows<V::Row>,
    key: &[u8],
    value: Option<&[u8]>,
) -> Option<Change<V::Row>> {
    let read = |value| view.read(std::str::from_utf8(key).ok()?, value);
    match value.and_then(read) {
        Some(row) => match rows.insert(key.to_vec(), row.clone()) {
            None => Some(Change::Added(row)),
            Some(old) if old == row => None,
            Some(_) => Some(Change::Changed(row)),
        },
        None => rows.remove(key).map(Change::Removed),
    }
}

/// Takes a whole listing into the rows: what is not in it is gone.
pub(super) fn replace<V: View>(
    view: &V,
    rows: &mut Rows<V::Row>,
    listed: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Vec<Change<V::Row>> {
    let gone: Vec<Vec<u8>> = rows
        .keys()
        .filter(|key| !listed.contains_key(*key))
        .cloned()
        .collect();
    let gone = gone.into_iter().map(|key| (key, None));
    let there = listed.iter();
    let there = there.map(|(key, value)| (key.clone(), Some(value.as_slice())));
    gone.chain(there)
        .filter_map(|(key, value)| apply(view, rows, &key, value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Words;

    impl View for Words {
        type Row = String;

        fn prefixes(&self) -> Vec<String> {
            vec!["/".into()]
        }

        fn read(&self, _: &str, value: &[u8]) -> Option<String> {
            String::from_utf8(value.to_vec()).ok()
        }

        fn page(&self, rows: &Rows<String>, _: i64, _: Style) -> String {
            format!("{rows:?}")
        }

        fn line(&self, row: &String, _: i64) -> String {
            row.clone()
        }

        fn json(&self, row: &String, _: i64) -> Value {
            json!({ "word": row })
        }
    }

    #[test]
    fn changes_follow_from_events_and_listings_alike() {
        let mut rows = Rows::new();
        let mut told = |key: &[u8], value: Option<&[u8]>| {
            let change = apply(&Words, &mut rows, key, value);
            change.map(|change| (change.line(&Words, 0), change.json(&Words, 0).to_string()))
        };
        let pair = |line: &str, json: &str| Some((line.to_owned(), json.to_owned()));
        assert_eq!(
            told(b"a", Some(b"1")),
            pair("+ 1", r#"{"change":"added","word":"1"}"#)
        );
        assert_eq!(told(b"a", Some(b"1")), None);
        assert_eq!(
            told(b"a", Some(b"2")),
            pair("~ 2", r#"{"change":"changed","word":"2"}"#)
        );
        // What is no longer understood is no longer shown.
        assert_eq!(
            told(b"a", Some(b"\xff")),
            pair("- 2", r#"{"change":"removed","word":"2"}"#)
        );
        assert_eq!(told(b"b", None), None);
        assert!(told(b"b", Some(b"3")).is_some() && told(b"c", Some(b"4")).is_some());
        let listed = BTreeMap::from([
            (b"c".to_vec(), b"5".to_vec()),
            (b"d".to_vec(), b"6".to_vec()),
        ]);
        assert_eq!(
            replace(&Words, &mut rows, &listed),
            vec![
                Change::Removed("3".into()),
                Change::Changed("5".into()),
                Change::Added("6".into())
            ]
        );
    }
}
