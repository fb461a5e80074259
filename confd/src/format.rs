//! Pure: A rendered file must at least parse: `output_format` of a resource.

use std::fmt;

/// A format that output can be held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON, one value.
    Json,
    /// YAML, any number of documents.
    Yaml,
    /// TOML.
    Toml,
    /// XML: tags that match, attributes that are whole. Not held against a schema.
    Xml,
}

impl Format {
    /// The names resources use, the fork's spellings among them.
    pub const NAMES: &'static [&'static str] = &["json", "yaml", "yml", "toml", "xml"];

    /// The format of a name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "xml" => Some(Self::Xml),
            _ => None,
        }
    }

    /// Whether the text parses.
    ///
    /// # Errors
    /// What is wrong and where, one line.
    pub fn check(self, text: &str) -> Result<(), String> {
        let fault = |cause: &dyn fmt::Display| {
            let cause = cause.to_string();
            let first = cause.trim().lines().next().unwrap_or_default();
            format!("the output is not {self}: {first}")
        };
        match self {
            Self::Json => serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map(drop)
                .map_err(|error| fault(&error)),
            Self::Yaml => serde_yaml::Deserializer::from_str(text)
                .try_for_each(|document| {
                    serde::Deserialize::deserialize(document).map(|serde::de::IgnoredAny| ())
                })
                .map_err(|error| fault(&error)),
            Self::Toml => toml::from_str::<toml::Table>(text)
                .map(drop)
                .map_err(|error| {
                    let line = error
                        .span()
                        .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
                    fault(&format_args!("{} in line {line}", error.message()))
                }),
            Self::Xml => {
                xml(text).map_err(|(line, cause)| fault(&format_args!("{cause} in line {line}")))
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
            Self::Xml => "XML",
        })
    }
}

/// Reads all of it; line and cause of the first fault.
fn xml(text: &str) -> Result<(), (usize, String)> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(text);
    let config = reader.config_mut();
    config.check_comments = true;
    let line = |reader: &quick_xml::Reader<&[u8]>| {
        let at = usize::try_from(reader.error_position()).unwrap_or_default();
        text.as_bytes()
            .get(..at)
            .map_or(1, |head| head.split(|byte| *byte == b'\n').count())
    };
    let (mut depth, mut roots) = (0_usize, 0_usize);
    loop {
        let event = reader.read_event();
        match event {
            Err(error) => return Err((line(&reader), error.to_string())),
            Ok(Event::Eof) if depth > 0 => {
                return Err((line(&reader), "an element is not closed".to_owned()));
            }
            Ok(Event::Eof) if roots != 1 => {
                return Err((1, format!("{roots} root elements instead of one")));
            }
            Ok(Event::Eof) => return Ok(()),
            Ok(Event::Start(tag) | Event::Empty(tag))
                if tag.attributes().any(|attribute| attribute.is_err()) =>
            {
                return Err((line(&reader), "an attribute is not whole".to_owned()));
            }
            Ok(Event::Start(_)) => {
                roots += usize::from(depth == 0);
                depth += 1;
            }
            Ok(Event::Empty(_)) => roots += usize::from(depth == 0),
            Ok(Event::End(_)) => depth -= 1,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parses_and_what_does_not() {
        let table: &[(&str, &str, Option<&str>)] = &[
            ("json", "{\"a\": [1]}\n", None),
            ("json", "{\"a\": [1]\n", Some("not JSON: EOF")),
            ("json", "", Some("not JSON: EOF")),
            ("json", "{} {}", Some("not JSON: trailing")),
            ("yaml", "a: 1\n---\nb: [2]\n", None),
            ("yml", "a: [1\n", Some("not YAML: ")),
            ("toml", "a = 1\n[b]\nc = \"d\"\n", None),
            ("toml", "a = 1\nb\n", Some("in line 2")),
            (
                "xml",
                "<?xml version=\"1.0\"?>\n<a b=\"c\"><d/>x</a>\n",
                None,
            ),
            ("xml", "<a>\n<b></a>", Some("in line 2")),
            ("xml", "<a>", Some("not closed")),
            ("xml", "<a/><b/>", Some("2 root elements")),
            ("xml", "just text", Some("0 root elements")),
            ("xml", "<a b=c/>", Some("attribute")),
        ];
        for (name, text, expected) in table {
            let result = Format::named(name).unwrap().check(text);
            match (&result, expected) {
                (Ok(()), None) => {}
                (Err(message), Some(part)) => {
                    assert!(message.contains(part), "{text:?}: {message}");
                }
                _ => panic!("{name} {text:?}: {result:?}"),
            }
        }
        for name in Format::NAMES {
            assert!(Format::named(name).is_some());
        }
        assert_eq!(Format::named("ini"), None);
    }
}
