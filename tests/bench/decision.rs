//! The pure decision of one call, to be counted in instructions: `decision warm|cold|bare N`.
//!
//! Warm: the grant of the token is remembered. Cold: the token is verified. Bare: nothing but the
//! verification of the signature, by the library that the decision uses for it. Run under callgrind by
//! `tests/bench/instructions`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on fails, and says where"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::request::Parts;
use opgate::cli::keys::SigningKey;
use opgate::cli::token::{Allowance, Minting, mint};
use opgate::decide::admit::admit;
use opgate::decide::call;
use opgate::decide::facts::{Facts, Keys, Known};
use opgate::decide::permit::Permit;
use opgate::model::time::Timestamp;
use opgate::operation::head::Transport;
use opgate::state::Snapshot;
use opgate::token::extract::extract;
use opgate::token::grant::Grant;
use opgate::token::keys::KeySet;
use opgate::token::revocation::Set;
use opgate::token::trust::Algorithm;
use opgate::{config, decide};

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
const ISSUER: &str = "https://as.test";
const RESOURCE: &str = "https://tools.test";
const CONFIGURATION: &str = r#"
[gate]
listen = "127.0.0.1:0"
origin = "https://tools.test"
[[issuer]]
issuer = "https://as.test"
jwks_file = "jwks.json"
[[upstream]]
name = "orders"
url = "http://127.0.0.1:1"
[[resource]]
id = "https://tools.test"
upstream = "orders"
[[resource.operation]]
action = "read_order"
method = "GET"
path = "/api/v1/orders/**"
[audit]
directory = "audit"
"#;

fn main() {
    let arguments: Vec<_> =
        std::env::args().skip(1).filter(|text| !text.starts_with("--")).collect();
    let (Some(kind), Some(times)) = (arguments.first(), arguments.get(1)) else {
        eprintln!("usage: decision warm|cold|bare N");
        return;
    };
    let config = config::parse(CONFIGURATION, Path::new("opgate.toml")).unwrap();
    let snapshot = Snapshot::build(Arc::new(config)).unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let set = key.jwk_set("k", Vec::new()).unwrap();
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&set).unwrap();
    let decoding = jsonwebtoken::DecodingKey::from_jwk(jwks.keys.first().unwrap()).unwrap();
    let keys = Arc::new(KeySet::from_jwks(set.as_bytes()).unwrap().0);
    let known = Known { keys: vec![Keys::Obtained(keys)], ..Known::default() };
    let parts = request(&key);
    if kind == "bare" {
        for _ in 0..times.parse::<u32>().unwrap() {
            bare(&parts, &decoding);
        }
        return;
    }
    let mut facts = Facts {
        world: &snapshot.world,
        known: &known,
        revoked: &Set::default(),
        now: NOW,
        introspected: None,
        remembered: None,
        binding: None,
        exhausted: &[],
    };
    let (grant, _permit) = measured(&parts, &facts);
    facts.remembered = (kind == "warm").then_some(&grant);
    for _ in 0..times.parse::<u32>().unwrap() {
        drop(measured(&parts, &facts));
    }
}

fn request(key: &SigningKey) -> Parts {
    let token = mint(&Minting {
        key,
        key_id: "k",
        issuer: ISSUER,
        audience: &[RESOURCE.to_owned()],
        subject: "alice",
        client_id: Some("app"),
        agent: Some("agent"),
        scope: Some("orders"),
        operations: &[Allowance::parse("GET /api/v1/orders/**").unwrap()],
        locations: &[RESOURCE.to_owned()],
        issued: NOW,
        ttl: Duration::from_mins(15),
        jwt_id: Some("j"),
    })
    .unwrap();
    let request = Request::get("/api/v1/orders/42")
        .header("host", "tools.test")
        .header("accept", "*/*")
        .header("authorization", format!("Bearer {token}"));
    request.body(()).unwrap().into_parts().0
}

#[inline(never)]
fn bare(parts: &Parts, key: &jsonwebtoken::DecodingKey) {
    let token = parts.headers.get("authorization").unwrap().to_str().unwrap();
    let (message, signature) = token.strip_prefix("Bearer ").unwrap().rsplit_once('.').unwrap();
    let algorithm = jsonwebtoken::Algorithm::ES256;
    let message = message.as_bytes();
    assert!(jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap());
}

/// The whole decision: receive, extract, authenticate, admit, authorize.
#[inline(never)]
fn measured(parts: &Parts, facts: &Facts<'_>) -> (Arc<Grant>, Permit) {
    let call = call::receive(parts, Transport::default(), facts.world).unwrap();
    let credentials = extract(&parts.headers, call.query()).unwrap();
    let grant = decide::authenticate(&call, &credentials, facts).unwrap();
    admit(&call, &credentials, &grant, facts).unwrap();
    let permit = decide::authorize(&call, &grant, facts.now).unwrap();
    (grant, permit)
}
