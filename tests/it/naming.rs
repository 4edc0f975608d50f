//! Policies that tokens carry and name, over real sockets (`policy.md` §6): found, bound by digest, pinned,
//! fetched from nowhere else, asked, and recorded.

use std::fs;
use std::thread;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::challenge::Challenge;
use crate::support::served::{Served, response};
use crate::support::{Echo, Gate, Response, Setup, Token};

const TARGET: &str = "/shop/any/1";
const ALLOW: &str = "package agent\n\nallow if input.action == \"anything\"\n";
const DENY: &str = "package agent\n\ndefault allow := false\n";
const REGISTRY: &str = "\n[issuer.policies]\n";

fn sha256(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// A gate whose issuer's policies are configured by `lines`.
fn start(lines: &str) -> (Echo, Gate) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer = format!("{REGISTRY}{lines}");
    (echo, setup.start())
}

/// A token that grants nothing by itself, and names `policy_ref`.
fn referring(gate: &Gate, reference: Value) -> String {
    let token = Token::new().without("authorization_details").claim("policy_ref", reference);
    token.sign(&gate.setup.key)
}

fn refused(
    gate: &Gate,
    echo: &Echo,
    token: &str,
    status: u16,
    reason: &str,
    case: &str,
) -> Response {
    let response = gate.get(TARGET, token);
    assert_eq!(response.status, status, "{case}: {}", response.everything());
    assert_eq!(gate.decision(&response.decision_id())["reason"], reason, "{case}");
    echo.assert_untouched(case);
    response
}

fn allowed(gate: &Gate, token: &str, case: &str) -> Value {
    let response = gate.get(TARGET, token);
    let decision = gate.decision(&response.decision_id());
    assert_eq!(response.status, 200, "{case}: {} {decision}", response.everything());
    decision
}

#[test]
fn pol_019_a_reference_without_a_digest_is_refused_and_asks_nobody() {
    let server = Served::start();
    let (echo, gate) = start(&format!("endpoint = {:?}", server.url("/policies")));
    server.serve("/policies/p1", ALLOW);
    let token = referring(&gate, json!("p1"));
    let response = refused(&gate, &echo, &token, 403, "policy_unbound", "unbound");
    assert_eq!(response.error(), "insufficient_authorization");
    assert_eq!(Challenge::of(&response).get("error"), Some("insufficient_authorization"));
    assert!(server.asked("/policies/p1").is_empty());
}

#[test]
fn pol_017_a_text_that_is_not_the_one_that_was_meant_is_never_asked() {
    let server = Served::start();
    let (echo, gate) = start(&format!("endpoint = {:?}", server.url("/policies")));
    server.serve("/policies/p1", ALLOW);
    let token = referring(&gate, json!({"id": "p1", "hash": sha256(DENY)}));
    let response = refused(&gate, &echo, &token, 403, "policy_digest_mismatch", "swapped");
    assert!(gate.decision(&response.decision_id()).get("policies").is_none());
    // A policy of whose text nothing is known yet.
    let token = referring(&gate, json!({"id": "none", "hash": sha256(DENY)}));
    refused(&gate, &echo, &token, 403, "policy_unresolvable", "unknown");
    server.fail("/policies/away");
    let token = referring(&gate, json!({"id": "away", "hash": sha256(DENY)}));
    let response = refused(&gate, &echo, &token, 503, "policy_unavailable", "away");
    assert!(
        response.all("www-authenticate").is_empty() && response.header("retry-after").is_some()
    );
}

