//! Agents' own signatures under their delegations, over real sockets (`delegation.md` D12 and §6): keys
//! come from the directory of the agent's own scheme and authority, and from nowhere else.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::{agent, delegated, detached, record, sign};
use crate::support::gate::ISSUER;
use crate::support::jwks::{JwksServer, set};
use crate::support::proof::{identity, thumbprint, workload};
use crate::support::{Echo, Gate, Key, Response, Setup, Token, eventually, request};

const TARGET: &str = "/shop/products/42";

/// The key of the agent with this number, which goes by the agent's id.
fn key_of(n: usize) -> Key {
    Key::new("ES256", &agent(n))
}

/// A gate that takes chains and knows where the agents' keys are.
fn start(mode: &str, directory: &str) -> (Echo, Gate) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer =
        format!("max_lifetime = \"15m\"\ndelegation = {{ delegator_signature = \"{mode}\" }}");
    setup.resource = "allow_bearer_delegation = true".to_owned();
    setup.more = format!("[[agent_directory]]\nagents = \"wit://agents.test\"\n{directory}\n");
    (echo, setup.start())
}

/// Lets the delegator sign a record too, over the same bytes as the server.
fn countersign(mut record: Value, key: &Key) -> Value {
    let mut signed = record.clone();
    signed.as_object_mut().unwrap().remove("as_signature");
    record["delegator_signature"] = json!(detached(&signed, key));
    record
}

/// A token of one hop, from agent 0 to agent 1.
fn token(gate: &Gate, sign_too: Option<&Key>) -> Token {
    let key = &gate.setup.key;
    let hop = record(0, ISSUER, key);
    let hop = sign_too.map_or_else(|| hop.clone(), |own| countersign(hop.clone(), own));
    delegated(1, key).claim("delegation_chain", json!([hop]))
}

fn ask(gate: &Gate, token: &Token) -> Response {
    gate.get(TARGET, &token.sign(&gate.setup.key))
}

fn refused_d12(gate: &Gate, echo: &Echo, case: &str, token: &Token) {
    let before = echo.bytes();
    let response = ask(gate, token);
    assert_eq!(
        (response.status, response.error()),
        (401, "invalid_delegation_chain".into()),
        "{case}"
    );
    assert_eq!(gate.decision(&response.decision_id())["about"], "D12", "{case}");
    assert_eq!(echo.bytes(), before, "{case}: the upstream received something");
}

/// What the record of the last call says of the delegator's signature.
fn recorded(gate: &Gate) -> Value {
    gate.decisions().pop().unwrap()["delegation"]["hops"][0]["delegator_signature"].clone()
}

#[test]
fn del_012_a_signature_that_is_there_must_be_the_agents_own() {
    let (first, second) = (key_of(0), key_of(1));
    let server = JwksServer::start(&[&first, &second]);
    for mode in ["verify", "require"] {
        let (echo, gate) = start(mode, &server.line());
        let good = token(&gate, Some(&first));
        assert_eq!(ask(&gate, &good).status, 200, "{mode}");
        assert_eq!(recorded(&gate), "verified", "{mode}");
        refused_d12(&gate, &echo, "a stranger under its name", &token(&gate, Some(&key_of(0))));
        let mut tampered = good.clone();
        let hop = &mut tampered.payload["delegation_chain"][0];
        hop["operation_summary"] = json!("buy two");
        let own = hop.as_object_mut().unwrap().remove("delegator_signature").unwrap();
        sign(hop, &gate.setup.key);
        hop["delegator_signature"] = own;
        refused_d12(&gate, &echo, "the server changed what the agent signed", &tampered);
        let neighbor = token(&gate, Some(&second));
        let absent = token(&gate, None);
        let unknown = token(&gate, Some(&Key::new("ES256", "another")));
        for (case, token, word) in [
            ("absent", absent, "absent"),
            ("signed by the agent beside it", neighbor, "unverifiable"),
            ("under a key that the directory does not have", unknown, "unverifiable"),
        ] {
            if mode == "require" {
                refused_d12(&gate, &echo, case, &token);
            } else {
                assert_eq!(ask(&gate, &token).status, 200, "{case}");
                assert_eq!(recorded(&gate), word, "{case}");
            }
        }
    }
}

