//! The pure decision of one call, to be counted in instructions:
//! `decision warm|cold|chain|chain-cold|bare|dpop|dpop-bare|match|{rego,long}-{compile,evaluate,input,bare,bare-input} N`.
//!
//! Warm: the grant of the token is remembered. Cold: the token is verified. Bare: nothing but the
//! verification of the signature, by the library that the decision uses for it. `dpop` is warm with a token
//! that is bound to a key, and its proof; `chain` is warm with a token that was delegated five times,
//! `chain-cold` the same when it is new; `dpop-bare` the verification of that proof's signature. Run under
//! callgrind by `tests/bench/instructions`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on fails, and says where"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{Method, Request};
use opgate::cli::keys::SigningKey;
use opgate::cli::token::{Allowance, Minting, mint};
use opgate::decide::admit::admit;
use opgate::decide::call;
use opgate::decide::consult::Question;
use opgate::decide::facts::{Facts, Keys, Known, Policies};
use opgate::decide::permit::Permit;
use opgate::model::template;
use opgate::model::time::Timestamp;
use opgate::operation::catalog::{self, Catalog};
use opgate::operation::head::Transport;
use opgate::policy::engine::{self, Class, Input, Language, Limits, Source, Verdict};
use opgate::policy::library::Library;
use opgate::runtime::clock;
use opgate::state::Snapshot;
use opgate::token::extract::extract;
use opgate::token::grant::Grant;
use opgate::token::jcs;
use opgate::token::keys::KeySet;
use opgate::token::revocation::Set;
use opgate::token::trust::Algorithm;
use opgate::{config, decide};
use serde_json::{Value, json};

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
max_lifetime = "15m"
delegation = {}
[[upstream]]
name = "orders"
url = "http://127.0.0.1:1"
[[resource]]
id = "https://tools.test"
upstream = "orders"
allow_bearer_delegation = true
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
        eprintln!(
            "usage: decision warm|cold|chain|chain-cold|bare|dpop|dpop-bare|match|{{rego,long}}-{{compile,evaluate,input,bare,bare-input}} N"
        );
        return;
    };
    if kind == "match" {
        return matching(times.parse().unwrap());
    }
    let short = (include_str!("../../policies/rego/payment-limit.rego"), "data.payments.allow");
    let long = (include_str!("long.rego"), "data.support.allow");
    if let Some(what) = kind.strip_prefix("rego-") {
        return rego(what, short, short_input(), times.parse().unwrap());
    }
    if let Some(what) = kind.strip_prefix("long-") {
        return rego(what, long, long_input(), times.parse().unwrap());
    }
    let config = config::parse(CONFIGURATION, Path::new("opgate.toml")).unwrap();
    let snapshot = Snapshot::build(Arc::new(config)).unwrap();
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let set = key.jwk_set("k", Vec::new()).unwrap();
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&set).unwrap();
    let decoding = jsonwebtoken::DecodingKey::from_jwk(jwks.keys.first().unwrap()).unwrap();
    let keys = Arc::new(KeySet::from_jwks(set.as_bytes()).unwrap().0);
    let known = Known { keys: vec![Keys::Obtained(keys)], ..Known::default() };
    let parts = request(&key, kind);
    if let "bare" | "dpop-bare" = kind.as_str() {
        let header = if kind == "bare" { "authorization" } else { "dpop" };
        for _ in 0..times.parse::<u32>().unwrap() {
            bare(&parts, header, &decoding);
        }
        return;
    }
    let library = Library::default();
    let mut facts = Facts {
        world: &snapshot.world,
        known: &known,
        revoked: &Set::default(),
        now: NOW,
        introspected: None,
        remembered: None,
        binding: None,
        exhausted: &[],
        policies: Policies::of(&library),
    };
    let (grant, _permit) = measured(&parts, &facts);
    facts.remembered = (!kind.ends_with("cold")).then_some(&grant);
    for _ in 0..times.parse::<u32>().unwrap() {
        drop(measured(&parts, &facts));
    }
}

