//! DPoP over real sockets (RFC 9449): who presents a bound token proves it at every call, once.

use std::sync::Barrier;
use std::thread;

use serde_json::json;

use crate::support::challenge::Challenge;
use crate::support::issuer::{hs256, jws, now};
use crate::support::proof::{bound_to, dpop, public, thumbprint};
use crate::support::{Connection, Echo, Gate, Key, Response, Setup, Token, eventually, request};

const TARGET: &str = "/shop/products/42";

struct Agent {
    key: Key,
    token: String,
}

impl Agent {
    fn of(gate: &Gate) -> Self {
        let key = Key::new("ES256", "agent");
        let token = bound_to(&key).sign(&gate.setup.key);
        Self { key, token }
    }

    fn proof(&self) -> Token {
        dpop(&self.key, "GET", TARGET, &self.token)
    }

    fn call(&self, gate: &Gate, proof: &str) -> Response {
        gate.send(self.request(TARGET, proof))
    }

    fn request(&self, target: &str, proof: &str) -> String {
        let authorization = format!("DPoP {}", self.token);
        request("GET", target, &[("Authorization", &authorization), ("DPoP", proof)], "")
    }

    fn sign(&self, proof: &Token) -> String {
        proof.sign(&self.key)
    }
}

fn start(edit: impl FnOnce(&mut Setup)) -> (Echo, Gate, Agent) {
    let echo = Echo::start();
    let mut setup = Setup::new(&echo);
    edit(&mut setup);
    let gate = setup.start();
    let agent = Agent::of(&gate);
    (echo, gate, agent)
}

fn assert_refused(response: &Response, error: &str, case: &str) {
    assert_eq!(response.status, 401, "{case}: {}", response.everything());
    assert_eq!(response.error(), error, "{case}");
    let challenge = Challenge::of(response);
    assert_eq!(
        (challenge.scheme.as_str(), challenge.get("error")),
        ("DPoP", Some(error)),
        "{case}"
    );
    assert_eq!(challenge.get("algs"), Some("ES256 ES384 EdDSA PS256 RS256"), "{case}");
    assert_eq!(response.header("cache-control"), Some("no-store"), "{case}");
}

#[test]
fn ver_011_a_call_with_its_own_proof_passes_cold_and_warm() {
    let (echo, gate, agent) = start(|_| {});
    for alg in ["ES256", "ES384", "EdDSA", "PS256", "RS256"] {
        let key = Key::new(alg, "agent");
        let token = bound_to(&key).claim("jti", alg).sign(&gate.setup.key);
        let agent = Agent { key, token };
        for _ in 0..2 {
            let response = agent.call(&gate, &agent.sign(&agent.proof()));
            assert_eq!(response.status, 200, "{alg}: {}", response.everything());
        }
    }
    let spelled = agent.proof().claim("htu", "HTTPS://Tools.Test:443/shop/./products/%34%32?x#y");
    assert_eq!(agent.call(&gate, &agent.sign(&spelled)).status, 200);
    for received in echo.requests() {
        assert!(!received.has("authorization") && !received.has("dpop"), "{received:?}");
    }
}

