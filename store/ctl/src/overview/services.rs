//! Pure: `muster services`, the instances of each service as the registry has them.

use registrator_catalog::layout::Layout;
use registrator_catalog::record::{Record, State};
use serde_json::{Value, json};

use super::table::{Cell, Style, Tone, age, drawn, span};
use super::view::{Rows, View};

/// Which services, and where they stand.
#[derive(Clone, Debug)]
pub(super) struct Services {
    pub(super) layouts: Vec<Layout>,
    /// Only these; all when it is empty.
    pub(super) names: Vec<String>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    key: String,
    service: String,
    id: String,
    address: String,
    /// What else a record says; layouts for other readers hold what is up, and nothing more.
    record: Option<Box<Record>>,
}

impl Row {
    fn state(&self) -> State {
        self.record
            .as_ref()
            .map_or(State::Up, |record| record.state)
    }

    fn node(&self) -> &str {
        self.record.as_ref().map_or("", |record| &record.node)
    }

    fn instance(&self) -> &str {
        match &self.record {
            Some(record) => &record.instance,
            None => &self.id,
        }
    }

    fn container(&self) -> &str {
        let container = self
            .record
            .as_ref()
            .and_then(|record| record.container.as_ref());
        container.map_or("", |container| &container.name)
    }

    /// Seconds since the container started, or since the record changed where there is none.
    fn age(&self, now: i64) -> Option<i64> {
        let record = self.record.as_ref()?;
        let started = record.container.as_ref();
        let started = started.and_then(|container| age(&container.started_at, now));
        started.or_else(|| age(&record.updated_at, now))
    }

    /// What says how it is, and for how long it has: `docker 5m`.
    fn check(&self, now: i64) -> String {
        let health = self
            .record
            .as_ref()
            .and_then(|record| record.health.as_ref());
        health.map_or_else(String::new, |health| match age(&health.since, now) {
            Some(seconds) => format!("{} {}", health.source, span(seconds)),
            None => health.source.clone(),
        })
    }
}

fn tone(state: State) -> Tone {
    match state {
        State::Up => Tone::Good,
        State::Starting | State::Draining | State::Maintenance => Tone::Warn,
        State::Down => Tone::Bad,
    }
}

impl View for Services {
    type Row = Row;

    fn prefixes(&self) -> Vec<String> {
        let mut roots: Vec<String> = self.layouts.iter().map(Layout::root).collect();
        // Native and registrator share one.
        roots.sort();
        roots.dedup();
        roots
    }

    fn read(&self, key: &str, value: &[u8]) -> Option<Row> {
        let found = self
            .layouts
            .iter()
            .find_map(|layout| layout.read(key, value).ok())?;
        let wanted = self.names.is_empty() || self.names.contains(&found.name);
        wanted.then(|| Row {
            key: key.to_owned(),
            service: found.name,
            id: found.id,
            address: std::net::SocketAddr::new(found.address, found.port).to_string(),
            record: found.record,
        })
    }

    fn page(&self, rows: &Rows<Row>, now: i64, style: Style) -> String {
        if rows.is_empty() {
            let names = match self.names.as_slice() {
                [] => "services".to_owned(),
                names => format!("instances of {}", names.join(", ")),
            };
            return format!("no {names} below {}\n", self.prefixes().join(", "));
        }
        let mut sorted: Vec<&Row> = rows.values().collect();
        sorted.sort_by(|a, b| (&a.service, a.instance()).cmp(&(&b.service, b.instance())));
        let cells: Vec<Vec<Cell>> = sorted
            .iter()
            .map(|row| {
                vec![
                    row.service.as_str().into(),
                    Cell::new(&row.state().to_string(), tone(row.state())),
                    row.address.as_str().into(),
                    row.node().into(),
                    row.age(now).map_or_else(String::new, span).into(),
                    row.check(now).into(),
                    row.container().into(),
                    row.instance().into(),
                ]
            })
            .collect();
        let mut services: Vec<&str> = sorted.iter().map(|row| row.service.as_str()).collect();
        services.dedup();
        let mut counts = format!("{} services, {} instances:", services.len(), sorted.len());
        for state in [
            State::Up,
            State::Starting,
            State::Draining,
            State::Maintenance,
            State::Down,
        ] {
            let count = sorted.iter().filter(|row| row.state() == state).count();
            if count > 0 {
                counts.push_str(&format!(" {count} {state},"));
            }
        }
        let head = [
            "SERVICE",
            "STATE",
            "ADDRESS",
            "NODE",
            "AGE",
            "CHECK",
            "CONTAINER",
            "INSTANCE",
        ];
        format!(
            "{}{}\n",
            drawn(&head, &cells, style),
            counts.trim_end_matches(',')
        )
    }

