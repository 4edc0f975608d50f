//! The canonical path: refused, never repaired (`verification.md` step 3).
//!
//! A path is accepted only when every reader splits and decodes it alike. It is matched decoded and
//! forwarded byte for byte as it came.

use std::borrow::Cow;

use crate::model::reason::Reason;

/// The longest path that is read, in bytes.
pub const MAX_LENGTH: usize = 8 * 1_024;

/// A path that can be read in one way only. Made by [`CanonicalPath::parse`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    raw: &'a str,
    decoded: Cow<'a, str>,
    has_parameters: bool,
}

impl<'a> CanonicalPath<'a> {
    /// Reads the path of a request target. Refuses, with `path_ambiguous`:
    /// anything that does not begin with `/`; `.`, `..` and empty segments (a trailing `/` is allowed),
    /// also encoded; `\`, `%2F`, `%5C`, control characters; `%` that does not encode; an encoded
    /// unreserved character (RFC 3986 §2.3 forbids producers to make one); a second encoding
    /// (`%25` before two hexadecimal digits); what is not UTF-8 when decoded.
    pub fn parse(raw: &'a str) -> Result<Self, Reason> {
        if raw.len() > MAX_LENGTH || !raw.starts_with('/') {
            return Err(Reason::PathAmbiguous);
        }
        // Looks at every byte whatever it finds, which lets it look at many at a time.
        if raw.bytes().fold(0, |wrong, byte| wrong | u8::from(!is_of_path(byte))) != 0 {
            return Err(Reason::PathAmbiguous);
        }
        let decoded = decode(raw)?;
        check_segments(&decoded)?;
        let has_parameters = decoded.contains(';');
        Ok(Self { raw, decoded, has_parameters })
    }

    /// The bytes as sent, which are the bytes that are forwarded.
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The path with `%XX` decoded once, for matching.
    pub fn decoded(&self) -> &str {
        &self.decoded
    }

    /// Whether there is a `;`, which some servers cut off and others keep.
    pub const fn has_parameters(&self) -> bool {
        self.has_parameters
    }

    /// The path below `mount`, as sent and decoded. `mount` holds unreserved characters only, so that
    /// both forms of it are the same; the path just at the mount is read as `/`.
    pub fn below(&self, mount: &str) -> Option<(&'a str, &str)> {
        let raw = self.raw.strip_prefix(mount)?;
        let decoded = self.decoded.strip_prefix(mount)?;
        if raw.is_empty() {
            return Some((raw, "/"));
        }
        decoded.starts_with('/').then_some((raw, decoded))
    }
}

/// What may stand in a path as sent (RFC 3986 §3.3, and the brackets that many clients do not encode).
const fn is_of_path(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~')
        && !matches!(
            byte,
            b'\\' | b'?' | b'#' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

fn decode(raw: &str) -> Result<Cow<'_, str>, Reason> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut rest = raw.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (value, after) = encoded(after).ok_or(Reason::PathAmbiguous)?;
            if !may_be_encoded(value) || (value == b'%' && is_encoding(after)) {
                return Err(Reason::PathAmbiguous);
            }
            decoded.push(value);
            rest = after;
        } else {
            decoded.push(byte);
        }
    }
    match String::from_utf8(decoded) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(Cow::Owned(text)),
        _ => Err(Reason::PathAmbiguous),
    }
}

/// The byte that the two hexadecimal digits at the beginning of `digits` stand for, and the rest.
fn encoded(digits: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = digits.split_first_chunk::<2>()?;
    let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
    Some((u8::try_from(value).ok()?, rest))
}

fn is_encoding(text: &[u8]) -> bool {
    encoded(text).is_some()
}

/// Separators and controls must not hide behind an encoding; unreserved characters have no reason to.
fn may_be_encoded(byte: u8) -> bool {
    let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !is_unreserved && !byte.is_ascii_control() && byte != b'/' && byte != b'\\'
}