/// A policy of 23 lines on an input of 2 KB, most of it one text (`rego-…`), and one of 60 lines on an input
/// of 2 KB in some 130 values (`long-…`): `compile`; `evaluate`, on an input that is built already; `input`, the
/// same with the input built as for a request; `bare` and `bare-input`, the engine alone in both ways.
fn rego(what: &str, (text, rule): (&str, &str), input: Value, times: u32) {
    let source =
        Source { language: Language::RegoV1, class: Class::Carried, entry_point: "allow", text };
    let mut bare = regorus::Engine::new();
    bare.add_policy("policy".to_owned(), text.to_owned()).unwrap();
    bare.set_input(regorus::Value::from(input.clone()));
    let policy = engine::compile(&source).unwrap();
    let shared = Input::new(input);
    for _ in 0..times {
        match what {
            "compile" => drop(measured_compilation(&source)),
            "input" => measured_policy(&policy, &shared, true),
            "bare" => bare_policy(&mut bare, rule, None),
            "bare-input" => bare_policy(&mut bare, rule, Some(shared.value())),
            _ => measured_policy(&policy, &shared, false),
        }
    }
}

fn short_input() -> Value {
    json!({
        "action": "create_payment", "args": { "amount": 50, "currency": "EUR", "payee": "books.example" },
        "user": { "id": "alice" }, "environment": { "now_ns": 1_790_000_000_000_000_000_u64 },
        "request": { "method": "POST", "path": "/payments", "headers": { "note": "n".repeat(1_500) } },
    })
}

fn long_input() -> Value {
    let lines: Vec<_> = (0..16)
        .map(|n| json!({ "sku": format!("book-{n:04}"), "count": n, "price": 12.5, "name": "A book about it" }))
        .collect();
    let headers: Value = (0..12).map(|n| (format!("x-{n}"), json!("some value"))).collect();
    json!({
        "action": "create_refund", "agent": { "id": "support-01", "proof": "dpop" },
        "args": { "customer": "alice", "amount": 150, "reason": "late", "lines": lines },
        "user": { "id": "alice", "tier": "gold", "issuer": "https://as.example.com" },
        "environment": { "now_ns": 1_790_000_000_000_000_000_u64 },
        "request": { "method": "POST", "path": "/refunds", "headers": headers },
    })
}

#[inline(never)]
fn measured_compilation(source: &Source<'_>) -> Arc<engine::Policy> {
    engine::compile(source).unwrap()
}

#[inline(never)]
fn measured_policy(policy: &engine::Policy, input: &Input, is_new: bool) {
    let new = is_new.then(|| Input::new(input.value().clone()));
    let input = new.as_ref().unwrap_or(input);
    assert_eq!(policy.evaluate(input, &QUICK).outcome, Ok(Verdict::True));
}

#[inline(never)]
fn bare_policy(engine: &mut regorus::Engine, rule: &str, input: Option<&Value>) {
    if let Some(input) = input {
        engine.set_input(regorus::Value::from(input.clone()));
    }
    assert_eq!(engine.eval_rule(rule.to_owned()).unwrap(), true.into());
}

const QUICK: Limits<'_> = Limits { steps: Limits::QUICK, stop: None };

/// A call. For `dpop` its token is bound to the key that signs everything here, and a proof is with it; for
/// `chain` it was delegated five times.
fn request(key: &SigningKey, kind: &str) -> Parts {
    let chain = kind.starts_with("chain").then(|| chain(key));
    let agent = if chain.is_some() { "wit://agents.test/5" } else { "agent" };
    let token = mint(&Minting {
        key,
        key_id: "k",
        issuer: ISSUER,
        audience: &[RESOURCE.to_owned()],
        subject: "alice",
        client_id: Some("app"),
        agent: Some(agent),
        scope: Some("orders"),
        operations: &[Allowance::parse("GET /api/v1/orders/**").unwrap()],
        locations: &[RESOURCE.to_owned()],
        details: &[],
        claims: &chain.map(|chain| ("delegation_chain".to_owned(), chain)).into_iter().collect(),
        issued: NOW,
        ttl: Duration::from_mins(15),
        jwt_id: Some("j"),
    })
    .unwrap();
    let request =
        Request::get("/api/v1/orders/42").header("host", "tools.test").header("accept", "*/*");
    let request = if kind.starts_with("dpop") {
        let (token, proof) = bound(key, &token);
        request.header("authorization", format!("DPoP {token}")).header("dpop", proof)
    } else {
        request.header("authorization", format!("Bearer {token}"))
    };
    request.body(()).unwrap().into_parts().0
}