#[test]
fn ver_011_each_single_mutation_of_what_a_proof_says_is_refused() {
    let (echo, gate, agent) = start(|_| {});
    let proof = || agent.proof();
    let payload = proof().payload.to_string();
    let twice = payload.replacen('{', &format!("{{\"htm\":{},", json!("POST")), 1);
    let head = proof().head_for(&agent.key).to_string();
    let cases = [
        ("htm", agent.sign(&proof().claim("htm", "POST"))),
        ("htm in lower case", agent.sign(&proof().claim("htm", "get"))),
        (
            "htu of another path",
            agent.sign(&proof().claim("htu", "https://tools.test/shop/products/43")),
        ),
        (
            "htu of another origin",
            agent.sign(&proof().claim("htu", "https://evil.test/shop/products/42")),
        ),
        (
            "htu of another scheme",
            agent.sign(&proof().claim("htu", "http://tools.test/shop/products/42")),
        ),
        ("iat too old", agent.sign(&proof().claim("iat", now() - 70))),
        ("iat too new", agent.sign(&proof().claim("iat", now() + 70))),
        ("iat as text", agent.sign(&proof().claim("iat", now().to_string()))),
        ("ath of another token", agent.sign(&dpop(&agent.key, "GET", TARGET, "another"))),
        ("no ath", agent.sign(&proof().without("ath"))),
        ("no jti", agent.sign(&proof().without("jti"))),
        ("an empty jti", agent.sign(&proof().claim("jti", ""))),
        ("no iat", agent.sign(&proof().without("iat"))),
        ("no htm", agent.sign(&proof().without("htm"))),
        ("no htu", agent.sign(&proof().without("htu"))),
        ("crit", agent.sign(&proof().header("crit", json!(["x"])))),
        ("two htm", jws(&head, &twice, &agent.key)),
        ("9 KiB", agent.sign(&proof().claim("x", "y".repeat(9_000)))),
        ("garbage", "a.b.c".to_owned()),
        ("nothing", String::new()),
    ];
    for (case, proof) in &cases {
        assert_refused(&agent.call(&gate, proof), "invalid_dpop_proof", case);
    }
    echo.assert_untouched("mutations");
}

#[test]
fn ver_011_each_single_mutation_of_how_a_proof_is_made_is_refused() {
    let (echo, gate, agent) = start(|_| {});
    let stranger = Key::new("ES256", "agent");
    let proof = || agent.proof();
    let mut private = public(&agent.key);
    private["d"] = json!("AAAA");
    let head = json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": public(&agent.key)}).to_string();
    let oct =
        json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}).to_string();
    let payload = proof().payload.to_string();
    let cases = [
        ("typ", agent.sign(&proof().header("typ", "at+jwt"))),
        ("no typ", agent.sign(&proof().without_header("typ"))),
        ("alg none", agent.sign(&proof().header("alg", "none"))),
        (
            "alg HS256 under the public key",
            hs256(&head, &payload, public(&agent.key).to_string().as_bytes()),
        ),
        ("a shared secret as jwk", hs256(&oct, &payload, &[0; 3])),
        ("alg of another key", agent.sign(&proof().header("alg", "ES384"))),
        ("no jwk", agent.sign(&proof().without_header("jwk"))),
        ("a private jwk", agent.sign(&proof().header("jwk", private))),
        ("a stranger's signature", proof().sign(&stranger)),
    ];
    for (case, proof) in &cases {
        assert_refused(&agent.call(&gate, proof), "invalid_dpop_proof", case);
    }
    let authorization = format!("DPoP {}", agent.token);
    let without = gate.send(request("GET", TARGET, &[("Authorization", &authorization)], ""));
    assert_refused(&without, "invalid_dpop_proof", "no proof");
    let by_stranger = dpop(&stranger, "GET", TARGET, &agent.token).sign(&stranger);
    assert_refused(&agent.call(&gate, &by_stranger), "invalid_token", "the proof of another key");
    let two = agent.request(TARGET, "a").replace(
        "DPoP: a",
        &format!("DPoP: {}\r\nDPoP: {}", agent.sign(&proof()), agent.sign(&proof())),
    );
    assert_eq!(gate.send(two).status, 400, "two proofs");
    echo.assert_untouched("mutations");
}

