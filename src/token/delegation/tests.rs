//! A valid chain of three hops, and every way to break it (`delegation.md` §10).

use std::cell::Cell;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use proptest::prelude::*;
use serde_json::json;

use super::presenter::{Method, check};
use super::*;
use crate::token::jcs;
use crate::token::keys::KeySet;
use crate::token::presenter::{Certificate, Presenter};
use crate::token::signers::Trusted;
use crate::token::trust::Algorithm;

const AS: &str = "https://as.test";
const OTHER_AS: &str = "https://other.test";
const IAT: i64 = 1_790_000_000;

/// Signs as `name` does; every name has its own key.
fn pair(name: &str) -> Ed25519KeyPair {
    let seed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap()
}

fn keys(name: &str) -> Arc<KeySet> {
    let x = BASE64.encode(pair(name).public_key().as_ref());
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": name, "x": x}]});
    Arc::new(KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap().0)
}

fn detached(payload: &[u8], name: &str) -> String {
    let header = BASE64.encode(json!({"alg": "EdDSA", "kid": name}).to_string());
    let input = format!("{header}.{}", BASE64.encode(payload));
    format!("{header}..{}", BASE64.encode(pair(name).sign(input.as_bytes()).as_ref()))
}

/// The members of a record that are signed, written anew here and not taken from the code under test.
fn signed(record: &Value) -> Vec<u8> {
    let mut record = record.clone();
    let members = record.as_object_mut().unwrap();
    let covered = "delegator_id delegatee_id as_id delegation_timestamp scope delegated_policy \
                   operation_summary root_evidence_ref";
    members.retain(|name, _| covered.split(' ').any(|one| one == name));
    jcs::canonical(&record).unwrap()
}

fn sign(record: &mut Value) {
    let signer = record["as_id"].as_str().unwrap_or(AS).to_owned();
    record["as_signature"] = detached(&signed(record), &signer).into();
}

fn agent(n: usize) -> String {
    format!("wit://agents.test/{n}")
}

/// Agent 0 → 1 → 2 → 3; the newest record first.
fn chain() -> Vec<Value> {
    (0..3)
        .rev()
        .map(|n| {
            let mut record = json!({
                "delegator_id": agent(n), "delegatee_id": agent(n + 1), "as_id": AS,
                "delegation_timestamp": IAT - 30 + 10 * i64::try_from(n).unwrap(),
                "scope": (["a b c", "a b", "a"][n]), "operation_summary": "Check stock \u{2014} 123",
                "delegated_policy": {"language": "rego", "content": "package p"},
                "root_evidence_ref": "urn:uuid:1",
            });
            sign(&mut record);
            record
        })
        .collect()
}

fn payload(chain: &[Value]) -> Value {
    json!({
        "iss": AS, "sub": "alice", "aud": "x", "jti": "j", "iat": IAT, "exp": IAT + 300, "scope": "a",
        "act": {"sub": agent(3)}, "delegation_chain": chain,
    })
}

fn issuer() -> Issuer {
    let delegation = Delegations {
        max_depth: 5,
        max_age: std::time::Duration::from_hours(24),
        id_schemes: vec!["wit".into()],
        preserves_foreign: false,
        countersigned: Countersigned::Verified,
        newest_policy_alone: false,
        asks_for_root: false,
        structural: false,
    };
    Issuer { delegation: Some(delegation), ..Issuer::named(AS) }
}

/// Knows both servers and the agent 0, and counts how often it is asked.
#[derive(Debug)]
struct Known {
    keys: Vec<(Role, String, Arc<KeySet>)>,
    asked: Cell<usize>,
}

impl Known {
    fn all() -> Self {
        let authority = |name: &str| (Role::Authority, name.to_owned(), keys(name));
        let own = agent(0);
        let keys = vec![authority(AS), authority(OTHER_AS), (Role::Agent, own.clone(), keys(&own))];
        Self { keys, asked: Cell::new(0) }
    }
}

impl Signers for Known {
    fn find(&self, role: Role, name: &str) -> Result<Option<Trusted<'_>>, Halt> {
        self.asked.set(self.asked.get() + 1);
        let found = self.keys.iter().find(|(of, known, _)| *of == role && known == name);
        let algorithms: &[Algorithm] = &[Algorithm::EdDsa];
        Ok(found.map(|(_, _, keys)| Trusted { algorithms, keys, newer: None }))
    }
}

