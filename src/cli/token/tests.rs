//! What is minted is what the gate reads.

use std::sync::Arc;

use super::*;
use crate::model::operation::Operation;
use crate::model::presented::Presented;
use crate::token::details::Rule;
use crate::token::grant::Grant;
use crate::token::keys::KeySet;
use crate::token::parties::Parties;
use crate::token::signers::IssuerAlone;
use crate::token::trust::Issuer;
use crate::token::verify::{Unverified, digest};

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const RESOURCE: &str = "https://tools.test/shop";

pub(super) fn minted(key: &SigningKey, operations: &[&str]) -> String {
    let operations: Vec<_> =
        operations.iter().map(|text| Allowance::parse(text).unwrap()).collect();
    mint(&Minting {
        key,
        key_id: "k1",
        issuer: "https://as.test",
        audience: &[RESOURCE.to_owned()],
        subject: "alice",
        client_id: Some("app"),
        agent: Some("shopping-agent"),
        scope: Some("shop read"),
        operations: &operations,
        locations: &[RESOURCE.to_owned()],
        details: &[],
        claims: &Map::new(),
        issued: NOW,
        ttl: Duration::from_mins(15),
        jwt_id: Some("j1"),
    })
    .unwrap()
}

fn verify(token: &str, key: &SigningKey) -> Grant {
    let issuer = Arc::new(Issuer {
        algorithms: vec![key.algorithm()],
        leeway: Duration::ZERO,
        max_lifetime: Duration::from_mins(15),
        rfc9068_strict: true,
        ..Issuer::named("https://as.test")
    });
    let set = key.jwk_set("k1", Vec::new()).unwrap();
    let keys = Arc::new(KeySet::from_jwks(set.as_bytes()).unwrap().0);
    let presented = Presented::new(token);
    let signers = IssuerAlone { issuer: &issuer, keys: &keys };
    let token = Unverified::read(presented, digest(presented)).unwrap();
    token.verify(&issuer, &keys, &signers, NOW).unwrap()
}

#[test]
fn what_is_minted_is_verified_with_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let key = SigningKey::generate(algorithm).unwrap();
        let grant = verify(&minted(&key, &["GET /products/**", "create_order"]), &key);
        let claims = grant.claims();
        let parties = Parties::of(&grant, None);
        assert_eq!(parties.user.map(|user| user.id), Some("alice"));
        assert_eq!(parties.agent, Some("shopping-agent"));
        assert_eq!(claims.client_id.as_deref(), Some("app"));
        assert!(grant.has_scope("shop") && grant.has_scope("read"));
        let Rule::Operations(allowed) = &grant.entries()[0].rule else { panic!("not a list") };
        let operation = Operation::bare("search", &http::Method::GET, "/products/7", RESOURCE);
        assert!(allowed[0].covers(&operation) && grant.entries()[0].bounds.hold(&operation));
        assert!(!allowed[1].covers(&operation));
    }
}

#[test]
fn each_token_has_an_identifier_of_its_own() {
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let minting = Minting {
        key: &key,
        key_id: "k1",
        issuer: "https://as.test",
        audience: &["a".to_owned(), "b".to_owned()],
        subject: "alice",
        client_id: Some("app"),
        agent: None,
        scope: None,
        operations: &[],
        locations: &[],
        details: &[],
        claims: &Map::new(),
        issued: NOW,
        ttl: Duration::from_mins(1),
        jwt_id: None,
    };
    let (one, other) = (mint(&minting).unwrap(), mint(&minting).unwrap());
    let (one, other) = (verify(&one, &key), verify(&other, &key));
    assert_ne!(one.claims().jwt_id, other.claims().jwt_id);
    assert_eq!(one.claims().audience.len(), 2);
    assert!(one.entries().is_empty());
}

#[test]
fn an_operation_that_could_never_match_is_refused() {
    for text in
        ["", "/products", "get /products", "* /products", "GET products", "GET /a//b", " /a"]
    {
        assert!(Allowance::parse(text).is_err(), "{text}");
    }
    assert_eq!(Allowance::parse("create_order"), Ok(Allowance::Action("create_order".into())));
}

#[test]
fn a_lifetime_has_a_unit_and_a_bound() {
    assert_eq!(ttl("15m"), Ok(Duration::from_mins(15)));
    for text in ["", "15", "m", "0s", "-1s", "1w", "99999d", "99999999999999999999s"] {
        assert!(ttl(text).is_err(), "{text}");
    }
}
