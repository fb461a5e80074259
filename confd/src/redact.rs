//! Pure: Keeps secrets out of what is shown to people: values of keys that are named like secrets, and whatever stands
//! where such a name stands in the file.

use std::collections::BTreeSet;

/// Parts of names that say that a value is secret.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "private",
    "credential",
    "apikey",
    "api_key",
    "api-key",
];

/// What stands in the place of a secret.
pub const HIDDEN: &str = "[redacted]";

/// Shorter values are not looked for: they would hide half the file.
const LENGTH_MIN: usize = 4;

/// The secret values of one resource.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// Longest first, so that none hides half of another.
    values: Vec<String>,
}

/// Whether a key or a name of the file says that its value is secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

impl Secrets {
    /// Of these keys and values.
    pub fn of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut values = BTreeSet::new();
        for (key, value) in pairs {
            if is_secret(key) {
                values.extend(value.lines().map(str::to_owned));
            }
            if value.starts_with(['{', '['])
                && let Ok(json) = serde_json::from_str(value)
            {
                secrets_in(&json, is_secret(key), &mut values);
            }
        }
        let mut values: Vec<String> = values
            .into_iter()
            .map(|value| value.trim().to_owned())
            .filter(|value| value.len() >= LENGTH_MIN)
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self { values }
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        text.split_inclusive('\n')
            .map(|line| self.hide_in(line))
            .collect()
    }

    /// A difference without them: the old file's own secrets are known by the lines of the new one in their place.
    pub fn hide_in_difference(&self, difference: &str) -> String {
        let places: Vec<(&str, &str)> = difference
            .lines()
            .filter_map(|line| line.strip_prefix('+'))
            .flat_map(|line| self.places(line))
            .collect();
        let mut out = String::with_capacity(difference.len());
        for line in difference.split_inclusive('\n') {
            let body = line.trim_end_matches('\n');
            let old = body.strip_prefix('-').filter(|_| !body.starts_with("---"));
            let place = old.and_then(|old| {
                places.iter().find(|(head, tail)| {
                    old.len() > head.len() + tail.len()
                        && old.starts_with(head)
                        && old.ends_with(tail)
                })
            });
            match place {
                Some((head, tail)) => out.push_str(&format!("-{head}{HIDDEN}{tail}\n")),
                None => out.push_str(&self.hide_in(line)),
            }
        }
        out
    }

    /// What stands before and behind each secret of a line; nothing if that is not enough to know the line by.
    fn places<'a>(&'a self, line: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values.iter().filter_map(|value| {
            let (head, tail) = line.split_once(value.as_str())?;
            (!head.trim().is_empty()).then_some((head, tail))
        })
    }

    fn hide_in(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for value in &self.values {
            if line.contains(value.as_str()) {
                line = line.replace(value.as_str(), HIDDEN);
            }
        }
        match named(&line) {
            Some((head, tail)) => format!("{}{HIDDEN}{}", &line[..head], &line[tail..]),
            None => line,
        }
    }
}

fn secrets_in(json: &serde_json::Value, secret: bool, values: &mut BTreeSet<String>) {
    match json {
        serde_json::Value::String(text) if secret => drop(values.insert(text.clone())),
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                secrets_in(value, secret || is_secret(name), values);
            }
        }
        serde_json::Value::Array(list) => {
            for value in list {
                secrets_in(value, secret, values);
            }
        }
        _ => {}
    }
}

/// Where the value stands in a line like `password = x`, `"token": "x",` or `auth_token x;`: start and end in bytes.
fn named(line: &str) -> Option<(usize, usize)> {
    let body = line.trim_end();
    let start = body.len() - body.trim_start_matches(['+', '-', ' ', '\t']).len();
    let name_end = body[start..]
        .find(['=', ':', ' ', '\t'])
        .map(|at| start + at)?;
    if !is_secret(&body[start..name_end]) {
        return None;
    }
    let value = body[name_end..].trim_start_matches(['=', ':', ' ', '\t', '"', '\'']);
    let head = body.len() - value.len();
    let tail = head + value.trim_end_matches(['"', '\'', ',', ';']).len();
    (tail > head && body.get(head..tail) != Some(HIDDEN)).then_some((head, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let pairs = [
            ("/db/password", "hunter22"),
            ("/db/user", "shop"),
            ("/cfg", r#"{"api_key": "k-123456", "port": 80}"#),
            ("/token", "x"),
        ];
        Secrets::of(pairs.into_iter())
    }

    #[test]
    fn values_and_names_are_hidden_and_the_rest_stays() {
        let secrets = secrets();
        for (text, expected) in [
            ("url db://shop:hunter22@h\n", "url db://shop:[redacted]@h\n"),
            ("key k-123456;\nx\n", "key [redacted];\nx\n"),
            ("password = other # c\n", "password = [redacted]\n"),
            (
                "  \"auth_token\": \"abc\",\n",
                "  \"auth_token\": \"[redacted]\",\n",
            ),
            ("secret_file x;", "secret_file [redacted];"),
            ("user shop\nport 80\n", "user shop\nport 80\n"),
            ("# about tokens\n", "# about tokens\n"),
            ("password\n", "password\n"),
        ] {
            assert_eq!(secrets.hide(text), expected);
        }
    }

    #[test]
    fn the_old_secret_in_the_place_of_the_new_one_is_hidden() {
        let difference = "--- /f\n+++ /f\n@@ -1,2 +1,2 @@\n-url db://shop:old-one@h\n+url db://shop:hunter22@h\n x\n";
        assert_eq!(
            secrets().hide_in_difference(difference),
            "--- /f\n+++ /f\n@@ -1,2 +1,2 @@\n-url db://shop:[redacted]@h\n+url db://shop:[redacted]@h\n x\n"
        );
    }
}
