//! Delegation chains over real sockets (`delegation.md`): what is refused never reaches the upstream,
//! and what is accepted is verified once and falls with any key that it rests on.

use serde_json::{Value, json};

use crate::support::chain::{agent, delegated, detached, record, sign};
use crate::support::gate::ISSUER;
use crate::support::jwks::set;
use crate::support::{Echo, Gate, Key, Response, Setup, Token, eventually};

const TARGET: &str = "/shop/products/42";
const ACCEPTS: &str = "max_lifetime = \"15m\"\ndelegation = {}";
const BEARER: &str = "allow_bearer_delegation = true";
const OTHER: &str = "https://other.test";

fn setup(echo: &Echo) -> Setup {
    let mut setup = Setup::new(echo);
    setup.issuer = ACCEPTS.to_owned();
    setup.resource = BEARER.to_owned();
    setup
}

fn about(gate: &Gate, response: &Response) -> Value {
    gate.decision(&response.decision_id())["about"].clone()
}

/// The number of the check that refuses the token, which the record tells and the caller does not see.
fn refused_by(gate: &Gate, echo: &Echo, case: &str, token: &Token) -> Value {
    let before = echo.bytes();
    let response = gate.get(TARGET, &token.sign(&gate.setup.key));
    assert_eq!(response.status, 401, "{case}: {}", response.everything());
    assert_eq!(response.error(), "invalid_delegation_chain", "{case}");
    assert_eq!(echo.bytes(), before, "{case}: the upstream received something");
    let about = about(gate, &response);
    assert!(!response.everything().contains(about.as_str().unwrap()), "{case}");
    about
}

#[test]
fn del_001_003_004_009_a_chain_is_verified_and_its_mutations_are_refused() {
    let echo = Echo::start();
    let gate = setup(&echo).start();
    let key = &gate.setup.key;
    let good = delegated(3, key);
    let response = gate.get(TARGET, &good.sign(key));
    assert_eq!(response.status, 200, "{}", response.everything());
    let change = |edit: &dyn Fn(&mut Vec<Value>)| {
        let mut token = good.clone();
        edit(token.payload["delegation_chain"].as_array_mut().unwrap());
        token
    };
    let forged = change(&|chain| chain[1]["operation_summary"] = json!("buy two"));
    let swapped = change(&|chain| chain.swap(1, 2));
    let shortened = change(&|chain| drop(chain.remove(1)));
    let stranger = change(&|chain| sign(&mut chain[2], &Key::new("ES256", "k1")));
    for (case, token, check) in [
        ("swapped", swapped, "D6"),
        ("a record left out", shortened, "D6"),
        ("a changed member", forged, "D11"),
        ("a stranger's key under a known kid", stranger, "D11"),
        ("no actor", good.clone().without("act"), "D4"),
        ("another actor", good.clone().claim("act", json!({"sub": agent(1)})), "D4"),
        ("not a list", good.clone().claim("delegation_chain", json!({})), "D1"),
        ("six hops", delegated(6, key), "D1"),
    ] {
        assert_eq!(refused_by(&gate, &echo, case, &token), check, "{case}");
    }
    // The depth is looked at before any signature, be it the token's own.
    let long = delegated(6, key).sign(&Key::new("ES256", "k1"));
    let response = gate.get(TARGET, &long);
    assert_eq!(response.error(), "invalid_delegation_chain");
    assert_eq!(gate.get(TARGET, &delegated(5, key).sign(key)).status, 200);
}

/// A chain of two hops of which both records were changed and signed anew, newest first.
fn hops(key: &Key, change: impl Fn(usize, &mut Value)) -> Token {
    let hop = |n: usize| {
        let mut hop = record(n, ISSUER, key);
        change(n, &mut hop);
        sign_members(&mut hop, key);
        hop
    };
    delegated(2, key).claim("delegation_chain", json!([hop(1), hop(0)]))
}

/// Signs what the draft says is signed, whatever else the record has.
fn sign_members(record: &mut Value, key: &Key) {
    const SIGNED: [&str; 8] = [
        "delegator_id",
        "delegatee_id",
        "as_id",
        "delegation_timestamp",
        "scope",
        "delegated_policy",
        "operation_summary",
        "root_evidence_ref",
    ];
    let mut signed = record.clone();
    signed.as_object_mut().unwrap().retain(|name, _| SIGNED.contains(&name.as_str()));
    record["as_signature"] = json!(detached(&signed, key));
}

