//! Path globs: `*` stays inside one segment, `**` crosses segments, letters are compared exactly.
//!
//! Patterns and paths are compared decoded, so that `a%40b` and `a@b`, which every server reads as
//! one, cannot be told apart by a rule either. A canonical path (`operation::path`) never decodes to
//! another number of segments.
//!
//! Grants in tokens are matched by walking the pattern's segments, so that a token costs nothing to
//! compile and cannot make the gate compile anything. The operator's own patterns are compiled with
//! `globset` (`operation::catalog`); a property test holds both to the same answers.

use std::borrow::Cow;
use std::fmt;

/// The longest pattern that is accepted, in bytes.
pub const MAX_LENGTH: usize = 1_024;
/// The most `**` that one pattern may hold: each is a place to backtrack from.
const MAX_CROSSINGS: usize = 4;

/// A parsed path glob.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// `**`: any number of segments, also none in the middle of a pattern.
    Any,
    /// Literal text.
    Literal(Box<str>),
    /// `*` alone: one segment that is not empty.
    One,
    /// Literal text with `*` in it: `*` is any run of characters, also none.
    Wild(Box<str>),
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// `**` next to other text in a segment.
    CrossingInSegment,
    /// An empty, `.` or `..` segment, which no canonical path has.
    ImpossibleSegment,
    /// Does not begin with `/`.
    NotAbsolute,
    /// A `%` that does not begin the encoding of a character a canonical path can hold.
    Percent,
    /// A character that a canonical path cannot hold or that is special in other glob dialects.
    SpecialCharacter(char),
    /// Longer than [`MAX_LENGTH`].
    TooLong,
    /// More `**` than are allowed.
    TooManyCrossings,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrossingInSegment => {
                f.write_str("`**` must be a segment of its own, as in `/a/**`")
            }
            Self::ImpossibleSegment => f.write_str(
                "an empty, `.` or `..` segment never matches: canonical paths have none",
            ),
            Self::NotAbsolute => f.write_str("a path glob begins with `/`"),
            Self::Percent => {
                f.write_str("`%` must begin an encoded character, and not `%2F`, `%5C` or `%2A`")
            }
            Self::SpecialCharacter(c) => write!(
                f,
                "`{}` is not allowed in a path glob: only `*` and `**` are special",
                c.escape_default()
            ),
            Self::TooLong => write!(f, "longer than {MAX_LENGTH} bytes"),
            Self::TooManyCrossings => write!(f, "more than {MAX_CROSSINGS} `**`"),
        }
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Reads a glob. `?`, `[`, `]`, `{`, `}` and `\` are refused: other dialects give them a meaning.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_LENGTH {
            return Err(PatternError::TooLong);
        }
        if let Some(special) = text.chars().find(|c| !is_allowed(*c)) {
            return Err(PatternError::SpecialCharacter(special));
        }
        let decoded = decode(text).ok_or(PatternError::Percent)?;
        let rest = decoded.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        let count = rest.split('/').count();
        let segments: Box<[Segment]> = rest
            .split('/')
            .enumerate()
            .map(|(n, segment)| Segment::parse(segment, n + 1 == count))
            .collect::<Result<_, _>>()?;
        if segments.iter().filter(|segment| **segment == Segment::Any).count() > MAX_CROSSINGS {
            return Err(PatternError::TooManyCrossings);
        }
        Ok(Self { text: text.into(), segments })
    }

    /// `/`: the one path that is nothing below.
    pub fn root() -> Self {
        Self { text: "/".into(), segments: Box::new([Segment::Literal("".into())]) }
    }

    /// The segments, for a compiler of globs.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the decoded canonical path `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        path.strip_prefix('/').is_some_and(|rest| walk(&self.segments, Some(rest)))
    }

    /// Whether every path that `narrower` matches is matched by this pattern too.
    ///
    /// Never says yes wrongly; may say no of two patterns with wildcards inside a segment.
    pub fn covers(&self, narrower: &Self) -> bool {
        covers(&self.segments, &narrower.segments)
    }

    /// Whether some path may match both.
    ///
    /// Never says no wrongly; may say yes of two patterns with wildcards inside a segment.
    pub fn may_meet(&self, other: &Self) -> bool {
        let at = |row: &[bool], n: usize| row.get(n).copied().unwrap_or_default();
        // For each number of segments left of `other`, whether they may meet what is left of this one.
        let mut ends = vec![true];
        ends.resize(other.segments.len() + 1, false);
        for (behind, own) in self.segments.iter().rev().enumerate() {
            let mut now = vec![false];
            for (fewer, theirs) in other.segments.iter().rev().enumerate() {
                let (this_stays, other_stays) = (at(&now, fewer), at(&ends, fewer + 1));
                // `**` takes one more segment of the other, or none where it is not the last.
                let crosses = match own {
                    Segment::Any => this_stays || (behind > 0 && other_stays),
                    Segment::Literal(_) | Segment::One | Segment::Wild(_) => false,
                };
                let is_crossed = match theirs {
                    Segment::Any => other_stays || (fewer > 0 && this_stays),
                    Segment::Literal(_) | Segment::One | Segment::Wild(_) => false,
                };
                now.push(crosses || is_crossed || (own.may_meet(theirs) && at(&ends, fewer)));
            }
            ends = now;
        }
        ends.last().copied().unwrap_or_default()
    }
}

