//! The book's chapters on the request and its credential (`verification.md` stages A and B), and on
//! path globs (design §4).

use super::book::{Asked, INVALID_REQUEST, INVALID_TOKEN, Step, Told};
use super::setting::{Operation, RESOURCES, Resource};

const AMBIGUOUS: Told = (400, "bad_request");
const NO_CREDENTIALS: Told = (401, "unauthorized");
const NOT_FOUND: Told = (404, "not_found");
const OTHER_METHOD: Told = (405, "method_not_allowed");

/// Steps 3 and 5: the path is decoded once, and refused where two readers could differ; and so they could
/// in which of two proofs they take (RFC 9449 §4.3, check 1).
pub(super) fn find_resource(asked: &Asked) -> Step<(&'static Resource, String)> {
    if asked.proofs.len() > 1 {
        return Err(AMBIGUOUS);
    }
    let path = canonical(&asked.path).ok_or(AMBIGUOUS)?;
    for resource in RESOURCES {
        let rest = path.strip_prefix(resource.mount);
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            let below = if rest.is_empty() { "/" } else { rest };
            return Ok((resource, below.to_owned()));
        }
    }
    Err(NOT_FOUND)
}

fn canonical(raw: &str) -> Option<String> {
    let mut decoded = Vec::new();
    let mut rest = raw.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            let value = u8::from_str_radix(digits, 16).ok()?;
            // An encoded separator, control or unreserved character, or a second encoding.
            if b"/\\-._~".contains(&value) || value.is_ascii_alphanumeric() || value < 0x20 {
                return None;
            }
            let again = after.get(2..4).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
            if value == b'%' && again {
                return None;
            }
            decoded.push(value);
            rest = &after[2..];
        } else {
            decoded.push(*byte);
            rest = after;
        }
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let segments: Vec<&str> = decoded.strip_prefix('/')?.split('/').collect();
    for (n, segment) in segments.iter().enumerate() {
        let is_last = n + 1 == segments.len();
        if matches!(*segment, "." | "..") || (segment.is_empty() && !is_last) {
            return None;
        }
    }
    (!decoded.contains(';') && !decoded.contains('\\')).then_some(decoded)
}

/// The first operation of the file whose method and path match.
pub(super) fn find_operation(
    resource: &'static Resource,
    method: &str,
    path: &str,
) -> Step<&'static Operation> {
    let here = |operation: &&Operation| glob(operation.path, path);
    let mut found = resource.operations.iter().filter(here);
    match found.clone().find(|operation| operation.methods.contains(&method)) {
        Some(operation) => Ok(operation),
        None if found.next().is_some() => Err(OTHER_METHOD),
        None => Err(NOT_FOUND),
    }
}

/// Design §4: `*` stays inside one segment, `**` crosses segments; letters are compared exactly.
pub(super) fn glob(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern[1..].split('/').collect();
    let path: Vec<&str> = path[1..].split('/').collect();
    segments(&pattern, &path)
}

fn segments(pattern: &[&str], path: &[&str]) -> bool {
    match pattern {
        [] => path.is_empty(),
        // What follows a last `/` may be empty, so `/a/**` takes `/a/`, and not `/a`.
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skipped| segments(rest, &path[skipped..])),
        [first, rest @ ..] => {
            path.first().is_some_and(|segment| one(first, segment)) && segments(rest, &path[1..])
        }
    }
}

fn one(pattern: &str, segment: &str) -> bool {
    if pattern == "*" {
        return !segment.is_empty();
    }
    match pattern.split_once('*') {
        None => pattern == segment,
        Some((before, after)) => segment.strip_prefix(before).is_some_and(|rest| {
            let ends = (0..=rest.len()).filter(|at| rest.is_char_boundary(*at));
            ends.into_iter().any(|at| one_from(after, &rest[at..]))
        }),
    }
}

/// As [`one`], where a lone `*` may also be empty, because other text stands in the segment.
fn one_from(pattern: &str, segment: &str) -> bool {
    pattern == "*" || one(pattern, segment)
}

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    Dpop,
}

/// Steps 9a to 9f.
pub(super) fn find_token(asked: &Asked) -> Step<(Scheme, String)> {
    let query = asked.query.as_deref().unwrap_or_default();
    if query.split('&').any(|pair| pair.split('=').next() == Some("access_token")) {
        return Err(INVALID_REQUEST);
    }
    let line = match asked.authorization.as_slice() {
        [] => return Err(NO_CREDENTIALS),
        [line] => line,
        _ => return Err(INVALID_REQUEST),
    };
    let (scheme, rest) = line.split_once(' ').unwrap_or((line, ""));
    let scheme = match scheme.to_lowercase().as_str() {
        "bearer" => Scheme::Bearer,
        "dpop" => Scheme::Dpop,
        _ => return Err(NO_CREDENTIALS),
    };
    let token = rest.trim_start_matches(' ');
    if token.contains(',') {
        return Err(INVALID_REQUEST);
    }
    let token68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let body = token.trim_end_matches('=');
    if body.is_empty() || token.len() > 16_384 || !body.chars().all(token68) {
        return Err(INVALID_TOKEN);
    }
    Ok((scheme, token.to_owned()))
}
