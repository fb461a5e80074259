//! Writes Prometheus' text format.

use std::fmt::{Display, Write as _};

/// A page of metrics under construction.
#[derive(Default)]
pub(super) struct Exposition(String);

/// How a metric moves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
    /// Observations by bucket.
    Histogram,
}

impl Exposition {
    /// Begins a metric; its samples follow.
    pub(super) fn metric(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string does not fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample. Label values are the program's own words and need no escaping.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            debug_assert!(!text.contains(['"', '\\', '\n']), "{label}={text}");
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A metric of one sample.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A histogram of seconds from buckets of microseconds, each counted alone; `counts` has one
    /// more than `bounds_us`, for what lies above all.
    pub(super) fn seconds(
        &mut self,
        name: &str,
        help: &str,
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        self.metric(name, Kind::Histogram, help);
        self.times(name, &[], bounds_us, counts, sum_us);
    }

    /// The samples of one histogram among several that differ by labels; see [`Exposition::seconds`].
    pub(super) fn times(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds_us: &[u64],
        counts: &[u64],
        sum_us: u64,
    ) {
        debug_assert_eq!(counts.len(), bounds_us.len() + 1);
        let bucket = format!("{name}_bucket");
        let mut cumulated = 0;
        for (bound, count) in bounds_us.iter().zip(counts) {
            cumulated += count;
            let le = seconds(*bound).to_string();
            self.sample(&bucket, &[labels, &[("le", &le)]].concat(), cumulated);
        }
        cumulated += counts.last().copied().unwrap_or_default();
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), cumulated);
        self.sample(&format!("{name}_sum"), labels, seconds(sum_us));
        self.sample(&format!("{name}_count"), labels, cumulated);
    }

    /// The page.
    pub(super) fn text(self) -> String {
        self.0
    }
}

fn seconds(us: u64) -> f64 {
    // Exact to 2^53 µs, some 285 years.
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page() {
        let mut page = Exposition::default();
        page.single("up", Kind::Gauge, "It runs.", 1);
        page.metric("calls_total", Kind::Counter, "Calls.");
        page.sample("calls_total", &[("code", "OK"), ("type", "unary")], 3);
        page.seconds("took_seconds", "Time.", &[500, 2000], &[1, 0, 2], 5500);
        page.times("peer_seconds", &[("To", "a")], &[1000], &[1, 1], 3000);
        assert_eq!(
            page.text(),
            "# HELP up It runs.
# TYPE up gauge
up 1
# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{code=\"OK\",type=\"unary\"} 3
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{le=\"0.0005\"} 1
took_seconds_bucket{le=\"0.002\"} 1
took_seconds_bucket{le=\"+Inf\"} 3
took_seconds_sum 0.0055
took_seconds_count 3
peer_seconds_bucket{To=\"a\",le=\"0.001\"} 1
peer_seconds_bucket{To=\"a\",le=\"+Inf\"} 2
peer_seconds_sum{To=\"a\"} 0.003
peer_seconds_count{To=\"a\"} 2
"
        );
    }
}