fn check_segments(decoded: &str) -> Result<(), Reason> {
    let mut rest = decoded.as_bytes();
    // Each turn takes a `/` and the segment behind it.
    while let Some((_slash, after)) = rest.split_first() {
        let end = after.iter().position(|byte| *byte == b'/').unwrap_or(after.len());
        let (segment, next) = after.split_at_checked(end).unwrap_or((after, b""));
        // `..;x` is `..` to a server that cuts parameters off.
        let is_last_and_empty = segment.is_empty() && next.is_empty();
        match segment {
            [] | [b';', ..] if !is_last_and_empty => return Err(Reason::PathAmbiguous),
            [b'.'] | [b'.', b';', ..] | [b'.', b'.'] | [b'.', b'.', b';', ..] => {
                return Err(Reason::PathAmbiguous);
            }
            _ => rest = next,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r_ver_002_an_ambiguous_path_is_refused() {
        for raw in [
            "",
            "*",
            "a",
            "http://x/",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/a/..",
            "/%2e%2e/a",
            "/a/%2E%2e",
            "/a/.%2e/b",
            "/a%2Fb",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00b",
            "/a%0ab",
            "/a%7f",
            "/a%",
            "/a%2",
            "/a%zz",
            "/%252e%252e/a",
            "/%252f",
            "/%41dmin",
            "/a%2Dmin",
            "/a%FF",
            "/a%C3",
            "/%C2%80",
            "/..;/a",
            "/a/..;x/b",
            "/;/a",
            "/a b",
            "/a\tb",
            "/ä",
            "/a?b",
            "/a#b",
            "/a\"b",
            "/{a}",
        ] {
            assert_eq!(CanonicalPath::parse(raw), Err(Reason::PathAmbiguous), "{raw:?}");
        }
        assert_eq!(CanonicalPath::parse(&"/a".repeat(5_000)), Err(Reason::PathAmbiguous));
    }

    #[test]
    fn an_unambiguous_path_keeps_its_bytes_and_is_matched_decoded() {
        for (raw, decoded) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a%20b", "/a b"),
            ("/a%40b/caf%c3%a9", "/a@b/café"),
            ("/100%25", "/100%"),
            ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
            ("/...", "/..."),
            ("/.hidden", "/.hidden"),
            ("/a%5B1%5D", "/a[1]"),
        ] {
            let path = CanonicalPath::parse(raw).unwrap();
            assert_eq!((path.raw(), path.decoded()), (raw, decoded));
        }
        assert!(CanonicalPath::parse("/a;b=c").unwrap().has_parameters());
        assert!(CanonicalPath::parse("/a%3Bb").unwrap().has_parameters());
    }

    #[test]
    fn the_part_below_a_mount_begins_at_a_segment() {
        let path = CanonicalPath::parse("/shop/a%40b").unwrap();
        assert_eq!(path.below("/shop"), Some(("/a%40b", "/a@b")));
        assert_eq!(path.below(""), Some(("/shop/a%40b", "/shop/a@b")));
        assert_eq!(path.below("/sho"), None);
        assert_eq!(CanonicalPath::parse("/shop").unwrap().below("/shop"), Some(("", "/")));
    }

    proptest! {
        #[test]
        fn no_accepted_path_has_a_hidden_segment(raw in "/([a-z.%/;25eEfF]|%2[0-9a-fA-F]|%[0-9a-fA-F]{2}){0,24}") {
            if let Ok(path) = CanonicalPath::parse(&raw) {
                prop_assert_eq!(path.raw().matches('/').count(), path.decoded().matches('/').count());
                let again = percent_encoding::percent_decode_str(path.decoded()).decode_utf8_lossy().into_owned();
                prop_assert!(!again.split('/').any(|segment| segment == ".."));
            }
        }

        #[test]
        fn any_text_is_either_canonical_or_refused(raw in ".{0,64}") {
            drop(CanonicalPath::parse(&raw));
        }
    }
}
