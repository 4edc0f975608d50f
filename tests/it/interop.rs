//! Tokens and proofs that opgate's authors did not make: by libraries for Python and JavaScript, and
//! by an independent authorization server with an agent of its own (`tests/interop`).
//!
//! They need `tests/interop` to be installed, which `tests/run` does; without it they are ignored, and
//! never passed over in silence.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

mod a2a;
mod mcp;

use crate::support::gate::{ISSUER, SHOP};
use crate::support::issuer::now;
use crate::support::proof::hash;
use crate::support::{Echo, Gate, Setup, Token};
use crate::token::{assert_accepted, assert_refused};

const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "EdDSA", "PS256", "RS256"];

/// A program that answers lines of JSON with lines of JSON.
struct Foreign {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign({})", self.child.id())
    }
}

impl Foreign {
    fn start(program: &str, script: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let mut child = Command::new(program)
            .arg(script)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} {script}: {error}; run tests/run"));
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { questions: child.stdin.take(), child, answers }
    }

    fn python(script: &str) -> Self {
        Self::start("venv/bin/python", script)
    }

    fn node(script: &str) -> Self {
        Self::start("node", script)
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions.as_mut().unwrap(), "{question}").unwrap();
        self.read()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // The end of its questions ends it; one that hangs is ended.
        self.questions = None;
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Every name with its token; the first three are good.
fn wanted() -> Vec<(&'static str, Token)> {
    let details = json!([{"type": "agent_operation", "operations": [{"action": "read_order"}]}]);
    vec![
        ("good", Token::new()),
        ("good: several audiences", Token::new().claim("aud", json!(["https://x.test", SHOP]))),
        ("good: typ in full", Token::new().header("typ", "application/at+jwt")),
        ("expired", Token::new().claim("iat", now() - 900).claim("exp", now() - 600)),
        ("not yet valid", Token::new().claim("nbf", now() + 600)),
        ("issued in the future", Token::new().claim("iat", now() + 600).claim("exp", now() + 900)),
        ("for another audience", Token::new().claim("aud", "https://x.test")),
        ("by another issuer", Token::new().claim("iss", "https://x.test")),
        ("an ID token's type", Token::new().header("typ", "JWT")),
        ("a proof's type", Token::new().header("typ", "dpop+jwt")),
        ("without jti", Token::new().without("jti")),
        ("date as text", Token::new().claim("exp", (now() + 300).to_string())),
        ("bound to a key", Token::new().claim("cnf", json!({"unheard_of": "x"}))),
        ("for another operation", Token::new().claim("authorization_details", details)),
    ]
}

/// Asks a library for every token in every algorithm, and shows them to a gate that has its keys.
fn tokens_of(mut library: Foreign, name: &str) {
    let wanted = wanted();
    let mut tokens = json!({});
    for (case, token) in &wanted {
        tokens[*case] = json!({"header": token.header, "payload": token.payload});
    }
    let made = library.ask(&json!({"library": name, "tokens": tokens}));
    let echo = Echo::start();
    let setup = Setup::new(&echo);
    setup.write("jwks.json", &made["jwks"].to_string());
    let gate = setup.start();
    for alg in ALGORITHMS {
        for (case, _) in &wanted {
            let token = made["tokens"][case][alg].as_str().unwrap();
            let case = format!("{name}, {alg}, {case}");
            if case.contains("good") {
                assert_accepted(&gate, &case, token);
            } else if case.ends_with("for another operation") {
                let before = echo.bytes().len();
                assert_eq!(gate.get("/shop/products/42", token).status, 403, "{case}");
                assert_eq!(echo.bytes().len(), before, "{case}");
            } else {
                assert_refused(&gate, &echo, &case, token);
            }
        }
        let good = made["tokens"]["good"][alg].as_str().unwrap();
        for (case, token) in tampered(good) {
            assert_refused(&gate, &echo, &format!("{name}, {alg}, {case}"), &token);
        }
        // RFC 8725 §3.1: a genuine signature under the name of another algorithm's key.
        let other = ALGORITHMS[(ALGORITHMS.iter().position(|a| *a == alg).unwrap() + 1) % 5];
        let other = made["tokens"]["good"][other].as_str().unwrap();
        let (input, _) = good.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert_refused(
            &gate,
            &echo,
            "another algorithm's signature",
            &format!("{input}.{signature}"),
        );
    }
}