impl Segment {
    fn parse(text: &str, last: bool) -> Result<Self, PatternError> {
        match text {
            "**" => Ok(Self::Any),
            "*" => Ok(Self::One),
            // A path may end in `/`, so its last segment may be empty; no other may.
            "" if last => Ok(Self::Literal("".into())),
            "" | "." | ".." => Err(PatternError::ImpossibleSegment),
            wild if wild.contains("**") => Err(PatternError::CrossingInSegment),
            wild if wild.contains('*') => Ok(Self::Wild(wild.into())),
            literal => Ok(Self::Literal(literal.into())),
        }
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(literal) => **literal == *segment,
            Self::One => !segment.is_empty(),
            Self::Wild(wild) => wild_matches(wild.as_bytes(), segment.as_bytes()),
        }
    }

    fn may_meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(literal), any) | (any, Self::Literal(literal)) => any.matches(literal),
            (Self::Any | Self::One | Self::Wild(_), Self::Any | Self::One | Self::Wild(_)) => true,
        }
    }

    fn covers(&self, narrower: &Self) -> bool {
        match (self, narrower) {
            (Self::One, Self::Literal(literal)) => !literal.is_empty(),
            // `*` alone stands for the empty run too in a wild segment, but a wild one has other text.
            (Self::One, Self::One | Self::Wild(_)) => true,
            (Self::Wild(_), Self::Literal(literal)) => self.matches(literal),
            (own, other) => own == other,
        }
    }
}

/// What a decoded path can hold, less what other dialects make special.
fn is_allowed(c: char) -> bool {
    !c.is_control() && !matches!(c, '?' | '[' | ']' | '{' | '}' | '\\' | '#')
}

/// The pattern with `%XX` decoded; none where that would make or hide a separator or a wildcard.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        let byte = u8::try_from(high * 16 + low).ok()?;
        if byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b'*') {
            return None;
        }
        decoded.push(byte);
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Matches segments against the rest of a path; `None` is a path that has ended.
fn walk(pattern: &[Segment], path: Option<&str>) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return path.is_none() };
    let Some(path) = path else { return false };
    if *first == Segment::Any {
        return rest.is_empty() || skip(rest, path);
    }
    let (segment, remaining) = split(path);
    first.matches(segment) && walk(rest, remaining)
}

/// Tries what follows a `**` at every segment of the path.
fn skip(rest: &[Segment], path: &str) -> bool {
    let mut at = Some(path);
    while let Some(here) = at {
        if walk(rest, at) {
            return true;
        }
        at = split(here).1;
    }
    false
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (path, None),
    }
}

/// Greedy match with one point of return: linear in the segment for each `*`, never exponential.
fn wild_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(literal) if literal == byte => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