fn verify_with(
    payload: &Value,
    issuer: &Issuer,
    known: &Known,
) -> Result<Option<Delegation>, Denial> {
    let payload = payload.as_object().unwrap();
    check_depth(payload, issuer)?;
    let claims = Claims::read(payload, issuer)?;
    match verify(
        payload,
        &claims,
        issuer,
        &mut Verifier::new(known, Timestamp::from_seconds(1_790_000_000)),
    ) {
        Ok(delegation) => Ok(delegation),
        Err(Halt::Refuse(denial)) => Err(denial),
        Err(halt) => panic!("{halt:?}"),
    }
}

fn outcome(payload: &Value) -> Result<Delegation, &'static str> {
    match verify_with(payload, &issuer(), &Known::all()) {
        Ok(delegation) => Ok(delegation.unwrap()),
        Err(Denial { reason: Reason::DelegationInvalid, about }) => Err(about.unwrap()),
        Err(denial) => panic!("{denial:?} {payload}"),
    }
}

/// The chain with one member of one record changed, that record signed anew by its server.
fn with(at: usize, member: &str, value: impl Into<Value>) -> Value {
    let mut chain = chain();
    chain[at][member] = value.into();
    sign(&mut chain[at]);
    payload(&chain)
}

fn without(at: usize, member: &str) -> Value {
    let mut chain = chain();
    chain[at].as_object_mut().unwrap().remove(member);
    if member != "as_signature" {
        sign(&mut chain[at]);
    }
    payload(&chain)
}

#[test]
fn r_del_001_a_chain_of_three_hops_is_verified() {
    let delegation = outcome(&payload(&chain())).unwrap();
    assert_eq!(delegation.lineage, Lineage::Agents);
    assert_eq!(delegation.delegatee(), Some("wit://agents.test/3"));
    assert_eq!(delegation.root_evidence.as_deref(), Some("urn:uuid:1"));
    assert_eq!(delegation.hops[2].delegator.as_ref(), agent(0));
    assert_eq!(delegation.policies(false), [2, 1, 0]);
    assert_eq!(delegation.policies(true), [0]);
    assert_eq!(verify_with(&payload(&[]), &issuer(), &Known::all()), Ok(None));
}

/// Each payload is refused by the check that stands beside it.
fn assert_refused(cases: impl IntoIterator<Item = (&'static str, Value, &'static str)>) {
    for (case, payload, check) in cases {
        assert_eq!(outcome(&payload), Err(check), "{case}");
    }
}

#[test]
fn what_is_not_a_chain_of_records_is_refused() {
    let mut not_an_array = payload(&[]);
    not_an_array["delegation_chain"] = json!({});
    assert_refused([
        ("an object", not_an_array, "D1"),
        ("a record that is a string", payload(&[json!("x")]), "D1"),
        ("no delegator", without(1, "delegator_id"), "D2"),
        ("no delegatee", without(1, "delegatee_id"), "D2"),
        ("no server", without(1, "as_id"), "D2"),
        ("no time", without(1, "delegation_timestamp"), "D2"),
        ("no signature", without(1, "as_signature"), "D2"),
        ("a time as text", with(1, "delegation_timestamp", "1790000000"), "D2"),
        ("null scope", with(1, "scope", Value::Null), "D2"),
        ("null summary", with(1, "operation_summary", Value::Null), "D2"),
        ("a scope as a list", with(1, "scope", json!(["a"])), "D2"),
        ("an empty scope", with(1, "scope", ""), "D2"),
        (
            "a policy without a source",
            with(1, "delegated_policy", json!({"language": "rego"})),
            "D2",
        ),
        ("an id of another scheme", with(1, "delegator_id", "https://agents.test/1"), "D2"),
        ("an id without a scheme", with(1, "delegator_id", "agent-1"), "D2"),
        (
            "an id that is too long",
            with(1, "delegator_id", format!("wit://{}", "a".repeat(2_048))),
            "D2",
        ),
        ("r_del_020 a member of the other shape", with(1, "delegator_jti", "x"), "D2"),
    ]);
}

