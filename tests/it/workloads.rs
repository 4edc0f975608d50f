//! Workload identity over real sockets (WIMSE; `verification.md` step 13).

use serde_json::json;

use crate::support::challenge::Challenge;
use crate::support::issuer::{hs256, now};
use crate::support::jwks::set;
use crate::support::proof::{dpop, hash, identity, public, workload};
use crate::support::{Echo, Gate, Key, Response, Setup, Token, request};

const TARGET: &str = "/shop/products/42";
const BUYER: &str = "wimse://td.test/buyer";
const DOMAIN: &str =
    "\n[[workload_issuer]]\nissuer = \"wimse://td.test\"\njwks_file = \"domain.json\"\n";

type Edit = Box<dyn Fn(Token) -> Token>;

struct World {
    echo: Echo,
    gate: Gate,
    domain: Key,
    workload: Key,
}

impl World {
    fn start(edit: impl FnOnce(&mut Setup)) -> Self {
        let echo = Echo::start();
        let domain = Key::new("ES256", "d1");
        let mut setup = Setup::new(&echo);
        setup.write("domain.json", &set(&[&domain]).to_string());
        setup.more = DOMAIN.to_owned();
        edit(&mut setup);
        Self { echo, gate: setup.start(), domain, workload: Key::new("ES256", "w1") }
    }

    fn identity(&self) -> Token {
        identity(&self.workload, BUYER)
    }

    fn call(&self, token: &str, identity: &str, proof: &str) -> Response {
        let line = format!("Bearer {token}");
        let lines = [
            ("Authorization", line.as_str()),
            ("Workload-Identity-Token", identity),
            ("Workload-Proof-Token", proof),
        ];
        self.gate.send(request("GET", TARGET, &lines, ""))
    }

    /// A call with everything right but what `edit` changes of the proof.
    fn prove(&self, token: &str, edit: impl FnOnce(Token) -> Token) -> Response {
        let identity = self.identity().sign(&self.domain);
        let proof = edit(workload(&identity, TARGET, token)).sign(&self.workload);
        self.call(token, &identity, &proof)
    }
}

fn refused(response: &Response, case: &str) {
    assert_eq!(response.status, 401, "{case}: {}", response.everything());
    assert_eq!(Challenge::of(response).scheme, "WPT", "{case}");
    assert_eq!(response.error(), "invalid_workload_proof", "{case}");
}

fn passed(response: &Response, case: &str) {
    assert_eq!(response.status, 200, "{case}: {}", response.everything());
}

#[test]
fn ver_015_a_workload_is_known_by_a_token_of_its_domain() {
    let world = World::start(|_| {});
    let token = world.gate.token();
    let stranger = Key::new("ES256", "d1");
    let good = || world.identity();
    let mut no_alg = public(&world.workload);
    no_alg.as_object_mut().unwrap().remove("alg");
    let mut private = public(&world.workload);
    (private["alg"], private["d"]) = (json!("ES256"), json!("AAAA"));
    let head = json!({"typ": "wit+jwt", "alg": "HS256", "kid": "d1"}).to_string();
    for (case, identity) in [
        ("typ", good().header("typ", "JWT").sign(&world.domain)),
        ("a stranger's signature", good().sign(&stranger)),
        (
            "HS256",
            hs256(&head, &good().payload.to_string(), world.domain.jwk().to_string().as_bytes()),
        ),
        ("an unknown kid", good().header("kid", "d2").sign(&world.domain)),
        ("another issuer", good().claim("iss", "wimse://other.test").sign(&world.domain)),
        ("expired", good().claim("exp", now() - 60).sign(&world.domain)),
        ("no exp", good().without("exp").sign(&world.domain)),
        ("issued tomorrow", good().claim("iat", now() + 86_400).sign(&world.domain)),
        ("sub is no URI", good().claim("sub", "buyer").sign(&world.domain)),
        (
            "sub of another domain",
            good().claim("sub", "wimse://other.test/buyer").sign(&world.domain),
        ),
        ("no cnf", good().without("cnf").sign(&world.domain)),
        ("a jwk without alg", good().claim("cnf", json!({"jwk": no_alg})).sign(&world.domain)),
        ("a private jwk", good().claim("cnf", json!({"jwk": private})).sign(&world.domain)),
        ("garbage", "a.b.c".to_owned()),
    ] {
        let proof = workload(&identity, TARGET, &token).sign(&world.workload);
        let response = world.call(&token, &identity, &proof);
        assert_eq!(
            (response.status, response.error().as_str()),
            (400, "invalid_request"),
            "{case}"
        );
    }
    world.echo.assert_untouched("identities");
    let bearer = world.identity().sign(&world.domain);
    assert_eq!(world.gate.get(TARGET, &bearer).status, 401, "never as a bearer token");
    world.echo.assert_untouched("as bearer");
    passed(&world.prove(&token, |proof| proof), "everything right");
    let unnamed = world.identity().without("iss").sign(&world.domain);
    let proof = workload(&unnamed, TARGET, &token).sign(&world.workload);
    passed(&world.call(&token, &unnamed, &proof), "the domain by its sub");
    assert!(world.echo.requests().iter().all(|received| {
        !received.has("workload-identity-token") && !received.has("workload-proof-token")
    }));
}

