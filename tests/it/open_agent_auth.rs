//! The interop profile `open-agent-auth` from end to end (`verification.md`, interop profile): a token
//! of the shape that the public reference implementation emits, a workload with its identity and its
//! proof, and the binding service behind a socket. Five layers, and an attack on each.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::issuer::now;
use crate::support::jwks::set;
use crate::support::proof::{hash, public, unique};
use crate::support::served::{Served, response};
use crate::support::{Echo, Gate, Key, Response, Setup, Token, request};

const TARGET: &str = "/shop/products/42";
const BINDINGS: &str = "/api/v1/bindings/get";
const BUYER: &str = "wimse://agents.test/buyer";
const BINDING: &str = "urn:uuid:7c2e3f14-6f0e-4a53-9d1b-0c1f6f3c9a55";

/// What makes something wrong.
type Edit<T> = fn(&mut T);

/// The gate, and everybody that it hears about a call.
struct World {
    echo: Echo,
    service: Served,
    gate: Gate,
    /// Of the agents' identity provider.
    provider: Key,
    workload: Key,
}

/// What is presented, before it is signed.
struct Presented {
    token: Token,
    identity: Token,
    /// Hash of the identity token is put in where it is not there.
    proof: Token,
}

impl World {
    fn start(more: &str) -> Self {
        let (echo, service) = (Echo::start(), Served::start());
        service.serve(BINDINGS, binding().to_string());
        let provider = Key::new("ES256", "idp-1");
        let mut setup = Setup::new(&echo);
        setup.key = Key::new("RS256", "as-1");
        setup.write("jwks.json", &set(&[&setup.key]).to_string());
        setup.write("provider.json", &set(&[&provider]).to_string());
        setup.issuer = format!(
            "profile = \"open-agent-auth\"\nbinding_service = {:?}\n{more}",
            service.url("/")
        );
        setup.more =
            "[[workload_issuer]]\nissuer = \"wimse://agents.test\"\njwks_file = \"provider.json\""
                .to_owned();
        let workload = Key::new("ES256", "w");
        Self { echo, service, gate: setup.start(), provider, workload }
    }

    fn good(&self) -> Presented {
        Presented {
            token: token(),
            identity: identity(&self.workload),
            proof: Token {
                header: json!({"typ": "wpt+jwt"}),
                payload: json!({"exp": now() + 60, "jti": unique()}),
            },
        }
    }

    fn sign(&self, presented: &Presented) -> (String, String, String) {
        let token = presented.token.sign(&self.gate.setup.key);
        let identity = presented.identity.sign(&self.provider);
        let proof = self.prove(&presented.proof, &token, &identity);
        (token, identity, proof)
    }

    /// Ties a proof to a token and an identity, where it is not tied to others.
    fn prove(&self, proof: &Token, token: &str, identity: &str) -> String {
        let mut proof = proof.clone();
        for (member, value) in
            [("wth", json!(hash(identity))), ("oth", json!({"aoat": hash(token)}))]
        {
            if proof.payload.get(member).is_none() {
                proof.payload[member] = value;
            }
        }
        proof.sign(&self.workload)
    }

    fn call(&self, token: &str, identity: &str, proof: &str) -> Response {
        let line = format!("Bearer {token}");
        let lines = [
            ("Authorization", line.as_str()),
            ("X-Workload-Identity", identity),
            ("X-Workload-Proof", proof),
        ];
        self.gate.send(request("GET", TARGET, &lines, ""))
    }

    fn present(&self, edit: impl FnOnce(&mut Presented)) -> Response {
        let mut presented = self.good();
        edit(&mut presented);
        let (token, identity, proof) = self.sign(&presented);
        self.call(&token, &identity, &proof)
    }

    /// The call is refused so, for this reason, and the upstream hears nothing of it.
    fn refuses(&self, case: &str, response: &Response, status: u16, error: &str, reason: &str) {
        let told = (response.status, response.error());
        assert_eq!(told, (status, error.to_owned()), "{case}: {}", response.everything());
        let record = self.gate.decision(&response.decision_id());
        assert_eq!(record["reason"], reason, "{case}: {record}");
        self.echo.assert_untouched(case);
    }

