//! What the command line writes to people and programs, and the only place that writes it.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, Write};

/// Writes to standard output. A reader that has gone away is no failure: it has seen enough.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes a line to standard error. Where even that fails, there is nobody left to tell.
pub fn complain(text: &str) {
    writeln!(io::stderr().lock(), "{text}").unwrap_or(());
}

/// Whether standard output is a terminal whose user has not declined color (<https://no-color.org>).
pub fn is_colored() -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    io::stdout().is_terminal() && !declined && !dumb
}

/// `text` with every control character, and every mark that changes the direction of writing, escaped:
/// what was read from a token or a file must not be able to act on a terminal.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || turns {
            write!(safe, "{}", c.escape_unicode()).unwrap_or(());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// How a word is shown where there is color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Something is wrong.
    Bad,
    /// A label.
    Faint,
    /// All is well.
    Good,
    /// Worth a look.
    Warn,
}

/// Marks up text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    colored: bool,
}

impl Paint {
    /// Marks up only where `colored`.
    pub const fn new(colored: bool) -> Self {
        Self { colored }
    }

    /// `text` in `style`.
    pub fn paint(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Bad => "31",
            Style::Faint => "2",
            Style::Good => "32",
            Style::Warn => "33",
        };
        if self.colored { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Rows of a label and a value, the values aligned. A row without a label continues the one above.
#[derive(Debug)]
pub struct Rows {
    paint: Paint,
    rows: Vec<(String, String)>,
}

impl Rows {
    /// No rows yet.
    pub const fn new(paint: Paint) -> Self {
        Self { paint, rows: Vec::new() }
    }

    /// Adds a row. `value` is shown as it is: what is not ours must be [`escaped`] before.
    pub fn add(&mut self, label: &str, value: impl Into<String>) {
        self.rows.push((label.to_owned(), value.into()));
    }

    /// Adds rows of one label, which only the first shows.
    pub fn add_all(&mut self, label: &str, values: impl IntoIterator<Item = String>) {
        for (n, value) in values.into_iter().enumerate() {
            self.add(if n == 0 { label } else { "" }, value);
        }
    }

    /// The rows as text.
    pub fn text(&self) -> String {
        let width = self.rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (label, value) in &self.rows {
            let label = self.paint.paint(Style::Faint, &format!("{label:<width$}"));
            writeln!(text, "{label}  {value}").unwrap_or(());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_cannot_act_on_a_terminal() {
        assert_eq!(escaped("a\u{1b}[2Jb\n\u{202e}ü"), "a\\u{1b}[2Jb\\u{a}\\u{202e}ü");
    }

    #[test]
    fn rows_are_aligned_and_colored_only_on_request() {
        let mut rows = Rows::new(Paint::new(false));
        rows.add("a", "1");
        rows.add_all("long", ["2".to_owned(), "3".to_owned()]);
        assert_eq!(rows.text(), "a     1\nlong  2\n      3\n");
        assert!(Paint::new(true).paint(Style::Bad, "x").contains('\u{1b}'));
    }
}