#[test]
fn del_002_005_006_020_records_that_no_honest_server_makes_are_refused_though_it_signed_them() {
    let echo = Echo::start();
    let gate = setup(&echo).start();
    let key = &gate.setup.key;
    let iat = delegated(1, key).payload["iat"].as_i64().unwrap();
    let timed = |newer: i64, older: i64| {
        let at = [older, newer];
        hops(key, move |n, hop| hop["delegation_timestamp"] = json!(at[n])).claim("iat", iat)
    };
    let scoped = |own: &str, newer: &str, older: &str| {
        let scopes = [older, newer];
        hops(key, |n, hop| hop["scope"] = json!(scopes[n])).claim("scope", own)
    };
    let mixed = hops(key, |n, hop| {
        if n == 0 {
            *hop = json!({"delegator_jti": "t0", "delegator_agent_identity": {},
                "delegation_timestamp": "2026-01-01T00:00:00Z"});
        }
    });
    let members_of_both = hops(key, |_, hop| hop["delegator_jti"] = json!("t0"));
    for (case, token, check) in [
        ("the newer before the older", timed(iat - 60, iat - 30), "D10"),
        ("after the token", timed(iat + 1, iat - 30), "D10"),
        ("older than a day", timed(iat - 30, iat - 86_401), "D10"),
        ("a hop that widens", scoped("a", "a b c", "a b"), "D13"),
        ("a token that widens", scoped("a b c", "a b", "a b c"), "D13"),
        ("one word for another", scoped("ab", "a", "a b"), "D13"),
        ("two shapes", mixed, "D2"),
    ] {
        assert_eq!(refused_by(&gate, &echo, case, &token), check, "{case}");
    }
    let both = gate.get(TARGET, &members_of_both.sign(key));
    assert_eq!((both.status, both.error()), (401, "invalid_delegation_chain".into()));
    echo.assert_untouched("dishonest records");
    for (case, token) in [
        ("at one time", timed(iat, iat)),
        ("a day old", timed(iat, iat - 86_400)),
        ("narrowed twice", scoped("a", "b a", "c a b")),
    ] {
        let response = gate.get(TARGET, &token.sign(key));
        assert_eq!(response.status, 200, "{case}: {}", response.everything());
    }
    // What no signature covers changes nothing, and is told by its name alone.
    let extra = hops(key, |_, hop| hop["admin"] = json!({"secret": "everything"}));
    assert_eq!(gate.get(TARGET, &extra.sign(key)).status, 200);
    let record = gate.decisions().pop().unwrap();
    assert_eq!(record["delegation"]["hops"][0]["unsigned"], "admin");
    assert!(!record.to_string().contains("everything"));
}

#[test]
fn del_019_a_chain_cannot_be_stripped() {
    let echo = Echo::start();
    let gate = setup(&echo).start();
    let key = &gate.setup.key;
    let token = delegated(2, key).sign(key);
    let parts: Vec<&str> = token.split('.').collect();
    let stripped = delegated(2, key).without("delegation_chain").sign(key);
    let payload = stripped.split('.').nth(1).unwrap();
    let response = gate.get(TARGET, &format!("{}.{payload}.{}", parts[0], parts[2]));
    assert_eq!((response.status, response.error()), (401, "invalid_token".into()));
    echo.assert_untouched("a stripped chain");
}

#[test]
fn del_010_011_a_delegated_token_needs_a_presenter_unless_that_is_waived() {
    let echo = Echo::start();
    let mut strict = setup(&echo);
    strict.resource = String::new();
    let strict = strict.start();
    let token = delegated(2, &strict.setup.key).sign(&strict.setup.key);
    let response = strict.get(TARGET, &token);
    assert_eq!((response.status, response.error()), (401, "invalid_token".into()));
    let record = strict.decision(&response.decision_id());
    assert_eq!(
        (&record["reason"], &record["about"]),
        (&json!("presenter_unproven"), &json!("D17"))
    );
    echo.assert_untouched("no presenter");
    let waived = setup(&echo).start();
    let response = waived.get(TARGET, &delegated(2, &waived.setup.key).sign(&waived.setup.key));
    assert_eq!(response.status, 200);
    let record = waived.decisions().pop().unwrap();
    assert_eq!(record["presenter"], "unauthenticated");
}

