//! Pure: Paths as Redis has them: names with a separator between, patterns, and the channels on which it tells of them.

/// What stands between names.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// `/` for keys that are paths as they stand.
    separator: String,
}

impl Names {
    /// With this separator; empty is the original's default, a slash.
    pub(super) fn new(separator: &str) -> Self {
        let separator = match separator {
            "" => "/",
            other => other,
        };
        Self {
            separator: separator.to_owned(),
        }
    }

    /// What keys begin with whose paths begin so.
    pub(super) fn beginning(&self, path: &str) -> String {
        if self.separator == "/" {
            // The root is everything, also what has no slash in front.
            return path.to_owned();
        }
        path.trim_start_matches('/').replace('/', &self.separator)
    }

    /// The path of a key.
    pub(super) fn path(&self, key: &[u8]) -> Vec<u8> {
        if self.separator == "/" {
            return key.to_vec();
        }
        match std::str::from_utf8(key) {
            Ok(key) => format!("/{}", key.replace(&self.separator, "/")).into_bytes(),
            Err(_) => key.to_vec(),
        }
    }

    /// The path of a field of a hash.
    pub(super) fn path_of_field(&self, key: &[u8], field: &[u8]) -> Vec<u8> {
        let mut path = self.path(key);
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        path.extend(self.path(field).strip_prefix(b"/").unwrap_or(field));
        path
    }
}

/// The pattern of all keys that begin so.
pub(super) fn pattern(beginning: &str) -> String {
    let mut pattern = String::with_capacity(beginning.len() + 1);
    for letter in beginning.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('*');
    pattern
}

/// The pattern of the channels on which a database tells of such keys.
pub(super) fn notices(database: i64, beginning: &str) -> String {
    format!("__keyspace@{database}__:{}", pattern(beginning))
}

/// The key that a channel is about.
pub(super) fn noticed(channel: &str) -> Option<Vec<u8>> {
    let (_, key) = channel.split_once("__:")?;
    Some(key.as_bytes().to_vec())
}

/// Whether these classes of notices are all that can happen to texts and hashes.
pub(super) fn are_all(classes: &str) -> bool {
    classes.contains('K')
        && (classes.contains('A')
            || ['g', '$', 'h', 'x', 'e']
                .iter()
                .all(|class| classes.contains(*class)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_keys() {
        for (separator, path, key) in [
            ("", "/app/db", "/app/db"),
            ("/", "/app/db", "/app/db"),
            (":", "/app/db", "app:db"),
            ("::", "/app/db/x", "app::db::x"),
        ] {
            let names = Names::new(separator);
            assert_eq!(names.beginning(path), key);
            assert_eq!(names.path(key.as_bytes()), path.as_bytes());
            let field = format!("{path}/user");
            assert_eq!(
                names.path_of_field(key.as_bytes(), b"user"),
                field.as_bytes()
            );
        }
        assert_eq!(Names::new(":").beginning("/"), "");
        assert_eq!(Names::new("/").path(b"\xff"), b"\xff");
    }

    #[test]
    fn patterns_and_channels() {
        assert_eq!(pattern(""), "*");
        assert_eq!(pattern("/a[b]*?\\"), "/a\\[b\\]\\*\\?\\\\*");
        assert_eq!(notices(3, "/a"), "__keyspace@3__:/a*");
        assert_eq!(
            noticed("__keyspace@3__:/a/b__:c"),
            Some(b"/a/b__:c".to_vec())
        );
        assert_eq!(noticed("other"), None);
    }

    #[test]
    fn classes_of_notices() {
        for (classes, all) in [
            ("", false),
            ("AKE", true),
            ("KA", true),
            ("EA", false),
            ("Kg$hxe", true),
            ("Kg$x", false),
            ("K$h", false),
        ] {
            assert_eq!(are_all(classes), all, "{classes}");
        }
    }
}