#[test]
fn every_check_refuses_its_mutation() {
    let (mut swapped, mut shortened, mut repeated) = (chain(), chain(), chain());
    swapped.swap(0, 1);
    shortened.remove(1);
    repeated.insert(1, chain()[0].clone());
    let act = |act: Value| {
        let mut payload = payload(&chain());
        payload["act"] = act;
        payload
    };
    let mut stranger = payload(&chain());
    stranger["act"]["sub"] = json!("wit://agents.test/9");
    let mut actorless = payload(&chain());
    actorless.as_object_mut().unwrap().remove("act");
    let mut wider = payload(&chain());
    wider["scope"] = json!("a b");
    let mut unsignable = payload(&chain());
    unsignable["delegation_chain"][1]["delegated_policy"]["n"] = json!(9_007_199_254_740_993_u64);
    let deep = json!({"sub": agent(3), "act": {"sub": agent(2), "act": {"sub": agent(1), "act": {"sub": agent(0), "act": {"sub": "x"}}}}});
    assert_refused([
        ("r_del_004 another actor", stranger, "D4"),
        ("r_del_004 no actor", actorless, "D4"),
        ("an actor without a subject", act(json!({"sub": agent(3), "act": {}})), "D5"),
        (
            "r_del_023 another prior actor",
            act(json!({"sub": agent(3), "act": {"sub": agent(1)}})),
            "D5",
        ),
        ("r_del_023 more actors than hops", act(deep), "D5"),
        ("r_del_003 swapped records", payload(&swapped), "D4"),
        ("r_del_003 a middle record left out", payload(&shortened), "D6"),
        ("the same record twice", payload(&repeated), "D6"),
        ("another delegatee in the middle", with(1, "delegatee_id", "wit://agents.test/9"), "D6"),
        ("the first delegatee is the second", with(2, "delegatee_id", agent(0)), "D6"),
        ("r_del_013 a server that nobody knows", with(1, "as_id", "https://evil.test"), "D9"),
        ("another server's record first", with(0, "as_id", OTHER_AS), "D8"),
        ("r_del_005 after the token", with(0, "delegation_timestamp", IAT + 1), "D10"),
        ("r_del_005 older before newer", with(0, "delegation_timestamp", IAT - 25), "D10"),
        (
            "r_del_005 older by half a second",
            with(0, "delegation_timestamp", json!(1_789_999_979.5)),
            "D10",
        ),
        ("r_del_005 two days ago", with(2, "delegation_timestamp", IAT - 172_800), "D10"),
        ("a number without a canonical form", unsignable, "D11"),
        ("r_del_006 the second hop widens", with(1, "scope", "a b c d"), "D13"),
        ("r_del_006 the token widens", wider, "D13"),
        ("r_del_017 other evidence", with(1, "root_evidence_ref", "urn:uuid:2"), "D15"),
    ]);
}

#[test]
fn r_del_023_no_agent_receives_twice_and_none_delegates_to_itself() {
    let link = |from: usize, to: usize, at: i64| {
        let mut record = json!({
            "delegator_id": agent(from), "delegatee_id": agent(to), "as_id": AS,
            "delegation_timestamp": IAT - at,
        });
        sign(&mut record);
        record
    };
    let itself = [link(3, 3, 1)];
    let circle = [link(2, 3, 1), link(3, 2, 2), link(1, 3, 3)];
    for chain in [&itself[..], &circle] {
        assert_eq!(outcome(&payload(chain)), Err("D7"));
    }
}

#[test]
fn what_is_allowed_to_differ_differs() {
    let equal_times = with(1, "delegation_timestamp", IAT - 10);
    outcome(&equal_times).unwrap();
    outcome(&with(0, "delegation_timestamp", json!(1_789_999_995.25))).unwrap();
    outcome(&without(1, "scope")).unwrap();
    outcome(&with(0, "as_id", AS)).unwrap();
    // R-DEL-026: a record of another server that is trusted here.
    let across = outcome(&with(2, "as_id", OTHER_AS)).unwrap();
    assert_eq!(across.hops[2].authority.as_ref(), OTHER_AS);
    let mut prior = payload(&chain());
    prior["act"] = json!({"sub": agent(3), "act": {"sub": agent(2), "act": {"sub": agent(1)}}});
    outcome(&prior).unwrap();
    // R-DEL-002: a member that is not signed changes nothing, and is named.
    let mut extended = chain();
    extended[1]["note"] = json!({"scope": "everything"});
    let extended = outcome(&payload(&extended)).unwrap();
    assert_eq!(extended.hops[1].unsigned, ["note".into()]);
    // Escapes are spelling: the text that is signed is the same.
    let text = payload(&chain()).to_string().replace('\u{2014}', "\\u2014");
    outcome(&serde_json::from_str(&text).unwrap()).unwrap();
    let mut foreign = issuer();
    foreign.delegation.as_mut().unwrap().preserves_foreign = true;
    let payload = with(0, "as_id", OTHER_AS);
    verify_with(&payload, &foreign, &Known::all()).unwrap();
}