#[test]
fn del_007_008_scopes_and_policies_of_hops_bound_the_operation() {
    let echo = Echo::start();
    let mut setup = setup(&echo);
    setup.resource += "\nscopes = [\"shop\"]";
    let gate = setup.start();
    let key = &gate.setup.key;
    let with = |scope: &str, policy: Option<Value>| {
        let mut hop = record(0, ISSUER, key);
        hop["scope"] = json!("shop read");
        if let Some(policy) = policy {
            hop["delegated_policy"] = policy;
        }
        sign(&mut hop, key);
        let token = delegated(1, key).claim("delegation_chain", json!([hop])).claim("scope", scope);
        gate.get(TARGET, &token.sign(key))
    };
    assert_eq!(with("shop", None).status, 200);
    let seen = echo.bytes();
    let narrow = with("read", None);
    assert_eq!((narrow.status, narrow.error()), (403, "insufficient_scope".into()));
    let wide = with("shop admin", None);
    assert_eq!((wide.status, about(&gate, &wide)), (401, json!("D13")));
    let bounded =
        with("shop", Some(json!({"content": "package p\nallow := false", "language": "rego"})));
    assert_eq!((bounded.status, bounded.error()), (403, "insufficient_authorization".into()));
    assert_eq!(about(&gate, &bounded), "delegated_policy");
    assert_eq!(echo.bytes(), seen);
}

#[test]
fn del_013_026_records_of_another_server_count_where_it_is_listed_and_fall_with_its_key() {
    let echo = Echo::start();
    let other = Key::new("ES256", "o1");
    let mut setup = setup(&echo);
    setup.write("other.json", &set(&[&other]).to_string());
    setup.resource += &format!("\nchain_as = [\"{OTHER}\"]");
    setup.more = format!(
        "[[issuer]]\nissuer = \"{OTHER}\"\njwks_file = \"other.json\"\nrefresh = \"1s\"\n\
         [[resource]]\nid = \"https://tools.test/closed\"\nupstream = \"shop\"\n\
         issuers = [\"{ISSUER}\"]\nallow_bearer_delegation = true\n\
         [[resource.operation]]\nmethod = \"GET\"\npath = \"/products/**\"\naction = \"anything\"\n"
    );
    let gate = setup.start();
    let key = &gate.setup.key;
    let chain = [record(1, ISSUER, key), record(0, OTHER, &other)];
    let mut token = delegated(2, key).claim("delegation_chain", json!(chain));
    token.payload["aud"] = json!(["https://tools.test/shop", "https://tools.test/closed"]);
    token.payload["authorization_details"][0]["locations"] = json!(token.payload["aud"]);
    let token = token.sign(key);
    for _ in 0..2 {
        assert_eq!(gate.get(TARGET, &token).status, 200);
    }
    // That it is remembered for one resource does not open another one.
    let closed = gate.get("/closed/products/42", &token);
    assert_eq!((closed.status, about(&gate, &closed)), (401, json!("D9")));
    assert_eq!(gate.get(TARGET, &token).status, 200);
    gate.setup.write("other.json", &set(&[&Key::new("ES256", "o2")]).to_string());
    let refused = eventually("the other server's key to be gone", || {
        let response = gate.get(TARGET, &token);
        (response.status == 401).then_some(response)
    });
    assert_eq!(refused.error(), "invalid_delegation_chain");
    assert_eq!(about(&gate, &refused), "D11");
}

#[test]
fn del_025_nothing_in_a_chain_is_dereferenced() {
    let echo = Echo::start();
    let trap = Echo::start();
    let gate = setup(&echo).start();
    let key = &gate.setup.key;
    let mut hop = record(0, ISSUER, key);
    hop["delegated_policy"] = json!({"language": "rego", "uri": trap.url()});
    sign(&mut hop, key);
    hop["delegator_signature"] = hop["as_signature"].clone();
    let mut foreign = record(0, &trap.url(), key);
    sign(&mut foreign, key);
    for chain in [json!([hop]), json!([foreign])] {
        let token =
            delegated(1, key).claim("delegation_chain", chain).header("jku", trap.url()).sign(key);
        assert_ne!(gate.get(TARGET, &token).status, 200);
    }
    trap.assert_untouched("addresses in tokens");
}

