//! Pure: The `guard` of a resource file: `true`, or a table with `lose_max`, `keep_min` and `gone_max`.

use serde_json::Value;

use super::ResourceError;
use super::fields::Fields;
use crate::guard::Guard;

impl Fields<'_> {
    pub(super) fn guard(&self) -> Result<Option<Guard>, ResourceError> {
        // Alone it refuses the loss of all.
        let mut guard = Guard {
            lose_max_percent: 100,
            keep_min: 1,
            gone_max_percent: None,
        };
        let map = match self.map.get("guard") {
            None | Some(Value::Null | Value::Bool(false)) => return Ok(None),
            Some(Value::Bool(true)) => return Ok(Some(guard)),
            Some(Value::Object(map)) => map,
            Some(_) => {
                return Err(self
                    .fault("guard", "is neither true nor a table")
                    .hinted("write it like {lose_max: 50%, keep_min: 2}"));
            }
        };
        for (key, value) in map {
            match key.as_str() {
                "lose_max" => {
                    guard.lose_max_percent = share(value)
                        .ok_or_else(|| self.fault("guard", "has a lose_max that is no share"))?;
                }
                "gone_max" => {
                    let share = share(value)
                        .ok_or_else(|| self.fault("guard", "has a gone_max that is no share"))?;
                    guard.gone_max_percent = Some(share);
                }
                "keep_min" => {
                    let number = value
                        .as_u64()
                        .and_then(|number| usize::try_from(number).ok());
                    guard.keep_min = number
                        .filter(|number| *number > 0)
                        .ok_or_else(|| self.fault("guard", "has a keep_min that is no number"))?;
                }
                other => {
                    return Err(self
                        .fault("guard", &format!("has an unknown key {other:?}"))
                        .hinted("known: lose_max, keep_min, gone_max"));
                }
            }
        }
        Ok(Some(guard))
    }
}

/// A number of hundredths.
fn share(value: &Value) -> Option<u8> {
    let percent = match value {
        Value::String(text) => text.trim_end_matches('%').trim().parse().ok(),
        other => other.as_u64().and_then(|number| u8::try_from(number).ok()),
    };
    percent.filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use crate::defaults::Defaults;
    use crate::resource::parse;

    #[test]
    fn a_guard_is_true_or_a_table() {
        let read = |guard: &str| {
            let text = format!("src: a.tera\ndest: /etc/a\nkeys: [/a]\nguard: {guard}\n");
            parse("web.yaml", &text, &Defaults::default()).map(|resource| {
                let guard = resource.guard;
                guard.map(|guard| {
                    (
                        guard.lose_max_percent,
                        guard.keep_min,
                        guard.gone_max_percent,
                    )
                })
            })
        };
        for (text, expected) in [
            ("false", None),
            ("true", Some((100, 1, None))),
            ("{lose_max: 50%}", Some((50, 1, None))),
            ("{lose_max: 30, keep_min: 2}", Some((30, 2, None))),
            ("{gone_max: 20%}", Some((100, 1, Some(20)))),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in [
            "50",
            "{lose_max: 101}",
            "{lose_max: half}",
            "{gone_max: 101%}",
            "{keep_min: 0}",
            "{x: 1}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
