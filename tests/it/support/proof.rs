//! Proofs of possession, right or wrong in any way: they are built by hand, as tokens are.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::issuer::{b64, canonical, now};
use super::{Key, Token};

/// base64url of SHA-256, as `ath`, `wth` and thumbprints carry it.
pub(crate) fn hash(bytes: impl AsRef<[u8]>) -> String {
    b64(digest(&SHA256, bytes.as_ref()).as_ref())
}

/// An identifier that no other proof has.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("proof-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The public half of a key with what a proof needs of it and no more.
pub(crate) fn public(key: &Key) -> Value {
    let mut jwk = key.jwk();
    for member in ["kid", "alg", "use"] {
        jwk.as_object_mut().unwrap().remove(member);
    }
    jwk
}

/// The RFC 7638 thumbprint: the required members in the order of their names, without spaces.
pub(crate) fn thumbprint(key: &Key) -> String {
    hash(canonical(&public(key)))
}

/// A token of the shop that is bound to `key` (RFC 9449 §6.1).
pub(crate) fn bound_to(key: &Key) -> Token {
    Token::new().claim("cnf", json!({"jkt": thumbprint(key)}))
}

/// A DPoP proof for a call, before it is signed.
pub(crate) fn dpop(key: &Key, method: &str, target: &str, token: &str) -> Token {
    let path = target.split('?').next().unwrap_or_default();
    Token {
        header: json!({"typ": "dpop+jwt", "jwk": public(key)}),
        payload: json!({
            "jti": unique(), "htm": method, "htu": format!("https://tools.test{path}"),
            "iat": now(), "ath": hash(token),
        }),
    }
}

/// A workload identity token for the holder of `key`, before it is signed.
pub(crate) fn identity(key: &Key, subject: &str) -> Token {
    let mut jwk = public(key);
    jwk["alg"] = json!(key.alg());
    Token {
        header: json!({"typ": "wit+jwt"}),
        payload: json!({
            "iss": "wimse://td.test", "sub": subject, "exp": now() + 300, "iat": now(),
            "jti": unique(), "cnf": {"jwk": jwk},
        }),
    }
}

/// A workload's proof for a call with `token`, before it is signed.
pub(crate) fn workload(identity: &str, target: &str, token: &str) -> Token {
    Token {
        header: json!({"typ": "wpt+jwt"}),
        payload: json!({
            "wth": hash(identity), "aud": format!("https://tools.test{target}"), "exp": now() + 60,
            "jti": unique(), "ath": hash(token),
        }),
    }
}