#[test]
fn ver_016_each_single_mutation_of_a_workloads_proof_is_refused() {
    let world = World::start(|_| {});
    let token = world.gate.token();
    let cases: Vec<(&str, Edit)> = vec![
        ("typ", Box::new(|proof| proof.header("typ", "wit+jwt"))),
        ("alg", Box::new(|proof| proof.header("alg", "ES384"))),
        ("exp in the past", Box::new(|proof| proof.claim("exp", now() - 60))),
        ("exp far ahead", Box::new(|proof| proof.claim("exp", now() + 400))),
        ("no exp", Box::new(|proof| proof.without("exp"))),
        ("no jti", Box::new(|proof| proof.without("jti"))),
        ("wth", Box::new(|proof| proof.claim("wth", hash("another")))),
        ("no wth", Box::new(|proof| proof.without("wth"))),
        ("aud", Box::new(|proof| proof.claim("aud", "https://tools.test/shop/products/43"))),
        ("no aud", Box::new(|proof| proof.without("aud"))),
        ("ath", Box::new(|proof| proof.claim("ath", hash("another")))),
        ("tied to no token", Box::new(|proof| proof.without("ath"))),
        ("tth without a transaction", Box::new(|proof| proof.claim("tth", hash("x")))),
    ];
    for (case, edit) in &cases {
        refused(&world.prove(&token, edit), case);
    }
    let identity = world.identity().sign(&world.domain);
    let stranger = Key::new("ES256", "w1");
    refused(
        &world.call(&token, &identity, &workload(&identity, TARGET, &token).sign(&stranger)),
        "a stranger's",
    );
    let line = format!("Bearer {token}");
    let lines = [("Authorization", line.as_str()), ("Workload-Identity-Token", &identity)];
    refused(&world.gate.send(request("GET", TARGET, &lines, "")), "no proof");
    world.echo.assert_untouched("proofs");
    let proof = workload(&identity, TARGET, &token).sign(&world.workload);
    passed(&world.call(&token, &identity, &proof), "the first time");
    refused(&world.call(&token, &identity, &proof), "the second time");
}

#[test]
fn ver_017_what_a_proof_says_of_an_unknown_token_is_refused() {
    let world = World::start(|_| {});
    let token = world.gate.token();
    for oth in [
        json!({"x": hash("y")}),
        json!({"aoat": hash(&token)}),
        json!({"authorization": hash(&token)}),
        json!([]),
        json!("x"),
    ] {
        refused(&world.prove(&token, |proof| proof.claim("oth", oth.clone())), &oth.to_string());
    }
    world.echo.assert_untouched("unknown members");
    passed(&world.prove(&token, |proof| proof.claim("oth", json!({}))), "nothing said");
}

#[test]
fn ver_016_the_token_may_stand_in_its_header_beside_the_scheme_wpt() {
    let world = World::start(|_| {});
    let token = world.gate.token();
    let identity = world.identity().sign(&world.domain);
    let call = |proof: Token| {
        let line = format!("WPT {}", proof.sign(&world.workload));
        let lines = [
            ("Authorization", line.as_str()),
            ("X-Agent-Operation-Token", &token),
            ("X-Workload-Identity", &identity),
        ];
        world.gate.send(request("GET", TARGET, &lines, ""))
    };
    let proof = || workload(&identity, TARGET, &token).without("ath");
    refused(
        &call(proof().claim("oth", json!({"x-agent-operation-token": hash("other")}))),
        "another token",
    );
    world.echo.assert_untouched("another token");
    passed(&call(proof().claim("oth", json!({"x-agent-operation-token": hash(&token)}))), "by oth");
    passed(&call(workload(&identity, TARGET, &token)), "by ath");
    let alone = request("GET", TARGET, &[("Authorization", "WPT a.b.c")], "");
    assert_eq!(world.gate.send(alone).status, 401, "a proof is no token");
    assert!(world.echo.requests().iter().all(|received| !received.has("x-agent-operation-token")));
}