#[test]
fn del_012_require_lets_a_chain_pass_of_which_every_agent_has_signed() {
    let (first, second) = (key_of(0), key_of(1));
    let server = JwksServer::start(&[&first, &second]);
    let (echo, gate) = start("require", &server.line());
    let key = &gate.setup.key;
    let hops = |newest: &Key| {
        let chain = [
            countersign(record(1, ISSUER, key), newest),
            countersign(record(0, ISSUER, key), &first),
        ];
        delegated(2, key).claim("delegation_chain", json!(chain))
    };
    assert_eq!(ask(&gate, &hops(&second)).status, 200);
    refused_d12(&gate, &echo, "one agent for the other", &hops(&first));
    let half = [record(1, ISSUER, key), countersign(record(0, ISSUER, key), &first)];
    let half = delegated(2, key).claim("delegation_chain", json!(half));
    refused_d12(&gate, &echo, "one of two has signed", &half);
}

#[test]
fn del_012_an_id_that_ends_in_a_thumbprint_names_its_key() {
    let (own, other) = (Key::new("ES256", "a"), Key::new("EdDSA", "b"));
    let server = JwksServer::start(&[&own, &other]);
    let (echo, gate) = start("require", &server.line());
    let of = |id: &str, signer: &Key| {
        let mut hop = record(0, ISSUER, &gate.setup.key);
        hop["delegator_id"] = json!(id);
        sign(&mut hop, &gate.setup.key);
        token(&gate, None).claim("delegation_chain", json!([countersign(hop, signer)]))
    };
    let id = format!("wit://agents.test/shop/sha256.{}", thumbprint(&own));
    assert_eq!(ask(&gate, &of(&id, &own)).status, 200);
    refused_d12(&gate, &echo, "another key of the directory", &of(&id, &other));
    // What the directory of one authority says counts for no other, be it one that begins alike.
    for id in [
        format!("wit://agents.test.evil/sha256.{}", thumbprint(&own)),
        format!("spiffe://agents.test/sha256.{}", thumbprint(&own)),
        format!("wit://agents.test:1/sha256.{}", thumbprint(&own)),
    ] {
        refused_d12(&gate, &echo, &id, &of(&id, &own));
    }
}

#[test]
fn del_012_a_directory_that_was_never_had_is_a_503_and_a_removed_key_is_felt() {
    let own = key_of(0);
    let server = JwksServer::start(&[&own]);
    server.fail(true);
    let (echo, gate) = start("verify", &format!("{}\nrefresh = \"1s\"", server.line()));
    let signed = token(&gate, Some(&own)).sign(&gate.setup.key);
    let response = gate.get(TARGET, &signed);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(gate.decision(&response.decision_id())["reason"], "keys_unavailable");
    echo.assert_untouched("no directory");
    assert_eq!(ask(&gate, &token(&gate, None)).status, 200, "nothing to hold against it");
    server.fail(false);
    eventually("the directory to be read", || {
        // Seldom: of more refusals than a source has a budget for, none has a record of its own.
        thread::sleep(Duration::from_millis(50));
        (gate.get(TARGET, &signed).status == 200).then_some(())
    });
    // Keys at hand go on working while the directory is away; one that is gone from it does not.
    server.fail(true);
    assert_eq!(gate.get(TARGET, &signed).status, 200);
    server.fail(false);
    server.serve(set(&[&key_of(0)]));
    let refused = eventually("the old key to be gone", || {
        let response = gate.get(TARGET, &signed);
        (response.status == 401).then_some(response)
    });
    assert_eq!(gate.decision(&refused.decision_id())["about"], "D12");
}

#[test]
fn del_025_unknown_agents_cannot_make_the_gate_hammer_a_directory() {
    let server = JwksServer::start(&[&key_of(0)]);
    let (_echo, gate) = start("verify", &server.line());
    let before = server.fetches();
    for n in 0..20 {
        let unknown = token(&gate, Some(&Key::new("EdDSA", &format!("k{n}"))));
        assert_eq!(ask(&gate, &unknown).status, 200);
    }
    assert!(server.fetches() <= before + 1, "{} fetches", server.fetches() - before);
    assert!(server.paths().iter().all(|path| path == "/jwks"), "nothing else is asked for");
}

#[test]
fn del_012_a_demand_that_nobody_can_meet_is_said_at_the_start() {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    setup.issuer =
        "max_lifetime = \"15m\"\ndelegation = { delegator_signature = \"require\" }".to_owned();
    let mut gate = setup.spawn();
    assert_eq!(gate.ended().code(), Some(2));
    let log = gate.stderr();
    assert!(log.contains("no agent's signature can be verified here"), "{log}");
}

