use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("not an object") };
    members
}

fn target(value: Value) -> Result<Target, &'static str> {
    Target::read(&members(value), &["until"])
}

fn set(targets: &[Value]) -> Set {
    let targets: Vec<_> = targets.iter().map(|one| target(one.clone()).unwrap()).collect();
    targets.iter().map(|one| (one, None)).collect()
}

/// A token that carries every name there is, two hops below its root.
fn everything() -> Named {
    let payload = members(json!({
        "azp": "party",
        "act": {"sub": "wit://c", "act": {"sub": "wit://b", "act": {"sub": "wit://a"}}},
        "agent_identity": {"id": "urn:uuid:agent", "issued_to": "https://idp.test|alice"},
        "agent_operation_authorization": {"policy_id": "pol_1"},
        "policy_ref": ["pol_2", {"id": "pol_3"}],
        "evidence": {"id": "ev-1"},
        "evidence_ref": "ev-2",
        "audit_trail": {"evidence_ref": "ev-3"},
        "authorization_details": [{"type": "authorization_evidence", "evidence": {"id": "ev-4"}}],
        "delegation_chain": [
            {"delegator_id": "wit://b", "delegatee_id": "wit://c", "as_id": "https://as.test"},
            {"delegator_id": "wit://a", "delegatee_id": "wit://b", "as_id": "https://home.test",
             "root_evidence_ref": "ev-root", "delegator_jti": "jti-root"},
        ],
    }));
    let claims = Claims {
        is_bound: false,
        audience: Vec::new(),
        client_id: Some("client".into()),
        expires: NOW,
        issued: NOW,
        jwt_id: "jti-1".into(),
        not_before: None,
        scope: Vec::new(),
        subject: "user-1".into(),
        actor: Some("wit://c".into()),
        authorized_party: None,
    };
    Named::of("https://as.test", &claims, &[0xab; 32], &payload)
}

#[test]
fn r_ver_021_a_token_dies_of_every_name_that_it_carries() {
    let named = everything();
    for (revoked, kind, inherited) in [
        (json!({"jti": "jti-1"}), Kind::Token, false),
        (json!({"jti": format!("sha256:{}", "ab".repeat(32))}), Kind::Token, false),
        (json!({"sub": "user-1"}), Kind::Subject, false),
        (json!({"sub": "alice"}), Kind::Subject, false),
        (json!({"sub": "https://idp.test|alice"}), Kind::Subject, false),
        (json!({"client_id": "client"}), Kind::Client, false),
        (json!({"client_id": "party"}), Kind::Client, false),
        (json!({"agent": "wit://c"}), Kind::Agent, false),
        (json!({"agent": "urn:uuid:agent"}), Kind::Agent, false),
        (json!({"policy_id": "pol_1"}), Kind::Policy, false),
        (json!({"policy_id": "pol_2"}), Kind::Policy, false),
        (json!({"policy_id": "pol_3"}), Kind::Policy, false),
        (json!({"evidence_id": "ev-1"}), Kind::Evidence, false),
        (json!({"evidence_id": "ev-2"}), Kind::Evidence, false),
        (json!({"evidence_id": "ev-3"}), Kind::Evidence, false),
        (json!({"evidence_id": "ev-4"}), Kind::Evidence, false),
        (json!({"issuer": "https://as.test"}), Kind::Issuer, false),
        (json!({"agent": "wit://b"}), Kind::Agent, true),
        (json!({"agent": "wit://a"}), Kind::Agent, true),
        (json!({"jti": "jti-root"}), Kind::Token, true),
        (json!({"evidence_id": "ev-root"}), Kind::Evidence, true),
        (json!({"issuer": "https://home.test"}), Kind::Issuer, true),
        (json!({"delegation_root": "wit://a"}), Kind::DelegationRoot, true),
        (json!({"delegation_root": "jti-root"}), Kind::DelegationRoot, true),
        (json!({"delegation_root": "ev-root"}), Kind::DelegationRoot, true),
    ] {
        let hit = set(&[json!({"jti": "another"}), revoked.clone()]).find(&named, NOW);
        assert_eq!(hit, Some(Hit { kind, inherited }), "{revoked}");
    }
}

#[test]
fn r_tok_021_a_name_revokes_in_either_spelling() {
    let payload = members(json!({
        "agentIdentity": {"id": "urn:uuid:agent", "issuedTo": "https://idp.test|bob"},
        "agentOperationAuthorization": {"policyId": "pol_9"},
        "policyRef": ["pol_8"],
    }));
    let claims = Claims::read(
        &members(json!({"iss": "x", "sub": "s", "aud": "a", "iat": 1, "exp": 2, "jti": "j"})),
        &crate::token::trust::Issuer::named("x"),
    );
    let named = Named::of("x", &claims.unwrap(), &[0; 32], &payload);
    for revoked in [
        json!({"agent": "urn:uuid:agent"}),
        json!({"sub": "bob"}),
        json!({"policy_id": "pol_9"}),
        json!({"policy_id": "pol_8"}),
    ] {
        assert!(set(std::slice::from_ref(&revoked)).find(&named, NOW).is_some(), "{revoked}");
    }
}

#[test]
fn a_name_of_another_kind_value_or_issuer_revokes_nothing() {
    let named = everything();
    for revoked in [
        json!({"jti": "user-1"}),
        json!({"sub": "jti-1"}),
        json!({"sub": "USER-1"}),
        json!({"delegation_root": "wit://b"}),
        json!({"jti": "jti-1", "issuer": "https://other.test"}),
        json!({"issuer": "https://as.test/"}),
    ] {
        assert_eq!(set(std::slice::from_ref(&revoked)).find(&named, NOW), None, "{revoked}");
    }
    let within = json!({"sub": "user-1", "issuer": "https://as.test"});
    assert!(set(&[within]).find(&named, NOW).is_some());
}

#[test]
fn a_revocation_ends_when_it_says() {
    let one = target(json!({"sub": "user-1"})).unwrap();
    let mut set = Set::default();
    set.add(&one, Some(NOW));
    assert_eq!(set.find(&everything(), NOW), None);
    let before = Timestamp::from_micros(NOW.micros() - 1);
    assert!(set.find(&everything(), before).is_some());
    set.add(&one, None);
    assert!(set.find(&everything(), NOW).is_some());
    assert_eq!(set.len(), 2);
}

#[test]
fn a_target_names_one_thing_and_is_written_as_it_is_read() {
    for good in [
        json!({"jti": "x"}),
        json!({"issuer": "https://as.test"}),
        json!({"issuer": "https://as.test", "evidence_id": "e"}),
    ] {
        let mut written = Map::new();
        target(good.clone()).unwrap().write(&mut written);
        assert_eq!(Value::Object(written), good);
    }
    for bad in [
        json!({}),
        json!({"until": 7}),
        json!({"jti": ""}),
        json!({"jti": 7}),
        json!({"jti": "a\nb"}),
        json!({"jti": "x".repeat(MAX_NAME + 1)}),
        json!({"jti": "x", "sub": "y"}),
        json!({"jti": "x", "scope": "y"}),
    ] {
        assert!(target(bad.clone()).is_err(), "{bad}");
    }
}