#[test]
fn pol_020_policies_are_fetched_from_where_the_operator_allows_and_from_nowhere_else() {
    let (server, other) = (Served::start(), Served::start());
    let lines = format!("origins = [\"http://{}\"]", server.authority());
    let (echo, gate) = start(&lines);
    let hash = sha256(ALLOW);
    for (case, uri) in [
        ("another port", other.url("/p")),
        ("another name of the same", server.url("/p").replace("127.0.0.1", "localhost")),
        ("a name that looks alike", format!("http://{}.evil.test/p", server.authority())),
        ("user information", server.url("/p").replace("http://", "http://127.0.0.1@evil.test:80/")),
        ("a file", "file:///etc/passwd".to_owned()),
        ("the metadata of a cloud", "http://169.254.169.254/latest".to_owned()),
        ("no URL", "p".to_owned()),
    ] {
        let token = referring(&gate, json!({"id": "p", "hash": hash, "endpoint": uri}));
        refused(&gate, &echo, &token, 403, "policy_unresolvable", case);
    }
    assert!(other.asked("/p").is_empty() && server.asked("/p").is_empty());
    // Of an origin that is allowed, what leads elsewhere is no answer.
    let to = format!("Location: {}\r\n", other.url("/p"));
    server.at("/moved", move |_| response(302, &to, ""));
    server.serve("/large", "x".repeat(200_000));
    for path in ["/moved", "/large"] {
        let reference = json!({"id": "p", "hash": hash, "endpoint": server.url(path)});
        refused(&gate, &echo, &referring(&gate, reference), 503, "policy_unavailable", path);
    }
    assert!(other.asked("/p").is_empty());
}

#[test]
fn pol_020_an_issuers_own_origin_is_out_of_reach_while_it_is_private() {
    let server = Served::start();
    server.serve("/p", ALLOW);
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    // An issuer of whose policies nothing is written down.
    let own = format!("http://localhost:{}", server.authority().rsplit_once(':').unwrap().1);
    setup.more = format!(
        "\n[[issuer]]\nissuer = \"{own}\"\njwks_file = \"jwks.json\"\n[[resource]]\n\
         id = \"https://tools.test/own\"\nupstream = \"shop\"\nissuers = [\"{own}\"]\n\
         [[resource.operation]]\naction = \"anything\"\nmethod = \"GET\"\npath = \"/any/**\"\n"
    );
    let gate = setup.start();
    let reference = json!({"id": "p", "hash": sha256(ALLOW), "endpoint": format!("{own}/p")});
    let token = Token::new().without("authorization_details").claim("policy_ref", reference);
    let token = token.claim("iss", own.as_str()).claim("aud", "https://tools.test/own");
    let response = gate.get("/own/any/1", &token.sign(&gate.setup.key));
    assert_eq!(response.status, 503, "{}", response.everything());
    assert_eq!(gate.decision(&response.decision_id())["reason"], "policy_unavailable");
    echo.assert_untouched("a loopback address");
    assert!(server.asked("/p").is_empty(), "no byte was sent");
}

#[test]
fn many_calls_at_once_ask_for_a_policy_once() {
    let server = Served::start();
    let (echo, gate) = start(&format!("endpoint = {:?}", server.url("/policies")));
    server.serve("/policies/p1", DENY);
    let token = referring(&gate, json!({"id": "p1", "hash": sha256(DENY)}));
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert_ne!(gate.get(TARGET, &token).status, 200));
        }
    });
    assert_eq!(server.asked("/policies/p1").len(), 1);
    echo.assert_untouched("a policy that says no");
}

#[test]
fn pol_014_026_a_language_that_is_not_known_matters_where_its_entry_applies() {
    let (echo, gate) = start("");
    let alfa =
        json!({"type": "authorization_policy", "policy": {"language": "alfa", "content": "x"}});
    let mut elsewhere = alfa.clone();
    elsewhere["actions"] = json!(["sell"]);
    let list = json!({"type": "agent_operation", "operations": [{"action": "anything"}]});
    let of =
        |details: Value| Token::new().claim("authorization_details", details).sign(&gate.setup.key);
    refused(&gate, &echo, &of(json!([&alfa])), 500, "policy_language_unknown", "it applies");
    refused(
        &gate,
        &echo,
        &of(json!([elsewhere.clone()])),
        403,
        "no_applicable_grant",
        "it does not",
    );
    allowed(&gate, &of(json!([elsewhere, &list])), "beside a list");
    allowed(&gate, &of(json!([alfa, list])), "the list says yes");
}