/// Five records, the latest first, each signed by `key` over its canonical form.
fn chain(key: &SigningKey) -> Value {
    let agent = |n: u8| format!("wit://agents.test/{n}");
    let records = (0..5).rev().map(|n| {
        let mut record = json!({
            "delegator_id": agent(n), "delegatee_id": agent(n + 1), "as_id": ISSUER,
            "delegation_timestamp": NOW.seconds() - 5, "operation_summary": "read the orders of this week",
        });
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": "k"}).to_string());
        let payload = URL_SAFE_NO_PAD.encode(jcs::canonical(&record).unwrap());
        let signature = key.sign(format!("{header}.{payload}").as_bytes()).unwrap();
        let signature = format!("{header}..{}", URL_SAFE_NO_PAD.encode(signature));
        record.as_object_mut().unwrap().insert("as_signature".to_owned(), signature.into());
        record
    });
    records.collect()
}

/// The same token, bound to `key`, and a proof of it (RFC 9449).
fn bound(key: &SigningKey, token: &str) -> (String, String) {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let mut payload: Value = serde_json::from_slice(&payload).unwrap();
    let members = payload.as_object_mut().unwrap();
    members.insert("cnf".into(), json!({ "jkt": key.thumbprint() }));
    let jwk = key.jwk("k");
    let token = sign(key, &json!({"alg": "ES256", "typ": "at+jwt", "kid": "k"}), &payload);
    let proof = json!({
        "jti": "0195c3f8-2f6a-7c3e-9d11-2f0a7c3e9d11", "htm": "GET",
        "htu": "https://tools.test/api/v1/orders/42", "iat": NOW.seconds(), "ath": hash(&token),
    });
    let proof = sign(key, &json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk}), &proof);
    (token, proof)
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()))
}

fn sign(key: &SigningKey, header: &Value, payload: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

#[inline(never)]
fn bare(parts: &Parts, header: &str, key: &jsonwebtoken::DecodingKey) {
    let token = parts.headers.get(header).unwrap().to_str().unwrap();
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let algorithm = jsonwebtoken::Algorithm::ES256;
    let message = message.as_bytes();
    assert!(jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap());
}

/// Finding one of the 10,000 operations of a document.
fn matching(times: u32) {
    let mut catalog = Catalog::default();
    for n in 0..10_000 {
        let path = format!("/v1/r{}/{{id}}/s{}/{{part}}", n / 100, n % 100);
        let (pattern, parameters) = template::parse(&path).unwrap();
        let entry = catalog::Entry { action: "a".into(), parameters, ..catalog::Entry::default() };
        catalog.describe(&Method::GET, &pattern, &[], entry);
    }
    let paths: Vec<_> = (0..100).map(|n| format!("/v1/r{n}/order-{n}/s{}/7", 99 - n)).collect();
    let begun = clock::instant();
    for path in paths.iter().cycle().take(times.try_into().unwrap()) {
        assert!(find(&catalog, path).is_some());
    }
    eprintln!("{} ns for each", begun.elapsed().as_nanos() / u128::from(times.max(1)));
}

#[inline(never)]
fn find<'c>(catalog: &'c Catalog, path: &str) -> Option<&'c catalog::Entry> {
    catalog.find(&Method::GET, path)
}

/// The whole decision: receive, extract, authenticate, admit, authorize.
#[inline(never)]
fn measured(parts: &Parts, facts: &Facts<'_>) -> (Arc<Grant>, Permit) {
    let call = call::receive(parts, Transport::default(), facts.world).unwrap();
    let credentials = extract(&parts.headers, call.query(), &call.resource().token_header, None);
    let credentials = credentials.unwrap();
    let grant = decide::authenticate(&call, &credentials, facts).unwrap();
    let presenter = admit(&call, &credentials, &grant, facts).unwrap();
    let (grant_ref, headers) = (&*grant, &parts.headers);
    let question = Question {
        call: &call,
        grant: grant_ref,
        presenter: &presenter,
        headers,
        client: None,
        body: None,
        is_unread: false,
        schema: None,
    };
    let permit = decide::authorize(&question, facts).unwrap().verdict.unwrap();
    (grant, permit)
}
