//! Finding the credential: one place, one scheme, one token (`verification.md` stage B).

use std::fmt;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::presenter::Certificate;
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
    /// How it is presented.
    pub scheme: Scheme,
    /// What is presented beside it.
    pub proofs: Proofs<'a>,
}

/// How a token is presented (`verification.md` step 9c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer` (RFC 6750), or the token header without `Authorization`.
    Bearer,
    /// `DPoP` (RFC 9449 §7.1).
    Dpop,
    /// `WPT`: `Authorization` carries a workload's proof, the token header the token.
    Workload,
}

/// Proofs of possession, as presented.
#[derive(Clone, Copy, Default)]
pub struct Proofs<'a> {
    /// The client certificate, its key proven to whoever ended TLS.
    pub certificate: Option<&'a Arc<Certificate>>,
    /// `DPoP`
    pub dpop: Option<&'a str>,
    /// The header that the operation token came in, where it is not `Authorization`.
    pub token_header: Option<&'a HeaderName>,
    /// `Txn-Token`, which a workload's proof may speak of.
    pub transaction: Option<&'a str>,
    /// The workload identity token.
    pub workload: Option<&'a str>,
    /// The workload proof token.
    pub workload_proof: Option<&'a str>,
}

impl fmt::Debug for Proofs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proofs")
    }
}

/// The headers of a workload identity token, by its draft and by the public reference implementation.
const IDENTITY: &str = "workload-identity-token";
const OTHER_IDENTITY: &str = "x-workload-identity";
/// The headers of a workload's proof, by the same two.
const PROOF: &str = "workload-proof-token";
const OTHER_PROOF: &str = "x-workload-proof";
/// RFC 9449 §4.1.
const DPOP: &str = "dpop";
/// draft-ietf-oauth-transaction-tokens.
const TRANSACTION: &str = "txn-token";

/// Finds the token in `Authorization` or in the token header, and what proves who presents it. The query
/// must not hold a token (RFC 9700 §4.3.2), and the body is never searched.
pub fn extract<'a>(
    headers: &'a HeaderMap,
    query: Option<&str>,
    token_header: &'a HeaderName,
    certificate: Option<&'a Arc<Certificate>>,
) -> Result<Credentials<'a>, Denial> {
    if query.is_some_and(names_a_token) {
        return Err(Denial::about(Reason::TokenInQuery, "access_token"));
    }
    let several = Denial::about(Reason::CredentialsSeveral, "authorization");
    let authorization = only(headers, &header::AUTHORIZATION, several)?;
    let beside = only(headers, token_header, several)?;
    let (scheme, token, proof) = match (authorization, beside) {
        (None, None) => return Err(Reason::TokenAbsent.into()),
        (None, Some(token)) => (Scheme::Bearer, token, None),
        (Some(line), beside) => {
            let (scheme, credentials) = split(line)?;
            match (scheme, beside) {
                (Scheme::Workload, Some(token)) => (scheme, token, Some(credentials)),
                (Scheme::Workload, None) => return Err(Reason::TokenAbsent.into()),
                (Scheme::Bearer | Scheme::Dpop, None) => (scheme, credentials, None),
                (Scheme::Bearer | Scheme::Dpop, Some(_)) => return Err(several),
            }
        }
    };
    let mut proofs = proofs(headers, proof)?;
    proofs.certificate = certificate;
    proofs.token_header = beside.map(|_| token_header);
    let token = token68(token)?;
    Ok(Credentials { token, digest: verify::digest(token), scheme, proofs })
}

/// One look at every header finds them all: a call has few headers, and most calls none of these.
fn proofs<'a>(headers: &'a HeaderMap, proof: Option<&'a str>) -> Result<Proofs<'a>, Denial> {
    let several = |name| Denial::about(Reason::CredentialsSeveral, name);
    let mut proofs = Proofs { workload_proof: proof, ..Proofs::default() };
    for (name, value) in headers {
        let (place, denial) = match name.as_str() {
            DPOP => (&mut proofs.dpop, Denial::about(Reason::HeaderDuplicate, DPOP)),
            TRANSACTION => {
                (&mut proofs.transaction, Denial::about(Reason::HeaderDuplicate, TRANSACTION))
            }
            IDENTITY | OTHER_IDENTITY => (&mut proofs.workload, several(IDENTITY)),
            PROOF | OTHER_PROOF => (&mut proofs.workload_proof, several(PROOF)),
            _ => continue,
        };
        if place.is_some() {
            return Err(denial);
        }
        *place = Some(text(value)?);
    }
    Ok(proofs)
}

/// The one value of a header, `several` where there are more.
fn only<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    several: Denial,
) -> Result<Option<&'a str>, Denial> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(several);
    }
    text(line).map(Some)
}