#[test]
fn pol_001_002_003_031_what_a_carried_policy_says_decides() {
    let (echo, gate) = start("");
    for (content, status, reason) in [
        ("package a\nallow := false", 403, "policy_denied"),
        ("package a\nallow if input.nothing", 403, "policy_undefined"),
        ("package a\nallow := \"yes\"", 403, "policy_non_boolean"),
        ("package a\nallow if {", 500, "policy_not_admitted"),
        ("package a\nallow if http.send({}).x", 500, "policy_not_admitted"),
        ("package a\nallow if data.x.y", 500, "policy_not_admitted"),
    ] {
        let entry = json!({"type": "authorization_policy", "policy": {"language": "rego", "content": content}});
        let token =
            Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
        refused(&gate, &echo, &token, status, reason, content);
    }
    let entry =
        json!({"type": "authorization_policy", "policy": {"language": "rego", "content": ALLOW}});
    let token = Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
    let decision = allowed(&gate, &token, "true");
    assert_eq!(decision["grant"], json!({"entry": 0, "how": "policy"}));
    let policy = &decision["policies"][0];
    assert_eq!((&policy["id"], &policy["result"]), (&json!("inline"), &json!("true")));
    assert_eq!(policy["carrier"], "authorization_details");
    assert_eq!(policy["dialect"], "rego.v1");
    assert_eq!(policy["profile"], "standard");
    assert_eq!(policy["input_sha256"].as_str().map(str::len), Some(64));
    assert!(policy["steps"].as_u64().is_some());
}

#[test]
fn pol_016_a_text_in_the_token_comes_before_an_address() {
    let server = Served::start();
    server.serve("/p", DENY);
    let (_echo, gate) = start(&format!("origins = [\"http://{}\"]", server.authority()));
    let policy = json!({"language": "rego", "content": ALLOW, "uri": server.url("/p"), "hash": sha256(DENY)});
    let entry = json!({"type": "authorization_policy", "policy": policy});
    let token = Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
    allowed(&gate, &token, "content");
    assert!(server.asked("/p").is_empty());
    // Without a text the address counts, tied by its digest.
    let policy = json!({"language": "rego", "uri": server.url("/p"), "hash": sha256(DENY)});
    let entry = json!({"type": "authorization_policy", "policy": policy});
    let token = Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
    assert_eq!(gate.get(TARGET, &token).status, 403);
    assert_eq!(server.asked("/p").len(), 1);
}

#[test]
fn pol_018_a_registered_policy_is_bound_by_its_record() {
    let server = Served::start();
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.write("secret", "t0ken\n");
    let endpoint = server.url("/policies");
    setup.issuer = format!("{REGISTRY}endpoint = {endpoint:?}\nsecret = {{ file = \"secret\" }}");
    let gate = setup.start();
    let record = |source: &str| {
        json!({"policy_id": "p1", "media_type": "application/rego", "language_version": "rego.v1",
            "entrypoint": "data.agent.allow", "input_schema_digest": "sha256:00", "source": source})
    };
    let binding = |source: &str| {
        // Members sorted: the canonical form of these strings is what any JSON writer writes.
        let mut members = record(source);
        members.as_object_mut().unwrap().remove("policy_id");
        let sorted: std::collections::BTreeMap<String, Value> =
            serde_json::from_value(members).unwrap();
        let canonical = serde_json::to_string(&sorted).unwrap();
        opgate::model::hex::hex(digest(&SHA256, canonical.as_bytes()).as_ref())
    };
    let token = |source: &str| {
        let binding = json!({"digest": format!("sha256:{}", binding(source)), "profile": "AOP-POLICY-RESOLUTION-BINDING-v0"});
        let authorization = json!({"policy_id": "p1", "policy_binding": binding});
        Token::new()
            .without("authorization_details")
            .claim("agent_operation_authorization", authorization)
            .claim(
                "agent_identity",
                json!({"version": "1.0", "id": "urn:uuid:1", "issuer": "https://as.test",
                "expires": "2099-01-01T00:00:00Z"}),
            )
            .sign(&gate.setup.key)
    };
    let body = record(ALLOW).to_string();
    server.at("/policies/p1", move |_| response(200, "Content-Type: application/json\r\n", &body));
    let decision = allowed(&gate, &token(ALLOW), "bound");
    assert_eq!(decision["policies"][0]["id"], "p1");
    assert_eq!(decision["policies"][0]["carrier"], "policy_id");
    assert_eq!(server.asked("/policies/p1")[0].all("authorization"), ["Bearer t0ken"]);
    let echoed = echo.requests().len();
    let swapped = gate.get(TARGET, &token(DENY));
    assert_eq!(gate.decision(&swapped.decision_id())["reason"], "policy_digest_mismatch");
    assert_eq!(echo.requests().len(), echoed);
}

