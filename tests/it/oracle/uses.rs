//! The book's chapter on evidence that comes again (`evidence.md` V8), against the memory of the program.

use std::time::Duration;

use opgate::facts::bonds::Bonds;
use opgate::facts::replay::Replay;
use opgate::model::reason::Reason;
use opgate::model::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::book::string;
use super::chain::canonical;
use super::change::remove;
use super::draft::{Draft, good};
use super::hops::HOPS;
use super::setting::ISSUERS;
use super::{Program, SECOND, now};

/// How long the program remembers.
const HOUR: u64 = 3_600;

/// With what evidence is used.
#[derive(Clone, Debug, PartialEq)]
struct Used {
    server: String,
    id: String,
    person: String,
    /// Client and everything that grants; a delegation changes both.
    grant: Option<String>,
}

fn used(claims: &Map<String, Value>) -> Used {
    let text = |name: &str| string(claims, name).unwrap_or_default().to_owned();
    let chain = claims.get("delegation_chain").and_then(Value::as_array);
    let oldest = chain.and_then(|chain| chain.last()?.get("as_id")?.as_str());
    let is_delegated = claims.contains_key("act") || claims.contains_key("delegation_chain");
    let details = claims["authorization_details"].as_array().unwrap();
    let granting: Vec<_> =
        details.iter().filter(|one| one["type"] != "authorization_evidence").collect();
    let grant = json!([text("client_id"), granting, claims.get("policy_ref")]);
    Used {
        server: oldest.map_or_else(|| text("iss"), str::to_owned),
        id: claims["evidence"]["id"].as_str().unwrap().to_owned(),
        person: text("sub"),
        grant: (!is_delegated).then(|| canonical(&grant).unwrap()),
    }
}

/// V8: the same evidence is the same person's, and where two uses name a grant, it is one grant. What was
/// not used for an hour is forgotten.
fn is_allowed(earlier: &mut Vec<(u64, Used)>, at: u64, now: &Used) -> bool {
    let same = |one: &Used| (&one.server, &one.id) == (&now.server, &now.id);
    let last = earlier.iter().filter(|(_, one)| same(one)).map(|(at, _)| *at).max();
    if last.is_some_and(|last| last + HOUR < at) {
        earlier.retain(|(_, one)| !same(one));
    }
    let fits = |one: &Used| {
        let is_one_grant = one.grant.is_none() || now.grant.is_none() || one.grant == now.grant;
        one.person == now.person && is_one_grant
    };
    let is_allowed = earlier.iter().filter(|(_, one)| same(one)).all(|(_, one)| fits(one));
    if is_allowed {
        earlier.push((at, now.clone()));
    }
    is_allowed
}

/// A use: who, which client, what is granted, whether delegated, which evidence, and how long after the one
/// before.
type Use = (usize, usize, usize, bool, usize, usize);

fn draft((person, client, grant, is_delegated, id, _): Use) -> Draft {
    let mut draft = good((5, 0, 0));
    let id = format!("urn:uuid:{id}");
    draft.payload["sub"] = json!(format!("user-{person}"));
    draft.payload["client_id"] = json!(format!("app-{client}"));
    draft.payload["evidence"]["id"] = json!(id);
    let details = draft.payload["authorization_details"].as_array_mut().unwrap();
    match grant {
        0 => {}
        1 => details[0]["operations"] = json!([{"action": "look"}]),
        _ => details.push(json!({"type": "unheard_of", "limit": 7})),
    }
    if is_delegated {
        for record in draft.payload["delegation_chain"].as_array_mut().unwrap() {
            record["root_evidence_ref"] = json!(id);
            record["as_id"] = json!(ISSUERS[HOPS].id);
        }
    } else {
        remove(&mut draft.payload, "delegation_chain");
        remove(&mut draft.payload, "act");
    }
    draft
}

proptest! {
    #[test]
    fn evi_007_v8_evidence_stays_with_whom_the_book_says(
        uses in prop::collection::vec(
            (0..3_usize, 0..2_usize, 0..3_usize, any::<bool>(), 0..2_usize, 0..4_usize),
            1..16,
        ),
    ) {
        let lifetime = Duration::from_secs(HOUR);
        let bonds = Bonds::new(1_000, lifetime, Box::new(|person| person.map(|byte| !byte)), None);
        let memory = Replay::new(1_000, &[7; 32], None, bonds);
        let (mut earlier, mut at) = (Vec::new(), now() / SECOND);
        for one in uses {
            at += [0, 60, HOUR, HOUR + 1][one.5];
            let draft = draft(one);
            let obligations = Program::new().decide(&draft.finish(), Timestamp::from_micros(now()));
            let obligations = obligations.expect("a good draft");
            let told = memory.fulfil(&obligations, Timestamp::from_seconds(at));
            let expected = is_allowed(&mut earlier, at, &used(draft.payload.as_object().unwrap()));
            let reason = told.err().map(|denial| denial.reason);
            prop_assert_eq!(reason, (!expected).then_some(Reason::EvidenceInvalid), "{:?}", one);
        }
    }
}
