//! What a token must be (`tokens.md`): each rule as rows of a table, each row a call of its own.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::challenge::Challenge;
use crate::support::gate::SHOP;
use crate::support::issuer::{b64, hs256, jws};
use crate::support::jwks::set;
use crate::support::{Echo, Gate, Key, Setup, Token};

const TARGET: &str = "/shop/products/42";

/// What every refused token but an expired one is told.
pub(crate) fn assert_refused(gate: &Gate, echo: &Echo, case: &str, token: &str) -> String {
    let before = echo.bytes();
    let response = gate.get(TARGET, token);
    assert_eq!(response.status, 401, "{case}: {}", response.everything());
    let challenge = Challenge::of(&response);
    assert_eq!(challenge.scheme, "Bearer", "{case}");
    assert_eq!(challenge.get("error"), Some("invalid_token"), "{case}");
    assert_eq!(response.error(), "invalid_token", "{case}");
    assert_eq!(echo.bytes(), before, "{case}: the upstream received something");
    response.json()["error_description"].as_str().unwrap_or_default().to_owned()
}

pub(crate) fn assert_accepted(gate: &Gate, case: &str, token: &str) {
    let response = gate.get(TARGET, token);
    assert_eq!(response.status, 200, "{case}: {}", response.everything());
}

pub(crate) fn refuse_all(gate: &Gate, echo: &Echo, cases: &[(&str, String)]) {
    let good = assert_refused(gate, echo, "a token of rubbish", "a.b.c");
    for (case, token) in cases {
        let description = assert_refused(gate, echo, case, token);
        assert_eq!(description, good, "{case} is told apart");
    }
}

pub(crate) fn start() -> (Echo, Gate) {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    (echo, gate)
}

#[test]
fn tok_001_a_signature_must_verify() {
    let (echo, gate) = start();
    let good = gate.token();
    assert_accepted(&gate, "as signed", &good);
    let before = echo.bytes().len();
    let parts: Vec<&str> = good.split('.').collect();
    let other = Token::new().claim("sub", "user-2");
    let payload = b64(other.payload.to_string().as_bytes());
    let stranger = Key::new("ES256", "k1");
    refuse_all(
        &gate,
        &echo,
        &[
            ("another payload", format!("{}.{payload}.{}", parts[0], parts[2])),
            ("a stranger's key under a known kid", Token::new().sign(&stranger)),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("signature of zeros", format!("{}.{}.{}", parts[0], parts[1], b64(&[0; 64]))),
            ("short signature", format!("{}.{}.{}", parts[0], parts[1], b64(&[1; 63]))),
        ],
    );
    assert_eq!(echo.bytes().len(), before);
}