#[test]
fn r_del_001_a_record_is_signed_by_its_own_server_in_canonical_form() {
    let mut by_another = chain();
    by_another[1]["as_signature"] = detached(&signed(&by_another[1]), OTHER_AS).into();
    let mut pretty = chain();
    let text: Value = serde_json::from_slice(&signed(&pretty[1])).unwrap();
    pretty[1]["as_signature"] = detached(&serde_json::to_vec_pretty(&text).unwrap(), AS).into();
    let mut of_another = chain();
    of_another[1]["as_signature"] = of_another[0]["as_signature"].clone();
    let mut attached = chain();
    let whole = attached[1]["as_signature"].as_str().unwrap();
    let whole = whole.replace("..", &format!(".{}.", BASE64.encode(signed(&attached[1]))));
    attached[1]["as_signature"] = whole.into();
    for chain in [by_another, pretty, of_another, attached] {
        assert_eq!(outcome(&payload(&chain)), Err("D11"));
    }
}

#[test]
fn r_del_009_depth_is_checked_before_any_key_is_looked_for() {
    let long = |n: usize| {
        let links = (0..n).rev().map(|at| {
            let mut record = json!({
                "delegator_id": agent(at), "delegatee_id": agent(at + 1), "as_id": AS,
                "delegation_timestamp": IAT - 10,
            });
            sign(&mut record);
            record
        });
        let mut payload = payload(&links.collect::<Vec<_>>());
        payload["act"] = json!({"sub": agent(n)});
        payload
    };
    let known = Known::all();
    verify_with(&long(5), &issuer(), &known).unwrap();
    assert!(known.asked.get() >= 5);
    let known = Known::all();
    let refused = verify_with(&long(6), &issuer(), &known).unwrap_err();
    assert_eq!((refused, known.asked.get()), (fails("D1"), 0));
}

#[test]
fn r_del_012_delegator_signatures_in_three_modes() {
    use Countersignature::{Absent, Ignored, Unverifiable, Verified};
    // The oldest record is agent 0's, whose key is known; the newest is agent 2's, whose is not.
    let signed_by = |at: usize, signer: &str| {
        let mut chain = chain();
        chain[at]["delegator_signature"] = detached(&signed(&chain[at]), signer).into();
        chain
    };
    let (good, bad) = (signed_by(2, &agent(0)), signed_by(2, &agent(2)));
    let mut forged = good.clone();
    forged[2]["delegator_signature"] = detached(b"{}", &agent(0)).into();
    let unknown = signed_by(0, &agent(2));
    for (mode, case, chain, at, expected) in [
        (Countersigned::Ignored, "good", &good, 2, Ok(Ignored)),
        (Countersigned::Ignored, "forged", &forged, 2, Ok(Ignored)),
        (Countersigned::Ignored, "absent", &good, 1, Ok(Absent)),
        (Countersigned::Verified, "good", &good, 2, Ok(Verified)),
        (Countersigned::Verified, "forged", &forged, 2, Err("D12")),
        (Countersigned::Verified, "under a key id that agent has not", &bad, 2, Ok(Unverifiable)),
        (Countersigned::Verified, "of an agent without a known key", &unknown, 0, Ok(Unverifiable)),
        (Countersigned::Verified, "absent", &good, 1, Ok(Absent)),
        (Countersigned::Required, "good, but not everywhere", &good, 2, Err("D12")),
        (Countersigned::Required, "forged", &forged, 2, Err("D12")),
        (Countersigned::Required, "unverifiable", &unknown, 0, Err("D12")),
    ] {
        let mut issuer = issuer();
        issuer.delegation.as_mut().unwrap().countersigned = mode;
        let found = verify_with(&payload(chain), &issuer, &Known::all())
            .map(|delegation| delegation.unwrap().hops[at].countersignature)
            .map_err(|denial| denial.about.unwrap());
        assert_eq!(found, expected, "{mode:?} {case}");
    }
    let mut alone = good[2].clone();
    alone["delegation_timestamp"] = json!(IAT - 1);
    sign(&mut alone);
    alone["delegator_signature"] = detached(&signed(&alone), &agent(0)).into();
    let mut payload = payload(&[alone]);
    payload["act"]["sub"] = json!(agent(1));
    let mut issuer = issuer();
    issuer.delegation.as_mut().unwrap().countersigned = Countersigned::Required;
    let delegation = verify_with(&payload, &issuer, &Known::all()).unwrap().unwrap();
    assert_eq!(delegation.hops[0].countersignature, Verified);
}

