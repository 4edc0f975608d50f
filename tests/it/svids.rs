//! Agents' keys with the certificates of a SPIFFE trust domain, over real sockets (`delegation.md` §6): the
//! authorities of the domain say whose a key is, and not the directory in which it was found.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};

use crate::support::chain::{delegated, detached, record, sign};
use crate::support::gate::ISSUER;
use crate::support::issuer::{b64, b64_standard, canonical, now};
use crate::support::jwks::JwksServer;
use crate::support::svid::{Domain, lasting};
use crate::support::{Echo, Gate, Key, Response, Setup, Token, eventually};

const TARGET: &str = "/shop/products/42";
const BUYER: &str = "spiffe://td.test/shop/buyer";

/// A gate that takes chains, a directory of the trust domain, and its authority.
struct World {
    echo: Echo,
    gate: Gate,
    domain: Domain,
    directory: JwksServer,
}

impl World {
    fn start(mode: &str) -> Self {
        Self::start_with(mode, Domain::new())
    }

    fn start_with(mode: &str, domain: Domain) -> Self {
        let (echo, directory) = (Echo::start(), JwksServer::start(&[]));
        let mut setup = Setup::new(&echo);
        setup.issuer =
            format!("max_lifetime = \"15m\"\ndelegation = {{ delegator_signature = \"{mode}\" }}");
        setup.resource = "allow_bearer_delegation = true".to_owned();
        setup.write("bundle.pem", &domain.pem());
        setup.more = format!(
            "[[agent_directory]]\nagents = \"spiffe://td.test\"\nbundle_file = \"bundle.pem\"\nrefresh = \"1s\"\n{}\n",
            directory.line()
        );
        Self { echo, gate: setup.start(), domain, directory }
    }

    /// Lets the directory have these keys, and no others.
    fn publish(&self, keys: &[Value]) {
        self.directory.serve(json!({"keys": keys}));
        let before = self.directory.fetches();
        // One fetch may be under way that was answered before.
        eventually("the directory to be read", || {
            (self.directory.fetches() > before + 1).then_some(())
        });
    }

    /// The answer to a call with a token whose one hop the buyer has signed with `key`.
    fn ask(&self, key: &Key) -> Response {
        self.gate.get(TARGET, &self.token(BUYER, key).sign(&self.gate.setup.key))
    }

    fn token(&self, delegator: &str, key: &Key) -> Token {
        self.signed(delegator, |hop| detached(hop, key))
    }

    fn signed(&self, delegator: &str, signature: impl FnOnce(&Value) -> String) -> Token {
        let own = &self.gate.setup.key;
        let mut hop = record(0, ISSUER, own);
        hop["delegator_id"] = json!(delegator);
        sign(&mut hop, own);
        let mut signed = hop.clone();
        signed.as_object_mut().unwrap().remove("as_signature");
        hop["delegator_signature"] = json!(signature(&signed));
        delegated(1, own).claim("delegation_chain", json!([hop]))
    }

    fn assert_refused(&self, case: &str, response: &Response) {
        let found = (response.status, response.error());
        assert_eq!(found, (401, "invalid_delegation_chain".into()), "{case}");
        assert_eq!(self.gate.decision(&response.decision_id())["about"], "D12", "{case}");
    }

    /// What the record of the last call says of the delegator's signature.
    fn recorded(&self) -> Value {
        self.gate.decisions().pop().unwrap()["delegation"]["hops"][0]["delegator_signature"].clone()
    }
}

#[test]
fn del_012_a_key_with_the_certificate_of_its_agent_verifies() {
    let world = World::start("require");
    let key = Key::new("ES256", "k1");
    world.assert_refused("not in the directory", &world.ask(&key));
    // Whatever the key is called, its certificate says whose it is.
    world.publish(&[world.domain.certify(&key, BUYER)]);
    let response = world.ask(&key);
    assert_eq!(response.status, 200, "{}", response.everything());
    assert_eq!(world.recorded(), "verified");
    // Two keys of one agent, under one name: the old one and its successor.
    let next = Key::new("ES256", "k1");
    world.publish(&[world.domain.certify(&key, BUYER), world.domain.certify(&next, BUYER)]);
    assert_eq!((world.ask(&key).status, world.ask(&next).status), (200, 200));
    // The neighbor has a certificate of the same authority, and is somebody else.
    let neighbor = Key::new("ES256", BUYER);
    world.publish(&[world.domain.certify(&neighbor, "spiffe://td.test/shop/seller")]);
    world.assert_refused("the neighbor under the buyer's name", &world.ask(&neighbor));
    world.assert_refused("the key is gone", &world.ask(&key));
}

