//! The figures of a whole run: rows with their ratios, and the two forms they are written in.

mod machine;
mod markdown;
mod plot;

use serde::{Deserialize, Serialize};

pub(crate) use machine::{Machine, today};
pub(crate) use markdown::{DocumentError, insert, tables};
pub(crate) use plot::plot;

use crate::cases::{Case, Settings};
use crate::contender::Contender;
use crate::cores::Mode;
use crate::sample::Summary;

/// Everything a reader needs to judge the figures, and to get them again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Day, UTC.
    pub(crate) date: String,
    /// Commit measured; with a mark if files were changed since.
    pub(crate) commit: String,
    /// Command line.
    pub(crate) command: String,
    /// Something that disturbed the figures; empty if nothing is known.
    pub(crate) note: String,
    /// Where.
    pub(crate) machine: Machine,
    /// What the programs say they are.
    pub(crate) versions: Vec<String>,
    /// How much of everything.
    pub(crate) settings: Settings,
    /// Runs per row.
    pub(crate) rounds: usize,
    /// The figures.
    pub(crate) rows: Vec<Row>,
}

/// One case, one way of sharing the machine, one contender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The case's name.
    pub(crate) case: String,
    /// How the machine was shared.
    pub(crate) mode: Mode,
    /// Who was measured.
    pub(crate) contender: Contender,
    /// Operations per second, median of the runs.
    pub(crate) rate: f64,
    /// Slowest and fastest run.
    pub(crate) rate_bounds: (f64, f64),
    /// Median latency in microseconds.
    pub(crate) p50_us: f64,
    /// 99th percentile.
    pub(crate) p99_us: f64,
    /// 99.9th percentile.
    pub(crate) p999_us: f64,
    /// Server CPU per operation, in microseconds.
    pub(crate) cpu_us: f64,
    /// Resident memory of the server at the end, in MiB.
    pub(crate) resident_mib: f64,
    /// Peak.
    pub(crate) peak_mib: f64,
    /// Bytes that went to the device per operation.
    pub(crate) written_bytes: f64,
    /// Share of one core the generator used; near 1 it was the bottleneck.
    pub(crate) generator_share: f64,
    /// Operations refused.
    pub(crate) refusals: u64,
    /// Cores that everything else on the machine kept busy in the most disturbed run.
    pub(crate) others_cores: f64,
}

impl Row {
    /// The row of a summary.
    pub(crate) fn new(case: &Case, mode: Mode, contender: Contender, summary: &Summary) -> Row {
        let micros = |quantile| summary.quantile(quantile) as f64 / 1000.0;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Row {
            case: case.name.to_owned(),
            mode,
            contender,
            rate: summary.rate,
            rate_bounds: summary.rate_bounds,
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            cpu_us: summary.server_nanos_per_operation() / 1000.0,
            resident_mib: mib(summary.server.resident_bytes),
            peak_mib: mib(summary.server.peak_bytes),
            written_bytes: summary.written_bytes as f64 / summary.operations.max(1) as f64,
            generator_share: summary.generator_share(),
            refusals: summary.refusals,
            others_cores: summary.others_cores,
        }
    }
}

impl Report {
    /// The row of `contender` beside `row`.
    pub(crate) fn beside(&self, row: &Row, contender: Contender) -> Option<&Row> {
        self.rows.iter().find(|other| {
            other.case == row.case && other.mode == row.mode && other.contender == contender
        })
    }

    /// Cases in the order they were run, each with its rows.
    pub(crate) fn by_case(&self) -> Vec<(&str, Vec<&Row>)> {
        let mut cases: Vec<(&str, Vec<&Row>)> = Vec::new();
        for row in &self.rows {
            match cases.iter_mut().find(|(case, _)| *case == row.case) {
                Some((_, rows)) => rows.push(row),
                None => cases.push((&row.case, vec![row])),
            }
        }
        cases
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row whose figures are all 1.
    pub(crate) fn row(case: &str, mode: Mode, contender: Contender) -> Row {
        Row {
            case: case.to_owned(),
            mode,
            contender,
            rate: 1.0,
            rate_bounds: (1.0, 1.0),
            p50_us: 1.0,
            p99_us: 1.0,
            p999_us: 1.0,
            cpu_us: 1.0,
            resident_mib: 1.0,
            peak_mib: 1.0,
            written_bytes: 1.0,
            generator_share: 0.1,
            refusals: 0,
            others_cores: 0.0,
        }
    }

    /// A report of these rows.
    pub(crate) fn report(rows: Vec<Row>) -> Report {
        Report {
            date: today(),
            commit: String::new(),
            command: String::new(),
            note: String::new(),
            machine: Machine::this(std::path::Path::new("/")),
            versions: Vec::new(),
            settings: Settings {
                clients: 1,
                connections: 1,
                key_bytes: 8,
                value_bytes: 8,
                keys: 1,
                warm_up_ms: 0,
                measured_ms: 1,
            },
            rounds: 1,
            rows,
        }
    }
}
