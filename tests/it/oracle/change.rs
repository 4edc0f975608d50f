//! The catalog of changes: what an attacker, a careless issuer or a foreign kind of token would do.

use serde_json::{Value, json};

use super::draft::{Draft, NOW, Text, Wire};
use super::setting::{ISSUERS, PAIRS};

/// A change, with a number that picks one of its forms.
pub(super) type Change = fn(&mut Draft, usize);

/// `policy.md` §6.6.
const HASH: &str = "sha256-JzkDa0wlgOyiHFWcIcBHqCWLyP/vkvs5kMJC1xgoDMM=";

/// Changes to any token, by name. Some are harmless, and must be.
pub(super) fn plain() -> impl Iterator<Item = (&'static str, Change)> {
    TOKENS.iter().chain(super::agent::OPERATION_TOKENS).copied()
}

const TOKENS: &[(&str, Change)] = &[
    ("alg", |d, n| {
        let named = [
            json!("none"),
            json!("None"),
            json!(""),
            json!("HS256"),
            json!("RS256"),
            json!("PS256"),
            json!("ES256"),
            json!("ES384"),
            json!("EdDSA"),
            json!("Ed25519"),
            json!("ES512"),
            json!("es256"),
            json!(7),
            json!(null),
        ];
        d.header["alg"] = pick(&named, n);
    }),
    ("typ", |d, n| {
        let kinds = [
            json!("JWT"),
            json!("jwt"),
            json!("at+jwt"),
            json!("AT+JWT"),
            json!("application/at+jwt"),
            json!("application/jwt"),
            json!("dpop+jwt"),
            json!("wit+jwt"),
            json!("statuslist+jwt"),
            json!("secevent+jwt"),
            json!("at+jwt "),
            json!(""),
            json!(7),
            json!(null),
        ];
        d.header["typ"] = pick(&kinds, n);
    }),
    ("no typ", |d, _| remove(&mut d.header, "typ")),
    ("kid", |d, n| {
        let kids = [
            json!("unknown"),
            json!(""),
            json!("ES256"),
            json!("RS256"),
            json!("EdDSA"),
            json!("k".repeat(256)),
            json!("k".repeat(257)),
            json!(7),
            json!("../../etc/passwd"),
        ];
        d.header["kid"] = pick(&kids, n);
    }),
    ("no kid", |d, _| remove(&mut d.header, "kid")),
    ("header member", |d, n| {
        let members = [
            r#""crit":["x"],"x":1"#,
            r#""crit":[]"#,
            r#""b64":false,"crit":["b64"]"#,
            r#""b64":true"#,
            r#""zip":"DEF""#,
            r#""enc":"A128GCM""#,
            r#""cty":"JWT""#,
            r#""jku":"https://evil.test/keys""#,
            r#""x5u":"https://evil.test""#,
            r#""jwk":{"kty":"oct","k":"AAAA"}"#,
            r#""x5c":["MIIB"]"#,
            r#""alg":"ES256""#,
            r#""\u0061lg":"none""#,
            r#""typ":"JWT""#,
            r#""x":{"y":1,"y":1}"#,
        ];
        d.texts.push(Text::HeaderMember(pick(&members, n).to_owned()));
    }),
    ("a stranger's signature", |d, _| d.sign_as_stranger()),
    ("a signature by another key of the issuer", |d, n| d.signer.1 = n % PAIRS[d.signer.0].len()),
    ("HMAC under the public key", |d, n| {
        let jwk = PAIRS[d.issuer][0].jwk();
        let secrets = [jwk.to_string(), jwk["x"].to_string(), String::new()];
        d.secret = Some(pick(&secrets, n).into_bytes());
        d.header["alg"] = json!("HS256");
    }),
    ("iss", |d, n| {
        let mut all: Vec<Value> = ISSUERS.iter().map(|issuer| json!(issuer.id)).collect();
        all.extend([
            json!("https://as.test/"),
            json!("https://AS.test"),
            json!("https://evil.test"),
            json!(["https://as.test"]),
            json!(null),
            json!(""),
        ]);
        d.payload["iss"] = pick(&all, n);
    }),
    ("aud", |d, n| {
        let own = d.payload["aud"].clone();
        let all = [
            json!([own, "https://x.test"]),
            json!(["https://x.test", own]),
            json!(["https://x.test"]),
            json!([]),
            json!("https://tools.test"),
            json!("https://tools.test/shop"),
            json!("https://tools.test/scoped"),
            json!("https://tools.test/shop/"),
            json!([own, 7]),
            json!([[own]]),
            json!(7),
            json!(null),
            json!({"0": own}),
        ];
        d.payload["aud"] = pick(&all, n);
    }),
    ("a claim left out", |d, n| {
        let names = [
            "iss",
            "sub",
            "aud",
            "client_id",
            "iat",
            "exp",
            "jti",
            "scope",
            "authorization_details",
        ];
        remove(&mut d.payload, names[n % names.len()]);
    }),
    ("text claim", |d, n| {
        let names = ["sub", "jti", "client_id", "azp"];
        let values = [
            json!(""),
            json!("a"),
            json!("x".repeat(255)),
            json!("x".repeat(256)),
            json!(7),
            json!(null),
            json!(["user-1"]),
            json!("ü"),
            json!("a\u{0}b"),
        ];
        d.payload[names[n % names.len()]] = pick(&values, n / names.len());
    }),
    ("number date", |d, n| {
        let names = ["exp", "iat", "nbf"];
        let at = json!([
            NOW,
            NOW - 1,
            NOW + 1,
            NOW - 30,
            NOW - 31,
            NOW + 30,
            NOW + 31,
            NOW - 120,
            NOW - 121,
            NOW + 120,
            NOW + 121,
            NOW + 3_590,
            NOW + 3_591,
            NOW + 86_390,
            NOW + 86_391,
            0,
            -1,
            253_402_300_799_i64,
            253_402_300_800_i64,
            i64::MAX,
            u64::MAX,
        ]);
        d.payload[names[n % names.len()]] = pick(at.as_array().unwrap(), n / names.len());
    }),
    ("fractional date", |d, n| {
        let names = ["exp", "iat", "nbf"];
        let at = [
            "1790000000.9",
            "1790000030.5",
            "1789999970.5",
            "1790000120.5",
            "-0.0",
            "-0.5",
            "1e400",
            "1.79e9",
            "17900003e2",
            "253402300799.5",
            "1e300",
        ];
        let name = names[n % names.len()];
        remove(&mut d.payload, name);
        d.texts.push(Text::Member(format!(r#""{name}":{}"#, pick(&at, n / names.len()))));
    }),
    ("written date", |d, n| {
        let names = ["exp", "iat", "nbf"];
        let at = [
            "2026-09-21T14:13:20Z",
            "2026-09-21T14:13:20.5Z",
            "2026-09-21T14:16:20.123456789Z",
            "2026-09-21t14:13:20Z",
            "2026-09-21T14:13:20z",
            "2026-09-21T14:13:20+00:00",
            "2026-09-21T14:13:60Z",
            "2026-09-21",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-09-31T00:00:00Z",
            "1790000000",
            "1790000100",
            "2026-09-21 14:13:20Z",
            "2026-09-21T14:13:20.Z",
            "2026-09-21T14:13Z",
            "+002026-09-21T14:13:20Z",
            "2026-09-21T24:00:00Z",
            "",
            "2026-09-21T14:20:00Z",
        ];
        d.payload[names[n % names.len()]] = json!(pick(&at, n / names.len()));
    }),
    ("date of another type", |d, n| {
        let names = ["exp", "iat", "nbf"];
        let values = [json!(null), json!(true), json!([NOW]), json!({}), json!("soon")];
        d.payload[names[n % names.len()]] = pick(&values, n / names.len());
    }),
    ("scope", |d, n| {
        let values = [
            json!("tools"),
            json!("tools.write"),
            json!("orders.read"),
            json!(""),
            json!("TOOLS"),
            json!(" tools  orders.write "),
            json!("tools\torders.read"),
            json!(["tools", "orders.write"]),
            json!(["tools orders.write"]),
            json!([7]),
            json!(7),
            json!(null),
        ];
        d.payload["scope"] = pick(&values, n);
    }),
    ("act", |d, n| {
        let values = [
            json!({"sub": "agent-1"}),
            json!({"sub": "agent-1", "act": {"sub": "agent-2"}}),
            json!({}),
            json!({"sub": 7}),
            json!({"sub": ""}),
            json!("agent-1"),
            json!(null),
            json!([]),
            json!({"sub": "user-1"}),
        ];
        d.payload["act"] = pick(&values, n);
    }),
    ("a member of a foreign kind", |d, n| {
        let names = [
            "nonce",
            "at_hash",
            "c_hash",
            "credentialSubject",
            "wth",
            "htu",
            "htm",
            "agent_operation_proposal",
            "response_type",
            "events",
            "nonces",
        ];
        if n % 3 > 0 {
            d.header["typ"] = json!("JWT");
        }
        d.payload[names[n % names.len()]] = json!("x");
    }),
    ("a condition that a bearer cannot fulfil", |d, n| {
        let conditions = [
            ("cnf", json!({"jkt": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"})),
            ("cnf", json!({"x5t#S256": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"})),
            ("cnf", json!({"unheard_of": 1})),
            ("cnf", json!({})),
            ("cnf", json!("x")),
            ("cnf", json!(null)),
            ("cnf", json!({"jkt": 7})),
            ("cnf", json!({"jwk": {"kty": "oct", "k": "AAAA"}})),
        ];
        let (name, value) = pick(&conditions, n);
        d.payload[name] = value;
    }),
    ("a policy that is named", |d, n| {
        let named = [
            ("policy_ref", json!("p1")),
            ("policy_ref", json!(["p1", "p2"])),
            ("policy_ref", json!([])),
            ("policy_ref", json!([7])),
            ("policy_ref", json!(7)),
            ("policy_ref", json!(null)),
            ("policy_ref", json!({"id": "p1"})),
            ("policyRef", json!("p1")),
            ("policy_ref", json!({})),
            ("policy_ref", json!("")),
            ("policy_ref", json!({"id": "p1", "hash": HASH})),
            ("policy_ref", json!({"id": "p1", "hash": HASH.trim_end_matches('=')})),
            ("policy_ref", json!({"id": "p1", "hash": HASH.replace('/', "_")})),
            ("policy_ref", json!({"id": "p1", "hash": format!("{HASH}=")})),
            ("policy_ref", json!({"id": "p1", "hash": HASH.replace("256", "512")})),
            ("policy_ref", json!({"id": "p1", "hash": "md5-AAAA"})),
            ("policy_ref", json!({"id": "p1", "hash": 7})),
            ("policy_ref", json!(["p1", {"id": 7}])),
            ("policy_ref", json!({"id": "p1", "endpoint": 7})),
        ];
        let (name, value) = pick(&named, n);
        d.payload[name] = value;
    }),
    ("authorization_details", |d, n| {
        let plain = json!({"type": "agent_operation", "operations": [{"action": "anything"}]});
        let values = [
            json!([]),
            json!({}),
            json!("x"),
            json!(null),
            json!([7]),
            json!([{}]),
            json!([{"type": 7}]),
            json!([{"type": "unheard_of"}]),
            json!([plain]),
            json!(vec![json!({"type": "x"}); 32]),
            json!(vec![json!({"type": "x"}); 33]),
            json!([{"type": "unheard_of", "operations": 7}, plain]),
        ];
        d.payload["authorization_details"] = pick(&values, n);
    }),
    ("operations", |d, n| {
        let values = [
            json!([]),
            json!([{}]),
            json!([7]),
            json!({}),
            json!(null),
            json!([{"method": "GET"}]),
            json!([{"path": "/**"}]),
            json!([{"action": 7}]),
            json!([{"method": "GET", "path": "/**"}]),
            json!([{"method": "get", "path": "/**"}]),
            json!([{"method": "GE T", "path": "/**"}]),
            json!([{"method": "", "path": "/**"}]),
            json!([{"method": "GET", "path": "products/**"}]),
            json!([{"method": "GET", "path": "/products/*"}]),
            json!([{"method": "GET", "path": "/products/**/x"}]),
            json!([{"method": "GET", "path": "/pro*/4*"}]),
            json!([{"method": "GET", "path": "/PRODUCTS/**"}]),
            json!([{"method": "GET", "path": "/products/../**"}]),
            json!([{"method": "GET", "path": "/products//**"}]),
            json!([{"method": "GET", "path": "/products/a**"}]),
            json!([{"method": "GET", "path": "/[a-z]"}]),
            json!([{"method": "GET", "path": "/a?"}]),
            json!([{"method": "GET", "path": "/**/**/**/**/**"}]),
            json!([{"method": "GET", "path": "/**/**/**/**"}]),
            json!([{"action": "search_products", "method": "GET", "path": "/products/42"}]),
            json!([{"action": "create_order", "method": "GET", "path": "/products/42"}]),
            json!([{"action": "anything", "max_amount": "5"}]),
            json!([{"action": "anything", "path": "/any/**"}]),
            json!([{"action": ""}]),
            json!(vec![json!({"action": "search_products"}); 256]),
            json!(vec![json!({"action": "x"}); 257]),
        ];
        set_in_entry(d, "operations", pick(&values, n));
    }),
    ("locations", |d, n| {
        let values = [
            json!([]),
            json!(["https://tools.test/shop"]),
            json!(["https://tools.test"]),
            json!(["https://tools.test/"]),
            json!(["https://tools.test/shop/"]),
            json!(["https://tools.test/shop/products"]),
            json!(["https://tools.test/shop/products/"]),
            json!(["https://tools.test/shop/products/42"]),
            json!(["https://tools.test/shop/products/42/"]),
            json!(["https://tools.test/shop/orders/"]),
            json!(["https://tools.test/shop/orders"]),
            json!(["https://tools.test/sho"]),
            json!(["https://tools.test/Shop"]),
            json!(["HTTPS://Tools.Test:443/shop"]),
            json!(["https://tools.test:8443/shop"]),
            json!(["http://tools.test/shop"]),
            json!(["https://tools.test/shop?x=1"]),
            json!(["https://tools.test/shop#x"]),
            json!(["https://tools.test.evil/shop"]),
            json!(["https://evil@tools.test/shop"]),
            json!(["tools.test/shop"]),
            json!(["", "x"]),
            json!(["https://x.test", "https://tools.test/shop"]),
            json!("https://tools.test/shop"),
            json!([7]),
            json!(null),
            json!(["https://tools.test/shop/products/4"]),
        ];
        set_in_entry(d, "locations", pick(&values, n));
    }),
    ("actions", |d, n| {
        let values = [
            json!([]),
            json!(["search_products"]),
            json!(["*"]),
            json!(["Search_Products"]),
            json!(["create_order", "read_order", "anything", "delete"]),
            json!(["GET"]),
            json!(["get", "POST"]),
            json!("anything"),
            json!([7]),
            json!(null),
            json!({}),
        ];
        set_in_entry(d, "actions", pick(&values, n));
    }),
    ("a member of the entry", |d, n| {
        let names = ["datatypes", "identifier", "privileges", "unheard_of", "description"];
        set_in_entry(d, names[n % names.len()], json!(["x"]));
    }),
    ("an entry more", |d, n| {
        let policy = |kind: &str, policy: Value| json!({"type": kind, "policy": policy});
        let entries = [
            policy("authorization_policy", json!({"language": "alfa", "content": "x"})),
            policy("authorization_policy", json!({"content": "x"})),
            policy("authorization_policy", json!({"language": "alfa"})),
            policy("authorization_policy", json!({"language": 7, "content": "x"})),
            policy("authorization_policy", json!({"language": "alfa", "content": 7})),
            policy(
                "authorization_policy",
                json!({"language": "alfa", "type": "rego", "content": "x"}),
            ),
            policy("authorization_policy", json!({"language": "alfa", "uri": "https://as.test/p"})),
            policy("rego_policy", json!({"type": "alfa", "content": "x"})),
            policy("rego_policy", json!({"language": "alfa", "content": "x"})),
            policy("rego_policy", json!("x")),
            policy("rego_policy", json!({"type": "rego", "content": "x", "entry_point": "a-b"})),
            policy("rego_policy", json!({"type": "rego", "uri": "x", "entry_point": "data.a.b"})),
            policy("rego_policy", json!({"type": "rego", "uri": "x", "hash": "md5-AAAA"})),
            policy("rego_policy", json!({"type": "rego", "uri": "x", "hash": HASH})),
            policy("rego_policy", json!({"type": "rego", "content": ""})),
            json!({"type": "authorization_policy"}),
            json!({"type": "authorization_policy", "actions": ["x"], "policy": {"language": "alfa", "content": "x"}}),
            json!({"type": "agent_operation", "operations": [{"action": "look"}]}),
            json!({"type": "unheard_of", "policy": 7}),
            json!({"type": "agent_operation"}),
            json!({"type": "Agent_Operation", "operations": [{"action": "anything"}]}),
        ];
        let entry = pick(&entries, n);
        match d.payload.get_mut("authorization_details").and_then(Value::as_array_mut) {
            Some(details) if n % 2 == 0 => details.insert(0, entry),
            Some(details) => details.push(entry),
            None => d.payload["authorization_details"] = json!([entry]),
        }
    }),
    ("a member twice, or oddly spelled", |d, n| {
        let members = [
            r#""aud":"https://tools.test/shop""#,
            r#""\u0061ud":"x""#,
            r#""x":{"y":1,"y":2}"#,
            r#""x":[{"y":[{"z":1,"z":1}]}]"#,
            r#""x":1"#,
            r#""\u0078\u0000":"\ud83d\ude00""#,
            r#""x":"\ud800""#,
            r#""x":01"#,
            r#""x":1.0e-7"#,
            "\"x\":\"\t\"",
            r#""x":1e999"#,
            r#""x":123456789012345678901234567890"#,
        ];
        d.texts.push(Text::Member(pick(&members, n).to_owned()));
    }),
    ("depth", |d, n| {
        let depth = [10, 30, 31, 32, 33, 40, 500][n % 7];
        let text = format!(r#""deep":{}1{}"#, "[".repeat(depth), "]".repeat(depth));
        d.texts.push(Text::Member(text));
    }),
    ("size", |d, n| {
        let length = [1_000, 9_000, 11_000, 13_000][n % 4];
        d.payload["filler"] = json!("x".repeat(length));
    }),
    ("text around the payload", |d, n| {
        let texts =
            [(" ", "\n"), ("\u{feff}", ""), ("", "{}"), ("[", "]"), ("", "\0"), ("/**/", "")];
        let (before, after) = pick(&texts, n);
        d.texts.push(Text::Around(before, after));
    }),
    ("another spelling of the same", |d, n| {
        let spellings =
            [("\"iss\"", "\"\\u0069ss\""), ("https://", "https:\\/\\/"), ("\"sub\"", "\"Sub\"")];
        let (one, other) = pick(&spellings, n);
        d.texts.push(Text::Respelled(one, other));
    }),
    ("a flipped character", |d, n| d.wires.push(Wire::Flip(n % 3, n / 3 * 17))),
    ("padding", |d, n| d.wires.push(Wire::Pad(n))),
    ("another number of parts", |d, n| d.wires.push(Wire::Parts([1, 2, 4][n % 3]))),
    ("an empty part", |d, n| d.wires.push(Wire::Empty(n))),
    ("loose bits", |d, _| d.wires.push(Wire::Loose)),
    ("another payload under the signature", |d, _| d.wires.push(Wire::Blank)),
    ("the line of the credential", |d, n| {
        let lines = [
            "bearer {}",
            "BEARER   {}",
            "Bearer",
            "Bearer ",
            "Basic {}",
            "{}",
            "Bearer {} x",
            "Bearer {},Bearer {}",
            "Bearer {}=",
            "Bearer \"{}\"",
            "Bearer\t{}",
            "Bearer {}.",
        ];
        d.lines = vec![pick(&lines, n).to_owned()];
    }),
    ("no credential, or two", |d, n| {
        d.lines = [vec![], vec!["Bearer {}"; 2], vec!["Bearer {}", "Basic YTpi"]][n % 3]
            .iter()
            .map(|line| (*line).to_owned())
            .collect();
    }),
    ("query", |d, n| {
        d.query = [Some("access_token=x"), Some("a=1&access_token="), Some("x=access_token"), None]
            [n % 4];
    }),
    ("path", |d, n| {
        let paths = [
            "/shop",
            "/shop/",
            "/shop/products",
            "/shop/products/",
            "/shop/any/secret/x",
            "/shop/any/secret",
            "/shop/nothing",
            "/shop/orders/7/8",
            "/shop/orders/",
            "/nowhere",
            "/shopping/products/42",
            "/shop/products/%2e%2e/any",
            "/shop/products/a%2Fb",
            "/shop/products/../any/x",
            "/shop//products",
            "/shop/products/%41",
            "/shop/a%zz",
            "/shop/products/a%25",
            "/shop/products/a%2541",
            "/shop/products/%00",
            "/scoped",
            "/scoped/",
            "/scoped/a/b",
        ];
        pick(&paths, n).clone_into(&mut d.path);
    }),
    ("method", |d, n| {
        d.method = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"][n % 7];
    }),
];

pub(super) fn pick<T: Clone>(all: &[T], n: usize) -> T {
    all[n % all.len()].clone()
}

pub(super) fn remove(object: &mut Value, name: &str) {
    if let Some(members) = object.as_object_mut() {
        members.remove(name);
    }
}

/// Sets a member of the first entry, if there is an entry.
fn set_in_entry(draft: &mut Draft, name: &str, value: Value) {
    let entry = draft.payload.pointer_mut("/authorization_details/0");
    if let Some(Value::Object(entry)) = entry {
        entry.insert(name.to_owned(), value);
    }
}