#[test]
fn tok_002_none_and_hmac_are_no_algorithms() {
    let echo = Echo::start();
    let rsa = Key::new("RS256", "rsa");
    let setup = Setup::new(&echo);
    setup.write("jwks.json", &set(&[&setup.key, &rsa]).to_string());
    let gate = setup.start();
    let payload = Token::new().payload.to_string();
    let head = |alg: &str| json!({"alg": alg, "typ": "at+jwt", "kid": "rsa"}).to_string();
    let unsigned =
        |alg: &str| format!("{}.{}.", b64(head(alg).as_bytes()), b64(payload.as_bytes()));
    let jwk = rsa.jwk();
    let modulus = jwk["n"].as_str().unwrap();
    assert_accepted(&gate, "RS256", &Token::new().sign(&rsa));
    let before = echo.bytes().len();
    refuse_all(
        &gate,
        &echo,
        &[
            ("none", unsigned("none")),
            ("None", unsigned("None")),
            ("empty alg", unsigned("")),
            ("none with a signature", jws(&head("none"), &payload, &rsa)),
            (
                "HS256 under the public key's text",
                hs256(&head("HS256"), &payload, jwk.to_string().as_bytes()),
            ),
            ("HS256 under the modulus", hs256(&head("HS256"), &payload, modulus.as_bytes())),
            ("HS256 under nothing", hs256(&head("HS256"), &payload, b"")),
            ("HS512 by name", hs256(&head("HS512"), &payload, modulus.as_bytes())),
            ("an unknown algorithm", jws(&head("ES256K"), &payload, &rsa)),
            ("RSA1_5", jws(&head("RSA1_5"), &payload, &rsa)),
            ("alg is a number", jws(r#"{"alg":256,"typ":"at+jwt","kid":"rsa"}"#, &payload, &rsa)),
            ("no alg", jws(r#"{"typ":"at+jwt","kid":"rsa"}"#, &payload, &rsa)),
        ],
    );
    assert_eq!(echo.bytes().len(), before);
}

#[test]
fn tok_003_an_algorithm_fits_its_key_or_is_refused() {
    let echo = Echo::start();
    let (p384, rsa) = (Key::new("ES384", "p384"), Key::new("PS256", "ps"));
    let setup = Setup::new(&echo);
    setup.write("jwks.json", &set(&[&setup.key, &p384, &rsa]).to_string());
    let gate = setup.start();
    let named = |alg: &str, key: &Key| Token::new().header("alg", alg).sign(key);
    refuse_all(
        &gate,
        &echo,
        &[
            ("ES256 with a P-384 key", named("ES256", &p384)),
            ("ES384 with a P-256 key", named("ES384", &gate.setup.key)),
            ("RS256 with a key for PS256", named("RS256", &rsa)),
            ("EdDSA with a P-256 key", named("EdDSA", &gate.setup.key)),
            ("ES256 with an RSA key", named("ES256", &rsa)),
        ],
    );
    echo.assert_untouched("keys that do not fit");
}

#[test]
fn tok_004_the_five_algorithms_are_accepted() {
    let echo = Echo::start();
    let keys: Vec<Key> = ["ES256", "ES384", "EdDSA", "PS256", "RS256"]
        .into_iter()
        .map(|alg| Key::new(alg, alg))
        .collect();
    let setup = Setup::new(&echo);
    setup.write("jwks.json", &set(&keys.iter().collect::<Vec<_>>()).to_string());
    let gate = setup.start();
    for key in &keys {
        assert_accepted(&gate, key.alg(), &Token::new().sign(key));
    }
    let ed = Token::new().header("alg", "Ed25519").header("kid", "EdDSA").sign(&keys[2]);
    assert_accepted(&gate, "Ed25519 by its own name", &ed);
}

#[test]
fn tok_004_an_algorithm_outside_the_issuers_list_is_refused() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = r#"algorithms = ["EdDSA"]"#.to_owned();
    let ed = Key::new("EdDSA", "ed");
    setup.write("jwks.json", &set(&[&setup.key, &ed]).to_string());
    let gate = setup.start();
    refuse_all(&gate, &echo, &[("ES256", gate.token())]);
    assert_accepted(&gate, "EdDSA", &Token::new().sign(&ed));
}

#[test]
fn tok_005_rsa_keys_below_2048_bits_are_refused() {
    let echo = Echo::start();
    let weak = Key::new("weak", "weak");
    let setup = Setup::new(&echo);
    setup.write("jwks.json", &set(&[&setup.key, &weak]).to_string());
    let gate = setup.start();
    let token = Token::new().sign(&weak);
    assert!(is_genuine(&weak, &token), "only the size of the key is wrong");
    refuse_all(&gate, &echo, &[("1024 bits", token)]);
    echo.assert_untouched("1024 bits");
    let log = gate.stderr();
    assert!(log.contains("weak"), "the key is named in a warning: {log}");
}

#[test]
fn tok_006_at_jwt_is_accepted_in_any_case() {
    let (_echo, gate) = start();
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        assert_accepted(&gate, typ, &Token::new().header("typ", typ).sign(&gate.setup.key));
    }
}

#[test]
fn tok_007_jwt_and_absent_types_only_where_the_issuer_allows_them() {
    let (echo, gate) = start();
    let jwt = |gate: &Gate| Token::new().header("typ", "JWT").sign(&gate.setup.key);
    let absent = |gate: &Gate| Token::new().without_header("typ").sign(&gate.setup.key);
    refuse_all(&gate, &echo, &[("JWT", jwt(&gate)), ("absent", absent(&gate))]);
    let mut setup = Setup::new(&echo);
    setup.issuer = r#"allow_typ = ["JWT", ""]"#.to_owned();
    let compatible = setup.start();
    assert_accepted(&compatible, "JWT", &jwt(&compatible));
    assert_accepted(&compatible, "absent", &absent(&compatible));
    let mut setup = Setup::new(&echo);
    setup.issuer = r#"allow_typ = ["JWT"]"#.to_owned();
    let partly = setup.start();
    assert_accepted(&partly, "JWT", &jwt(&partly));
    refuse_all(&partly, &echo, &[("absent where JWT is allowed", absent(&partly))]);
}

#[test]
fn tok_008_foreign_kinds_of_jwt_are_refused() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = r#"allow_typ = ["JWT", ""]"#.to_owned();
    let gate = setup.start();
    let key = &gate.setup.key;
    let mut cases = Vec::new();
    for typ in [
        "wit+jwt",
        "wpt+jwt",
        "dpop+jwt",
        "oauth-authz-req+jwt",
        "statuslist+jwt",
        "logout+jwt",
        "token-introspection+jwt",
        "secevent+jwt",
        "txn-authz-challenge+jwt",
        "vc+jwt",
        "id_token",
        "at+jwt ",
        "application/application/at+jwt",
    ] {
        cases.push((typ, Token::new().header("typ", typ).sign(key)));
    }
    cases.push(("typ is a number", Token::new().header("typ", 7).sign(key)));
    for claim in [
        "nonce",
        "at_hash",
        "c_hash",
        "credentialSubject",
        "wth",
        "htu",
        "htm",
        "agent_operation_proposal",
        "response_type",
    ] {
        cases.push((claim, Token::new().header("typ", "JWT").claim(claim, "x").sign(key)));
    }
    let plain = Token::new().header("typ", "JWT").without("authorization_details");
    cases.push(("JWT without any operation claim", plain.sign(key)));
    refuse_all(&gate, &echo, &cases);
    echo.assert_untouched("foreign kinds");
}

#[test]
fn tok_009_critical_extensions_are_refused() {
    let (echo, gate) = start();
    let key = &gate.setup.key;
    let crit = |value| Token::new().header("crit", value).header("x", 1).sign(key);
    let b64_false = Token::new().header("crit", json!(["b64"])).header("b64", false);
    refuse_all(
        &gate,
        &echo,
        &[
            ("unknown", crit(json!(["x"]))),
            ("exp as an extension", crit(json!(["exp"]))),
            ("empty", crit(json!([]))),
            ("no array", crit(json!("x"))),
            ("b64", b64_false.sign(key)),
        ],
    );
    echo.assert_untouched("crit");
}

#[test]
fn tok_010_keys_are_never_taken_from_the_token() {
    let (echo, gate) = start();
    let attacker = Key::new("ES256", "k1");
    let server = Echo::start();
    let url = format!("{}/jwks", server.url());
    let signed =
        |name: &str, value: serde_json::Value| Token::new().header(name, value).sign(&attacker);
    refuse_all(
        &gate,
        &echo,
        &[
            ("jwk", signed("jwk", attacker.jwk())),
            ("jku", signed("jku", json!(url))),
            ("x5u", signed("x5u", json!(url))),
            ("x5c", signed("x5c", json!(["MIIB"]))),
            ("kid is a URL", Token::new().header("kid", url.as_str()).sign(&attacker)),
        ],
    );
    assert_eq!(server.connections(), 0, "the gate fetched what a token named");
    let harmless = Token::new().header("jku", url.as_str()).header("jwk", attacker.jwk());
    assert_accepted(&gate, "present, and ignored", &harmless.sign(&gate.setup.key));
    assert_eq!(server.connections(), 0);
}

#[test]
fn tok_011_duplicate_members_are_refused() {
    let (echo, gate) = start();
    let key = &gate.setup.key;
    let token = Token::new();
    let (header, payload) = (token.head_for(key).to_string(), token.payload.to_string());
    let with = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let shop = format!(r#""aud":"{SHOP}""#);
    refuse_all(
        &gate,
        &echo,
        &[
            ("two aud", jws(&header, &with(&payload, &shop), key)),
            ("two aud, one escaped", jws(&header, &with(&payload, r#""a\u0075d":"x""#), key)),
            (
                "two of a private claim",
                jws(&header, &with(&with(&payload, r#""x":1"#), r#""x":1"#), key),
            ),
            ("two alg", jws(&with(&header, r#""alg":"ES256""#), &payload, key)),
            (
                "two of an unknown header",
                jws(&with(&header, r#""y":{"z":1,"z":1}"#), &payload, key),
            ),
            ("deep inside", jws(&header, &with(&payload, r#""y":[{"z":{"q":1,"q":2}}]"#), key)),
        ],
    );
    echo.assert_untouched("duplicates");
}

#[test]
fn tok_012_only_three_parts_of_strict_base64url() {
    let (echo, gate) = start();
    let good = gate.token();
    let parts: Vec<&str> = good.split('.').collect();
    let (h, p, s) = (parts[0], parts[1], parts[2]);
    // 64 bytes leave two unused bits in the last character: setting one gives the same bytes.
    let last = s.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let loose = format!("{}{next}", &s[..s.len() - 1]);
    let key = &gate.setup.key;
    let head = Token::new().head_for(key).to_string();
    refuse_all(
        &gate,
        &echo,
        &[
            ("padded signature", format!("{h}.{p}.{s}==")),
            ("padded header", format!("{h}=.{p}.{s}")),
            ("non-canonical last bits", format!("{h}.{p}.{loose}")),
            ("two parts", format!("{h}.{p}")),
            ("four parts", format!("{h}.{p}.{s}.")),
            ("five parts", format!("{h}.{p}.{s}.{p}.{s}")),
            ("plain base64", format!("{h}.{p}.{}", "+/".repeat(43))),
            ("an empty header", format!(".{p}.{s}")),
            ("an empty payload", format!("{h}..{s}")),
            ("only dots", "..".to_owned()),
            ("payload is an array", jws(&head, "[]", key)),
            ("payload is text", jws(&head, r#""x""#, key)),
            ("payload is no JSON", jws(&head, "{", key)),
            (
                "payload with more behind it",
                jws(&head, &format!("{}{{}}", Token::new().payload), key),
            ),
            (
                "payload with a byte order mark",
                jws(&head, &format!("\u{feff}{}", Token::new().payload), key),
            ),
            ("header is an array", jws("[]", &Token::new().payload.to_string(), key)),
        ],
    );
    echo.assert_untouched("base64url");
}

#[test]
fn tok_012_whitespace_in_a_token_is_refused() {
    let (echo, gate) = start();
    let good = gate.token();
    for broken in [good.replacen('.', ". ", 1), good.replacen('.', ".\t", 1), format!("{good} x")] {
        let response = gate.get(TARGET, &broken);
        assert!(matches!(response.status, 400 | 401), "{}", response.status);
    }
    echo.assert_untouched("whitespace");
}

#[test]
fn tok_013_size_and_depth_are_bounded() {
    let (echo, gate) = start();
    let key = &gate.setup.key;
    let nested = |depth: usize| {
        let text = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let payload =
            Token::new().payload.to_string().replacen('{', &format!(r#"{{"x":{text},"#), 1);
        jws(&Token::new().head_for(key).to_string(), &payload, key)
    };
    assert_accepted(&gate, "depth 20", &nested(20));
    let before = echo.bytes().len();
    refuse_all(
        &gate,
        &echo,
        &[
            ("17 KiB", Token::new().claim("x", "y".repeat(12_600)).sign(key)),
            ("depth 40", nested(40)),
            ("depth 2000", nested(2_000)),
        ],
    );
    assert_eq!(echo.bytes().len(), before);
}

fn is_genuine(key: &Key, token: &str) -> bool {
    use aws_lc_rs::signature::{
        RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RsaPublicKeyComponents,
    };
    let (input, signature) = token.rsplit_once('.').unwrap();
    let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let n = decode(key.jwk()["n"].as_str().unwrap());
    RsaPublicKeyComponents { n, e: vec![1, 0, 1] }
        .verify(
            &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            input.as_bytes(),
            &decode(signature),
        )
        .is_ok()
}

#[test]
fn the_signature_of_a_small_key_is_genuine() {
    let weak = Key::new("weak", "weak");
    assert!(is_genuine(&weak, &Token::new().sign(&weak)));
}
