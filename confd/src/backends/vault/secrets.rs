//! Pure: What Vault holds under a path, as keys: a secret with nothing but a `value` is that text, any other is its JSON,
//! and each text in it a key below (as in the original).

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::backends::ledger::Keys;

/// How secrets are kept below a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its path, with a slash at the end and none in front.
    pub(super) path: String,
    /// Whether it keeps versions (KV 2), so that what is to be read stands behind `data/`.
    pub(super) versioned: bool,
}

impl Mount {
    /// What `sys/internal/ui/mounts/<path>` says.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let data = answer.get("data")?;
        let path = data.get("path")?.as_str()?.trim_matches('/');
        let version = data.pointer("/options/version");
        Some(Self {
            path: format!("{path}/"),
            versioned: version.and_then(Value::as_str) == Some("2"),
        })
    }

    /// Whether the path stands below this mount.
    pub(super) fn holds(&self, path: &str) -> bool {
        format!("{path}/").starts_with(&self.path)
    }

    /// Where to read the secret at `path`, and whether it comes with its version around it. Who writes KV 2's own `data/`
    /// into the path reads what the original would.
    pub(super) fn secret(&self, path: &str) -> (String, bool) {
        match self.behind(path) {
            Some(rest) => (format!("{}data/{rest}", self.path), true),
            None => (path.to_owned(), false),
        }
    }

    /// Where to list what is below `path`; none where the mount itself does not list.
    pub(super) fn list(&self, path: &str) -> String {
        match self.behind(path) {
            Some(rest) => format!("{}metadata/{rest}", self.path),
            None => path.to_owned(),
        }
    }

    /// What stands behind the mount, if it is to be told which part of a secret is asked for.
    fn behind<'a>(&self, path: &'a str) -> Option<&'a str> {
        if !self.versioned {
            return None;
        }
        let rest = path.strip_prefix(&self.path).unwrap_or_default();
        let first = rest.split('/').next();
        (!matches!(first, Some("data" | "metadata"))).then_some(rest)
    }
}

/// Adds what a secret holds; `path` with a slash in front.
pub(super) fn plant(path: &str, secret: &Map<String, Value>, keys: &mut Keys) {
    if let (1, Some(Value::String(text))) = (secret.len(), secret.get("value")) {
        keys.insert(Bytes::from(path.to_owned()), Bytes::from(text.clone()));
        return;
    }
    let mut json = Value::Object(secret.clone());
    // As Go writes maps, and so that another order is no change.
    json.sort_all_objects();
    keys.insert(Bytes::from(path.to_owned()), Bytes::from(json.to_string()));
    flatten(path, secret, keys);
}

fn flatten(path: &str, values: &Map<String, Value>, keys: &mut Keys) {
    for (name, value) in values {
        let path = format!("{path}/{}", name.trim_matches('/'));
        match value {
            Value::String(text) => {
                keys.insert(Bytes::from(path), Bytes::from(text.clone()));
            }
            Value::Object(inner) => flatten(&path, inner, keys),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_keys() {
        for (secret, expected) in [
            (json!({"value": "text"}), vec![("/s/a", "text")]),
            (
                json!({"value": "text", "more": "x"}),
                vec![
                    ("/s/a", r#"{"more":"x","value":"text"}"#),
                    ("/s/a/more", "x"),
                    ("/s/a/value", "text"),
                ],
            ),
            (
                json!({"db": {"user": "u", "port": 5}, "on": true}),
                vec![
                    ("/s/a", r#"{"db":{"port":5,"user":"u"},"on":true}"#),
                    ("/s/a/db/user", "u"),
                ],
            ),
            (json!({"value": 7}), vec![("/s/a", r#"{"value":7}"#)]),
            (json!({}), vec![("/s/a", "{}")]),
        ] {
            let mut keys = Keys::new();
            plant("/s/a", secret.as_object().unwrap(), &mut keys);
            let shown: Vec<_> = keys
                .iter()
                .map(|(key, value)| {
                    (
                        std::str::from_utf8(key).unwrap(),
                        std::str::from_utf8(value).unwrap(),
                    )
                })
                .collect();
            assert_eq!(shown, expected, "{secret}");
        }
    }

    #[test]
    fn paths_of_both_versions() {
        let mount = |versioned| Mount {
            path: "secret/".to_owned(),
            versioned,
        };
        for (versioned, path, secret, list) in [
            (
                false,
                "secret/app/db",
                ("secret/app/db", false),
                "secret/app/db",
            ),
            (
                true,
                "secret/app/db",
                ("secret/data/app/db", true),
                "secret/metadata/app/db",
            ),
            (true, "secret", ("secret/data/", true), "secret/metadata/"),
            (
                true,
                "secret/data/app",
                ("secret/data/app", false),
                "secret/data/app",
            ),
        ] {
            let mount = mount(versioned);
            let (at, wrapped) = mount.secret(path);
            assert_eq!((at.as_str(), wrapped), secret);
            assert_eq!(mount.list(path), list);
        }
        assert!(mount(true).holds("secret/a") && mount(true).holds("secret"));
        assert!(!mount(true).holds("secrets/a"));
    }

    #[test]
    fn what_the_server_says_of_a_mount() {
        let answer = json!({"data": {"path": "kv/team/", "options": {"version": "2"}}});
        let mount = Mount::read(&answer).unwrap();
        assert_eq!((mount.path.as_str(), mount.versioned), ("kv/team/", true));
        let answer = json!({"data": {"path": "old/", "options": null}});
        assert!(!Mount::read(&answer).unwrap().versioned);
        assert_eq!(Mount::read(&json!({"errors": []})), None);
    }
}
