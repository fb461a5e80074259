//! Pure: rows under heads, as people read them: columns two blanks apart, colours only where they are wanted.

use std::fmt::Write as _;

/// Whether there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) colours: bool,
}

impl Style {
    /// Colours for a person at a terminal who has not refused them: with `NO_COLOR` that is not empty
    /// (no-color.org), or `TERM=dumb`.
    pub(super) fn of(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        Self {
            colours: terminal && !refused && !dumb,
        }
    }
}

/// What a cell means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Warn,
    Bad,
}

/// A text with what it means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Cell {
    /// Control characters are shown as `?`: what stands in a store must not steer a terminal.
    pub(super) fn new(text: &str, tone: Tone) -> Self {
        let shown = |char: char| if char.is_control() { '?' } else { char };
        Self {
            text: text.chars().map(shown).collect(),
            tone,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// The rows under their heads; nothing at all without rows.
pub(super) fn drawn(head: &[&str], rows: &[Vec<Cell>], style: Style) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, name)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|cell| cell.text.chars().count());
            widths.fold(name.len(), usize::max)
        })
        .collect();
    let head: Vec<Cell> = head.iter().map(|name| Cell::from(*name)).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut gap = 0;
        for (cell, width) in row.iter().zip(&widths) {
            if !cell.text.is_empty() {
                text.extend(std::iter::repeat_n(' ', gap));
                gap = 0;
                push(&mut text, cell, style);
            }
            gap += width - cell.text.chars().count() + 2;
        }
        text.push('\n');
    }
    text
}

fn push(text: &mut String, cell: &Cell, style: Style) {
    // SGR codes of ECMA-48: green, yellow, red.
    let code = match cell.tone {
        Tone::Good => 32,
        Tone::Warn => 33,
        Tone::Bad => 31,
        Tone::Plain => 0,
    };
    if style.colours && code != 0 {
        // Writing to a text cannot fail.
        let _ = write!(text, "\x1b[{code}m{}\x1b[0m", cell.text);
    } else {
        text.push_str(&cell.text);
    }
}

/// Seconds as people say them, in one unit: `90s`, `15m`, `30h`, `5d`.
pub(super) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Seconds from an RFC 3339 instant to `now` (nanoseconds since 1970); `None` for what is no instant.
pub(super) fn age(since: &str, now: i64) -> Option<i64> {
    let since = registrator_catalog::timestamp::parse_nanos(since)?;
    Some((now - since).max(0) / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_and_colours_take_no_room() {
        let rows = vec![
            vec![
                Cell::from("web"),
                Cell::new("up", Tone::Good),
                Cell::from("x"),
            ],
            vec![
                Cell::from("database"),
                Cell::new("down", Tone::Bad),
                Cell::from(""),
            ],
        ];
        let head = ["NAME", "STATE", "MORE"];
        assert_eq!(
            drawn(&head, &rows, Style { colours: false }),
            "NAME      STATE  MORE\nweb       up     x\ndatabase  down\n"
        );
        assert_eq!(
            drawn(&head, &rows, Style { colours: true }),
            "NAME      STATE  MORE\nweb       \x1b[32mup\x1b[0m     x\ndatabase  \x1b[31mdown\x1b[0m\n"
        );
        assert_eq!(drawn(&head, &[], Style::default()), "");
        assert_eq!(Cell::from("a\x1b[2Jb\n").text, "a?[2Jb?");
    }

    #[test]
    fn colours_are_for_those_who_look_and_want_them() {
        let with = |name: &'static str, value: &'static str| {
            move |asked: &str| (asked == name).then(|| value.to_owned())
        };
        for (terminal, name, value, colours) in [
            (true, "TERM", "xterm", true),
            (false, "TERM", "xterm", false),
            (true, "TERM", "dumb", false),
            (true, "NO_COLOR", "1", false),
            (true, "NO_COLOR", "", true),
        ] {
            assert_eq!(
                Style::of(terminal, with(name, value)).colours,
                colours,
                "{terminal} {name}={value}"
            );
        }
    }

    #[test]
    fn spans_have_one_unit() {
        for (seconds, text) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_199, "119m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(age("1970-01-01T00:00:10.000Z", 12_500_000_000), Some(2));
        assert_eq!(age("1970-01-01T00:00:10.000Z", 0), Some(0));
        assert_eq!(age("soon", 0), None);
    }
}
