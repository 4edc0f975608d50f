//! What a token must be (`tokens.md`): each rule as rows of a table, each row a call of its own.

use serde_json::json;

use crate::support::challenge::Challenge;
use crate::support::gate::{ISSUER, SHOP};
use crate::support::issuer::{b64, hs256, jws, now};
use crate::support::jwks::set;
use crate::support::{Echo, Gate, Key, Setup, Token};

const TARGET: &str = "/shop/products/42";

/// What every refused token but an expired one is told.
fn assert_refused(gate: &Gate, echo: &Echo, case: &str, token: &str) -> String {
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

fn assert_accepted(gate: &Gate, case: &str, token: &str) {
    let response = gate.get(TARGET, token);
    assert_eq!(response.status, 200, "{case}: {}", response.everything());
}

fn refuse_all(gate: &Gate, echo: &Echo, cases: &[(&str, String)]) {
    let good = assert_refused(gate, echo, "a token of rubbish", "a.b.c");
    for (case, token) in cases {
        let description = assert_refused(gate, echo, case, token);
        assert_eq!(description, good, "{case} is told apart");
    }
}

fn start() -> (Echo, Gate) {
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
    refuse_all(&gate, &echo, &[("1024 bits", Token::new().sign(&weak))]);
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

#[test]
fn tok_014_the_issuer_is_compared_octet_by_octet() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    "[[issuer]]\nissuer = \"https://other.test\"\njwks_file = \"jwks.json\"\n"
        .clone_into(&mut setup.more);
    let gate = setup.start();
    let key = &gate.setup.key;
    let from = |iss: serde_json::Value| Token::new().claim("iss", iss).sign(key);
    refuse_all(
        &gate,
        &echo,
        &[
            ("trailing slash", from(json!("https://as.test/"))),
            ("another case", from(json!("https://AS.test"))),
            ("default port", from(json!("https://as.test:443"))),
            ("configured, but not of this resource", from(json!("https://other.test"))),
            ("unknown", from(json!("https://evil.test"))),
            ("array that holds it", from(json!([ISSUER]))),
            ("absent", Token::new().without("iss").sign(key)),
        ],
    );
    echo.assert_untouched("issuer");
}

#[test]
fn tok_015_the_audience_holds_the_resource_identifier() {
    let (echo, gate) = start();
    let key = &gate.setup.key;
    let to = |aud: serde_json::Value| Token::new().claim("aud", aud).sign(key);
    assert_accepted(&gate, "string", &to(json!(SHOP)));
    assert_accepted(&gate, "array", &to(json!(["https://x.test", SHOP])));
    let before = echo.bytes().len();
    refuse_all(
        &gate,
        &echo,
        &[
            ("another", to(json!("https://x.test"))),
            ("array without it", to(json!(["https://x.test", "https://tools.test"]))),
            ("empty array", to(json!([]))),
            ("prefix", to(json!("https://tools.test"))),
            ("trailing slash", to(json!(format!("{SHOP}/")))),
            ("the issuer itself", to(json!(ISSUER))),
            ("number", to(json!(7))),
            ("array with a number", to(json!([7, SHOP]))),
            ("null", to(json!(null))),
            ("absent", Token::new().without("aud").sign(key)),
        ],
    );
    assert_eq!(echo.bytes().len(), before);
}

#[test]
fn tok_016_expiry_is_required_and_leeway_is_bounded() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = r#"leeway = "10s""#.to_owned();
    let gate = setup.start();
    let key = &gate.setup.key;
    let until = |exp: i64| Token::new().claim("iat", now() - 200).claim("exp", exp).sign(key);
    assert_accepted(&gate, "within the leeway", &until(now() - 5));
    let before = echo.bytes().len();
    let expired = assert_refused(&gate, &echo, "expired", &until(now() - 12));
    assert!(expired.contains("expired"), "the one cause that is named: {expired}");
    refuse_all(&gate, &echo, &[("no exp", Token::new().without("exp").sign(key))]);
    assert_eq!(echo.bytes().len(), before);
}

#[test]
fn tok_017_not_before_and_issued_at_are_honored() {
    let (echo, gate) = start();
    let key = &gate.setup.key;
    let nbf = |at: i64| Token::new().claim("nbf", at).sign(key);
    assert_accepted(&gate, "nbf within the leeway", &nbf(now() + 20));
    assert_accepted(
        &gate,
        "iat within the leeway",
        &Token::new().claim("iat", now() + 20).sign(key),
    );
    refuse_all(
        &gate,
        &echo,
        &[
            ("nbf", nbf(now() + 60)),
            ("iat", Token::new().claim("iat", now() + 60).sign(key)),
            ("nbf is a string", Token::new().claim("nbf", "0").sign(key)),
        ],
    );
}

#[test]
fn tok_018_iat_jti_and_sub_are_required() {
    let (echo, gate) = start();
    let key = &gate.setup.key;
    let mut cases: Vec<(&str, String)> = Vec::new();
    for claim in ["iat", "jti", "sub"] {
        cases.push((claim, Token::new().without(claim).sign(key)));
        cases.push((claim, Token::new().claim(claim, json!(null)).sign(key)));
        cases.push((claim, Token::new().claim(claim, json!({})).sign(key)));
    }
    cases.push(("empty sub", Token::new().claim("sub", "").sign(key)));
    cases.push(("256 characters of sub", Token::new().claim("sub", "s".repeat(256)).sign(key)));
    refuse_all(&gate, &echo, &cases);
    echo.assert_untouched("required claims");
}