    /// Another answer of the binding service, for an identity that was not asked for before.
    fn bound_otherwise(&self, edit: impl FnOnce(&mut Value)) -> Response {
        let id = format!("urn:uuid:{}", unique());
        let mut answer = binding();
        answer["bindingInstanceId"] = json!(id);
        edit(&mut answer);
        self.service.serve(BINDINGS, answer.to_string());
        self.present(|presented| presented.token.payload["agent_identity"]["id"] = json!(id))
    }
}

/// The token of the generator of the reference implementation (`tokens.md` §4), and beside its policy id
/// the list of operations by which this gate authorizes.
fn token() -> Token {
    let at = |seconds: i64| rfc3339(now() + seconds);
    Token::new()
        .header("typ", "JWT")
        .claim("sub", "https://idp.test|user-12345")
        .claim(
            "agent_identity",
            json!({
                "version": "1.0", "id": BINDING, "issuer": "https://as.test",
                "issued_to": "https://idp.test|user-12345",
                "issued_for": {"platform": "personal-agent.test", "client": "mobile-app-v1",
                    "client_instance": "dfp_abc123"},
                "issuance_date": at(-60), "valid_from": at(-60), "expires": at(3_600),
            }),
        )
        .claim("context", json!({"rendered_text": "Read the products of the shop"}))
        .claim(
            "audit_trail",
            json!({"original_prompt_text": "what does the shop have",
                "rendered_operation_text": "Read the products of the shop",
                "semantic_expansion_level": "medium",
                "user_acknowledge_timestamp": at(-30), "consent_interface_version": "1.0"}),
        )
        .claim("references", json!({"related_proposal_id": "urn:uuid:proposal-1"}))
}

fn identity(workload: &Key) -> Token {
    let mut jwk = public(workload);
    jwk["alg"] = json!(workload.alg());
    Token {
        header: json!({"typ": "wit+jwt"}),
        payload: json!({
            "iss": "wimse://agents.test", "sub": BUYER, "exp": now() + 300, "iat": now(),
            "jti": unique(), "cnf": {"jwk": jwk},
        }),
    }
}

fn binding() -> Value {
    json!({
        "bindingInstanceId": BINDING, "userIdentity": "user-12345", "workloadIdentity": BUYER,
        "agentIdentity": {"version": "1.0", "id": BINDING},
        "createdAt": rfc3339(now() - 60), "expiresAt": rfc3339(now() + 3_600),
    })
}

/// As the reference implementation writes dates: in UTC, with nine digits of a second.
fn rfc3339(seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.123456789Z")
}

/// The Gregorian date of a day since 1970, counted year by year and month by month.
fn civil(mut days: i64) -> (i64, usize, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[test]
fn tok_027_the_good_path_of_the_profile_reaches_the_upstream_and_is_recorded() {
    let world = World::start("");
    let response = world.present(|_| {});
    assert_eq!(response.status, 200, "{}", response.everything());
    let received = world.echo.only();
    for header in ["authorization", "x-workload-identity", "x-workload-proof"] {
        assert!(!received.has(header), "{header} reached the upstream");
    }
    let asked = world.service.asked(BINDINGS);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].line, format!("POST {BINDINGS} HTTP/1.1"));
    let question: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(question, json!({"bindingInstanceId": BINDING}));
    // A second call asks nobody, and needs a proof of its own.
    assert_eq!(world.present(|_| {}).status, 200);
    assert_eq!(world.service.asked(BINDINGS).len(), 1);
    let record = world.gate.decisions().pop().unwrap();
    assert_eq!(record["decision"], "allow", "{record}");
    assert!(record.to_string().contains(BUYER), "{record}");
    // Neither the prompt nor anything that was presented is written down.
    assert!(!world.gate.listing().contains("what does the shop have"));
}

