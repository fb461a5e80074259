//! A report as a picture: for each case, how many times etcd's figure ours is.
//!
//! Bars are on a logarithmic scale around 1, so that twice as much and half as much are equally long; green is better
//! than etcd, red is worse. SVG is text: a difference between two runs is seen in the diff as well.

use std::fmt::Write;

use super::{Report, Row};
use crate::contender::Contender;

/// Pixels.
const ROW: f64 = 20.0;
const NAMES: f64 = 230.0;
const COLUMN: f64 = 230.0;
const TOP: f64 = 56.0;
/// The scale ends at 16 times and at a sixteenth; what is beyond is cut off, its number says so.
const DOUBLINGS: f64 = 4.0;
const BETTER: &str = "#2e7d32";
const WORSE: &str = "#c62828";

/// One figure of a row.
struct Column {
    title: &'static str,
    of: fn(&Row) -> f64,
    more_is_better: bool,
}

const COLUMNS: [Column; 4] = [
    Column {
        title: "operations per second (more is better)",
        of: |row| row.rate,
        more_is_better: true,
    },
    Column {
        title: "99th percentile (less is better)",
        of: |row| row.p99_us,
        more_is_better: false,
    },
    Column {
        title: "CPU per operation (less is better)",
        of: |row| row.cpu_us,
        more_is_better: false,
    },
    Column {
        title: "resident memory (less is better)",
        of: |row| row.resident_mib,
        more_is_better: false,
    },
];

/// The picture; without rows of both nothing but its head.
pub(crate) fn plot(report: &Report) -> String {
    let pairs: Vec<(&Row, &Row)> = report
        .rows
        .iter()
        .filter(|row| row.contender == Contender::Muster)
        .filter_map(|row| Some((row, report.beside(row, Contender::Etcd)?)))
        .collect();
    let width = NAMES + COLUMN * COLUMNS.len() as f64;
    let height = TOP + ROW * pairs.len() as f64 + 8.0;
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = write_head(&mut out, report, width, height);
    for (index, (ours, theirs)) in pairs.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let _ = write_row(&mut out, y, ours, theirs);
    }
    out.push_str("</svg>\n");
    out
}

fn write_head(out: &mut String, report: &Report, width: f64, height: f64) -> std::fmt::Result {
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">"#
    )?;
    writeln!(
        out,
        r#"<rect width="{width}" height="{height}" fill="white"/>"#
    )?;
    writeln!(
        out,
        r#"<text x="8" y="18" font-size="14">muster in terms of etcd, {} (commit {})</text>"#,
        escaped(&report.date),
        escaped(&report.commit)
    )?;
    for (index, column) in COLUMNS.iter().enumerate() {
        let middle = middle(index);
        writeln!(
            out,
            r#"<text x="{middle}" y="42" text-anchor="middle">{}</text>"#,
            column.title
        )?;
        writeln!(
            out,
            r##"<line x1="{middle}" y1="48" x2="{middle}" y2="{height}" stroke="#888"/>"##
        )?;
    }
    Ok(())
}

fn write_row(out: &mut String, y: f64, ours: &Row, theirs: &Row) -> std::fmt::Result {
    writeln!(
        out,
        r#"<text x="8" y="{:.0}">{}, {}</text>"#,
        y + 14.0,
        escaped(&ours.case),
        ours.mode.name()
    )?;
    for (index, column) in COLUMNS.iter().enumerate() {
        let ratio = (column.of)(ours) / (column.of)(theirs);
        // A figure that a case does not have is 0 on one side or on both.
        if !ratio.is_finite() || ratio <= 0.0 {
            continue;
        }
        let bar = Bar::new(middle(index), ratio);
        let colour = match (ratio >= 1.0) == column.more_is_better {
            true => BETTER,
            false => WORSE,
        };
        writeln!(
            out,
            r#"<rect x="{:.1}" y="{:.0}" width="{:.1}" height="14" fill="{colour}"/>"#,
            bar.x,
            y + 3.0,
            bar.width
        )?;
        let (x, anchor) = match ratio >= 1.0 {
            true => (bar.x - 4.0, "end"),
            false => (bar.x + bar.width + 4.0, "start"),
        };
        writeln!(
            out,
            r#"<text x="{x:.1}" y="{:.0}" text-anchor="{anchor}">{ratio:.2}×</text>"#,
            y + 14.0
        )?;
    }
    Ok(())
}

/// Where 1 stands in a column.
fn middle(index: usize) -> f64 {
    NAMES + COLUMN * (index as f64 + 0.5)
}

struct Bar {
    x: f64,
    width: f64,
}

impl Bar {
    /// From 1 to `ratio`.
    fn new(middle: f64, ratio: f64) -> Self {
        let half = COLUMN / 2.0 - 8.0;
        let length = (ratio.log2() / DOUBLINGS).clamp(-1.0, 1.0) * half;
        Self {
            x: middle + length.min(0.0),
            width: length.abs(),
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cores::Mode;
    use crate::report::tests::{report, row};

    #[test]
    fn bars_lead_from_one_to_the_ratio() {
        for (ratio, left, right) in [
            (1.0, 0.0, 0.0),
            (2.0, 0.0, 0.25),
            (0.5, -0.25, 0.0),
            (16.0, 0.0, 1.0),
            (1e9, 0.0, 1.0),
            (1e-9, -1.0, 0.0),
        ] {
            let half = COLUMN / 2.0 - 8.0;
            let bar = Bar::new(100.0, ratio);
            assert!((bar.x - (100.0 + left * half)).abs() < 1e-9, "{ratio}");
            assert!(
                (bar.x + bar.width - (100.0 + right * half)).abs() < 1e-9,
                "{ratio}"
            );
        }
    }

    #[test]
    fn better_is_green_whichever_way_it_goes() {
        let mut ours = row("put", Mode::Free, Contender::Muster);
        let theirs = row("put", Mode::Free, Contender::Etcd);
        ours.rate = theirs.rate * 2.0;
        ours.p99_us = theirs.p99_us * 2.0;
        ours.cpu_us = theirs.cpu_us / 2.0;
        ours.resident_mib = 0.0;
        let alone = row("sync", Mode::Free, Contender::Disk);
        let text = plot(&report(vec![theirs, ours, alone]));
        assert_eq!(text.matches(BETTER).count(), 2, "{text}");
        assert_eq!(text.matches(WORSE).count(), 1, "{text}");
        assert_eq!(text.matches("2.00×").count(), 2, "{text}");
        assert!(!text.contains("sync"), "{text}");
        assert_eq!(escaped("a<b&c"), "a&lt;b&amp;c");
    }
}
