//! What the claims of a token must be (`tokens.md` §3), row by row.

use serde_json::json;

use crate::support::challenge::Challenge;
use crate::support::gate::{ISSUER, SHOP};
use crate::support::issuer::{jws, now};
use crate::support::{Echo, Gate, Setup, Token};
use crate::token::{assert_accepted, assert_refused, refuse_all, start};

const TARGET: &str = "/shop/products/42";

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
fn tok_018_subjects_are_measured_in_characters_and_agents_in_octets() {
    let (echo, gate) = start();
    let key = &gate.setup.key;
    let sub = |text: String| Token::new().claim("sub", text).sign(key);
    let act = |length: usize| {
        Token::new().claim("act", json!({"sub": format!("wit://{}", "a".repeat(length - 6))}))
    };
    assert_accepted(&gate, "255 characters of two bytes each", &sub("é".repeat(255)));
    assert_accepted(&gate, "an agent of 2048 bytes", &act(2_048).sign(key));
    refuse_all(
        &gate,
        &echo,
        &[
            ("256 characters of two bytes each", sub("é".repeat(256))),
            ("an agent of 2049 bytes", act(2_049).sign(key)),
            ("a nameless prior actor", {
                Token::new().claim("act", json!({"sub": "a", "act": {"sub": ""}})).sign(key)
            }),
        ],
    );
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
fn a_token_with_a_status_that_cannot_be_checked_is_refused() {
    let (echo, gate) = start();
    let status = json!({"status_list": {"idx": 1, "uri": "https://elsewhere.test/status"}});
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
