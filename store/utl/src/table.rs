//! How one row of findings is printed: etcdutl's forms.

use std::io::Write as _;

use crate::failure::Failure;

/// What was found, in each form.
pub(crate) struct Row<'a> {
    /// Over the columns of the table.
    pub(crate) names: &'a [&'a str],
    /// Before the lines of `fields`.
    pub(crate) fields: &'a [&'a str],
    /// For people.
    pub(crate) cells: &'a [String],
    /// For scripts.
    pub(crate) numbers: &'a [i64],
    /// For programs.
    pub(crate) json: serde_json::Value,
}

/// Prints it.
pub(crate) fn print(format: &str, row: &Row<'_>) -> Result<(), Failure> {
    let text = match format {
        "simple" => row.cells.join(", ") + "\n",
        "json" => row.json.to_string() + "\n",
        "fields" => {
            let lines = row.fields.iter().zip(row.numbers);
            lines
                .map(|(name, number)| format!("\"{name}\" : {number}\n"))
                .collect()
        }
        "table" => {
            let names: Vec<String> = row.names.iter().map(|name| name.to_uppercase()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            drawn(&names, &[row.cells.to_vec()])
        }
        "protobuf" => {
            return Err(Failure::bad_feature(
                "protobuf not supported as output format",
            ));
        }
        _ => return Err(Failure::bad_feature("unsupported output format")),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|cause| Failure::of("write to stdout", &cause))
}

/// Rows with borders, under their heads.
#[must_use]
pub fn drawn(head: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, name)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .fold(name.len(), usize::max)
        })
        .collect();
    let mut rule = String::from("+");
    let mut titles = String::from("|");
    for (name, width) in head.iter().zip(&widths) {
        rule.push_str(&format!("{:-<1$}+", "", width + 2));
        titles.push_str(&format!(" {name:^width$} |"));
    }
    let mut out = format!("{rule}\n{titles}\n{rule}\n");
    for row in rows {
        out.push('|');
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(&format!(" {cell:>width$} |"));
        }
        out.push('\n');
    }
    out.push_str(&rule);
    out.push('\n');
    out
}

/// `1.5 MB`: powers of 1000, one decimal below ten.
#[allow(
    clippy::cast_precision_loss,
    reason = "it is rounded to two digits anyway"
)]
#[must_use]
pub fn size(bytes: i64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while value >= 1000.0 {
        let Some(larger) = units.next() else { break };
        value /= 1000.0;
        unit = larger;
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_etcdctl_rounds_them() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (20_480, "20 kB"),
            (24_576, "25 kB"),
            (1_550_000, "1.6 MB"),
            (2_147_483_648, "2.1 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