#[test]
fn tok_027_what_is_wrong_with_the_token_is_refused_in_the_profile_too() {
    let world = World::start("");
    let cases: &[(&str, Edit<Presented>, &str)] = &[
        (
            "another audience",
            |p| p.token.payload["aud"] = json!("https://x.test"),
            "audience_mismatch",
        ),
        (
            "no policy id in its authorization",
            |p| p.token.payload["agent_operation_authorization"] = json!({}),
            "claim_missing",
        ),
        (
            "an identity of another issuer",
            |p| p.token.payload["agent_identity"]["issuer"] = json!("https://evil.test"),
            "agent_identity_invalid",
        ),
        (
            "an identity that has ended",
            |p| p.token.payload["agent_identity"]["expires"] = json!(rfc3339(now() - 60)),
            "agent_identity_invalid",
        ),
        (
            "an identity that has not begun",
            |p| p.token.payload["agent_identity"]["valid_from"] = json!(rfc3339(now() + 60)),
            "agent_identity_invalid",
        ),
        (
            "two persons in two spellings",
            |p| p.token.payload["agent_identity"]["issuedTo"] = json!("https://idp.test|mallory"),
            "claim_malformed",
        ),
        (
            "no identity",
            |p| drop(p.token.payload.as_object_mut().unwrap().remove("agent_identity")),
            "claim_missing",
        ),
        (
            "nobody that it was issued to",
            |p| {
                drop(
                    p.token.payload["agent_identity"].as_object_mut().unwrap().remove("issued_to"),
                );
            },
            "claim_missing",
        ),
    ];
    for (case, edit, reason) in cases {
        let response = world.present(edit);
        world.refuses(case, &response, 401, "invalid_token", reason);
    }
    assert_eq!(world.present(|_| {}).status, 200, "untouched by all that");
}

#[test]
fn ver_015_only_the_workloads_of_the_identity_provider_are_known_in_the_profile() {
    let world = World::start("");
    let stranger = Key::new("ES256", "idp-1");
    let good = world.good();
    let (token, identity, proof) = world.sign(&good);
    let forged = good.identity.sign(&stranger);
    let foreign = world.good().identity.claim("iss", "wimse://evil.test").sign(&world.provider);
    let neighbor =
        world.good().identity.claim("sub", "wimse://evil.test/buyer").sign(&world.provider);
    for (case, identity) in [
        ("signed by a stranger", &forged),
        ("of another trust domain", &foreign),
        ("about a workload of another domain", &neighbor),
        ("a token instead", &token),
    ] {
        let proof = world.prove(&world.good().proof, &token, identity);
        let response = world.call(&token, identity, &proof);
        world.refuses(case, &response, 400, "invalid_request", "workload_identity_invalid");
    }
    let line = format!("Bearer {token}");
    let alone = world.gate.send(request("GET", TARGET, &[("Authorization", &line)], ""));
    world.refuses("no workload", &alone, 401, "invalid_workload_proof", "workload_identity_absent");
    assert_eq!(world.call(&token, &identity, &proof).status, 200);
}

#[test]
fn ver_018_a_proof_is_of_this_workload_for_this_token_and_counts_once() {
    let world = World::start("");
    let stranger = Key::new("ES256", "w");
    let (token, identity, proof) = world.sign(&world.good());
    let (other, ..) =
        world.sign(&Presented { token: self::token().claim("jti", unique()), ..world.good() });
    let other_identity = world.good().identity.sign(&world.provider);
    let made =
        |edit: &dyn Fn(Token) -> Token| world.prove(&edit(world.good().proof), &token, &identity);
    let without = |member: &str| {
        let mut proof = world.good().proof;
        proof.payload["wth"] = json!(hash(&identity));
        proof.payload["oth"] = json!({"aoat": hash(&token)});
        proof.without(member).sign(&world.workload)
    };
    let mut by_stranger = world.good().proof;
    by_stranger.payload["wth"] = json!(hash(&identity));
    by_stranger.payload["oth"] = json!({"aoat": hash(&token)});
    for (case, proof) in [
        ("for another token", world.prove(&world.good().proof, &other, &identity)),
        ("for another identity token", world.prove(&world.good().proof, &token, &other_identity)),
        ("by another key", by_stranger.sign(&stranger)),
        ("of another type", made(&|proof| proof.header("typ", "dpop+jwt"))),
        ("that has ended", made(&|proof| proof.claim("exp", now() - 60))),
        ("that ends in an hour", made(&|proof| proof.claim("exp", now() + 3_600))),
        ("for another target", made(&|proof| proof.claim("aud", "https://tools.test/shop/orders"))),
        (
            "that says more than is known",
            made(&|proof| proof.claim("oth", json!({"aoat": hash(&token), "x": "y"}))),
        ),
        (
            "tied by `ath` alone",
            made(&|proof| proof.claim("ath", hash(&token)).claim("oth", json!({}))),
        ),
        ("tied to no token", without("oth")),
        ("tied to no identity", without("wth")),
        ("without an identifier", without("jti")),
    ] {
        let response = world.call(&token, &identity, &proof);
        world.refuses(case, &response, 401, "invalid_workload_proof", "workload_proof_invalid");
    }
    assert_eq!(world.call(&token, &identity, &proof).status, 200, "the first time");
    let before = world.echo.bytes().len();
    let again = world.call(&token, &identity, &proof);
    assert_eq!((again.status, again.error().as_str()), (401, "invalid_workload_proof"));
    let record = world.gate.decision(&again.decision_id());
    assert_eq!(record["reason"], "workload_proof_replayed");
    assert_eq!(world.echo.bytes().len(), before, "a replay reached the upstream");
}

