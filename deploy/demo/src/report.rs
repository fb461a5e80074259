//! What people read: a heading per step, the registry, the rendered lines, the times, the counts. Owns layout only.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::Count;
use crate::journal::{Way, between};

/// A step's heading.
pub(crate) fn heading(number: usize, title: &str) {
    let rule = "─".repeat(72_usize.saturating_sub(title.chars().count()));
    println!("\n── {number}. {title} {rule}");
}

/// The registry: a line per key with the address out of its record.
pub(crate) fn registry(registry: &BTreeMap<String, String>) {
    println!("registered in the store:");
    for (key, value) in registry {
        println!("  {key}  {}", summary(value));
    }
}

/// A record in short; what is no record is shown as it is.
fn summary(value: &str) -> String {
    let Ok(record) = serde_json::from_str::<serde_json::Value>(value) else {
        return value.to_owned();
    };
    let text = |name: &str| {
        record.get(name).map(|field| {
            field
                .as_str()
                .map_or_else(|| field.to_string(), str::to_owned)
        })
    };
    let parts = [text("address"), text("port"), text("state")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The lines of the rendered file that name servers.
pub(crate) fn upstreams(file: &str) {
    println!("rendered for nginx:");
    for line in crate::journal::server_lines(file) {
        println!("  {line}");
    }
}

/// How long it took from the start of each container to each station.
pub(crate) fn arrivals(ways: &[(String, Way)]) {
    println!(
        "from the start of the container to:     key in store   file on disk   nginx answers from it"
    );
    for (instance, way) in ways {
        println!(
            "  {instance:36} {:>12}   {:>12}   {:>12}",
            ms(between(way.started, way.registered)),
            ms(between(way.started, way.rendered)),
            ms(between(way.started, way.answered)),
        );
    }
}

/// How long it took from the signal to the end.
pub(crate) fn departure(instance: &str, way: &Way) {
    println!(
        "from the signal to the container to:    file on disk without it   last answer from it"
    );
    println!(
        "  {instance:36} {:>23}   {:>19}",
        ms(between(way.signalled, way.unrendered)),
        ms(between(way.signalled, way.answered_last)),
    );
}

/// The client's count of a step.
pub(crate) fn requests(count: &Count) {
    println!(
        "requests meanwhile: {} answered, {} failed; slowest quick one {}",
        count.answered,
        count.failed,
        ms(Some(count.slowest))
    );
    for failure in &count.failures {
        println!("  failed: {failure}");
    }
}

fn ms(span: Option<Duration>) -> String {
    span.map_or_else(
        || "not seen".to_owned(),
        |span| format!("{:.1} ms", span.as_secs_f64() * 1e3),
    )
}