#[test]
fn pol_019_a_pinned_name_keeps_its_text_across_a_restart() {
    let server = Served::start();
    let lines =
        format!("unbound = \"pin\"\nendpoint = {:?}\nrefresh = \"1s\"", server.url("/policies"));
    let (echo, mut gate) = start(&lines);
    server.serve("/policies/p1", ALLOW);
    let token = referring(&gate, json!("p1"));
    allowed(&gate, &token, "the first text");
    // Whoever changes the text behind the name gains nothing by it.
    server.serve("/policies/p1", format!("{ALLOW}\n# and more\n"));
    let reason = |gate: &Gate| {
        let response = gate.get(TARGET, &token);
        (response.status, gate.decision(&response.decision_id())["reason"].clone())
    };
    let mismatch = (403, json!("policy_digest_mismatch"));
    let seen = crate::support::eventually("the change", || {
        let answer = reason(&gate);
        (answer.0 != 200).then_some(answer)
    });
    assert_eq!(seen, mismatch);
    gate.restart_after_kill();
    assert_eq!(reason(&gate), mismatch, "after a restart");
    server.serve("/policies/p1", ALLOW);
    gate.restart_after_kill();
    allowed(&gate, &token, "the first text again");
    assert!(fs::read_to_string(gate.path("audit/policy-pins")).unwrap().contains("id p1"));
    drop(echo);
}

#[test]
fn pol_021_a_revoked_policy_denies_at_once() {
    let (echo, gate) = start("");
    let entry = json!({"type": "agent_operation", "operations": [{"action": "anything"}]});
    let members = json!({"version": "1.0", "id": "urn:uuid:1", "issuer": "https://as.test", "expires": "2099-01-01T00:00:00Z"});
    let token = Token::new()
        .claim("agent_identity", members)
        .claim("agent_operation_authorization", json!({"policy_id": "p1"}))
        .claim("authorization_details", json!([entry]))
        .sign(&gate.setup.key);
    let before = gate.get(TARGET, &token);
    assert_eq!(gate.decision(&before.decision_id())["reason"], "policy_unbound");
    let revoked = gate.admin_json("POST", "/revocations", &json!({"policy_id": "p1"}));
    assert!(revoked.status < 300, "{}", revoked.everything());
    refused(&gate, &echo, &token, 401, "token_revoked", "revoked");
}

#[test]
fn pol_019_a_directory_of_policies_is_asked_first_and_a_promise_in_it_ties_nothing() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    fs::create_dir(setup.dir.path().join("named")).unwrap();
    setup.write("named/plain.rego", ALLOW);
    let record = json!({"policy_id": "kept", "source": ALLOW, "immutable": true});
    setup.write("named/record.json", &record.to_string());
    setup.more = "\n[policies]\ndirectory = \"named\"\n".to_owned();
    let gate = setup.start();
    let kept = referring(&gate, json!({"id": "kept", "hash": sha256(ALLOW)}));
    allowed(&gate, &kept, "a record");
    allowed(&gate, &referring(&gate, json!({"id": "plain", "hash": sha256(ALLOW)})), "by name");
    allowed(&gate, &referring(&gate, json!({"id": "other", "hash": sha256(ALLOW)})), "by digest");
    allowed(
        &gate,
        &referring(
            &gate,
            json!([{"id": "plain", "hash": sha256(ALLOW)}, {"id": "kept", "hash": sha256(ALLOW)}]),
        ),
        "both",
    );
    // That a record calls itself immutable binds its keeper, and no text to a token.
    for name in ["plain", "kept"] {
        let unbound = gate.get(TARGET, &referring(&gate, json!(name)));
        assert_eq!(gate.decision(&unbound.decision_id())["reason"], "policy_unbound", "{name}");
    }
    let record = json!({"policy_id": "kept", "source": DENY, "immutable": true});
    gate.setup.write("named/record.json", &record.to_string());
    crate::support::eventually("the reload", || {
        (gate.get(TARGET, &kept).status == 403).then_some(())
    });
    // What is in force is another configuration, though the file is the same.
    let records = gate.records();
    let change = records.iter().find(|record| record["type"] == "config").unwrap();
    assert_ne!(change["old"]["sha256"], change["new"]["sha256"]);
}