#[test]
fn an_issuer_without_delegation_has_no_chains() {
    let none = Issuer { delegation: None, ..issuer() };
    let refused = verify_with(&payload(&chain()), &none, &Known::all()).unwrap_err();
    assert_eq!(refused.reason, Reason::DelegationUnverified);
    let mut referred = payload(&[]);
    referred["delegation_chain_ref"] = json!("https://as.test/chains/1");
    let refused = verify_with(&referred, &issuer(), &Known::all()).unwrap_err();
    assert_eq!(refused.about, Some("delegation_chain_ref"));
}

/// A token of the Agent Operation Authorization draft, delegated twice.
fn token_chain(sign: impl Fn(&Value) -> String) -> Value {
    let identity =
        |expires: &str| json!({"issued_to": "https://idp.test|alice", "expires": expires});
    let record = |jti: &str, at: &str| {
        let mut record = json!({
            "delegator_jti": jti, "delegator_agent_identity": identity("2027-01-01T00:00:00Z"),
            "delegation_timestamp": at, "operation_summary": "s",
        });
        record["as_signature"] = sign(&record).into();
        record
    };
    let mut payload = payload(&[
        record("j2", "2026-09-21T14:13:10.5Z"),
        record("j1", "2026-09-21T16:13:00+02:00"),
    ]);
    payload["agent_identity"] = identity("2027-01-01T00:00:00Z");
    payload
}

fn as_jws(record: &Value) -> String {
    let header = BASE64.encode(json!({"alg": "EdDSA", "kid": AS}).to_string());
    let input = format!("{header}.{}", BASE64.encode(record.to_string()));
    format!("{input}.{}", BASE64.encode(pair(AS).sign(input.as_bytes()).as_ref()))
}

#[test]
fn r_del_021_022_chains_of_tokens_in_both_forms_and_their_mutations() {
    let as_detached = |record: &Value| detached(&jcs::canonical(record).unwrap(), AS);
    for payload in [token_chain(as_detached), token_chain(as_jws)] {
        let delegation = outcome(&payload).unwrap();
        assert_eq!(delegation.lineage, Lineage::Tokens);
        assert_eq!(delegation.delegatee(), None);
        let changed = |member: &str, value: Value| {
            let mut payload = payload.clone();
            payload["delegation_chain"][0][member] = value;
            payload
        };
        let other = json!({"issued_to": "https://idp.test|bob", "expires": "2027-01-01T00:00:00Z"});
        let expired =
            json!({"issued_to": "https://idp.test|alice", "expires": "2026-01-01T00:00:00Z"});
        for (case, payload, check) in [
            ("another person", changed("delegator_agent_identity", other), "D2"),
            ("an identity that had expired", changed("delegator_agent_identity", expired), "D2"),
            ("the token itself", changed("delegator_jti", json!("j")), "D7"),
            ("one token twice", changed("delegator_jti", json!("j1")), "D7"),
            ("another token", changed("delegator_jti", json!("j9")), "D11"),
            ("another summary", changed("operation_summary", json!("t")), "D11"),
            ("a further member", changed("delegator_scope", json!("all")), "D11"),
            ("a member of the other shape", changed("delegator_id", json!("wit://a/b")), "D2"),
            ("a number for a date", changed("delegation_timestamp", json!(IAT)), "D2"),
            (
                "later than the token",
                changed("delegation_timestamp", json!("2027-01-01T00:00:00Z")),
                "D2",
            ),
        ] {
            assert_eq!(outcome(&payload), Err(check), "{case}");
        }
    }
    let unsigned = token_chain(|_| "x".into());
    assert_eq!(outcome(&unsigned), Err("D11"));
    let mut lenient = issuer();
    lenient.delegation.as_mut().unwrap().structural = true;
    let delegation = verify_with(&unsigned, &lenient, &Known::all()).unwrap().unwrap();
    assert_eq!(delegation.lineage, Lineage::Structural);
}

