//! Finding the credential: one place, one scheme, one token (`verification.md` stage B).

use http::{HeaderMap, header};

use super::verify;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};

/// The longest token that is read, in bytes of its compact serialization.
pub const MAX_TOKEN: usize = 16 * 1_024;

/// What a caller presents. Nothing of it is believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The operation token.
    pub token: Presented<'a>,
    /// Its SHA-256, under which it is remembered and recorded.
    pub digest: [u8; 32],
}

/// Finds the token in `Authorization`. The query must not hold one (RFC 9700 §4.3.2), and the body is
/// never searched.
pub fn extract<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Result<Credentials<'a>, Denial> {
    if query.is_some_and(names_a_token) {
        return Err(Denial::about(Reason::TokenInQuery, "access_token"));
    }
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Err(Reason::TokenAbsent.into()) };
    if lines.next().is_some() {
        return Err(Denial::about(Reason::CredentialsSeveral, "authorization"));
    }
    let token = bearer(line.as_bytes())?;
    Ok(Credentials { token, digest: verify::digest(token) })
}

fn bearer(line: &[u8]) -> Result<Presented<'_>, Denial> {
    let Ok(line) = std::str::from_utf8(line) else { return Err(Reason::TokenMalformed.into()) };
    let (scheme, credentials) = line.split_once(' ').unwrap_or((line, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Reason::SchemeUnsupported.into());
    }
    let token = credentials.trim_start_matches(' ');
    if token.contains(',') {
        return Err(Denial::about(Reason::CredentialsSeveral, "authorization"));
    }
    if token.is_empty() || token.len() > MAX_TOKEN || !is_token68(token) {
        return Err(Reason::TokenMalformed.into());
    }
    Ok(Presented::new(token))
}

/// RFC 9110 §11.2. Looks at every byte whatever it finds, which lets it look at many at a time.
fn is_token68(token: &str) -> bool {
    let bytes = token.trim_end_matches('=').bytes();
    bytes.fold(0, |wrong, byte| wrong | u8::from(!is_of_token68(byte))) == 0
}

const fn is_of_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
}

/// Whether a parameter of the query is called `access_token`, however it is encoded.
pub fn names_a_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or(pair);
        name == "access_token"
            || (name.contains('%')
                && percent_encoding::percent_decode_str(name).eq(b"access_token".iter().copied()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_from_one_place_in_one_form() {
        for (lines, query, expected) in [
            (&[][..], None, Err(Reason::TokenAbsent)),
            (&["Bearer a.b.c"], None, Ok("a.b.c")),
            (&["bEARER   a.b.c"], Some("x=1"), Ok("a.b.c")),
            (&["Bearer a", "Bearer a"], None, Err(Reason::CredentialsSeveral)),
            (&["Bearer a, Bearer b"], None, Err(Reason::CredentialsSeveral)),
            (&["Basic YTpi"], None, Err(Reason::SchemeUnsupported)),
            (&["DPoP a.b.c"], None, Err(Reason::SchemeUnsupported)),
            (&["Bearer"], None, Err(Reason::TokenMalformed)),
            (&["Bearer a b"], None, Err(Reason::TokenMalformed)),
            (&["Bearer a\"b"], None, Err(Reason::TokenMalformed)),
            (&["Bearer a=b"], None, Err(Reason::TokenMalformed)),
            (&["Bearer a"], Some("access_token=x"), Err(Reason::TokenInQuery)),
            (&[], Some("a=b&access%5Ftoken=x"), Err(Reason::TokenInQuery)),
            (&["Bearer a"], Some("my_access_token=x"), Ok("a")),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::AUTHORIZATION, line.parse().unwrap());
            }
            let found = extract(&headers, query)
                .map(|found| found.token.token())
                .map_err(|denial| denial.reason);
            assert_eq!(found, expected, "{lines:?} {query:?}");
        }
    }

    #[test]
    fn r_tok_013_a_token_over_the_bound_is_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::AUTHORIZATION,
            format!("Bearer {}", "a".repeat(MAX_TOKEN + 1)).parse().unwrap(),
        );
        assert_eq!(extract(&headers, None).unwrap_err().reason, Reason::TokenMalformed);
    }
}
