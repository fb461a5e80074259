//! The status block of `muster up`: what is shown, and how. A board is a plain value; printing it, and telling two of
//! them apart, are pure. Where its content comes from is `parts.rs`' business.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// Everything a person wants to see at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Board {
    /// The parts that run here, in the order they were started.
    pub(crate) parts: Vec<Part>,
    /// Service name to its instances, in order.
    pub(crate) services: BTreeMap<String, Vec<Instance>>,
    /// What confd keeps current.
    pub(crate) resources: Vec<Resource>,
    /// What is wrong now; empty is good.
    pub(crate) wrong: Vec<Trouble>,
    /// What is worth knowing and not wrong.
    pub(crate) notes: Vec<String>,
}

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// `store`, `registrator` or `confd`.
    pub(crate) name: &'static str,
    /// Where it listens or what it works on.
    pub(crate) place: String,
    /// How it is doing, in a few words.
    pub(crate) state: String,
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance {
    /// `address:port`.
    pub(crate) address: String,
    /// `up`, `starting`, `draining`, …
    pub(crate) state: String,
}

/// One template resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Its name.
    pub(crate) name: String,
    /// The file it writes.
    pub(crate) file: String,
    /// `current`, `reload failed, next try in 2 s`, …
    pub(crate) state: String,
}

/// Something wrong, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Trouble {
    /// What, and where.
    pub(crate) what: String,
    /// What to do about it, where that is known.
    pub(crate) hint: Option<String>,
}

impl fmt::Display for Board {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self
            .parts
            .iter()
            .map(|part| part.place.chars().count())
            .max()
            .unwrap_or(0);
        for part in &self.parts {
            writeln!(
                out,
                "  {:12} {:place$}  {}",
                part.name, part.place, part.state
            )?;
        }
        writeln!(out, "services")?;
        if self.services.is_empty() {
            writeln!(out, "  none yet; try: docker run -d -p 8000:80 nginx")?;
        }
        let name = self
            .services
            .keys()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0)
            .max(12);
        for (service, instances) in &self.services {
            let shown: Vec<String> = instances.iter().map(Instance::to_string).collect();
            writeln!(out, "  {service:name$} {}", shown.join("  "))?;
        }
        if !self.resources.is_empty() {
            writeln!(out, "resources")?;
            let name = self
                .resources
                .iter()
                .map(|one| one.name.chars().count())
                .max()
                .unwrap_or(0)
                .max(12);
            let file = self
                .resources
                .iter()
                .map(|one| one.file.chars().count())
                .max()
                .unwrap_or(0);
            for one in &self.resources {
                writeln!(
                    out,
                    "  {:name$} {:file$}  {}",
                    one.name, one.file, one.state
                )?;
            }
        }
        if !self.wrong.is_empty() {
            writeln!(out, "wrong")?;
            for trouble in &self.wrong {
                writeln!(out, "  {}", trouble.what)?;
                if let Some(hint) = &trouble.hint {
                    writeln!(out, "  hint: {hint}")?;
                }
            }
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.address)?;
        if self.state != "up" {
            write!(out, " ({})", self.state)?;
        }
        Ok(())
    }
}

/// A line for each difference between two boards: for logs and pipes, where redrawing a block would drown the news.
pub(crate) fn changes(before: &Board, now: &Board) -> Vec<String> {
    let mut lines = Vec::new();
    for (service, instances) in &now.services {
        let old = before.services.get(service).map_or(&[][..], Vec::as_slice);
        if old != instances.as_slice() {
            let mut line = format!("service {service}: {} instance(s)", instances.len());
            for instance in instances.iter().filter(|instance| !old.contains(instance)) {
                let _ = write!(line, ", + {instance}");
            }
            let here = |gone: &&Instance| instances.iter().all(|one| one.address != gone.address);
            for instance in old.iter().filter(here) {
                let _ = write!(line, ", - {}", instance.address);
            }
            lines.push(line);
        }
    }
    for service in before
        .services
        .keys()
        .filter(|service| !now.services.contains_key(*service))
    {
        lines.push(format!("service {service}: gone"));
    }
    for resource in &now.resources {
        let old = before
            .resources
            .iter()
            .find(|old| old.name == resource.name && old.file == resource.file);
        if old.is_none_or(|old| old.state != resource.state) {
            lines.push(format!("resource {}: {}", resource.name, resource.state));
        }
    }
    for part in &now.parts {
        let old = before.parts.iter().find(|old| old.name == part.name);
        if old.is_none_or(|old| old.state != part.state) {
            lines.push(format!("{}: {}", part.name, part.state));
        }
    }
    for trouble in now
        .wrong
        .iter()
        .filter(|trouble| !before.wrong.contains(trouble))
    {
        lines.push(format!("wrong: {}", trouble.what));
        lines.extend(trouble.hint.iter().map(|hint| format!("hint: {hint}")));
    }
    for trouble in before
        .wrong
        .iter()
        .filter(|trouble| !now.wrong.contains(trouble))
    {
        lines.push(format!("no longer: {}", trouble.what));
    }
    for note in now.notes.iter().filter(|note| !before.notes.contains(note)) {
        lines.push(format!("note: {note}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let part = |name, place: &str, state: &str| Part {
            name,
            place: place.into(),
            state: state.into(),
        };
        let instance = |address: &str, state: &str| Instance {
            address: address.into(),
            state: state.into(),
        };
        Board {
            parts: vec![
                part("store", "http://127.0.0.1:2379", "serving"),
                part("registrator", "unix:///var/run/docker.sock", "2 containers"),
            ],
            services: BTreeMap::from([(
                "web".into(),
                vec![
                    instance("10.0.0.2:80", "up"),
                    instance("10.0.0.3:80", "draining"),
                ],
            )]),
            resources: vec![Resource {
                name: "nginx".into(),
                file: "/etc/nginx/nginx.conf".into(),
                state: "current".into(),
            }],
            wrong: vec![],
            notes: vec![],
        }
    }

    #[test]
    fn a_board_reads_like_a_table() {
        let mut board = board();
        board.wrong.push(Trouble {
            what: "nginx: reload_cmd exits with 1".into(),
            hint: Some("run it by hand".into()),
        });
        let expected = "  store        http://127.0.0.1:2379        serving
  registrator  unix:///var/run/docker.sock  2 containers
services
  web          10.0.0.2:80  10.0.0.3:80 (draining)
resources
  nginx        /etc/nginx/nginx.conf  current
wrong
  nginx: reload_cmd exits with 1
  hint: run it by hand
";
        assert_eq!(board.to_string(), expected);
    }

    #[test]
    fn only_what_differs_is_told() {
        let before = board();
        assert_eq!(changes(&before, &before), Vec::<String>::new());
        let mut now = board();
        let web = now.services.get_mut("web").unwrap();
        web.remove(1);
        web.push(Instance {
            address: "10.0.0.4:80".into(),
            state: "starting".into(),
        });
        now.resources[0].state = "reload failed".into();
        now.wrong.push(Trouble {
            what: "reload failed".into(),
            hint: None,
        });
        let told = changes(&before, &now);
        assert_eq!(
            told,
            [
                "service web: 2 instance(s), + 10.0.0.4:80 (starting), - 10.0.0.3:80",
                "resource nginx: reload failed",
                "wrong: reload failed",
            ]
        );
        let back = changes(&now, &before);
        assert!(
            back.contains(&"no longer: reload failed".to_owned()),
            "{back:?}"
        );
        assert_eq!(changes(&before, &Board::default()), ["service web: gone"]);
    }
}
