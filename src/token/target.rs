//! The URI that a proof names, held against the call it came with (RFC 9449 §4.3 step 9; RFC 3986 §6.2).

use std::borrow::Cow;

/// The URIs by which a caller may know the target of its call.
///
/// Behind a proxy the gate cannot see the URI that a caller used, so it is put together from what is
/// configured: the origin of the gate, the authority that was asked (which is configured too), or the
/// identifier of the resource.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Scheme and authority of the gate, as in `https://tools.example.com`.
    pub origin: &'a str,
    /// The authority that was asked.
    pub authority: &'a str,
    /// The whole path as sent.
    pub path: &'a str,
    /// The identifier of the resource.
    pub resource: &'a str,
    /// The path below the resource as sent.
    pub below: &'a str,
}

impl Target<'_> {
    /// Whether `uri` names this target; query and fragment do not count (RFC 9449 §4.3 step 9).
    pub fn is_named_by(&self, uri: &str) -> bool {
        let Some(uri) = normal(uri) else { return false };
        let scheme = self.origin.split_once("://").map_or("https", |(scheme, _)| scheme);
        let is = |parts: &[&str]| normal(&parts.concat()).is_some_and(|own| own == uri);
        is(&[self.origin, self.path])
            || is(&[self.resource, self.below])
            || is(&[scheme, "://", self.authority, self.path])
    }
}

/// The one spelling of an `http` or `https` URI, without query and fragment: case of scheme and host,
/// default port, empty path, percent-encoding and dot segments (RFC 3986 §6.2.2, §6.2.3).
fn normal(uri: &str) -> Option<String> {
    let uri = uri.split(['?', '#']).next()?;
    let (scheme, rest) = uri.split_once("://")?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let scheme = scheme.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(port).unwrap_or(&authority);
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let path = encoded_alike(path);
    let path = without_dots(&path);
    let path = if path.is_empty() { "/" } else { &*path };
    Some([&*scheme, "://", authority, path].concat())
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2: hexadecimal digits in upper case, unreserved characters decoded.
/// What does not encode anything is left as it is, and is equal to nothing that the gate forwards.
fn encoded_alike(path: &str) -> Cow<'_, str> {
    let Some((head, mut rest)) = path.split_once('%') else { return Cow::Borrowed(path) };
    let mut text = String::with_capacity(path.len());
    text.push_str(head);
    loop {
        let digits = rest.get(..2).filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let decoded = digits.and_then(|two| u8::from_str_radix(two, 16).ok()).map(char::from);
        match (digits, decoded) {
            (_, Some(c)) if c.is_ascii_alphanumeric() || "-._~".contains(c) => text.push(c),
            (Some(two), _) => {
                text.push('%');
                text.push_str(&two.to_ascii_uppercase());
            }
            (None, _) => text.push('%'),
        }
        rest = rest.get(digits.map_or(0, str::len)..).unwrap_or_default();
        let Some((before, after)) = rest.split_once('%') else { break };
        text.push_str(before);
        rest = after;
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// RFC 3986 §5.2.4, for a path that is empty or begins with `/`.
fn without_dots(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            ".." => drop(kept.pop()),
            "." => {}
            _ => kept.push(segment),
        }
        if is_last && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    Cow::Owned(kept.iter().flat_map(|segment| ["/", segment]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TARGET: Target<'_> = Target {
        origin: "https://tools.test",
        authority: "Inner.test:8443",
        path: "/agents/shop/caf%C3%A9/7",
        resource: "https://api.test/shop",
        below: "/caf%C3%A9/7",
    };

    #[test]
    fn a_target_is_named_in_every_spelling_of_its_uris_and_in_no_other() {
        for (uri, expected) in [
            ("https://tools.test/agents/shop/caf%C3%A9/7", true),
            ("HTTPS://TOOLS.test:443/agents/shop/caf%c3%a9/7", true),
            ("https://tools.test/agents/%73hop/./x/../caf%C3%A9/7", true),
            ("https://tools.test/agents/shop/caf%C3%A9/7?a=b#c", true),
            ("https://api.test/shop/caf%C3%A9/7", true),
            ("https://inner.test:8443/agents/shop/caf%C3%A9/7", true),
            ("https://inner.test/agents/shop/caf%C3%A9/7", false),
            ("http://tools.test/agents/shop/caf%C3%A9/7", false),
            ("https://tools.test:8443/agents/shop/caf%C3%A9/7", false),
            ("https://tools.test/agents/shop/caf%C3%A9/7/", false),
            ("https://tools.test/agents/shop/CAF%C3%A9/7", false),
            ("https://tools.test/agents/shop/caf%C3%A9%2F7", false),
            ("https://tools.test/agents/shop/caf%25C3%A9/7", false),
            ("https://tools.test@evil.test/agents/shop/caf%C3%A9/7", false),
            ("https://u@tools.test/agents/shop/caf%C3%A9/7", false),
            ("/agents/shop/caf%C3%A9/7", false),
            ("tools.test/agents/shop/caf%C3%A9/7", false),
            ("https://evil.test/agents/shop/caf%C3%A9/7", false),
            ("", false),
        ] {
            assert_eq!(TARGET.is_named_by(uri), expected, "{uri}");
        }
    }

    #[test]
    fn an_empty_path_is_the_root() {
        let root = Target {
            origin: "https://tools.test",
            authority: "tools.test",
            path: "/",
            resource: "https://tools.test",
            below: "",
        };
        assert!(root.is_named_by("https://tools.test") && root.is_named_by("https://tools.test/"));
        assert!(
            root.is_named_by("https://tools.test/a/../.")
                && !root.is_named_by("https://tools.test/a")
        );
    }

    proptest! {
        #[test]
        fn r_ver_031_no_text_makes_the_reader_panic(uri in "(https://[a-z]{0,3})?[/%.a-f0-9é?#@:]{0,30}") {
            TARGET.is_named_by(&uri);
            if let Some(once) = normal(&uri) {
                prop_assert!(once.starts_with("http"));
            }
        }
    }
}