/// The token with one character of each part changed, and cut short.
fn tampered(token: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = token.split('.').collect();
    let mut tampered = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        let middle = part.len() / 2;
        let other = if &part[middle..=middle] == "A" { "B" } else { "A" };
        let changed = format!("{}{other}{}", &part[..middle], &part[middle + 1..]);
        let mut parts = parts.clone();
        parts[n] = &changed;
        tampered.push((format!("part {n} changed"), parts.join(".")));
    }
    tampered.push(("cut short".to_owned(), token[..token.len() - 2].to_owned()));
    tampered
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn tok_004_tokens_of_joserfc_are_accepted_and_their_mutations_refused() {
    tokens_of(Foreign::python("tokens.py"), "joserfc");
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn tok_004_tokens_of_jwcrypto_are_accepted_and_their_mutations_refused() {
    tokens_of(Foreign::python("tokens.py"), "jwcrypto");
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn tok_004_tokens_of_pyjwt_are_accepted_and_their_mutations_refused() {
    tokens_of(Foreign::python("tokens.py"), "pyjwt");
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn tok_004_tokens_of_jose_are_accepted_and_their_mutations_refused() {
    tokens_of(Foreign::node("tokens.mjs"), "jose");
}

/// Two delegations that a library signs, and what was changed afterwards.
fn chains_of(mut library: Foreign, name: &str) {
    let agent = |name: &str| format!("wit://agents.test/{name}");
    let record = |from: &str, to: &str, age: i64| {
        json!({
            "delegator_id": agent(from), "delegatee_id": agent(to), "as_id": ISSUER,
            "delegation_timestamp": now() - age, "operation_summary": "Check stock \u{2014} item \"123\"",
        })
    };
    let records = json!([record("b", "c", 10), record("a", "b", 20)]);
    let token = Token::new().claim("act", json!({"sub": agent("c")}));
    let with = |after: Value| {
        let Token { header, payload } = &token;
        json!({"header": header, "payload": payload, "records": records, "after": after})
    };
    let made = library.ask(&json!({"library": name, "tokens": {
        "good": with(json!({})),
        "another summary": with(json!({"operation_summary": "Check stock"})),
        "another delegator": with(json!({"delegator_id": agent("a")})),
        "a member more that is signed": with(json!({"scope": "orders"})),
    }}));
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
    setup.resource = "allow_bearer_delegation = true".to_owned();
    setup.write("jwks.json", &made["jwks"].to_string());
    let gate = setup.start();
    for (case, tokens) in made["tokens"].as_object().unwrap() {
        for alg in ALGORITHMS {
            let before = echo.bytes().len();
            let response = gate.get("/shop/products/42", tokens[alg].as_str().unwrap());
            if case == "good" {
                assert_eq!(response.status, 200, "{name}, {alg}: {}", response.everything());
            } else {
                assert_eq!(response.error(), "invalid_delegation_chain", "{name}, {alg}, {case}");
                assert_eq!(echo.bytes().len(), before, "{name}, {alg}, {case}");
            }
        }
    }
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn del_003_chains_signed_by_jwcrypto_and_jose_are_verified_and_their_mutations_refused() {
    chains_of(Foreign::python("tokens.py"), "jwcrypto");
    chains_of(Foreign::node("tokens.mjs"), "jose");
}

/// Evidence that a library signs, and what was changed afterwards.
fn evidence_of(mut library: Foreign, name: &str) {
    let evidence = json!({
        "id": "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "user_confirmation": {"displayed_content": "Read \u{201e}all\u{201c}, for \u{20ac} 5 \u{2014} once?\n",
            "user_action": "button_click", "timestamp": now() - 60, "subject": "user-1"},
    });
    let with = |after: Value| {
        let Token { header, payload } = Token::new();
        json!({"header": header, "payload": payload, "evidence": evidence, "evidence_after": after})
    };
    let mut later = evidence["user_confirmation"].clone();
    later["timestamp"] = json!(now() - 61);
    let mut longer = evidence["user_confirmation"].clone();
    longer["displayed_content"] = json!("Read everything?");
    let made = library.ask(&json!({"library": name, "tokens": {
        "good": with(json!({})),
        "good: a session beside": with(json!({"session_context": {"channel": "web"}})),
        "another id": with(json!({"id": "urn:uuid:0"})),
        "another time": with(json!({"user_confirmation": later})),
        "another text": with(json!({"user_confirmation": longer})),
        "no signature": with(json!({"as_signature": null})),
    }}));
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "evidence = \"required\"".to_owned();
    setup.write("jwks.json", &made["jwks"].to_string());
    let gate = setup.start();
    for (case, tokens) in made["tokens"].as_object().unwrap() {
        for alg in ALGORITHMS {
            let token = tokens[alg].as_str().unwrap();
            let case = format!("{name}, {alg}, {case}");
            if case.contains("good") {
                assert_accepted(&gate, &case, token);
            } else {
                assert_refused(&gate, &echo, &case, token);
            }
        }
    }
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn evi_002_evidence_signed_by_joserfc_jwcrypto_and_jose_is_verified_and_its_mutations_refused() {
    evidence_of(Foreign::python("tokens.py"), "joserfc");
    evidence_of(Foreign::python("tokens.py"), "jwcrypto");
    evidence_of(Foreign::node("tokens.mjs"), "jose");
}

/// A workload's identity token and proofs that a library makes, beside a token of the gate's issuer.
fn workloads_of(mut library: Foreign, name: &str) {
    const TARGET: &str = "/shop/products/42";
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.resource = "proofs = [\"wpt\"]".to_owned();
    setup.more =
        "[[workload_issuer]]\nissuer = \"wimse://td.test\"\njwks_file = \"domain.json\"".to_owned();
    let token = Token::new().sign(&setup.key);
    let made = library.ask(&json!({"library": name, "workload": {
        "identity": {"iss": "wimse://td.test", "sub": "wimse://td.test/buyer", "iat": now(),
            "exp": now() + 300},
        "proof": {"aud": format!("https://tools.test{TARGET}"), "exp": now() + 120, "ath": hash(&token)},
        "cases": {
            "good": {},
            "good: by several hashes": {"oth": {}},
            "of another token": {"ath": hash("another")},
            "of another identity": {"wth": hash("another")},
            "for another target": {"aud": "https://tools.test/shop/orders"},
            "that has ended": {"exp": now() - 60},
            "that says too much": {"oth": {"x": hash("x")}},
        },
    }}));
    setup.write("domain.json", &made["jwks"].to_string());
    let gate = setup.start();
    let call = |identity: &Value, proof: &Value| {
        let headers = [
            ("Authorization", &*format!("Bearer {token}")),
            ("Workload-Identity-Token", identity.as_str().unwrap()),
            ("Workload-Proof-Token", proof.as_str().unwrap()),
        ];
        gate.send(crate::support::request("GET", TARGET, &headers, ""))
    };
    for (n, alg) in ALGORITHMS.iter().enumerate() {
        let workload = &made["workloads"][alg];
        let identity = &workload["identity"];
        for (case, proof) in workload["proofs"].as_object().unwrap() {
            let before = echo.bytes().len();
            let response = call(identity, proof);
            let case = format!("{name}, {alg}, {case}");
            if case.contains("good") {
                assert_eq!(response.status, 200, "{case}: {}", response.everything());
                let again = call(identity, proof);
                assert_eq!(again.error(), "invalid_workload_proof", "{case}, a second time");
            } else {
                assert_eq!(response.error(), "invalid_workload_proof", "{case}");
                assert_eq!(echo.bytes().len(), before, "{case}");
            }
        }
        let good = workload["proofs"]["good"].as_str().unwrap();
        for (case, changed) in tampered(good) {
            let response = call(identity, &json!(changed));
            assert_eq!(response.error(), "invalid_workload_proof", "{name}, {alg}, {case}");
        }
        let other = ALGORITHMS[(n + 1) % ALGORITHMS.len()];
        let stolen = call(identity, &made["workloads"][other]["proofs"]["good"]);
        assert_eq!(stolen.error(), "invalid_workload_proof", "{name}, {alg}, another's proof");
    }
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn ver_016_workloads_by_joserfc_jwcrypto_and_jose_are_proven_and_their_mutations_refused() {
    workloads_of(Foreign::python("tokens.py"), "joserfc");
    workloads_of(Foreign::python("tokens.py"), "jwcrypto");
    workloads_of(Foreign::node("tokens.mjs"), "jose");
}

/// `oidc-provider` on loopback, and a gate that trusts it and finds its keys by discovery.
struct Server {
    program: Foreign,
    echo: Echo,
    gate: Gate,
}

impl Server {
    fn start() -> Self {
        let mut program = Foreign::node("authorization-server.mjs");
        let about = program.read();
        let text = |name: &str| about[name].as_str().unwrap().to_owned();
        let (issuer, client) = (text("issuer"), text("client"));
        let echo = Echo::start();
        let mut setup = Setup::new(&echo);
        setup.write("introspection.secret", &text("secret"));
        setup.more = format!(
            r#"
[[issuer]]
issuer = "{issuer}"
algorithms = ["ES256"]
rfc9068_strict = true
[issuer.introspection]
endpoint = "{issuer}/token/introspection"
client_id = "{client}"
secret = {{ file = "introspection.secret" }}
cache = "0s"
"#
        );
        for (name, further) in
            [("store", String::new()), ("opaque", format!("opaque_tokens = \"{issuer}\""))]
        {
            setup.more += &format!(
                r#"
[[resource]]
id = "https://tools.test/{name}"
upstream = "shop"
issuers = ["{issuer}"]
{further}
[[resource.operation]]
action = "read_order"
method = "GET"
path = "/orders/*"
scopes = ["orders.read"]
[[resource.operation]]
action = "delete_order"
method = "DELETE"
path = "/orders/*"
scopes = ["orders.write"]
"#
            );
        }
        let gate = setup.start();
        Self { program, echo, gate }
    }

    /// The answer of the token endpoint to the whole flow, for reading orders of a resource.
    fn granted(&mut self, name: &str, scope: &str, dpop: bool) -> Value {
        let resource = format!("https://tools.test/{name}");
        let details = json!([{
            "type": "agent_operation", "locations": [resource],
            "operations": [{"method": "GET", "path": "/orders/*"}],
        }]);
        let asked = json!({"resource": resource, "scope": scope, "details": details, "dpop": dpop});
        let answer = self.program.ask(&json!({ "grant": asked }));
        assert!(answer["access_token"].is_string(), "{answer}");
        answer
    }
}

fn token(answer: &Value) -> &str {
    answer["access_token"].as_str().unwrap()
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn tokens_of_an_independent_authorization_server_are_worth_what_was_consented_to() {
    let mut server = Server::start();
    let answer = server.granted("store", "orders.read", false);
    let granted = token(&answer);
    assert_eq!(server.gate.get("/store/orders/7", granted).status, 200);
    let decision = server.gate.decisions().pop().unwrap();
    assert!(decision.to_string().contains("allow"), "{decision}");
    let before = server.echo.bytes().len();
    for (case, tampered) in tampered(granted) {
        assert_refused_at(&server, "/store/orders/7", &tampered, 401, &case);
    }
    assert_refused_at(&server, "/shop/products/1", granted, 401, "another resource");
    assert_refused_at(&server, "/store/nothing", granted, 404, "no operation");
    let narrow = server.granted("store", "orders.write", false);
    assert_refused_at(&server, "/store/orders/7", token(&narrow), 403, "without the scope");
    let authorization = format!("Bearer {granted}");
    let deletion = crate::support::request(
        "DELETE",
        "/store/orders/7",
        &[("Authorization", &authorization)],
        "",
    );
    assert_eq!(server.gate.send(deletion).error(), "insufficient_scope");
    assert_eq!(server.echo.bytes().len(), before, "the upstream received something");
}

fn assert_refused_at(server: &Server, target: &str, token: &str, status: u16, case: &str) {
    let response = server.gate.get(target, token);
    assert_eq!(response.status, status, "{case}: {}", response.everything());
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn ver_012_a_bound_token_of_an_independent_server_is_worth_nothing_without_its_key() {
    let mut server = Server::start();
    let answer = server.granted("store", "orders.read", true);
    assert_eq!(answer["token_type"], "DPoP");
    assert_refused_at(&server, "/store/orders/7", token(&answer), 401, "as a bearer");
    server.echo.assert_untouched("a bound token as a bearer");
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn ver_011_proofs_of_an_independent_library_count_once_and_for_one_call() {
    let mut server = Server::start();
    let answer = server.granted("store", "orders.read", true);
    let unbound = server.granted("store", "orders.read", false);
    let (bound, unbound) = (token(&answer).to_owned(), token(&unbound).to_owned());
    let url = "https://tools.test/store/orders/7";
    let proof = |server: &mut Server, method: &str, url: &str, token: &str| {
        let asked = json!({"method": method, "url": url, "token": token});
        let made = server.program.ask(&json!({ "proof": asked }));
        made["proof"].as_str().unwrap().to_owned()
    };
    let call = |server: &Server, token: &str, proof: &str| {
        let headers = [("Authorization", &*format!("DPoP {token}")), ("DPoP", proof)];
        server.gate.send(crate::support::request("GET", "/store/orders/7", &headers, ""))
    };
    for (case, method, url, other) in [
        ("another method", "POST", url, &bound),
        ("another path", "GET", "https://tools.test/store/orders/8", &bound),
        ("another host", "GET", "https://evil.test/store/orders/7", &bound),
        ("another token", "GET", url, &unbound),
    ] {
        let made = proof(&mut server, method, url, other);
        let response = call(&server, &bound, &made);
        assert_eq!(response.error(), "invalid_dpop_proof", "{case}: {}", response.everything());
    }
    let made = proof(&mut server, "GET", url, &unbound);
    assert_eq!(call(&server, &unbound, &made).error(), "invalid_token", "an unbound token");
    server.echo.assert_untouched("refused proofs");
    let good = proof(&mut server, "GET", url, &bound);
    assert_eq!(call(&server, &bound, &good).status, 200);
    let before = server.echo.bytes().len();
    assert_eq!(call(&server, &bound, &good).error(), "invalid_dpop_proof", "a second time");
    for (case, changed) in tampered(&proof(&mut server, "GET", url, &bound)) {
        assert_eq!(call(&server, &bound, &changed).error(), "invalid_dpop_proof", "{case}");
    }
    assert_eq!(server.echo.bytes().len(), before);
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn tok_035_opaque_tokens_of_an_independent_server_are_introspected() {
    let mut server = Server::start();
    let answer = server.granted("opaque", "orders.read", false);
    let opaque = token(&answer).to_owned();
    assert!(!opaque.contains('.'), "{opaque}");
    assert_refused_at(&server, "/opaque/orders/7", "unknown-to-the-server", 401, "never issued");
    assert_refused_at(&server, "/store/orders/7", &opaque, 401, "where tokens are JWTs");
    let narrow = server.granted("opaque", "orders.write", false);
    assert_refused_at(&server, "/opaque/orders/7", token(&narrow), 403, "without the scope");
    server.echo.assert_untouched("refused opaque tokens");
    let response = server.gate.get("/opaque/orders/7", &opaque);
    assert_eq!(response.status, 200, "{}", response.everything());
    let before = server.echo.bytes().len();
    let revoked = server.program.ask(&json!({ "revoke": opaque }));
    assert_eq!(revoked["status"], 200, "{revoked}");
    assert_refused_at(&server, "/opaque/orders/7", &opaque, 401, "revoked");
    assert_eq!(server.echo.bytes().len(), before);
}

#[test]
#[ignore = "needs tests/interop, which tests/run installs"]
fn evi_014_the_log_is_verified_by_another_language_from_its_files_alone() {
    let echo = Echo::start();
    let mut gate = Setup::new(&echo).start();
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.extend((0..150).map(|_| gate.get("/shop/any/1", &gate.token()).decision_id()));
        gate.signal("TERM");
        gate.ended();
        gate.restart_after_kill();
    }
    gate.signal("TERM");
    gate.ended();
    let directory = gate.setup.dir.path();
    let audit = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opgate"));
        let output = command.arg("audit").args(arguments).current_dir(directory).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let key = audit(&["key"]);
    let mut verifier = Foreign::python("log.py");
    let log = json!({"directory": directory.join("audit"), "key": key});
    let told = verifier.ask(&log);
    assert_eq!(told["signed"], told["records"], "{told}");
    assert!(told["records"].as_u64() >= Some(600) && told["earlier"].as_u64() >= Some(3), "{told}");
    for (n, id) in ids.iter().enumerate().step_by(37) {
        let bundle = format!("bundle{n}");
        audit(&["prove", id, "-o", &bundle]);
        let file = |name: &str| directory.join(&bundle).join(name);
        let question =
            json!({"record": file("record.json"), "proof": file("record.proof"), "key": key});
        let told = verifier.ask(&question);
        assert_eq!(told["of"], verifier.ask(&log)["signed"], "{told}");
        let text = std::fs::read_to_string(file("record.json")).unwrap();
        std::fs::write(file("record.json"), text.replace("allow", "deny!")).unwrap();
        assert!(verifier.ask(&question)["error"].is_string());
    }
    let seg = directory.join("audit/seg/000000000000.jsonl");
    let text = std::fs::read_to_string(&seg).unwrap();
    std::fs::write(&seg, text.replacen("granted", "grabbed", 1)).unwrap();
    assert!(verifier.ask(&log)["error"].as_str().unwrap().contains("do not hash"));
}
