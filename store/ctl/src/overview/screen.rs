//! Where pictures go: a page that is drawn anew on a terminal, lines or objects into a pipe.

use std::io::{IsTerminal as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::table::{Cell, Style};
use super::view::{Change, Rows, View};
use crate::failure::Failure;

/// Lines of a terminal that does not say how many it has.
const LINES: usize = 24;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Drawn anew whenever something changes.
    Live(Style),
    /// A page once, or a line for each change.
    Text(Style),
    /// A list once, or an object for each change.
    Json,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    form: Form,
    /// What is wrong, below the page.
    trouble: Option<String>,
}

impl Screen {
    pub(super) fn new(json: bool, live: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let style = Style::of(terminal, |name| std::env::var(name).ok());
        let form = match (json, live && terminal) {
            (true, _) => Form::Json,
            (false, true) => Form::Live(style),
            (false, false) => Form::Text(style),
        };
        Self {
            form,
            trouble: None,
        }
    }

    /// All there is, once.
    pub(super) fn all<V: View>(&mut self, view: &V, rows: &Rows<V::Row>) -> Result<(), Failure> {
        let now = now();
        match self.form {
            Form::Json => {
                let all = rows.values().map(|row| view.json(row, now));
                write(&format!("{}\n", Value::from_iter(all)))
            }
            Form::Live(style) | Form::Text(style) => write(&view.page(rows, now, style)),
        }
    }

    /// What changed, or the page with it.
    pub(super) fn changes<V: View>(
        &mut self,
        view: &V,
        rows: &Rows<V::Row>,
        changes: &[Change<V::Row>],
    ) -> Result<(), Failure> {
        self.trouble = None;
        let now = now();
        let lines: String = match self.form {
            Form::Live(_) => return self.aged(view, rows),
            Form::Text(_) => {
                let lines = changes.iter().map(|change| change.line(view, now));
                lines.map(|line| line + "\n").collect()
            }
            Form::Json => {
                let lines = changes.iter().map(|change| change.json(view, now));
                lines.map(|line| format!("{line}\n")).collect()
            }
        };
        write(&lines)
    }

    /// Time went by, which only a page shows.
    pub(super) fn aged<V: View>(&self, view: &V, rows: &Rows<V::Row>) -> Result<(), Failure> {
        match self.form {
            Form::Live(style) => self.draw(&view.page(rows, now(), style)),
            Form::Text(_) | Form::Json => Ok(()),
        }
    }

    /// The store went away: said below the page, or on standard error.
    pub(super) fn trouble<V: View>(
        &mut self,
        view: &V,
        rows: &Rows<V::Row>,
        why: &str,
    ) -> Result<(), Failure> {
        let why = Cell::from(why).text;
        if let Form::Live(_) = self.form {
            self.trouble = Some(why);
            return self.aged(view, rows);
        }
        if self.trouble.as_ref() != Some(&why) {
            eprintln!("{why}: trying again");
            self.trouble = Some(why);
        }
        Ok(())
    }

    /// A page of its own making: drawn anew, or printed.
    pub(super) fn page(&self, text: impl FnOnce(Style) -> String) -> Result<(), Failure> {
        match self.form {
            Form::Live(style) => self.draw(&text(style)),
            Form::Text(style) => write(&text(style)),
            Form::Json => Ok(()),
        }
    }

    /// Whether pages are drawn anew.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.form, Form::Live(_))
    }

    /// Whether objects are wanted.
    pub(super) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    fn draw(&self, page: &str) -> Result<(), Failure> {
        let lines = rustix::termios::tcgetwinsize(std::io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_row))
            .filter(|lines| *lines > 0);
        let trouble = self.trouble.as_deref();
        write(&fitted(page, trouble, lines.unwrap_or(LINES)))
    }
}

/// A line into a pipe.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|cause| Failure::io(format!("write to stdout: {cause}")))
}

/// Nanoseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(i64::MAX)
}

/// The page from the top left corner on, in so many lines; what stood there before is cleared.
fn fitted(page: &str, trouble: Option<&str>, lines: usize) -> String {
    // Home, and behind each line what is left of the old one (ECMA-48: CUP, EL, ED).
    let mut text = "\x1b[H".to_owned();
    let room = lines.saturating_sub(2);
    let mut all = page.lines();
    for line in all.by_ref().take(room) {
        text.push_str(line);
        text.push_str("\x1b[K\r\n");
    }
    let left = all.count();
    if left > 0 {
        text.push_str(&format!("and {left} more lines\x1b[K"));
    }
    if let Some(trouble) = trouble {
        text.push_str(&format!("  store: {trouble}: trying again\x1b[K"));
    }
    text + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_cut_to_the_terminal() {
        assert_eq!(
            fitted("a\nb\nc\nd\n", None, 4),
            "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nand 2 more lines\x1b[K\x1b[J"
        );
        assert_eq!(
            fitted("a\n", Some("gone"), 24),
            "\x1b[Ha\x1b[K\r\n  store: gone: trying again\x1b[K\x1b[J"
        );
    }
}