#[test]
fn tok_018_client_id_is_required_where_the_issuer_is_strict() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "rfc9068_strict = true".to_owned();
    let gate = setup.start();
    refuse_all(
        &gate,
        &echo,
        &[("client_id", Token::new().without("client_id").sign(&gate.setup.key))],
    );
    let (_echo, lenient) = start();
    let token = Token::new().without("client_id").sign(&lenient.setup.key);
    assert_accepted(&lenient, "without client_id", &token);
}

#[test]
fn tok_019_dates_are_numbers_unless_the_issuer_writes_text() {
    let (echo, gate) = start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "iso8601_dates = true\nmax_lifetime = \"365d\"".to_owned();
    let textual = setup.start();
    let (from, until) = (rfc3339(now() - 5), rfc3339(now() + 300));
    let dated = |gate: &Gate, exp: &str| {
        let token = Token::new().claim("iat", from.as_str()).claim("exp", exp);
        token.sign(&gate.setup.key)
    };
    refuse_all(&gate, &echo, &[("text by default", dated(&gate, &until))]);
    assert_accepted(&textual, "text where allowed", &dated(&textual, &until));
    let mixed = Token::new().claim("exp", until.as_str()).sign(&textual.setup.key);
    assert_accepted(&textual, "text and number", &mixed);
    let fraction = until.replace('Z', ".123456789Z");
    assert_accepted(&textual, "fraction", &dated(&textual, &fraction));
    let before = echo.bytes().len();
    let offset = until.replace('Z', "+00:00");
    let (small, date) = (until.to_ascii_lowercase(), until[..10].to_owned());
    let (space, number) = (until.replace('T', " "), (now() + 300).to_string());
    for text in [&offset, &small, &date, &space, &number, &format!("{}60Z", &until[..17])] {
        assert_refused(&textual, &echo, text, &dated(&textual, text));
    }
    for gate in [&gate, &textual] {
        for raw in ["-1", "253402300800", "1e300", "1e400", "true", "null", "[1]"] {
            let token = Token::new().claim("exp", "@");
            let payload = token.payload.to_string().replace(r#""@""#, raw);
            let head = token.head_for(&gate.setup.key).to_string();
            assert_refused(gate, &echo, raw, &jws(&head, &payload, &gate.setup.key));
        }
    }
    assert_eq!(echo.bytes().len(), before);
    let fractional = Token::new().claim("exp", json!(1.5)).claim("iat", json!(0.5));
    assert_refused(
        &gate,
        &echo,
        "fractions are numbers, and long past",
        &fractional.sign(&gate.setup.key),
    );
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

#[test]
fn tok_020_the_lifetime_is_capped() {
    let (echo, gate) = start();
    let lasting = |gate: &Gate, hours: i64| {
        let token = Token::new().claim("exp", now() + hours * 3_600 - 5);
        token.sign(&gate.setup.key)
    };
    assert_accepted(&gate, "24 h", &lasting(&gate, 24));
    refuse_all(&gate, &echo, &[("25 h", lasting(&gate, 25))]);
    let mut setup = Setup::new(&echo);
    setup.issuer = r#"max_lifetime = "15m""#.to_owned();
    let short = setup.start();
    refuse_all(&short, &echo, &[("1 h where 15 min are allowed", lasting(&short, 1))]);
    let reversed = Token::new().claim("exp", now() - 5).claim("iat", now()).sign(&gate.setup.key);
    assert_refused(&gate, &echo, "ends before it begins", &reversed);
}

#[test]
fn tok_032_a_token_that_is_bound_to_a_proof_is_refused() {
    let (echo, gate) = start();
    let bound = |cnf| Token::new().claim("cnf", cnf).sign(&gate.setup.key);
    refuse_all(
        &gate,
        &echo,
        &[
            ("jkt", bound(json!({"jkt": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}))),
            (
                "certificate",
                bound(json!({"x5t#S256": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"})),
            ),
            ("unknown member", bound(json!({"x": 1}))),
            ("empty", bound(json!({}))),
            ("no object", bound(json!("x"))),
        ],
    );
    echo.assert_untouched("cnf");
}

#[test]
fn a_token_with_a_status_reference_is_refused() {
    let (echo, gate) = start();
    let status = json!({"status_list": {"idx": 1, "uri": "https://as.test/status"}});
    refuse_all(
        &gate,
        &echo,
        &[("status", Token::new().claim("status", status).sign(&gate.setup.key))],
    );
    echo.assert_untouched("status");
}

#[test]
fn a_delegation_chain_that_is_not_verified_is_refused() {
    let (echo, gate) = start();
    let chain = json!([{"delegator_id": "a", "delegatee_id": "b", "as_id": ISSUER}]);
    let response =
        gate.get(TARGET, &Token::new().claim("delegation_chain", chain).sign(&gate.setup.key));
    assert_eq!(response.status, 401);
    assert_eq!(Challenge::of(&response).get("error"), Some("invalid_delegation_chain"));
    assert_eq!(response.error(), "invalid_delegation_chain");
    echo.assert_untouched("delegation chain");
}