    fn line(&self, row: &Row, _: i64) -> String {
        let cell = Cell::from(format!(
            "{} {} {} {}",
            row.service,
            row.state(),
            row.address,
            row.instance()
        ));
        cell.text
    }

    fn json(&self, row: &Row, now: i64) -> Value {
        let mut value = json!({
            "service": row.service,
            "instance": row.instance(),
            "address": row.address,
            "state": row.state(),
            "age_seconds": row.age(now),
            "key": row.key,
        });
        if let (Some(value), Some(record)) = (value.as_object_mut(), &row.record) {
            value.insert("record".to_owned(), json!(record));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use registrator_catalog::layout::Kind;

    use super::*;
    use crate::overview::view::replace;

    /// 2026-11-20T04:50:00Z.
    const NOW: i64 = 1_795_150_200_000_000_000;

    fn record(name: &str, instance: &str, state: &str, more: &str) -> Vec<u8> {
        format!(
            r#"{{"version":1,"id":"h:{instance}:80","instance":"{instance}","name":"{name}","node":"n1","address":"10.0.0.5","addresses":[{{"address":"10.0.0.5","family":"ipv4"}}],"port":80,"proto":"tcp","port_name":"80","weight":100,"priority":10,"state":"{state}",{more}"tags":[],"meta":{{}},"updated_at":"2026-11-20T04:48:44.123Z"}}"#
        )
        .into_bytes()
    }

    fn listed() -> std::collections::BTreeMap<Vec<u8>, Vec<u8>> {
        let checked = r#""health":{"source":"docker","since":"2026-11-20T04:30:00Z"},"#;
        let mut contained = record("web", "b", "up", "");
        let tail = br#""container":{"id":"c1","name":"shop-web-1","image":"i","port":80,"started_at":"2026-11-18T04:50:00Z"},"tags""#;
        let text = String::from_utf8(contained).unwrap();
        contained = text
            .replace(r#""tags""#, std::str::from_utf8(tail).unwrap())
            .into_bytes();
        [
            ("/services/web/b", contained),
            ("/services/web/a", record("web", "a", "down", checked)),
            ("/services/db/x", record("db", "x", "draining", "")),
            ("/services/web/foreign", b"10.0.0.1:80".to_vec()),
            ("/old/web/h:c:81", b"10.0.0.6:81".to_vec()),
        ]
        .into_iter()
        .map(|(key, value)| (key.as_bytes().to_vec(), value))
        .collect()
    }

    fn services(names: &[&str]) -> Services {
        Services {
            layouts: vec![
                Layout::new(Kind::Native, "/services"),
                Layout::new(Kind::Registrator, "/old"),
            ],
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn a_page_of_services() {
        let mut rows = Rows::new();
        replace(&services(&[]), &mut rows, &listed());
        assert_eq!(
            services(&[]).page(&rows, NOW, Style::default()),
            "\
SERVICE  STATE     ADDRESS      NODE  AGE  CHECK       CONTAINER   INSTANCE
db       draining  10.0.0.5:80  n1    75s                          x
web      down      10.0.0.5:80  n1    75s  docker 20m              a
web      up        10.0.0.5:80  n1    2d               shop-web-1  b
web      up        10.0.0.6:81                                     h:c:81
2 services, 4 instances: 2 up, 1 draining, 1 down
"
        );
    }

    #[test]
    fn one_service_and_none() {
        let view = services(&["db"]);
        let mut rows = Rows::new();
        let changes = replace(&view, &mut rows, &listed());
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].line(&view, NOW), "+ db draining 10.0.0.5:80 x");
        let json = changes[0].json(&view, NOW);
        assert_eq!(
            (
                &json["change"],
                &json["age_seconds"],
                &json["record"]["node"]
            ),
            (&json!("added"), &json!(75), &json!("n1"))
        );
        assert_eq!(
            view.page(&Rows::new(), NOW, Style::default()),
            "no instances of db below /old/, /services/\n"
        );
    }
}
