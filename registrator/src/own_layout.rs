//! [pure] A layout of the user's own: a template for keys and one for values, filled in from the record, for consumers that
//! none of the catalogue's layouts is for. Holds only what is up. Values are the user's business; keys are not: one that
//! leaves its root, or is no text, is refused.

use registrator_catalog::layout::Entry;
use registrator_catalog::record::{Record, State};
use tera::{Context, Tera};

/// The word for it in the label `muster.layout`.
pub const NAME: &str = "template";

/// One layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLayout {
    key: String,
    value: String,
    root: String,
}

impl OwnLayout {
    /// Reads `<key> = <value>`, such as `/vulcand/backends/{{ name }}/servers/{{ instance }} = {"URL":"http://{{ address }}:{{ port }}"}`.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once(" = ")
            .ok_or("there is no \" = \" between key and value")?;
        let (key, value) = (key.trim(), value.trim());
        let fixed = key
            .find("{{")
            .into_iter()
            .chain(key.find("{%"))
            .min()
            .unwrap_or(key.len());
        let root = key[..fixed].rfind('/').map_or("", |slash| &key[..=slash]);
        if root.trim_matches('/').is_empty() {
            return Err(
                "the key has to begin with a fixed folder of its own, such as /mine/".to_owned(),
            );
        }
        for (name, template) in [("key", key), ("value", value)] {
            let read = Tera::new().add_raw_template(name, template);
            read.map_err(|error| format!("{name}: {}", crate::template::said(&error)))?;
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
            root: root.to_owned(),
        })
    }

    /// What every key begins with, ending in a slash.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The entry of `record`; none when it is not up.
    ///
    /// # Errors
    /// One line, when a template cannot be filled in or the key is none.
    pub fn entry(&self, record: &Record) -> Result<Option<Entry>, String> {
        if record.state != State::Up {
            return Ok(None);
        }
        // A record has names for keys, so it always has this form.
        let context = Context::from_serialize(record).unwrap_or_default();
        let fill = |what: &str, template: &str| {
            let filled = Tera::one_off(template, &context, false);
            filled.map_err(|error| format!("{what}: {}", crate::template::said(&error)))
        };
        let key = fill("key", &self.key)?;
        let names = key.strip_prefix(&self.root).unwrap_or_default();
        let odd = |char: char| char.is_control() || char.is_whitespace();
        if names.is_empty()
            || key.chars().any(odd)
            || names.split('/').any(|name| name.is_empty() || name == "..")
        {
            return Err(format!("key: {key:?} is none"));
        }
        Ok(Some(Entry {
            key,
            value: fill("value", &self.value)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use registrator_catalog::layout::{Kind, Layout};

    use super::*;
    use crate::agent::tests::web;
    use crate::desired::{Outcome, Rules, evaluate};

    #[test]
    fn records_as_the_user_wants_them() {
        let mut rules = Rules::new("n", vec![Layout::new(Kind::Native, "s")]);
        rules.internal = true;
        let text = "/vulcand/backends/{{ name }}/servers/{{ instance }} = {\"URL\":\"http://{{ address }}:{{ port }}\"}";
        rules.own_layouts = vec![OwnLayout::parse(text).unwrap()];
        let container = web("a", 0);
        let wanted = evaluate(&container, &rules, State::Up, "now").wanted;
        assert_eq!(
            wanted["/vulcand/backends/web/servers/n-a-80"],
            "{\"URL\":\"http://10.0.0.97:80\"}"
        );
        assert_eq!(
            evaluate(&container, &rules, State::Down, "now")
                .wanted
                .len(),
            1
        );
        // A template that cannot be filled in leaves the other layouts alone.
        rules.own_layouts = vec![OwnLayout::parse("/x/{{ name }} = {{ meta.region }}").unwrap()];
        let evaluation = evaluate(&container, &rules, State::Up, "now");
        assert_eq!(evaluation.wanted.len(), 1);
        assert!(
            evaluation.verdicts[0].warnings[0].starts_with("not below /x/: value: "),
            "{evaluation:?}"
        );
        assert!(matches!(
            evaluation.verdicts[0].outcome,
            Outcome::Registered(_)
        ));
    }

    #[test]
    fn what_is_no_layout_is_refused() {
        for (text, part) in [
            ("/x/{{ name }}", "no \" = \""),
            ("{{ name }}/x = y", "fixed folder"),
            ("/{{ name }} = y", "fixed folder"),
            ("/x/{{ name = y", "key: "),
            ("/x/{{ name }} = {{ y", "value: "),
        ] {
            let why = OwnLayout::parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
        let layout = OwnLayout::parse("/x/{{ meta.to }} = y").unwrap();
        let mut container = web("a", 0);
        let mut rules = Rules::new("n", vec![Layout::new(Kind::Native, "s")]);
        rules.internal = true;
        for (to, good) in [
            ("a", true),
            ("a/b", true),
            ("", false),
            ("../services/x", false),
            ("a b", false),
            ("a//b", false),
        ] {
            container.labels.insert("SERVICE_TO".into(), to.into());
            let evaluation = evaluate(&container, &rules, State::Up, "now");
            let Outcome::Registered(record) = &evaluation.verdicts[0].outcome else {
                panic!("{evaluation:?}");
            };
            assert_eq!(layout.entry(record).is_ok(), good, "{to:?}");
        }
    }
}
