//! A line of JSON for each event, with the names and levels of etcd's own log: `level`, `ts`, `logger`,
//! `msg`, and what belongs to the event.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// The form.
pub(super) struct AsEtcd;

impl<S, N> FormatEvent<S, N> for AsEtcd
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Line(Map::new());
        line.0
            .insert("level".into(), level(*event.metadata().level()).into());
        line.0.insert("ts".into(), time.into());
        line.0
            .insert("logger".into(), event.metadata().target().into());
        // In front, though it may come last.
        line.0.insert("msg".into(), "".into());
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

/// etcd has no level below debug.
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = match field.name() {
            "message" => "msg",
            // A field of ours does not hide what every line has.
            "level" | "ts" | "logger" | "msg" => return,
            name => name,
        };
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_etcd_s_names() {
        let kept = Kept::default();
        let out = kept.clone();
        let log = tracing_subscriber::fmt()
            .event_format(AsEtcd)
            .with_writer(move || out.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(member = 7, name = "a \"b\"", "it {}", "happened");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "warn");
        assert_eq!(line["msg"], "it happened");
        assert_eq!(line["member"], 7);
        assert_eq!(line["name"], "a \"b\"");
        assert!(line["ts"].as_str().unwrap().ends_with('Z'), "{text}");
        assert!(text.starts_with("{\"level\":\"warn\",\"ts\":"), "{text}");
    }
}