#[test]
fn ver_019_the_workload_is_the_one_that_the_persons_agent_is_bound_to() {
    let world = World::start("");
    let cases: &[(&str, Edit<Value>)] = &[
        ("another workload", |answer| {
            answer["workloadIdentity"] = json!("wimse://agents.test/other");
        }),
        ("another person", |answer| answer["userIdentity"] = json!("mallory")),
        ("a binding that has ended", |answer| answer["expiresAt"] = json!(rfc3339(now() - 1))),
    ];
    for (case, edit) in cases {
        let response = world.bound_otherwise(edit);
        world.refuses(case, &response, 401, "invalid_token", "binding_mismatch");
    }
    world.service.at(BINDINGS, |_| response(404, "", ""));
    let unknown = world.present(|_| {});
    world.refuses(
        "a binding that nobody knows",
        &unknown,
        401,
        "invalid_token",
        "binding_mismatch",
    );
}

#[test]
fn ver_022_without_an_answer_about_the_binding_nothing_passes() {
    let elsewhere = format!("Location: https://elsewhere.test{BINDINGS}\r\n");
    let whole = |edit: fn(&mut Value)| {
        let mut answer = binding();
        edit(&mut answer);
        response(200, "", &answer.to_string())
    };
    let twice = binding().to_string().replacen('{', r#"{"userIdentity":"mallory","#, 1);
    for (case, answer) in [
        ("a failure", response(500, "", "")),
        ("a redirect", response(307, &elsewhere, "")),
        ("about another binding", whole(|answer| answer["bindingInstanceId"] = json!("other"))),
        (
            "without an end",
            whole(|answer| drop(answer.as_object_mut().unwrap().remove("expiresAt"))),
        ),
        ("with two persons", response(200, "", &twice)),
        ("no JSON", response(200, "", "bound, trust me")),
        ("without end", response(200, "", &(binding().to_string() + &" ".repeat(70 * 1_024)))),
    ] {
        // Each has a gate of its own: after a failure the service is left alone for a moment.
        let world = World::start("");
        world.service.at(BINDINGS, move |_| answer.clone());
        let refused = world.present(|_| {});
        let error = "temporarily_unavailable";
        world.refuses(case, &refused, 503, error, "binding_unavailable");
        assert!(refused.header("retry-after").is_some(), "{case}");
        assert_eq!(world.service.asked(BINDINGS).len(), 1, "{case}");
    }
}

#[test]
fn ver_019_a_service_that_is_gone_is_told_from_a_binding_that_is_not_there() {
    let world = World::start("");
    let dropped = Arc::new(Mutex::new(true));
    let shared = Arc::clone(&dropped);
    world.service.at(BINDINGS, move |_| {
        if *shared.lock().unwrap() {
            String::new()
        } else {
            response(200, "", &binding().to_string())
        }
    });
    let down = world.present(|_| {});
    world.refuses("it hangs up", &down, 503, "temporarily_unavailable", "binding_unavailable");
    *dropped.lock().unwrap() = false;
    let back = crate::support::eventually("the service is asked again", || {
        Some(world.present(|_| {})).filter(|response| response.status != 503)
    });
    assert_eq!(back.status, 200, "{}", back.everything());
}
