//! The input, member by member (`policy.md` §4).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;

use super::*;
use crate::cli::keys::SigningKey;
use crate::model::body::Body;
use crate::model::presented::Presented;
use crate::token::keys::KeySet;
use crate::token::signers::IssuerAlone;
use crate::token::trust::{Algorithm, Issuer};
use crate::token::verify::{Unverified, digest};

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

fn grant(members: &Value) -> Grant {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let set = key.jwk_set("k", Vec::new()).unwrap();
    let keys = Arc::new(KeySet::from_jwks(set.as_bytes()).unwrap().0);
    let issuer = Arc::new(Issuer {
        kept_claims: ["tier", "id", "roles"].map(Into::into).to_vec(),
        ..Issuer::named("https://as.test")
    });
    let mut payload = json!({
        "iss": "https://as.test", "sub": "alice", "aud": "https://tools.test/shop", "jti": "j",
        "iat": NOW.seconds() - 10, "exp": NOW.seconds() + 300, "scope": "shop.read shop.write",
        "client_id": "app", "act": {"sub": "buyer"}, "tier": "gold", "id": "root", "roles": ["a"],
        "secret": "never shown",
    });
    for (name, value) in members.as_object().unwrap() {
        payload[name] = value.clone();
    }
    let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "k"});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(&header), encode(&payload));
    let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap()));
    let presented = Presented::new(&token);
    let unverified = Unverified::read(presented, digest(presented)).unwrap();
    let alone = IssuerAlone { issuer: &issuer, keys: &keys };
    unverified.verify(&issuer, &keys, &alone, NOW).unwrap()
}

struct Asked {
    grant: Grant,
    presenter: Presenter,
    exposed: Exposed,
    headers: HeaderMap,
    query: Option<&'static str>,
    body: Option<Body>,
}

impl Asked {
    fn new(members: &Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("authorization", "Bearer secret".parse().unwrap());
        headers.append("x-reason", "one".parse().unwrap());
        headers.append("x-reason", "two".parse().unwrap());
        Self {
            grant: grant(members),
            presenter: Presenter::default(),
            exposed: Exposed {
                name: Some("shop".into()),
                user_claims: ["tier", "id"].map(Into::into).to_vec(),
                token_claims: vec!["roles".into()],
                headers: vec![
                    HeaderName::from_static("x-reason"),
                    HeaderName::from_static("x-none"),
                ],
            },
            headers,
            query: Some("a=1&a=2&b&c=x%20y+z&&%61=3"),
            body: None,
        }
    }

    fn body(mut self, text: &str) -> Self {
        let octets = bytes::Bytes::copy_from_slice(text.as_bytes());
        let json = Json::parse(&octets).unwrap();
        self.body = Some(Body { octets, json, sha256: [0xab; 32] });
        self
    }

    fn object(&self, shape: Shape, context: Option<&Value>) -> Value {
        self.told(shape, context).unwrap()
    }

    fn told(&self, shape: Shape, context: Option<&Value>) -> Result<Value, Denial> {
        let bare =
            Operation::bare("create_order", &Method::POST, "/orders", "https://tools.test/shop");
        let operation = Operation { query: self.query, body: self.body.as_ref(), ..bare };
        let request = Request {
            scheme: "https",
            host: "tools.test",
            headers: &self.headers,
            client: Some("10.1.2.3".parse().unwrap()),
        };
        let given = Given {
            grant: &self.grant,
            presenter: &self.presenter,
            operation: &operation,
            request,
            exposed: &self.exposed,
            instance: "gate-1",
            now: NOW,
        };
        object(&given, shape, context.and_then(Value::as_object))
    }
}

#[test]
fn every_member_comes_from_a_verified_fact_and_absent_ones_are_left_out() {
    let asked = Asked::new(&json!({}));
    let expected = json!({
        "input_version": 1,
        "user": {"id": "alice", "issuer": "https://as.test", "tier": "gold"},
        "agent": {"id": "buyer", "proof": "none"},
        "client": {"id": "app"},
        "token": {
            "issuer": "https://as.test", "audience": ["https://tools.test/shop"], "jti": "j",
            "scope": ["shop.read", "shop.write"], "issued_at": 1_789_999_990,
            "expires_at": 1_790_000_300, "claims": {"roles": ["a"]},
        },
        "action": "create_order",
        "action_aliases": ["POST"],
        "resource": {"type": "http", "id": "https://tools.test/shop", "location": "https://tools.test/shop/orders"},
        "request": {
            "method": "POST", "scheme": "https", "host": "tools.test", "path": "/orders",
            "path_params": {}, "query": {"a": ["1", "2", "3"], "b": [""], "c": ["x y z"]},
            "headers": {"x-reason": "one, two"}, "content_type": "application/json",
            "client_ip": "10.1.2.3",
        },
        "evidence": {"present": false, "verified": false},
        "environment": {
            "now_ns": 1_790_000_000_000_000_000_u64, "time_rfc3339": NOW.to_string(),
            "proxy_instance": "gate-1", "route": "shop",
        },
    });
    assert_eq!(asked.object(Shape::Standard, None), expected);
    let own_account = Asked::new(&json!({"sub": "app"})).object(Shape::Standard, None);
    assert!(own_account.get("user").is_none(), "a person is never invented");
}