fn covers(wider: &[Segment], narrower: &[Segment]) -> bool {
    match (wider.split_first(), narrower.split_first()) {
        (Some((Segment::Any, [])), Some(_)) | (None, None) => true,
        (Some((Segment::Any, rest)), Some((first, after))) => {
            // `**` stands for nothing, or it takes one more of the narrower pattern's segments.
            (*first != Segment::Any && covers(rest, narrower)) || covers(wider, after)
        }
        (Some((own, rest)), Some((other, after))) => {
            *other != Segment::Any && own.covers(other) && covers(rest, after)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn a_star_stays_inside_one_segment_and_two_cross() {
        for (glob, path, expected) in [
            ("/products/**", "/products/42", true),
            ("/products/**", "/products/a/b", true),
            ("/products/**", "/products/", true),
            ("/products/**", "/products", false),
            ("/products/*", "/products/42", true),
            ("/products/*", "/products/42/reviews", false),
            ("/products/*", "/products/", false),
            ("/**", "/", true),
            ("/**", "/a/b", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/a/**/z", "/a/z", true),
            ("/a/**/z", "/a/b/c/z", true),
            ("/a/**/z", "/a/b", false),
            ("/v*/x", "/v1/x", true),
            ("/v*/x", "/v/x", true),
            ("/*.json", "/a.json", true),
            ("/*.json", "/a.jsonp", false),
            ("/*a*b*", "/xaxxbx", true),
            ("/*a*b*", "/xbxa", false),
            ("/Orders", "/orders", false),
            ("/a%20b", "/a b", true),
            ("/a%40b", "/a@b", true),
            ("/caf%C3%A9/*", "/café/x", true),
            ("/café/*", "/café/x", true),
        ] {
            assert_eq!(pattern(glob).matches(path), expected, "{glob} against {path}");
        }
    }

    #[test]
    fn patterns_that_no_path_matches_both_of_are_known() {
        for (one, other, expected) in [
            ("/payments", "/payments", true),
            ("/payment", "/payments", false),
            ("/payments/*", "/payments/7", true),
            ("/payments/*", "/payments", false),
            ("/payments/**", "/payments/7/lines/*", true),
            ("/payments/**", "/payments", false),
            ("/payments/**", "/**/lines", true),
            ("/a/**/z", "/a/z", true),
            ("/pay/**", "/payments/**", false),
            ("/**", "/payments", true),
            ("/**/delete", "/orders/*/delete", true),
            ("/**/delete", "/orders/*", true),
            ("/**/delete", "/orders/*/cancel", false),
            ("/a/**/z", "/a/b", false),
            ("/a/**/z", "/**/y", false),
            ("/pay*", "/payments", true),
            ("/pay*", "/orders", false),
        ] {
            assert_eq!(pattern(one).may_meet(&pattern(other)), expected, "{one} {other}");
            assert_eq!(pattern(other).may_meet(&pattern(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_pattern_that_could_be_read_in_two_ways_is_refused() {
        for (glob, error) in [
            ("products", PatternError::NotAbsolute),
            ("", PatternError::NotAbsolute),
            ("/a//b", PatternError::ImpossibleSegment),
            ("/a/../b", PatternError::ImpossibleSegment),
            ("/a/./b", PatternError::ImpossibleSegment),
            ("/a**", PatternError::CrossingInSegment),
            ("/[ab]", PatternError::SpecialCharacter('[')),
            ("/{a,b}", PatternError::SpecialCharacter('{')),
            ("/a?", PatternError::SpecialCharacter('?')),
            ("/a\\b", PatternError::SpecialCharacter('\\')),
            ("/a%2Fb", PatternError::Percent),
            ("/a%2ab", PatternError::Percent),
            ("/a%zz", PatternError::Percent),
            ("/a%FF", PatternError::Percent),
            ("/%2e%2e/a", PatternError::ImpossibleSegment),
            ("/**/**/**/**/**", PatternError::TooManyCrossings),
        ] {
            assert_eq!(Pattern::parse(glob).unwrap_err(), error, "{glob}");
        }
        assert_eq!(Pattern::parse(&"/a".repeat(1_000)).unwrap_err(), PatternError::TooLong);
    }

    #[test]
    fn covering_is_never_claimed_wrongly() {
        for (wider, narrower, expected) in [
            ("/**", "/a/b", true),
            ("/**", "/**", true),
            ("/a/**", "/a/*", true),
            ("/a/*", "/a/**", false),
            ("/a/*", "/a/b", true),
            ("/a/b", "/a/*", false),
            ("/a/**/z", "/a/b/z", true),
            ("/a/**/z", "/a/z", true),
            ("/*/b", "/a*/b", true),
            ("/a*/b", "/abc/b", true),
            ("/a/*", "/a/", false),
            ("/a/**", "/a/", true),
        ] {
            assert_eq!(pattern(wider).covers(&pattern(narrower)), expected, "{wider} ⊇ {narrower}");
        }
    }

    proptest::proptest! {
        /// A no is never wrong: it would call a denial idle that is not.
        #[test]
        fn patterns_that_match_one_path_may_meet(
            one in "(/(a|b|\\*|a\\*|\\*\\*)){1,4}",
            other in "(/(a|b|\\*|a\\*|\\*\\*)){1,4}",
            path in "(/(a|b|ab)){1,4}/?",
        ) {
            let (one, other) = (pattern(&one), pattern(&other));
            if one.matches(&path) && other.matches(&path) {
                proptest::prop_assert!(one.may_meet(&other));
            }
        }
    }
}
