//! [pure] Templates in labels and filters over containers, both in Tera's language with one fixed set of names:
//! `container`, `labels`, `image`, `networks`, `compose`, `swarm`, `node`. Strict: what is not there is a fault of the
//! one service that asked for it, never an empty text.

use std::collections::BTreeMap;

use serde::Serialize;
use tera::{Context, Tera};

use crate::container::Container;

/// What a template may say about a container.
#[derive(Debug, Serialize)]
struct Facts<'a> {
    container: Named<'a>,
    name: &'a str,
    image: &'a str,
    labels: &'a BTreeMap<String, String>,
    env: BTreeMap<&'a str, &'a str>,
    networks: Vec<&'a str>,
    /// Only what the container has: a name that is missing is an error, not an empty text.
    compose: BTreeMap<&'static str, &'a str>,
    swarm: BTreeMap<&'static str, &'a str>,
    node: &'a str,
}

#[derive(Debug, Serialize)]
struct Named<'a> {
    id: &'a str,
    short_id: &'a str,
    name: &'a str,
    image: &'a str,
}

/// Labels that Compose puts on its containers, and what templates call them.
const COMPOSE: [(&str, &str); 3] = [
    ("project", "com.docker.compose.project"),
    ("service", "com.docker.compose.service"),
    ("number", "com.docker.compose.container-number"),
];
/// The same of Swarm, on the containers of its tasks.
const SWARM: [(&str, &str); 4] = [
    ("service", "com.docker.swarm.service.name"),
    ("task", "com.docker.swarm.task.name"),
    ("task_id", "com.docker.swarm.task.id"),
    ("node_id", "com.docker.swarm.node.id"),
];

/// A container as templates see it.
#[derive(Clone, Debug)]
pub struct Subject(Context);

impl Subject {
    /// `container` on the host called `node`.
    #[must_use]
    pub fn new(container: &Container, node: &str) -> Self {
        let known = |table: &[(&'static str, &str)]| {
            let found = table.iter().filter_map(|(name, label)| {
                let value = container.labels.get(*label)?;
                Some((*name, value.as_str()))
            });
            found.collect()
        };
        let env = container.env.iter().filter_map(|pair| pair.split_once('='));
        let facts = Facts {
            container: Named {
                id: &container.id,
                short_id: container.short_id(),
                name: &container.name,
                image: &container.image,
            },
            name: &container.name,
            image: &container.image,
            labels: &container.labels,
            env: env.collect(),
            networks: container.networks.iter().map(|n| n.name.as_str()).collect(),
            compose: known(&COMPOSE),
            swarm: known(&SWARM),
            node,
        };
        // Maps with text keys and lists of texts always have this form.
        Self(Context::from_serialize(&facts).unwrap_or_default())
    }

    /// `text` with its expressions filled in; a text without any as it is.
    ///
    /// # Errors
    /// One line that says what cannot be filled in.
    pub fn render(&self, text: &str) -> Result<String, String> {
        if !text.contains("{{") && !text.contains("{%") {
            return Ok(text.to_owned());
        }
        Tera::one_off(text, &self.0, false).map_err(|error| said(&error))
    }
}

/// An expression over containers that says which of them are registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    template: String,
}

impl Filter {
    /// Reads an expression such as `compose.project == "shop" and image is starting_with(pat="web")`.
    ///
    /// # Errors
    /// One line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let template = format!("{{% if {text} %}}yes{{% endif %}}");
        Tera::new()
            .add_raw_template("filter", &template)
            .map_err(|error| said(&error))?;
        Ok(Self {
            text: text.to_owned(),
            template,
        })
    }

    /// Whether it lets `subject` through.
    ///
    /// # Errors
    /// One line, when it asks for something the container does not have.
    pub fn passes(&self, subject: &Subject) -> Result<bool, String> {
        let answer = Tera::one_off(&self.template, &subject.0, false);
        answer
            .map(|text| text == "yes")
            .map_err(|error| said(&error))
    }

    /// As a person wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Tera's message without the drawing around it: the first line that says something.
pub(crate) fn said(error: &tera::Error) -> String {
    let text = error.to_string();
    let mut line = text.lines().next().unwrap_or_default().trim().to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        let text = text.lines().next().unwrap_or_default().trim();
        if !line.contains(text) {
            line = format!("{line}: {text}");
        }
        source = cause.source();
    }
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::web;

    fn subject() -> Subject {
        let mut container = web("abcdefabcdef0123", 0);
        container.name = "shop-web-1".into();
        for (name, value) in [
            ("com.docker.compose.project", "shop"),
            ("com.docker.compose.service", "web"),
            ("tier", "front"),
        ] {
            container.labels.insert(name.into(), value.into());
        }
        container.env.push("COLOUR=blue".into());
        Subject::new(&container, "n1")
    }

    #[test]
    fn texts_are_filled_in() {
        for (text, want) in [
            ("plain", "plain"),
            ("{{ compose.service }}-{{ env.COLOUR }}", "web-blue"),
            ("{{ container.short_id }}.{{ node }}", "abcdefabcdef.n1"),
            ("{{ labels.tier | upper }}", "FRONT"),
            ("{{ networks[0] }}", "bridge"),
        ] {
            assert_eq!(subject().render(text).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_not_there_is_a_fault_in_one_line() {
        for text in [
            "{{ labels.none }}",
            "{{ swarm.service }}",
            "{{ nobody }}",
            "{{ 1 +",
            "{% if %}",
        ] {
            let why = subject().render(text).unwrap_err();
            assert!(!why.is_empty() && !why.contains('\n'), "{text}: {why:?}");
        }
    }

    #[test]
    fn filters_let_through_what_they_say() {
        for (text, want) in [
            ("labels.tier == \"front\"", true),
            ("labels.tier == \"back\"", false),
            ("labels.none == \"front\"", false),
            ("labels.none", false),
            (
                "compose.project == \"shop\" and \"bridge\" in networks",
                true,
            ),
            ("name is starting_with(pat=\"shop-\")", true),
            ("not (image == \"web\")", false),
            ("swarm.service", false),
        ] {
            let filter = Filter::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(filter.passes(&subject()), Ok(want), "{text}");
        }
        assert!(Filter::parse("labels.tier ==").is_err());
    }
}