#[test]
fn ver_011_a_proof_counts_once() {
    let (_echo, gate, agent) = start(|_| {});
    let proof = agent.sign(&agent.proof());
    assert_eq!(agent.call(&gate, &proof).status, 200);
    assert_refused(&agent.call(&gate, &proof), "invalid_dpop_proof", "again");
    let same_id = agent.proof().claim("jti", "chosen");
    assert_eq!(agent.call(&gate, &agent.sign(&same_id)).status, 200);
    let resigned = agent.sign(&same_id.claim("iat", now() - 1));
    assert_refused(
        &agent.call(&gate, &resigned),
        "invalid_dpop_proof",
        "the same jti, signed anew",
    );
    let other = Agent::of(&gate);
    let theirs = other.sign(&other.proof().claim("jti", "chosen"));
    assert_eq!(other.call(&gate, &theirs).status, 200, "another key may choose the same jti");
    let refused = gate.decisions().into_iter().filter(|d| d["reason"] == "dpop_proof_replayed");
    assert_eq!(refused.count(), 2);
}

#[test]
fn ver_011_of_64_connections_with_one_proof_exactly_one_passes() {
    let (echo, gate, agent) = start(|_| {});
    let request = agent.request(TARGET, &agent.sign(&agent.proof()));
    let barrier = Barrier::new(64);
    let address = gate.address();
    let statuses: Vec<u16> = thread::scope(|scope| {
        let calls: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(address);
                    barrier.wait();
                    connection.call(&request).status
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
    assert_eq!(echo.requests().len(), 1);
}

#[test]
fn ver_011_a_used_proof_stays_used_when_the_gate_is_killed() {
    let (_echo, mut gate, agent) = start(|_| {});
    let (used, unused) = (agent.sign(&agent.proof()), agent.sign(&agent.proof()));
    assert_eq!(agent.call(&gate, &used).status, 200);
    gate.restart_after_kill();
    assert_refused(&agent.call(&gate, &used), "invalid_dpop_proof", "after a kill");
    assert_eq!(agent.call(&gate, &unused).status, 200);
    gate.restart_after_kill();
    assert_refused(&agent.call(&gate, &used), "invalid_dpop_proof", "after two kills");
    assert_refused(&agent.call(&gate, &unused), "invalid_dpop_proof", "used by the second");
}

#[test]
fn ver_011_after_an_unclean_end_of_a_batched_log_only_fresh_proofs_count() {
    let (_echo, mut gate, agent) = start(|setup| {
        setup.audit = r#"durability = "batch""#.to_owned();
    });
    let (used, unused) = (agent.sign(&agent.proof()), agent.sign(&agent.proof()));
    assert_eq!(agent.call(&gate, &used).status, 200);
    gate.restart_after_kill();
    for proof in [&used, &unused] {
        assert_refused(
            &agent.call(&gate, proof),
            "use_dpop_nonce",
            "made before the kill, perhaps",
        );
    }
    let refused = agent.call(&gate, &unused);
    let nonce = refused.header("dpop-nonce").expect("a nonce").to_owned();
    let fresh = agent.proof().claim("nonce", nonce);
    let response = agent.call(&gate, &agent.sign(&fresh));
    assert_eq!(response.status, 200, "{}", response.everything());
    assert!(response.header("dpop-nonce").is_some());
}

#[test]
fn ver_011_a_clean_end_of_a_batched_log_loses_nothing() {
    let (_echo, mut gate, agent) = start(|setup| {
        setup.audit = r#"durability = "batch""#.to_owned();
    });
    let (used, unused) = (agent.sign(&agent.proof()), agent.sign(&agent.proof()));
    assert_eq!(agent.call(&gate, &used).status, 200);
    gate.signal("TERM");
    gate.ended();
    gate.restart_after_kill();
    assert_refused(&agent.call(&gate, &used), "invalid_dpop_proof", "after a stop");
    assert_eq!(agent.call(&gate, &unused).status, 200);
}

#[test]
fn ver_011_a_refused_call_leaves_its_proof_unused() {
    let (echo, gate, agent) = start(|_| {});
    // Nothing in the token covers this operation.
    let target = "/shop/orders/7";
    let proof = agent.sign(&dpop(&agent.key, "GET", target, &agent.token));
    for _ in 0..2 {
        let response = gate.send(agent.request(target, &proof));
        assert_eq!(
            (response.status, response.error().as_str()),
            (403, "insufficient_authorization")
        );
        assert_eq!(Challenge::of(&response).scheme, "DPoP");
    }
    let decisions = gate.decisions();
    assert!(
        decisions.iter().all(|record| record["proof"]["dpop"]["use"].is_null()),
        "{decisions:?}"
    );
    echo.assert_untouched("refused");
}

#[test]
fn ver_011_a_full_memory_refuses_and_forgets_nothing() {
    let (_echo, gate, agent) = start(|setup| setup.limits = "proofs = 2".to_owned());
    let first = agent.sign(&agent.proof());
    assert_eq!(agent.call(&gate, &first).status, 200);
    assert_eq!(agent.call(&gate, &agent.sign(&agent.proof())).status, 200);
    let response = agent.call(&gate, &agent.sign(&agent.proof()));
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert!(response.all("www-authenticate").is_empty());
    assert_refused(&agent.call(&gate, &first), "invalid_dpop_proof", "the first again");
    assert_eq!(gate.get(TARGET, &gate.token()).status, 200, "bearer tokens need no memory");
    let metrics = String::from_utf8(gate.admin("GET", "/metrics").body).unwrap();
    assert!(metrics.contains("opgate_proofs_remembered 2"), "{metrics}");
    assert!(metrics.contains("opgate_proofs_turned_away 1"), "{metrics}");
}

#[test]
fn ver_012_a_bound_token_is_no_bearer_token_nor_the_other_way_round() {
    let (echo, gate, agent) = start(|_| {});
    let response = gate.get(TARGET, &agent.token);
    assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"));
    assert_eq!(Challenge::of(&response).scheme, "Bearer");
    let proof = agent.sign(&agent.proof());
    let bearer = format!("Bearer {}", agent.token);
    let with_proof = request("GET", TARGET, &[("Authorization", &bearer), ("DPoP", &proof)], "");
    assert_eq!(gate.send(with_proof).status, 401, "a proof beside Bearer changes nothing");
    let unbound = Agent { token: gate.token(), key: Key::new("ES256", "agent") };
    let response = unbound.call(&gate, &unbound.sign(&unbound.proof()));
    assert_refused(&response, "invalid_token", "an unbound token");
    echo.assert_untouched("schemes");
}

#[test]
fn ver_013_a_resource_can_demand_a_nonce() {
    let (echo, gate, agent) = start(|setup| {
        setup.resource = r#"dpop_nonce = "require""#.to_owned();
    });
    let first = agent.call(&gate, &agent.sign(&agent.proof()));
    assert_refused(&first, "use_dpop_nonce", "no nonce");
    let nonce = first.header("dpop-nonce").expect("a nonce").to_owned();
    for (case, wrong) in [("another", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), ("empty", "")] {
        let proof = agent.proof().claim("nonce", wrong);
        assert_refused(&agent.call(&gate, &agent.sign(&proof)), "use_dpop_nonce", case);
    }
    let number = agent.proof().claim("nonce", 7);
    assert_refused(&agent.call(&gate, &agent.sign(&number)), "invalid_dpop_proof", "a number");
    echo.assert_untouched("no nonce");
    let proof = agent.proof().claim("nonce", nonce.as_str());
    let second = agent.call(&gate, &agent.sign(&proof));
    assert_eq!(second.status, 200, "{}", second.everything());
    assert!(second.header("dpop-nonce").is_some(), "clients renew with every answer");
    assert_refused(
        &agent.call(&gate, &agent.sign(&proof)),
        "invalid_dpop_proof",
        "still only once",
    );
}

#[test]
fn tok_032_a_confirmation_of_unknown_members_is_refused() {
    let (echo, gate, agent) = start(|_| {});
    for cnf in [json!({"osc": 1}), json!({}), json!({"kid": "k1"}), json!("x"), json!({"jkt": 7})] {
        let token = Token::new().claim("cnf", cnf.clone()).sign(&gate.setup.key);
        let response = gate.get(TARGET, &token);
        assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"), "{cnf}");
    }
    echo.assert_untouched("unknown members");
    let cnf = json!({"jwk": public(&agent.key)});
    let agent = Agent { token: Token::new().claim("cnf", cnf).sign(&gate.setup.key), ..agent };
    assert_eq!(agent.call(&gate, &agent.sign(&agent.proof())).status, 200, "jwk by DPoP");
    assert_eq!(gate.get(TARGET, &agent.token).status, 401, "jwk by nothing");
}

#[test]
fn err_017_each_accepted_scheme_has_a_challenge_of_its_own() {
    let (_echo, gate, _agent) = start(|_| {});
    let response = gate.send(request("GET", TARGET, &[], ""));
    let challenges = Challenge::all(&response);
    let schemes: Vec<&str> = challenges.iter().map(|one| one.scheme.as_str()).collect();
    assert_eq!(schemes, ["Bearer", "DPoP"]);
    assert!(challenges[0].get("resource_metadata").is_some());
    assert_eq!(challenges[0].get("error"), None);
    assert_eq!(challenges[1].get("algs"), Some("ES256 ES384 EdDSA PS256 RS256"));
}

#[test]
fn err_013_a_resource_that_takes_bound_tokens_only_says_so() {
    let (echo, gate, agent) = start(|setup| {
        setup.resource = "proofs = [\"dpop\"]\ndpop_algorithms = [\"ES256\"]".to_owned();
    });
    let bare = gate.send(request("GET", TARGET, &[], ""));
    let challenges = Challenge::all(&bare);
    assert_eq!(challenges.len(), 1, "Bearer is not accepted");
    assert_eq!((challenges[0].scheme.as_str(), challenges[0].get("algs")), ("DPoP", Some("ES256")));
    assert!(challenges[0].get("resource_metadata").is_some());
    let refused = gate.get(TARGET, &gate.token());
    assert_eq!((refused.status, refused.error().as_str()), (401, "invalid_token"));
    let key = Key::new("EdDSA", "agent");
    let other = Agent { token: bound_to(&key).sign(&gate.setup.key), key };
    assert_eq!(
        other.call(&gate, &other.sign(&other.proof())).status,
        401,
        "an algorithm that is not listed"
    );
    echo.assert_untouched("unbound");
    assert_eq!(agent.call(&gate, &agent.sign(&agent.proof())).status, 200);
    let metadata =
        gate.send(request("GET", "/.well-known/oauth-protected-resource/shop", &[], "")).json();
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(["ES256"]));
    assert_eq!(metadata["dpop_bound_access_tokens_required"], true);
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], false);
}

#[test]
fn evi_015_the_record_says_how_the_presenter_was_proven_and_never_the_proof() {
    let (_echo, gate, agent) = start(|_| {});
    let proof = agent.sign(&agent.proof());
    assert_eq!(agent.call(&gate, &proof).status, 200);
    assert_eq!(gate.get(TARGET, &gate.token()).status, 200);
    let decisions = eventually("two decisions", || Some(gate.decisions()).filter(|d| d.len() == 2));
    let recorded = &decisions[0]["proof"]["dpop"];
    let prefix = recorded["key"].as_str().unwrap();
    assert_eq!(prefix.len(), 16);
    assert!(hex_of(&thumbprint(&agent.key)).starts_with(prefix));
    assert_eq!(recorded["use"].as_str().map(str::len), Some(32));
    assert_eq!(decisions[1]["proof"], json!({}), "nothing but the token");
    let log = gate.listing() + &gate.stderr();
    let signature = proof.rsplit('.').next().unwrap();
    assert!(!log.contains(signature) && !log.contains(&thumbprint(&agent.key)));
}

fn hex_of(text: &str) -> String {
    use base64::Engine as _;
    use std::fmt::Write as _;
    let bytes = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