/// The workload of a caller and the domain that knows it.
struct Workload {
    domain: Key,
    own: Key,
}

const BUYER: &str = "wimse://td.test/buyer";

impl Workload {
    /// A gate that takes chains, and knows the workload; `agents` says which agents its workloads are.
    fn start(echo: &Echo, agents: &str) -> (Self, Gate) {
        let world = Self { domain: Key::new("ES256", "d1"), own: Key::new("ES256", "w1") };
        let mut setup = Setup::new(echo);
        setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
        setup.write("domain.json", &set(&[&world.domain]).to_string());
        setup.more = format!(
            "[[workload_issuer]]\nissuer = \"wimse://td.test\"\njwks_file = \"domain.json\"\n{agents}\n"
        );
        let gate = setup.start();
        (world, gate)
    }

    /// A request in which the workload called `name` presents the token.
    fn request(&self, name: &str, target: &str, token: &str) -> String {
        let identity = identity(&self.own, name).sign(&self.domain);
        let proof = workload(&identity, target, token).sign(&self.own);
        let line = format!("Bearer {token}");
        let lines = [
            ("Authorization", line.as_str()),
            ("Workload-Identity-Token", &identity),
            ("Workload-Proof-Token", &proof),
        ];
        request("GET", target, &lines, "")
    }
}

#[test]
fn del_010_the_operator_says_which_agent_a_workload_is() {
    let mapped = format!("agents = {{ {BUYER:?} = {:?} }}", agent(1));
    for (agents, delegatee, passes) in [
        (mapped.as_str(), agent(1), true),
        (mapped.as_str(), BUYER.to_owned(), true),
        (mapped.as_str(), agent(2), false),
        ("", BUYER.to_owned(), true),
        ("", agent(1), false),
    ] {
        let echo = Echo::start();
        let (world, gate) = Workload::start(&echo, agents);
        let key = &gate.setup.key;
        let mut hop = record(0, ISSUER, key);
        hop["delegatee_id"] = json!(delegatee);
        sign(&mut hop, key);
        let token = delegated(1, key).claim("act", json!({"sub": delegatee}));
        let token = token.claim("delegation_chain", json!([hop])).sign(key);
        let response = gate.send(world.request(BUYER, TARGET, &token));
        if passes {
            assert_eq!(response.status, 200, "{delegatee}: {}", response.everything());
            assert_eq!(gate.decisions().pop().unwrap()["presenter"], "workload");
        } else {
            assert_eq!((response.status, response.error()), (401, "invalid_token".into()));
            let why = gate.decision(&response.decision_id());
            assert_eq!(why["reason"], "presenter_mismatch", "{delegatee}");
            echo.assert_untouched("the wrong agent");
        }
    }
}

#[test]
fn ver_021_an_agent_that_only_its_proof_names_is_revoked_by_that_name() {
    let echo = Echo::scripted(|exchange| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        exchange.is_abandoned();
    });
    let agents = format!("agents = {{ {BUYER:?} = {:?} }}", agent(1));
    let (world, gate) = Workload::start(&echo, &agents);
    let token = gate.token();
    let open = |name: &str| {
        let mut connection = gate.connect();
        connection.send(world.request(name, "/shop/any/1", &token));
        assert_eq!(connection.head().status, 200, "{name}");
        connection
    };
    for name in [BUYER.to_owned(), agent(1)] {
        let (mut doomed, _spared) = (open(BUYER), open("wimse://td.test/other"));
        let made = gate.admin_json("POST", "/revocations", &json!({"agent": name}));
        assert_eq!(made.status, 201);
        assert!(doomed.until("\r\n0\r\n\r\n").is_none(), "{name}: cut, and never ended cleanly");
        let before = echo.bytes();
        let response = gate.send(world.request(BUYER, "/shop/any/1", &token));
        assert_eq!((response.status, response.error()), (401, "invalid_token".into()), "{name}");
        let why = gate.decision(&response.decision_id());
        assert_eq!((&why["reason"], &why["about"]), (&json!("token_revoked"), &json!("agent")));
        assert_eq!(echo.bytes(), before, "{name}: the upstream received something");
        drop((
            open("wimse://td.test/other"),
            "another workload with the same token is let through",
        ));
        let id = made.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(gate.admin("DELETE", &format!("/revocations/{id}")).status, 200);
    }
}
