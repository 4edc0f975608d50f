//! What is wrong with a configuration, where, and what to do about it; shown as a compiler shows it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong, or doubtful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from one; zero where the file could not be read at all.
    pub line: usize,
    /// The column in characters, from one.
    pub column: usize,
    /// The key: `resource[0].operation[2].path`; empty for what concerns the file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line of the file and how many characters of it are meant; `None` where it may hold a secret.
    excerpt: Option<(String, usize)>,
}

impl Problem {
    /// A problem of the file as a whole: it cannot be read.
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            message,
            hint: None,
            excerpt: None,
        }
    }

    /// Whether both say the same of the same place.
    fn same_place(&self, other: &Self) -> bool {
        (self.line, self.column, &self.key, &self.message)
            == (other.line, other.column, &other.key, &other.message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)?;
        if let Some((line, width)) = &self.excerpt {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(self.column.saturating_sub(1));
            write!(f, "\n{number} | {line}\n{margin} | {indent}{}", "^".repeat(*width))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  = {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems.
    pub fn all(&self) -> &[Problem] {
        &self.0
    }

    pub(super) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A place in the file: the key, and the bytes that are meant.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) key: String,
    pub(super) span: Range<usize>,
}

/// Collects problems and warnings, and knows the text they are about.
#[derive(Debug)]
pub(super) struct Collector<'a> {
    text: &'a str,
    file: &'a Path,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Collector<'a> {
    pub(super) const fn new(text: &'a str, file: &'a Path) -> Self {
        Self { text, file, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Something is wrong.
    pub(super) fn add(&mut self, place: &Place, message: impl Into<String>) {
        let problem = self.problem(place, message.into(), None);
        self.problems.push(problem);
    }

    /// Something is wrong, and this is what to do about it.
    pub(super) fn hint(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = self.problem(place, message.into(), Some(hint.into()));
        self.problems.push(problem);
    }

    /// Something works, and is probably not meant.
    pub(super) fn warn(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let warning = self.problem(place, message.into(), Some(hint.into()));
        self.warnings.push(warning);
    }

    /// The line, from one, on which the byte `offset` is.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    /// The warnings when nothing is wrong, else everything that is, in the order of the file.
    pub(super) fn finish(mut self) -> Result<Vec<Problem>, Problems> {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        self.warnings.sort_by_key(|warning| (warning.line, warning.column));
        self.problems.dedup_by(|one, other| one.same_place(other));
        if self.problems.is_empty() { Ok(self.warnings) } else { Err(Problems(self.problems)) }
    }

    fn problem(&self, place: &Place, message: String, hint: Option<String>) -> Problem {
        let start = self.text.floor_char_boundary(place.span.start);
        let before = self.text.get(..start).unwrap_or_default();
        let from = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(from..).unwrap_or_default().chars().count() + 1;
        let line = self.text.get(from..).unwrap_or_default().lines().next().unwrap_or_default();
        let end = self.text.floor_char_boundary(place.span.end.max(start));
        let meant = self.text.get(start..end).unwrap_or_default().lines().next();
        let width = meant.unwrap_or_default().chars().count().max(1);
        Problem {
            file: self.file.to_owned(),
            line: self.line(start),
            column,
            key: place.key.clone(),
            message,
            hint,
            excerpt: printable(line).map(|line| (line, width)),
        }
    }
}

/// The line as it may be shown: `None` where it is too long to help, or may hold a secret that was
/// written into the file against the rule, because problems end up in logs.
fn printable(line: &str) -> Option<String> {
    const LONGEST: usize = 160;
    const TELLING: [&str; 5] = ["secret", "credential", "password", "scheme", "tag_key"];
    let lower = line.to_ascii_lowercase();
    // Before an `@` there may be the password of a URL.
    let telling = line.contains('@') || TELLING.iter().any(|word| lower.contains(word));
    if line.trim().is_empty() || line.len() > LONGEST || telling {
        return None;
    }
    Some(line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

/// The known name nearest to `unknown`, when one is near enough to be what was meant.
pub(super) fn nearest<'a>(
    unknown: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const NEAR: f64 = 0.8;
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}