#[test]
fn check_tells_every_bad_file_of_the_directory_and_every_text_that_no_token_could_use() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    fs::create_dir(setup.dir.path().join("named")).unwrap();
    setup.more = "\n[policies]\ndirectory = \"named\"\n".to_owned();
    setup.write("named/fine.rego", ALLOW);
    setup.write("named/loop.rego", "package a\nallow if allow");
    setup.write(
        "named/alfa.json",
        &json!({"policy_id": "alfa", "language": "alfa", "source": "x"}).to_string(),
    );
    let stranger = json!({"policy_id": "s", "issuer": "https://x.test", "source": ALLOW});
    setup.write("named/stranger.json", &stranger.to_string());
    let (code, told) = setup.check();
    assert_eq!(code, Some(0), "{told}");
    for part in [
        "/named/alfa.json` is refused whatever token names it: `alfa` is not among",
        "/named/loop.rego` is refused whatever token names it: line 2",
        "/named/stranger.json` is refused whatever token names it: no `[[issuer]]` is called `https://x.test`",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("fine.rego"), "{told}");
    setup.write("named/empty.rego", "");
    setup.write("named/broken.json", "{");
    setup.write("named/again.json", &json!({"id": "fine", "source": DENY}).to_string());
    setup.write("named/two.json", &json!({"source": "x", "content": "x"}).to_string());
    setup.write("named/member.json", &json!({"source": "x", "entrypoint": 7}).to_string());
    for own in ["one", "two"] {
        setup.write(&format!("{own}.rego"), "package a\nallow if allow");
        setup.operations += &format!("\n[[resource.local_policy]]\nfile = \"{own}.rego\"\n");
    }
    let (code, told) = setup.check();
    for part in [
        "/named/empty.rego` is not a policy: its text is empty",
        "/named/broken.json` is not a policy: it is not strict JSON: EOF while parsing an object at line 1 column 1",
        "/named/fine.rego` is not a policy: another file has the policy `fine` already",
        "/named/two.json` is not a policy: it must have one text",
        "/named/member.json` is not a policy: its `entrypoint` is not a text",
        "/one.rego`",
        "/two.rego`",
    ] {
        assert!(code == Some(2) && told.contains(part), "{part}: {told}");
    }
}

#[test]
fn an_id_that_is_the_digest_of_a_text_finds_it_in_the_directory() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    fs::create_dir(setup.dir.path().join("named")).unwrap();
    setup.write("named/plain.rego", ALLOW);
    setup.more = "\n[policies]\ndirectory = \"named\"\n".to_owned();
    let gate = setup.start();
    let of = |text: &str| opgate::model::hex::hex(digest(&SHA256, text.as_bytes()).as_ref());
    let other = referring(&gate, json!(format!("sha256:{}", of(DENY))));
    refused(&gate, &echo, &other, 403, "policy_unresolvable", "another text");
    let torn = referring(&gate, json!({"id": sha256(ALLOW), "hash": sha256(DENY)}));
    refused(&gate, &echo, &torn, 403, "policy_digest_mismatch", "two digests");
    for id in [sha256(ALLOW), format!("sha256:{}", of(ALLOW))] {
        let decision = allowed(&gate, &referring(&gate, json!(id)), &id);
        assert_eq!(decision["policies"][0]["id"], json!(id));
    }
}