#[test]
fn ver_016_a_token_bound_to_a_workloads_key_is_proven_by_it() {
    let world = World::start(|_| {});
    let bound = |key: &Key| {
        Token::new().claim("cnf", json!({"jwk": public(key)})).sign(&world.gate.setup.key)
    };
    let other = Key::new("ES256", "w1");
    let response = world.prove(&bound(&other), |proof| proof);
    assert_eq!((response.status, response.error().as_str()), (401, "invalid_token"));
    let token = bound(&world.workload);
    refused(&world.gate.get(TARGET, &token), "under Bearer alone");
    world.echo.assert_untouched("another key");
    passed(&world.prove(&token, |proof| proof), "the workload's own");
    let proof = dpop(&world.workload, "GET", TARGET, &token).sign(&world.workload);
    let lines = [("Authorization", format!("DPoP {token}")), ("DPoP", proof)];
    let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (*n, v.as_str())).collect();
    passed(&world.gate.send(request("GET", TARGET, &lines, "")), "DPoP with the same key");
}

#[test]
fn ver_018_the_profile_ties_the_proof_to_the_token_and_lets_aud_be_missing_only() {
    let world = World::start(|setup| {
        setup.key = Key::new("RS256", "k1");
        setup.write("jwks.json", &set(&[&setup.key]).to_string());
        setup.issuer = format!("profile = \"open-agent-auth\"\nagents = [{BUYER:?}]");
    });
    let token = Token::new().header("typ", "JWT").sign(&world.gate.setup.key);
    let shape = |proof: Token| {
        proof.without("aud").without("ath").claim("oth", json!({"aoat": hash(&token)}))
    };
    let missing = world.gate.get(TARGET, &token);
    refused(&missing, "no workload");
    refused(
        &world.prove(&token, |p| shape(p).claim("oth", json!({"aoat": hash("another")}))),
        "another token",
    );
    refused(&world.prove(&token, |p| shape(p).without("oth")), "no oth");
    refused(&world.prove(&token, |p| p.without("oth")), "ath alone");
    refused(&world.prove(&token, |p| shape(p).claim("aud", "https://evil.test/")), "a wrong aud");
    refused(
        &world.prove(&token, |p| shape(p).claim("oth", json!({"aoat": hash(&token), "x": "y"}))),
        "more in oth",
    );
    world.echo.assert_untouched("profile");
    passed(&world.prove(&token, shape), "as the reference makes it");
    passed(
        &world.prove(&token, |p| shape(p).claim("aud", format!("https://tools.test{TARGET}"))),
        "with aud",
    );
}

#[test]
fn ver_016_a_resource_can_demand_workloads() {
    let world = World::start(|setup| setup.resource = r#"proofs = ["wpt"]"#.to_owned());
    let token = world.gate.token();
    refused(&world.gate.get(TARGET, &token), "no identity");
    let bare = world.gate.send(request("GET", TARGET, &[], ""));
    let schemes: Vec<_> = Challenge::all(&bare).into_iter().map(|one| one.scheme).collect();
    assert_eq!(schemes, ["Bearer", "DPoP", "WPT"]);
    world.echo.assert_untouched("no workload");
    passed(&world.prove(&token, |proof| proof), "with one");
    let record = world.gate.decisions().pop().unwrap();
    assert!(record["proof"]["wpt"]["use"].is_string(), "{record}");
}

#[test]
fn ver_016_after_an_unclean_end_of_a_batched_log_proofs_of_workloads_wait() {
    let mut world = World::start(|setup| setup.audit = r#"durability = "batch""#.to_owned());
    let token = world.gate.token();
    passed(&world.prove(&token, |proof| proof), "before");
    world.gate.restart_after_kill();
    let response = world.prove(&token, |proof| proof);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(world.gate.get(TARGET, &token).status, 200, "without a proof it is as before");
}

#[test]
fn what_nobody_knows_is_removed_unread() {
    let echo = Echo::start();
    let gate = Setup::new(&echo).start();
    let line = format!("Bearer {}", gate.token());
    let lines = [
        ("Authorization", line.as_str()),
        ("X-Workload-Identity", "a.b.c"),
        ("X-Workload-Proof", "a.b.c"),
    ];
    passed(&gate.send(request("GET", TARGET, &lines, "")), "no trust domain is configured");
    assert!(!echo.only().has("x-workload-identity"));
}
