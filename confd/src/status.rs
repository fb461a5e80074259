//! What the running agent says about itself: to `muster up`, on `/status`, and as metrics.

use serde::Serialize;

/// The whole agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// True once every resource has been applied at least once since the start. A fault after that does not take it
    /// back: the last good files stay in force, see [`Resource::stale`].
    pub ready: bool,
    /// The source of keys.
    pub source: Source,
    /// All resources, by name.
    pub resources: Vec<Resource>,
    /// What is wrong with the agent itself, one line each.
    pub problems: Vec<String>,
    /// With `onetime`: whether all went well, as soon as that is known.
    pub finished: Option<bool>,
}

/// The source of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The member in use; `None` while there is no connection.
    pub endpoint: Option<String>,
    /// Revision up to which all keys are known; 0 before the first listing.
    pub revision: i64,
    /// Why there is no connection, or why the last one ended.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Complete listings read, the first included.
    pub listings: u64,
    /// Reconnects that went on without reading again.
    pub resumes: u64,
}

/// One resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// Name of its file in `conf.d`.
    pub name: String,
    /// `broken`, `waiting`, `current`, `quiet`, `working`, `retrying` or `rolled-back`.
    pub state: &'static str,
    /// The file it keeps; empty for a broken resource.
    pub dest: String,
    /// Revision up to which the file is known to be right.
    pub revision: i64,
    /// When the last pass succeeded, in milliseconds since 1970.
    pub succeeded_unix_ms: Option<u64>,
    /// Why the file may be older than the keys.
    pub stale: Option<Stale>,
    /// A newer version of the resource or template that cannot be used.
    pub load_fault: Option<Problem>,
    /// Why the last pass ran.
    pub because: String,
    /// Failed passes since the last good one.
    pub attempts: u32,
    /// SHA-256 of the content put in place last.
    pub applied: Option<String>,
    /// SHA-256 of the content the service is proven to run on.
    pub reloaded: Option<String>,
    /// Times content was put in place, over all lives.
    pub generation: u64,
    /// Passes since the start.
    pub passes: u64,
    /// Files put in place since the start.
    pub replaced: u64,
    /// Successful reloads since the start.
    pub reloads: u64,
    /// Failed passes since the start.
    pub failed: u64,
    /// Times older content was put back since the start.
    pub rolled_back: u64,
    /// What the last pass left out or did not do as wished.
    pub notes: Vec<String>,
    /// With `noop`: whether the file would change.
    pub would_change: bool,
    /// Whether it tells a service of its own, rather than the one that confd keeps.
    #[serde(skip)]
    pub told: bool,
}

/// Why a file is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stale {
    /// The step that failed: `render`, `stage`, `check`, `replace`, `reload`, `verify` or `restore`.
    pub step: &'static str,
    /// The fault.
    #[serde(flatten)]
    pub problem: Problem,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// A fault in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Status {
    /// The status as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The status in the text format of Prometheus.
    pub fn to_metrics(&self) -> String {
        let mut text = Metrics::default();
        let flag = |on: bool| u64::from(on);
        text.add(
            "confd_ready",
            "gauge",
            "1 once every resource was applied",
            [(String::new(), flag(self.ready))],
        );
        let source = &self.source;
        for (name, kind, help, value) in [
            (
                "confd_source_connected",
                "gauge",
                "1 while the store is connected",
                flag(source.endpoint.is_some()),
            ),
            (
                "confd_source_revision",
                "gauge",
                "Revision up to which keys are known",
                unsigned(source.revision),
            ),
            (
                "confd_source_listings_total",
                "counter",
                "Complete listings read",
                source.listings,
            ),
            (
                "confd_source_resumes_total",
                "counter",
                "Reconnects without reading again",
                source.resumes,
            ),
        ] {
            text.add(name, kind, help, [(String::new(), value)]);
        }
        let each = |value: fn(&Resource) -> u64| {
            self.resources.iter().map(move |resource| {
                (
                    format!("{{resource={}}}", label(&resource.name)),
                    value(resource),
                )
            })
        };
        text.add(
            "confd_resource_revision",
            "gauge",
            "Revision up to which the file is right",
            each(|r| unsigned(r.revision)),
        );
        text.add(
            "confd_resource_stale",
            "gauge",
            "1 while the last pass failed",
            each(|r| u64::from(r.stale.is_some())),
        );
        text.add(
            "confd_resource_load_fault",
            "gauge",
            "1 while the resource or template on disk cannot be used",
            each(|r| u64::from(r.load_fault.is_some())),
        );
        text.add(
            "confd_resource_attempts",
            "gauge",
            "Failed passes since the last good one",
            each(|r| u64::from(r.attempts)),
        );
        text.add(
            "confd_resource_last_success_timestamp_seconds",
            "gauge",
            "When the last pass succeeded",
            each(|r| r.succeeded_unix_ms.unwrap_or_default() / 1000),
        );
        text.add(
            "confd_resource_passes_total",
            "counter",
            "Passes begun",
            each(|r| r.passes),
        );
        text.add(
            "confd_resource_replaced_total",
            "counter",
            "Files put in place",
            each(|r| r.replaced),
        );
        text.add(
            "confd_resource_reloads_total",
            "counter",
            "Successful reloads",
            each(|r| r.reloads),
        );
        text.add(
            "confd_resource_failed_total",
            "counter",
            "Failed passes",
            each(|r| r.failed),
        );
        text.add(
            "confd_resource_rolled_back_total",
            "counter",
            "Times older content was put back",
            each(|r| r.rolled_back),
        );
        text.text
    }
}

#[derive(Default)]
struct Metrics {
    text: String,
}

impl Metrics {
    fn add(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.text
            .push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in values {
            self.text.push_str(&format!("{name}{labels} {value}\n"));
        }
    }
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

fn label(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_lines_of_name_labels_and_value() {
        let resource = Resource {
            told: false,
            name: "a\"b".to_owned(),
            state: "retrying",
            dest: "/d".to_owned(),
            revision: 7,
            succeeded_unix_ms: Some(1_500),
            stale: Some(Stale {
                step: "check",
                problem: Problem {
                    message: "m".to_owned(),
                    hint: None,
                },
                since_unix_ms: 1,
            }),
            load_fault: None,
            because: "/a changed at revision 7".to_owned(),
            attempts: 3,
            applied: None,
            reloaded: None,
            generation: 1,
            passes: 5,
            replaced: 1,
            reloads: 1,
            failed: 3,
            rolled_back: 0,
            notes: vec![],
            would_change: false,
        };
        let status = Status {
            ready: true,
            resources: vec![resource],
            ..Status::default()
        };
        let metrics = status.to_metrics();
        for line in [
            "confd_ready 1",
            "confd_resource_stale{resource=\"a\\\"b\"} 1",
            "confd_resource_attempts{resource=\"a\\\"b\"} 3",
            "confd_resource_last_success_timestamp_seconds{resource=\"a\\\"b\"} 1",
            "# TYPE confd_resource_failed_total counter",
        ] {
            assert!(
                metrics.lines().any(|have| have == line),
                "{line}\n{metrics}"
            );
        }
        assert!(status.to_json().contains("\"step\": \"check\""));
    }
}