proptest! {
    /// One change of one signed member of one record, which nobody signs anew, is always refused.
    #[test]
    fn r_del_001_no_signed_member_can_be_changed(at in 0_usize..3, member in 0_usize..8, text in "[a-z:/]{1,12}") {
        let names = [
            "delegator_id", "delegatee_id", "as_id", "delegation_timestamp", "scope",
            "delegated_policy", "operation_summary", "root_evidence_ref",
        ];
        let mut chain = chain();
        let name = names[member];
        let value = match name {
            "delegation_timestamp" => json!(IAT - 30 + i64::try_from(text.len()).unwrap()),
            "delegated_policy" => json!({"language": "rego", "content": text}),
            "delegator_id" | "delegatee_id" => json!(format!("wit://agents.test/{text}")),
            _ => json!(text),
        };
        prop_assume!(chain[at][name] != value);
        chain[at][name] = value;
        prop_assert!(outcome(&payload(&chain)).is_err());
        chain[at].as_object_mut().unwrap().remove(name);
        prop_assert!(outcome(&payload(&chain)).is_err());
    }
}

#[test]
fn r_del_010_011_only_the_delegatee_presents() {
    let delegation = outcome(&payload(&chain())).unwrap();
    let value = payload(&chain());
    let claims = Claims::read(value.as_object().unwrap(), &issuer()).unwrap();
    let workload = |id: String| Presenter { workload: Some(id.into()), ..Presenter::default() };
    let certificate = |uris: &[String]| {
        let uris = uris.iter().map(|uri| uri.as_str().into()).collect();
        let certificate = Some(Arc::new(Certificate { thumbprint: [0; 32], uris, until: None }));
        Presenter { certificate, ..Presenter::default() }
    };
    let key = Presenter { dpop: Some([1; 32]), ..Presenter::default() };
    let both = |workload: String| Presenter { workload: Some(workload.into()), ..key.clone() };
    let mismatch = Err(Reason::PresenterMismatch);
    let unproven = Err(Reason::PresenterUnproven);
    for (case, presenter, bound, bearer, expected) in [
        ("nothing", Presenter::default(), false, false, unproven),
        ("nothing, allowed", Presenter::default(), false, true, Ok(Method::Unauthenticated)),
        ("its workload", workload(agent(3)), false, false, Ok(Method::Workload)),
        ("another workload", workload(agent(2)), false, true, mismatch),
        ("its certificate", certificate(&[agent(3)]), false, false, Ok(Method::Certificate)),
        ("another certificate", certificate(&[agent(2)]), true, true, mismatch),
        ("a certificate of two", certificate(&[agent(3), agent(2)]), true, true, mismatch),
        ("a nameless certificate", certificate(&[]), false, false, unproven),
        ("a nameless bound certificate", certificate(&[]), true, false, Ok(Method::Confirmation)),
        ("a bound key", key.clone(), true, false, Ok(Method::Confirmation)),
        ("a key that is not bound", key.clone(), false, false, unproven),
        ("a bound key and its workload", both(agent(3)), true, false, Ok(Method::Workload)),
        ("a bound key and another workload", both(agent(1)), true, true, mismatch),
    ] {
        let found = check(&delegation, &claims, &presenter, bound, bearer);
        assert_eq!(found.map_err(|denial| denial.reason), expected, "{case}");
    }
    let mut long = value;
    long["exp"] = json!(IAT + 901);
    let claims = Claims::read(long.as_object().unwrap(), &issuer()).unwrap();
    let found = check(&delegation, &claims, &Presenter::default(), false, true);
    assert_eq!(found.map_err(|denial| denial.reason), unproven, "a long life");
}