#[test]
fn del_012_a_certificate_that_proves_nothing_leaves_its_key_unknown() {
    type Change = fn(&mut CertificateParams);
    let world = World::start("require");
    let domain = &world.domain;
    let certificate = |key: &Key| domain.certify(key, BUYER)["x5c"][0].clone();
    let chain = |key: &Key, chain: Value| {
        let mut jwk = key.jwk();
        jwk["x5c"] = chain;
        jwk
    };
    let mut cases: Vec<(&str, Key, Value)> = Vec::new();
    let mut case = |name: &'static str, make: &dyn Fn(&Key) -> Value| {
        let key = Key::new("ES256", name);
        let jwk = make(&key);
        cases.push((name, key, jwk));
    };
    // The agent's name for `kid`.
    case(BUYER, &|key| key.jwk());
    case("a foreign authority", &|key| Domain::new().certify(key, BUYER));
    case("a foreign trust domain", &|key| domain.certify(key, "spiffe://other.test/shop/buyer"));
    case("another agent", &|key| domain.certify(key, "spiffe://td.test/shop/seller"));
    case("of another key", &|key| chain(key, json!([certificate(&Key::new("ES256", "other"))])));
    case("fifty certificates", &|key| chain(key, json!(vec![certificate(key); 50])));
    case("self-signed", &|key| chain(key, json!([b64_standard(&self_signed())])));
    case("an empty chain", &|key| chain(key, json!([])));
    case("not a list", &|key| chain(key, certificate(key)));
    let changes: [(&str, Change); 6] = [
        ("two agents", |params| {
            let second = "spiffe://td.test/shop/seller".try_into().unwrap();
            params.subject_alt_names.push(SanType::URI(second));
        }),
        ("expired", |params| lasting(params, 0, now() - 1)),
        ("not begun", |params| lasting(params, now() + 3_600, now() + 7_200)),
        ("an authority", |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ("not for signatures", |params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]),
        ("for servers alone", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
    ];
    for (name, change) in changes {
        case(name, &|key| domain.certify_with(key, BUYER, change));
    }
    // The right certificate, so that none of them fails for another reason.
    case("right", &|key| domain.certify(key, BUYER));
    let jwks: Vec<Value> = cases.iter().map(|(_, _, jwk)| jwk.clone()).collect();
    world.publish(&jwks);
    for (case, key, _) in &cases {
        if *case == "right" {
            world.echo.assert_untouched("keys of nobody");
            assert_eq!(world.ask(key).status, 200);
        } else {
            world.assert_refused(case, &world.ask(key));
        }
    }
}