#[test]
fn a_resource_can_demand_that_delegation_is_proven() {
    let echo = Echo::start();
    let mut setup = setup(&echo);
    setup.resource += "\nrequire_chain = true";
    let gate = setup.start();
    let key = &gate.setup.key;
    let plain = Token::new().claim("act", json!({"sub": agent(1)}));
    assert_eq!(refused_by(&gate, &echo, "no chain", &plain), "require_chain");
    let empty = plain.claim("delegation_chain", json!([]));
    assert_eq!(refused_by(&gate, &echo, "an empty chain", &empty), "require_chain");
    assert_eq!(gate.get(TARGET, &Token::new().sign(key)).status, 200, "nobody acts for another");
    assert_eq!(gate.get(TARGET, &delegated(1, key).sign(key)).status, 200);
}

#[test]
fn the_record_tells_through_whom() {
    let echo = Echo::start();
    let gate = setup(&echo).start();
    let key = &gate.setup.key;
    assert_eq!(gate.get(TARGET, &delegated(2, key).sign(key)).status, 200);
    let record = gate.decisions().pop().unwrap();
    let delegation = &record["delegation"];
    assert_eq!((&delegation["depth"], &delegation["lineage"]), (&json!(2), &json!("agents")));
    let newest = &delegation["hops"][0];
    assert_eq!((&newest["from"], &newest["to"]), (&json!(agent(1)), &json!(agent(2))));
    assert_eq!(newest["as_id"], ISSUER);
    assert_eq!(newest["delegator_signature"], "absent");
    assert_eq!(record["agent"]["id"], json!(agent(2)));
    assert_eq!(newest["summary"], "buy one \u{2014} not two\u{1b}[2J\n");
    let text = std::fs::read_dir(gate.path("audit").join("seg")).unwrap();
    let text: Vec<u8> =
        text.flatten().flat_map(|file| std::fs::read(file.path()).unwrap()).collect();
    assert!(!text.contains(&0x1b), "a summary cannot steer a terminal");
}

#[test]
fn del_014_015_a_revoked_ancestor_kills_its_descendants_and_not_their_sibling() {
    let echo = Echo::start();
    let gate = setup(&echo).start();
    let key = &gate.setup.key;
    let token = delegated(3, key).sign(key);
    let sibling = Token::new().claim("jti", "sibling").sign(key);
    assert_eq!(gate.get(TARGET, &token).status, 200);
    let order = gate.admin_json("POST", "/revocations", &json!({"agent": agent(0)}));
    assert_eq!(order.status, 201);
    let response = gate.get(TARGET, &token);
    assert_eq!((response.status, response.error()), (401, "invalid_delegation_chain".into()));
    assert_eq!(gate.get(TARGET, &sibling).status, 200);
}

/// R-VER-023, `verification.md` steps 10g and 16: a claim of the wrong type makes no access token, whatever
/// is wrong with its chain; and no signature of a record is verified for it.
#[test]
fn ver_023_a_malformed_claim_is_told_before_a_broken_chain() {
    let echo = Echo::start();
    let gate = setup(&echo).start();
    let broken = delegated(2, &Key::new("ES256", "k1"));
    for (name, value) in [
        ("acr", json!(7)),
        ("auth_time", json!("yesterday")),
        ("authorization_details", json!([7])),
        ("policy_ref", json!([])),
        ("cnf", json!({"unheard_of": 1})),
        ("status", json!(7)),
    ] {
        let token = broken.clone().claim(name, value).sign(&gate.setup.key);
        let response = gate.get(TARGET, &token);
        assert_eq!(response.error(), "invalid_token", "{name}: {}", response.everything());
    }
    assert_eq!(refused_by(&gate, &echo, "the chain alone", &broken), "D11");
    echo.assert_untouched("broken chains");
}