/// What is not ASCII text proves nothing, and is no token.
fn text(value: &HeaderValue) -> Result<&str, Denial> {
    value.to_str().map_err(|_not_ascii| Reason::TokenMalformed.into())
}

fn split(line: &str) -> Result<(Scheme, &str), Denial> {
    let (name, credentials) = line.split_once(' ').unwrap_or((line, ""));
    let credentials = credentials.trim_start_matches(' ');
    for (scheme, own) in
        [(Scheme::Bearer, "Bearer"), (Scheme::Dpop, "DPoP"), (Scheme::Workload, "WPT")]
    {
        if name.eq_ignore_ascii_case(own) {
            return Ok((scheme, credentials));
        }
    }
    Err(Reason::SchemeUnsupported.into())
}

fn token68(token: &str) -> Result<Presented<'_>, Denial> {
    if !token.is_empty() && token.len() <= MAX_TOKEN && is_token68(token) {
        return Ok(Presented::new(token));
    }
    Err(if token.contains(',') {
        Denial::about(Reason::CredentialsSeveral, "authorization")
    } else {
        Reason::TokenMalformed.into()
    })
}

/// RFC 9110 §11.2. Looks at every byte whatever it finds, which lets it look at many at a time.
fn is_token68(token: &str) -> bool {
    let bytes = token.trim_end_matches('=').bytes();
    bytes.fold(0, |wrong, byte| wrong | u8::from(!is_of_token68(byte))) == 0
}

const fn is_of_token68(byte: u8) -> bool {
    // `+`, `,`, `-`, `.`, `/` and the digits stand side by side; so few comparisons are made at once.
    byte.is_ascii_alphabetic()
        || (matches!(byte, b'+'..=b'9') && byte != b',')
        || matches!(byte, b'_' | b'~')
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

    static TOKEN_HEADER: HeaderName = HeaderName::from_static("x-agent-operation-token");

    #[test]
    fn the_characters_of_a_token_are_those_of_rfc_9110() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_of_token68(byte), expected, "{byte:#x}");
        }
    }

    #[test]
    fn a_token_beside_a_workloads_proof_is_taken_from_the_token_header() {
        let token = ("x-agent-operation-token", "t");
        let (wpt, bearer) = (("authorization", "WPT p"), ("authorization", "Bearer t"));
        for (lines, expected) in [
            (&[token][..], Ok((Scheme::Bearer, None, None))),
            (
                &[token, wpt, ("x-workload-identity", "i")],
                Ok((Scheme::Workload, Some("i"), Some("p"))),
            ),
            (
                &[bearer, ("workload-identity-token", "i"), ("x-workload-proof", "p")],
                Ok((Scheme::Bearer, Some("i"), Some("p"))),
            ),
            (&[token, bearer], Err(Reason::CredentialsSeveral)),
            (&[token, token], Err(Reason::CredentialsSeveral)),
            (&[token, wpt, ("workload-proof-token", "p")], Err(Reason::CredentialsSeveral)),
            (
                &[bearer, ("x-workload-proof", "p"), ("workload-proof-token", "p")],
                Err(Reason::CredentialsSeveral),
            ),
            (
                &[bearer, ("x-workload-identity", "i"), ("workload-identity-token", "i")],
                Err(Reason::CredentialsSeveral),
            ),
            (&[bearer, ("dpop", "a"), ("dpop", "b")], Err(Reason::HeaderDuplicate)),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            let found = extract(&headers, None, &TOKEN_HEADER, None)
                .map(|found| (found.scheme, found.proofs.workload, found.proofs.workload_proof))
                .map_err(|denial| denial.reason);
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn a_token_is_taken_from_one_place_in_one_form() {
        for (lines, query, expected) in [
            (&[][..], None, Err(Reason::TokenAbsent)),
            (&["Bearer a.b.c"], None, Ok("a.b.c")),
            (&["bEARER   a.b.c"], Some("x=1"), Ok("a.b.c")),
            (&["Bearer a", "Bearer a"], None, Err(Reason::CredentialsSeveral)),
            (&["Bearer a, Bearer b"], None, Err(Reason::CredentialsSeveral)),
            (&["Basic YTpi"], None, Err(Reason::SchemeUnsupported)),
            (&["dpop a.b.c"], None, Ok("a.b.c")),
            (&["WPT a.b.c"], None, Err(Reason::TokenAbsent)),
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
            let found = extract(&headers, query, &TOKEN_HEADER, None)
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
        assert_eq!(
            extract(&headers, None, &TOKEN_HEADER, None).unwrap_err().reason,
            Reason::TokenMalformed
        );
    }
}