/// Two texts of one package, whose rules of one name say opposite things: neither is heard for the other,
/// in any order, however often they are asked.
#[test]
fn pol_015_policies_of_one_package_in_one_token_never_meet() {
    let (echo, gate) = start("");
    let (yes, no) = (
        "package agent\n\nallow if permitted\npermitted := true\n",
        "package agent\n\nallow if permitted\npermitted := false\n",
    );
    let carrying = |texts: &[&str]| {
        let entry = |text: &&str| json!({"type": "authorization_policy", "policy": {"language": "rego", "content": text}});
        let entries: Vec<Value> = texts.iter().map(entry).collect();
        Token::new().claim("authorization_details", entries).sign(&gate.setup.key)
    };
    for _ in 0..2 {
        refused(&gate, &echo, &carrying(&[no]), 403, "policy_undefined", "no alone");
        refused(&gate, &echo, &carrying(&[no, no]), 403, "policy_undefined", "no twice");
    }
    for round in 0..2 {
        for (texts, entry) in [(vec![yes, no], 0), (vec![no, yes], 1), (vec![yes], 0)] {
            let decision = allowed(&gate, &carrying(&texts), "one of them");
            assert_eq!(decision["grant"], json!({"entry": entry, "how": "policy"}), "{round}");
        }
        let response = gate.get(TARGET, &carrying(&[no]));
        assert_eq!(response.status, 403, "after the other was heard");
    }
}

#[test]
fn pol_011_an_entry_is_bounded_by_the_names_of_the_action_and_by_no_pattern() {
    let (_echo, gate) = start("");
    for (actions, status) in [
        (json!(["anything"]), 200),
        (json!(["GET"]), 200),
        (json!(["sell", "GET"]), 200),
        (json!(["POST"]), 403),
        (json!(["get"]), 403),
        (json!(["Anything"]), 403),
        (json!(["any*"]), 403),
        (json!(["*"]), 403),
        (json!([]), 403),
    ] {
        let entry = json!({"type": "authorization_policy", "actions": actions,
            "policy": {"language": "rego", "content": "package agent\n\nallow := true\n"}});
        let token =
            Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
        assert_eq!(gate.get(TARGET, &token).status, status, "{actions}");
    }
}

#[test]
fn pol_015_022_the_operators_own_policy_bounds_every_token() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.write(
        "office.rego",
        "package office\n\nallow if input.request.headers[\"x-reason\"] == \"work\"\n",
    );
    setup.resource = "policy_headers = [\"x-reason\"]\n".to_owned();
    setup.operations += "\n[[resource.local_policy]]\nfile = \"office.rego\"\n";
    let gate = setup.start();
    let token = gate.token();
    let response = gate.get(TARGET, &token);
    assert_eq!(gate.decision(&response.decision_id())["reason"], "policy_undefined");
    echo.assert_untouched("without a reason");
    let line = format!("Bearer {token}");
    let lines = [("Authorization", line.as_str()), ("X-Reason", "work")];
    let response = gate.send(crate::support::request("GET", TARGET, &lines, ""));
    assert_eq!(response.status, 200, "{}", response.everything());
    let decision = gate.decision(&response.decision_id());
    assert_eq!(decision["policies"][0]["carrier"], "local_policy");
    assert_eq!(decision["policies"][0]["id"], "office.rego");
}

#[test]
fn pol_007_a_policy_that_takes_long_ends_in_a_refusal_and_holds_nobody_up() {
    let (echo, gate) = start("");
    let digits = "n := [0,1,2,3,4,5,6,7,8,9]";
    let content = format!(
        "package a\n{digits}\nallow if {{\nn[a]\nn[b]\nn[c]\nn[d]\nn[e]\nn[f]\na+b+c+d+e+f == 99\n}}"
    );
    let entry =
        json!({"type": "authorization_policy", "policy": {"language": "rego", "content": content}});
    let slow = Token::new().claim("authorization_details", json!([entry])).sign(&gate.setup.key);
    let quick = gate.token();
    thread::scope(|scope| {
        let slow = scope.spawn(|| gate.get(TARGET, &slow));
        for _ in 0..50 {
            assert_eq!(gate.get(TARGET, &quick).status, 200);
        }
        let response = slow.join().unwrap();
        let reason = gate.decision(&response.decision_id())["reason"].clone();
        assert_eq!(response.status, 500, "{reason}");
        assert!(
            ["policy_budget", "policy_timeout"].contains(&reason.as_str().unwrap()),
            "{reason}"
        );
    });
    drop(echo);
}
