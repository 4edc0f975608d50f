//! What the readers of the tables share: the problems found so far, and the files and secrets that
//! the file names, so that they can be looked at when there is a world to look at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problem::{Collector, Place, Problem, Problems, nearest};
use super::raw::Section;
use super::secret::Reference;
use super::value::{self, Wrong};
use super::{Config, reference};

/// One reading of one file.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) problems: Collector<'a>,
    base: &'a Path,
    pub(super) files: Vec<NamedFile>,
    pub(super) secrets: Vec<(Place, Reference)>,
    pub(super) showable: Showable,
    /// Whether documents that the file names are opened.
    pub(super) opens: bool,
    /// The octets of the documents that were opened.
    pub(super) documents: Vec<u8>,
}

/// What a caller can show at all, as far as the rest of the file says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Showable {
    /// A client certificate.
    pub(super) certificate: bool,
    /// A workload of a trust domain.
    pub(super) workload: bool,
    /// A prompt that somebody trusted vouches for.
    pub(super) prompt: bool,
}

/// A file that the configuration names.
#[derive(Debug)]
pub(super) struct NamedFile {
    pub(super) place: Place,
    pub(super) path: PathBuf,
    /// Whether nobody else should be able to read it.
    pub(super) private: bool,
}

impl<'a> Reading<'a> {
    /// Relative paths will be relative to `base`.
    pub(super) const fn new(text: &'a str, file: &'a Path, base: &'a Path) -> Self {
        let problems = Collector::new(text, file);
        let showable = Showable { certificate: false, workload: false, prompt: false };
        Self {
            problems,
            base,
            files: Vec::new(),
            secrets: Vec::new(),
            showable,
            opens: false,
            documents: Vec::new(),
        }
    }

    /// The value, or a problem at `place`.
    pub(super) fn take<T>(&mut self, place: &Place, read: Result<T, Wrong>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(Wrong { message, hint: Some(hint) }) => {
                self.problems.hint(place, message, hint);
                None
            }
            Err(Wrong { message, hint: None }) => {
                self.problems.add(place, message);
                None
            }
        }
    }

    /// A string of a form; `None` where it is not set, or is wrong, which is reported.
    pub(super) fn one<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let (text, place) = section.text(key)?;
        self.take(&place, read(text))
    }

    /// Strings of a form, and where each is.
    pub(super) fn many<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<(T, Place)> {
        section
            .texts(key)
            .into_iter()
            .filter_map(|(text, place)| Some((self.take(&place, read(text))?, place)))
            .collect()
    }

    /// Reports a list that is written and empty, where that would refuse everything.
    pub(super) fn refuse_none(
        &mut self,
        section: &Section<'_>,
        key: &str,
        message: &str,
        hint: &str,
    ) {
        if section.is_empty_array(key) {
            self.problems.hint(&section.place_of(key), message, hint);
        }
    }

    /// The path of a file that must be there.
    pub(super) fn file(&mut self, section: &Section<'_>, key: &str) -> Option<PathBuf> {
        self.named_file(section, key, false)
    }

    /// The path of a file that must be there, and holds a private key.
    pub(super) fn private_file(&mut self, section: &Section<'_>, key: &str) -> Option<PathBuf> {
        self.named_file(section, key, true)
    }

    fn named_file(&mut self, section: &Section<'_>, key: &str, private: bool) -> Option<PathBuf> {
        let (text, place) = section.text(key)?;
        let path = value::path(text, self.base);
        self.files.push(NamedFile { place, path: path.clone(), private });
        Some(path)
    }

    /// The folder that relative paths are relative to.
    pub(super) const fn base(&self) -> &'a Path {
        self.base
    }

    /// `{ file = "…" }` or `{ env = "…" }`.
    pub(super) fn secret(&mut self, section: &Section<'_>) -> Option<Reference> {
        let file = section.text("file");
        let variable = section.text("env");
        let (reference, place) = match (file, variable) {
            (Some((text, place)), None) => (Reference::File(value::path(text, self.base)), place),
            (None, Some((text, place))) => (Reference::Env(text.into()), place),
            (None, None) if section.has("file") || section.has("env") => return None,
            _ => {
                let message = "exactly one of `file` and `env` says where the secret is";
                self.problems.add(section.place(), message);
                return None;
            }
        };
        self.secrets.push((place, reference.clone()));
        Some(reference)
    }

    /// Reports `what` where `key` was seen before, naming the earlier line.
    pub(super) fn unique(&mut self, seen: &mut Seen, key: String, place: &Place, what: &str) {
        match seen.0.get(&key) {
            Some(line) => {
                self.problems.add(place, format!("{what} is already on line {line}"));
            }
            None => {
                seen.0.insert(key, self.problems.line(place.span.start));
            }
        }
    }

    /// The configuration, or all that is wrong.
    pub(super) fn finish(self, config: Option<Config>, file: &Path) -> Result<Config, Problems> {
        let warnings = self.problems.finish()?;
        let config = config.ok_or_else(|| {
            Problems::one(Problem::of_file(file, "the configuration is not complete".into()))
        })?;
        Ok(Config { warnings, ..config })
    }
}

/// What was seen, and on which line first.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<String, usize>);

/// The names that the tables of an array go by, as written: a table that is wrong elsewhere can still
/// be referred to, so that one mistake is one problem.
#[derive(Debug)]
pub(super) struct Names<'a>(Vec<Option<&'a str>>);

impl<'a> Names<'a> {
    /// The values of `key` in `tables`.
    pub(super) fn of(tables: &[Section<'a>], key: &str) -> Self {
        Self(tables.iter().map(|table| table.text(key).map(|(text, _)| text)).collect())
    }

    /// The index of the table that goes by `name`.
    pub(super) fn find(
        &self,
        name: &str,
        place: &Place,
        what: &str,
        reading: &mut Reading<'_>,
    ) -> Option<usize> {
        let found = self.0.iter().position(|known| *known == Some(name));
        // Where one has no name, or there is none at all, that is the problem, and is reported.
        if found.is_none() && !self.0.is_empty() && self.0.iter().all(Option::is_some) {
            let known: Vec<&str> = self.0.iter().flatten().copied().collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there is {}", reference::list(&known)),
            };
            reading.problems.hint(place, format!("no {what} is `{}`", value::shown(name)), hint);
        }
        found
    }

    /// The name of the table with this index.
    pub(super) fn name(&self, index: usize) -> Option<&'a str> {
        self.0.get(index).copied().flatten()
    }

    /// How many tables there are.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }
}
