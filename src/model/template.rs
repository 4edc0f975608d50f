//! Path templates: `/orders/{id}` is the glob `/orders/*`, and gives what stands there a name
//! (OpenAPI 3.1 §4.8.8).

use std::collections::HashSet;

use super::pattern::{Pattern, PatternError};

/// A parameter of a template: which segment of a path is its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: Box<str>,
    /// Whether its value is a whole number, and no other text.
    pub whole: bool,
    segment: usize,
    prefix: Box<str>,
    suffix: Box<str>,
}

/// Why a text is not a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace that does not open or close a name.
    #[error("`{{` and `}}` enclose the name of a parameter, which is not empty")]
    Brace,
    /// Two parameters in one segment.
    #[error("a segment can hold one parameter: where two meet cannot be told")]
    Crowded,
    /// The same name twice.
    #[error("two parameters have one name")]
    Duplicate,
    /// Not a path glob.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl Parameter {
    /// Its value in the decoded canonical path `path`, which its template matches.
    pub fn value<'p>(&self, path: &'p str) -> Option<&'p str> {
        let segment = path.strip_prefix('/')?.split('/').nth(self.segment)?;
        self.within(segment)
    }

    /// Its value in one decoded segment, where that has it.
    pub fn within<'s>(&self, segment: &'s str) -> Option<&'s str> {
        let value = segment.strip_prefix(&*self.prefix)?.strip_suffix(&*self.suffix)?;
        (!value.is_empty() && (!self.whole || is_whole(value))).then_some(value)
    }

    /// Which segment it stands in, from 0.
    pub const fn segment(&self) -> usize {
        self.segment
    }

    /// What stands before and after it in its segment.
    pub const fn around(&self) -> (&str, &str) {
        (&self.prefix, &self.suffix)
    }
}

/// Reads a glob in which parameters may stand: the pattern that it is, and its parameters.
pub fn parse(text: &str) -> Result<(Pattern, Vec<Parameter>), TemplateError> {
    let mut glob = String::new();
    let mut parameters = Vec::new();
    let mut names = HashSet::new();
    for (segment, part) in text.strip_prefix('/').unwrap_or(text).split('/').enumerate() {
        if segment > 0 || text.starts_with('/') {
            glob.push('/');
        }
        let Some((prefix, rest)) = part.split_once('{') else {
            glob.push_str(part);
            continue;
        };
        let (name, suffix) = rest.split_once('}').ok_or(TemplateError::Brace)?;
        if name.is_empty() || name.contains(['{', '*']) || prefix.contains('}') {
            return Err(TemplateError::Brace);
        }
        if suffix.contains('{') {
            return Err(TemplateError::Crowded);
        }
        // A name beside a wildcard would be the value of an unknown part of the segment.
        if prefix.contains('*') || suffix.contains(['*', '}']) {
            return Err(TemplateError::Crowded);
        }
        if !names.insert(name) {
            return Err(TemplateError::Duplicate);
        }
        glob.extend([prefix, "*", suffix]);
        let (prefix, suffix) = (decoded(prefix)?, decoded(suffix)?);
        parameters.push(Parameter { name: name.into(), whole: false, segment, prefix, suffix });
    }
    let pattern = Pattern::parse(&glob)?;
    // `**` before a parameter would move its place.
    let crossing = text.split('/').position(|part| part == "**");
    if parameters.iter().any(|one| crossing.is_some_and(|at| at <= one.segment + 1)) {
        return Err(TemplateError::Crowded);
    }
    Ok((pattern, parameters))
}

fn is_whole(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Patterns and paths are compared decoded.
fn decoded(text: &str) -> Result<Box<str>, TemplateError> {
    let bytes = percent_encoding::percent_decode_str(text);
    let text = bytes.decode_utf8().map_err(|_error| PatternError::Percent)?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(template: &str, path: &str) -> Vec<(String, String)> {
        let (pattern, parameters) = parse(template).unwrap();
        assert!(pattern.matches(path), "{template} {path}");
        parameters
            .iter()
            .map(|one| (one.name.to_string(), one.value(path).unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn parameters_are_the_segments_they_stand_for() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for (template, path, expected) in [
            ("/orders/{id}", "/orders/7", pairs(&[("id", "7")])),
            ("/a/{x}/b/{y}", "/a/1/b/é", pairs(&[("x", "1"), ("y", "é")])),
            ("/{n}.json", "/report.json", pairs(&[("n", "report")])),
            ("/jobs/{name}:cancel", "/jobs/7:cancel", pairs(&[("name", "7")])),
            ("/a%20b{x}/z", "/a b1/z", pairs(&[("x", "1")])),
            ("/{x}/**", "/1/2/3", pairs(&[("x", "1")])),
            ("/plain/*", "/plain/1", pairs(&[])),
        ] {
            assert_eq!(values(template, path), expected, "{template}");
        }
    }

    #[test]
    fn a_template_that_could_be_read_in_two_ways_is_refused() {
        for (template, error) in [
            ("/{a}{b}", TemplateError::Crowded),
            ("/{a}...{b}", TemplateError::Crowded),
            ("/*{a}", TemplateError::Crowded),
            ("/{a}*", TemplateError::Crowded),
            ("/**/{a}", TemplateError::Crowded),
            ("/{a}/{a}", TemplateError::Duplicate),
            ("/{}", TemplateError::Brace),
            ("/{a", TemplateError::Brace),
            ("/a}", TemplateError::Pattern(PatternError::SpecialCharacter('}'))),
            ("/{a/b}", TemplateError::Brace),
            ("/{a*}", TemplateError::Brace),
            ("{a}", TemplateError::Pattern(PatternError::NotAbsolute)),
            ("/x?{a}", TemplateError::Pattern(PatternError::SpecialCharacter('?'))),
        ] {
            assert_eq!(parse(template).unwrap_err(), error, "{template}");
        }
    }
}
