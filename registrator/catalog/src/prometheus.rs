//! Scrape targets as Prometheus reads them, over HTTP (`http_sd`) or from a file (`file_sd`): one JSON
//! list with everything, or Prometheus keeps what it had.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use crate::record::{Proto, Record, State};

/// Labels with this in front are for relabelling; Prometheus drops them afterwards.
const META: &str = "__meta_muster_";
/// Attributes with a meaning to Prometheus: `SERVICE_METRICS_PATH` and `SERVICE_METRICS_SCHEME`.
const PATH: &str = "metrics_path";
/// See [`PATH`].
const SCHEME: &str = "metrics_scheme";

#[derive(Serialize)]
struct Group<'a> {
    targets: [String; 1],
    labels: BTreeMap<String, &'a str>,
}

/// The list for `records`: every TCP port that is up, starting or down (a failing target must be
/// seen to fail), in order of service and instance. Attributes that would make Prometheus refuse the
/// list are left out.
#[must_use]
pub fn targets<'a>(records: impl IntoIterator<Item = &'a Record>) -> String {
    let mut records: Vec<&Record> = records.into_iter().filter(|r| is_target(r)).collect();
    records.sort_by(|a, b| (&a.name, &a.instance).cmp(&(&b.name, &b.instance)));
    let texts: Vec<(String, String)> = records
        .iter()
        .map(|record| {
            let tags = format!(",{},", record.tags.join(","));
            (record.state.to_string(), tags)
        })
        .collect();
    let groups: Vec<Group<'_>> = records
        .iter()
        .zip(&texts)
        .map(|(record, (state, tags))| Group {
            targets: [SocketAddr::new(record.address, record.port).to_string()],
            labels: labels(record, state, tags),
        })
        .collect();
    // Texts and maps with text keys always have a JSON form.
    serde_json::to_string(&groups).unwrap_or_else(|_| "[]".to_owned())
}

fn is_target(record: &Record) -> bool {
    record.proto == Proto::Tcp
        && !record.address.is_unspecified()
        && matches!(record.state, State::Up | State::Starting | State::Down)
}

fn labels<'a>(record: &'a Record, state: &'a str, tags: &'a str) -> BTreeMap<String, &'a str> {
    let mut labels = BTreeMap::from([("job".to_owned(), record.name.as_str())]);
    let mut meta = |name: &str, value: &'a str| labels.insert(format!("{META}{name}"), value);
    meta("service", &record.name);
    meta("instance", &record.instance);
    meta("node", &record.node);
    meta("port_name", &record.port_name);
    meta("state", state);
    if !record.tags.is_empty() {
        // Commas at both ends, as Prometheus' own Consul discovery has them: `.*,blue,.*` matches.
        meta("tags", tags);
    }
    if let Some(container) = &record.container {
        meta("container", &container.name);
        meta("image", &container.image);
    }
    for (name, value) in &record.meta {
        meta(&format!("meta_{}", label_name(name)), value);
    }
    if let Some(path) = record.meta.get(PATH).filter(|path| path.starts_with('/')) {
        labels.insert("__metrics_path__".to_owned(), path);
    }
    if let Some(scheme) = record.meta.get(SCHEME)
        && matches!(scheme.as_str(), "http" | "https")
    {
        labels.insert("__scheme__".to_owned(), scheme);
    }
    labels
}

/// What may follow in a label's name: letters, digits and underscores.
fn label_name(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{any_record, example};
    use proptest::prelude::*;

    #[test]
    fn the_form_is_fixed() {
        let mut record = example();
        record.meta = [
            ("metrics_path", "/up"),
            ("metrics_scheme", "gopher"),
            ("a.b", "é"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        assert_eq!(
            targets([&record]),
            concat!(
                r#"[{"targets":["10.0.0.5:32768"],"labels":{"__meta_muster_container":"web","#,
                r#""__meta_muster_image":"nginx:1.27","#,
                r#""__meta_muster_instance":"node-1-0123456789ab-80","#,
                r#""__meta_muster_meta_a_b":"é","__meta_muster_meta_metrics_path":"/up","#,
                r#""__meta_muster_meta_metrics_scheme":"gopher","__meta_muster_node":"node-1","#,
                r#""__meta_muster_port_name":"80","__meta_muster_service":"web","#,
                r#""__meta_muster_state":"up","__meta_muster_tags":",blue,a,b,","#,
                r#""__metrics_path__":"/up","job":"web"}}]"#
            )
        );
        assert_eq!(targets([]), "[]");
    }

    #[test]
    fn what_fails_is_shown_and_what_leaves_is_not() {
        let mut record = example();
        for (state, shown) in [
            (State::Up, true),
            (State::Starting, true),
            (State::Down, true),
            (State::Draining, false),
            (State::Maintenance, false),
        ] {
            record.state = state;
            assert_eq!(targets([&record]) != "[]", shown, "{state}");
        }
    }

    proptest! {
        #[test]
        fn prometheus_takes_all_of_it(records in prop::collection::vec(any_record(), 0..4)) {
            let list: serde_json::Value = serde_json::from_str(&targets(&records)).unwrap();
            let groups = list.as_array().unwrap();
            prop_assert_eq!(groups.len(), records.iter().filter(|r| is_target(r)).count());
            for group in groups {
                prop_assert!(group["targets"][0].as_str().unwrap().parse::<SocketAddr>().is_ok());
                for (name, value) in group["labels"].as_object().unwrap() {
                    prop_assert!(value.is_string());
                    prop_assert!(!name.is_empty() && !name.as_bytes()[0].is_ascii_digit());
                    prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
                }
            }
        }
    }
}