/// A certificate for which nobody answers but its own key.
fn self_signed() -> Vec<u8> {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(BUYER.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.self_signed(&pair).unwrap().der().to_vec()
}

#[test]
fn del_012_a_chain_in_the_header_of_a_signature_is_never_looked_at() {
    for mode in ["require", "verify"] {
        let world = World::start(mode);
        let key = Key::new("ES256", "k1");
        let chain = world.domain.certify(&key, BUYER)["x5c"].clone();
        let token = world.signed(BUYER, |hop| {
            let header = json!({"alg": "ES256", "x5c": chain, "jwk": key.jwk()}).to_string();
            let input = format!("{}.{}", b64(header.as_bytes()), b64(&canonical(hop)));
            format!("{}..{}", b64(header.as_bytes()), b64(&key.sign(input.as_bytes())))
        });
        let response = world.gate.get(TARGET, &token.sign(&world.gate.setup.key));
        if mode == "require" {
            world.assert_refused(mode, &response);
            world.echo.assert_untouched("a key out of a header");
        } else {
            assert_eq!(response.status, 200);
            assert_eq!(world.recorded(), "unverifiable");
        }
    }
}

#[test]
fn del_012_a_certificate_that_ends_or_begins_is_felt_by_remembered_tokens() {
    for mode in ["require", "verify"] {
        let world = World::start(mode);
        let key = Key::new("ES256", "k1");
        world.publish(&[world.domain.certify_with(&key, BUYER, |p| lasting(p, 0, now() + 5))]);
        let token = world.token(BUYER, &key).sign(&world.gate.setup.key);
        assert_eq!(world.gate.get(TARGET, &token).status, 200);
        assert_eq!(world.recorded(), "verified");
        eventually("the certificate to end", || {
            let response = world.gate.get(TARGET, &token);
            let is_over = if mode == "require" {
                response.status == 401
            } else {
                assert_eq!(response.status, 200);
                world.recorded() == "unverifiable"
            };
            is_over.then_some(())
        });
    }
    let world = World::start("verify");
    let key = Key::new("ES256", "k1");
    let begins = now() + 4;
    let late = world.domain.certify_with(&key, BUYER, |p| lasting(p, begins, begins + 600));
    world.publish(&[late]);
    let token = world.token(BUYER, &key).sign(&world.gate.setup.key);
    eventually("the certificate to begin", || {
        assert_eq!(world.gate.get(TARGET, &token).status, 200);
        let is_verified = world.recorded() == "verified";
        assert!(!is_verified || now() >= begins, "too early");
        is_verified.then_some(())
    });
}

#[test]
fn del_012_an_authority_that_ends_takes_its_agents_along() {
    let world = World::start_with("require", Domain::until(now() + 4));
    let key = Key::new("ES256", "k1");
    world.publish(&[world.domain.certify(&key, BUYER)]);
    let token = world.token(BUYER, &key).sign(&world.gate.setup.key);
    assert_eq!(world.gate.get(TARGET, &token).status, 200);
    eventually("the authority to end", || {
        (world.gate.get(TARGET, &token).status == 401).then_some(())
    });
}

#[test]
fn del_012_another_bundle_is_felt_at_once_on_reload_and_soon_in_its_file() {
    let mut world = World::start("require");
    let key = Key::new("ES256", "k1");
    world.publish(&[world.domain.certify(&key, BUYER)]);
    let token = world.token(BUYER, &key).sign(&world.gate.setup.key);
    assert_eq!(world.gate.get(TARGET, &token).status, 200);
    let next = Domain::new();
    // A bundle that cannot be read changes nothing.
    world.gate.setup.write("bundle.pem", "nonsense");
    world.publish(&[world.domain.certify(&key, BUYER)]);
    assert_eq!(world.gate.get(TARGET, &token).status, 200);
    world.gate.setup.write("bundle.pem", &next.pem());
    eventually("the other authority to count", || {
        (world.gate.get(TARGET, &token).status == 401).then_some(())
    });
    // A SPIFFE bundle in another file: keys that the old one vouched for are not taken over.
    world.gate.setup.write("bundle.json", &world.domain.bundle().to_string());
    world.gate.rewrite(|setup| setup.more = setup.more.replace("bundle.pem", "bundle.json"));
    assert_eq!(world.gate.admin("POST", "/reload").status, 200);
    eventually("the first authority to count again", || {
        (world.gate.get(TARGET, &token).status == 200).then_some(())
    });
    world.gate.rewrite(|setup| setup.more = setup.more.replace("bundle.json", "bundle.pem"));
    assert_eq!(world.gate.admin("POST", "/reload").status, 200);
    world.assert_refused("after the reload", &world.gate.get(TARGET, &token));
}

#[test]
fn del_012_a_bundle_that_was_never_had_is_a_503() {
    let (echo, directory) = (Echo::start(), JwksServer::start(&[]));
    let (domain, key) = (Domain::new(), Key::new("ES256", "k1"));
    let bundle = JwksServer::start(&[]);
    bundle.fail(true);
    directory.serve(json!({"keys": [domain.certify(&key, BUYER)]}));
    let mut setup = Setup::new(&echo);
    setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
    setup.resource = "allow_bearer_delegation = true".to_owned();
    setup.more = format!(
        "[[agent_directory]]\nagents = \"spiffe://td.test\"\nbundle_uri = \"{}/bundle\"\nrefresh = \"1s\"\n{}\n",
        bundle.url(),
        directory.line()
    );
    let world = World { echo, gate: setup.start(), domain, directory };
    let response = world.ask(&key);
    assert_eq!(response.status, 503);
    assert_eq!(world.gate.decision(&response.decision_id())["reason"], "keys_unavailable");
    world.echo.assert_untouched("no bundle");
    bundle.serve(world.domain.bundle());
    bundle.fail(false);
    eventually("the bundle to be read", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        (world.ask(&key).status == 200).then_some(())
    });
    assert_eq!(world.recorded(), "verified");
}