#[test]
fn r_pol_009_what_the_client_says_stands_under_context_and_nowhere_else() {
    let context = json!({"user": {"id": "root"}, "amount": 1});
    let input = Asked::new(&json!({})).object(Shape::Standard, Some(&context));
    assert_eq!((&input["context"], &input["user"]["id"]), (&context, &json!("alice")));
    assert!(input.get("amount").is_none());
}

#[test]
fn r_pol_010_arguments_take_no_name_that_is_taken() {
    let names: Map<String, Value> =
        RESERVED.iter().map(|name| ((*name).to_owned(), "mine".into())).collect();
    let mut arguments = names;
    arguments.insert("amount".into(), 9_007_199_254_740_993_u64.into());
    let asked = Asked::new(&json!({})).body(&Value::Object(arguments.clone()).to_string());
    let plain = asked.object(Shape::Standard, None);
    let flat = asked.object(Shape::DraftFlat, None);
    assert_eq!(plain["args"], Value::Object(arguments));
    assert_eq!(plain["request"]["body_sha256"], "ab".repeat(32));
    assert!(plain.get("amount").is_none());
    assert_eq!(flat["amount"], 9_007_199_254_740_993_u64);
    for name in RESERVED.iter().filter(|name| **name != "args") {
        assert_eq!(flat.get(*name), plain.get(*name), "{name}");
    }
    let list = Asked::new(&json!({})).body("[1, 2]");
    let input = list.object(Shape::DraftFlat, None);
    assert!(input.get("args").is_none() && input["request"]["body"] == json!([1, 2]));
}

#[test]
fn r_pol_030_the_reference_implementation_finds_what_it_looks_for() {
    let identity = json!({"agent_identity": {
        "version": "1.0", "id": "urn:uuid:1", "issuer": "https://as.test",
        "issued_to": "https://idp.test|user-12345", "issued_for": {"platform": "p"},
        "expires": "2026-12-18T06:00:00Z"},
        "agent_operation_authorization": {"policy_id": "p1"}});
    let asked = Asked::new(&identity).body(r#"{"item": "book", "amount": 5}"#);
    let input = asked.object(Shape::OpenAgentAuth, Some(&json!({"rendered_text": "Buy"})));
    assert_eq!(input["operationType"], "create_order");
    assert_eq!(input["resourceId"], "shop");
    assert_eq!(input["timestamp"], 1_790_000_000);
    assert_eq!(input["context"], json!({"item": "book", "amount": 5}));
    assert_eq!(input["token_context"], json!({"rendered_text": "Buy"}));
    assert_eq!(input["user"]["id"], "user-12345");
    assert_eq!(input["user"]["issuer"], "https://idp.test");
    assert_eq!(input["agent"]["issuedTo"], "https://idp.test|user-12345");
    assert_eq!(input["request"]["uri"], "/orders?a=1&a=2&b&c=x%20y+z&&%61=3");
    let standard = asked.object(Shape::Standard, None);
    assert_eq!(standard["agent"]["identity"]["issued_for"], json!({"platform": "p"}));
    assert!(standard.get("operationType").is_none());
}

#[test]
fn what_the_presenter_has_proven_is_told_by_the_strongest_of_it() {
    let mut asked = Asked::new(&json!({}));
    asked.presenter.workload = Some("wimse://td/buyer".into());
    let agent = |asked: &Asked| asked.object(Shape::Standard, None)["agent"].clone();
    assert_eq!(agent(&asked)["proof"], "wpt");
    assert_eq!(agent(&asked)["workload_id"], "wimse://td/buyer");
    asked.presenter.dpop = Some([1; 32]);
    assert_eq!(agent(&asked)["proof"], "dpop");
}

#[test]
fn r_pol_024_a_number_reaches_a_policy_as_it_was_sent_or_not_at_all() {
    for kept in [
        "9007199254740993",
        "-9007199254740993",
        "18446744073709551615",
        "0.1",
        "50.25",
        "1e3",
        "-0",
    ] {
        let asked = Asked::new(&json!({})).body(&format!("{{\"n\": {kept}}}"));
        assert!(asked.told(Shape::Standard, None).is_ok(), "{kept}");
    }
    let exact = Asked::new(&json!({})).body("{\"n\": 9007199254740993}");
    assert_eq!(exact.object(Shape::Standard, None)["args"]["n"], 9_007_199_254_740_993_u64);
    for lost in ["18446744073709551616", "50.00000000000000001", "9007199254740993.0", "[1e400]"] {
        let Ok(json) = Json::parse(lost.as_bytes()) else { continue };
        assert!(super::exact(&json).is_none(), "{lost}");
    }
}

#[test]
fn r_pol_024_what_is_hashed_is_sorted_and_keeps_numbers_as_they_are() {
    let one: Value =
        serde_json::from_str(r#"{"b":[1,{"d":null,"c":"\u00e4\""}],"a":9007199254740993}"#)
            .unwrap();
    let text = String::from_utf8(serialized(&one)).unwrap();
    assert_eq!(text, r#"{"a":9007199254740993,"b":[1,{"c":"ä\"","d":null}]}"#);
}
