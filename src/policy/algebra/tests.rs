//! The truth table of the algebra, and what no combination of carriers may do.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cli::keys::SigningKey;
use crate::model::presented::Presented;
use crate::token::keys::KeySet;
use crate::token::signers::IssuerAlone;
use crate::token::trust::{Algorithm, Issuer};
use crate::token::verify::{Unverified, digest};

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
static ANYHOW: authentication::Demand =
    authentication::Demand { acr_values: Vec::new(), max_age: None };

/// What a policy says here: the text of an inline policy, or the id of a named one, begins with it.
fn said(word: &str) -> Result<Verdict, Denial> {
    match word {
        "true" => Ok(Verdict::True),
        "false" => Ok(Verdict::False),
        "undefined" => Ok(Verdict::Undefined),
        "other" => Ok(Verdict::NonBoolean),
        "budget" => Err(Denial::about(Reason::PolicyBudget, "x")),
        "error" => Err(Denial::about(Reason::PolicyEngineFailed, "x")),
        "away" => Err(Denial::about(Reason::PolicyUnavailable, "x")),
        "swapped" => Err(Denial::about(Reason::PolicyDigestMismatch, "x")),
        other => panic!("{other}"),
    }
}

/// Policies that say what their names do, and note that they were asked.
#[derive(Default)]
struct Spoken {
    locals: Vec<&'static str>,
    asked: Vec<String>,
}

impl Ask for Spoken {
    type Stop = Denial;

    fn ask(&mut self, policy: Asked<'_>) -> Result<Result<Verdict, Denial>, Denial> {
        let text = match policy {
            Asked::Boundary(Boundary::PolicyId(one)) => one.id.to_string(),
            Asked::Boundary(Boundary::PolicyRef(one)) => one.id.to_string(),
            Asked::Boundary(Boundary::DelegatedPolicy(_)) => panic!("no chain here"),
            Asked::Local(place) => self.locals[place].to_owned(),
            Asked::Entry(_, policy) => match &policy.source {
                crate::token::policies::Source::Inline(text) => text.to_string(),
                crate::token::policies::Source::Uri(uri, _) => uri.to_string(),
            },
        };
        self.asked.push(format!("{} {text}", policy.carrier()));
        Ok(said(&text))
    }
}

struct Minter {
    key: SigningKey,
    issuer: Arc<Issuer>,
    keys: Arc<KeySet>,
}

impl Minter {
    fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let set = key.jwk_set("k", Vec::new()).unwrap();
        let keys = Arc::new(KeySet::from_jwks(set.as_bytes()).unwrap().0);
        let issuer = Issuer { require_agent_identity: false, ..Issuer::named("https://as.test") };
        Self { key, issuer: Arc::new(issuer), keys }
    }

    fn grant(&self, members: &Value) -> Grant {
        let mut payload = json!({
            "iss": "https://as.test", "sub": "alice", "aud": "https://tools.test/shop", "jti": "j",
            "iat": NOW.seconds(), "exp": NOW.seconds() + 300, "scope": "shop",
        });
        for (name, value) in members.as_object().unwrap() {
            payload[name] = value.clone();
        }
        let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "k"});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(&header), encode(&payload));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature));
        let presented = Presented::new(&token);
        let unverified = Unverified::read(presented, digest(presented)).unwrap();
        unverified
            .verify(
                &self.issuer,
                &self.keys,
                &IssuerAlone { issuer: &self.issuer, keys: &self.keys },
                NOW,
            )
            .unwrap()
    }
}

fn operation(method: &Method) -> Operation<'_> {
    Operation::bare("buy", method, "/orders", "https://tools.test/shop")
}

fn demand(scopes: &[Box<str>]) -> Demand<'_> {
    Demand {
        denied: false,
        resource_scopes: scopes,
        operation_scopes: &[],
        authentication: &ANYHOW,
        now: NOW,
        scopes_suffice: false,
        local_policies: 0,
    }
}

fn policy(text: &str) -> Value {
    json!({"type": "authorization_policy", "policy": {"language": "rego", "content": text}})
}

fn list(action: &str) -> Value {
    json!({"type": "agent_operation", "operations": [{"action": action}]})
}

fn word(answer: &Result<Basis, Denial>) -> String {
    match answer {
        Ok(basis) => format!("{basis:?}"),
        Err(denial) => denial.reason.code().to_owned(),
    }
}

/// Entries, `policy_ref`, the operator's own policies, and the answer. An entry is a policy that says the
/// word, or is out of bounds where `@` stands before it; `buy` and `sell` are lists.
type Row =
    (&'static [&'static str], &'static [&'static str], &'static [&'static str], &'static str);

const TABLE: &[Row] = &[
    (&[], &[], &[], "no_operation_policy"),
    (&["buy"], &[], &[], "Entry(0)"),
    (&["sell"], &[], &[], "no_applicable_grant"),
    (&["true"], &[], &[], "Policy(0)"),
    (&["false"], &[], &[], "policy_denied"),
    (&["undefined"], &[], &[], "policy_undefined"),
    (&["other"], &[], &[], "policy_non_boolean"),
    (&["error"], &[], &[], "policy_engine_failed"),
    (&["@error"], &[], &[], "no_applicable_grant"),
    (&["@error", "true"], &[], &[], "Policy(1)"),
    (&["false", "true"], &[], &[], "Policy(1)"),
    (&["error", "true"], &[], &[], "Policy(1)"),
    (&["error", "buy"], &[], &[], "Entry(1)"),
    (&["false", "budget"], &[], &[], "policy_budget"),
    (&["away", "error"], &[], &[], "policy_engine_failed"),
    (&["away", "false"], &[], &[], "policy_unavailable"),
    (&["swapped", "sell"], &[], &[], "policy_digest_mismatch"),
    (&[], &["true"], &[], "Boundaries"),
    (&[], &["false"], &[], "policy_denied"),
    (&[], &["error"], &[], "policy_engine_failed"),
    (&[], &["swapped"], &[], "policy_digest_mismatch"),
    (&[], &["true", "false"], &[], "policy_denied"),
    (&["sell"], &["true"], &[], "no_applicable_grant"),
    (&["buy"], &["undefined"], &[], "policy_undefined"),
    (&["buy"], &["true"], &["true"], "Entry(0)"),
    (&["buy"], &["true"], &["false"], "policy_denied"),
    (&["true"], &[], &["true", "error"], "policy_engine_failed"),
    (&[], &[], &["true"], "no_operation_policy"),
];

fn entry(word: &str) -> Value {
    match word.strip_prefix('@') {
        Some(word) => {
            let mut entry = policy(word);
            entry["actions"] = json!(["sell"]);
            entry
        }
        None if ["buy", "sell"].contains(&word) => list(word),
        None => policy(word),
    }
}

#[test]
fn r_pol_014_the_truth_table_of_the_algebra() {
    let minter = Minter::new();
    for (entries, named, locals, expected) in TABLE {
        let details: Vec<Value> = entries.iter().map(|word| entry(word)).collect();
        let mut members = json!({"authorization_details": details});
        if !named.is_empty() {
            members["policy_ref"] = json!(named);
        }
        let grant = minter.grant(&members);
        let mut policies = Spoken { locals: locals.to_vec(), ..Spoken::default() };
        let demand = Demand { local_policies: locals.len(), ..demand(&[]) };
        let answer = decide(&demand, &grant, &operation(&Method::POST), &mut policies);
        assert_eq!(word(&answer), *expected, "{entries:?} {named:?} {locals:?}");
    }
}

#[test]
fn the_order_is_overlay_scope_boundaries_and_grants_and_the_first_failure_ends_it() {
    let minter = Minter::new();
    let grant = minter.grant(&json!({
        "agent_operation_authorization": {"policy_id": "true"},
        "policy_ref": ["true", "error", "false"],
        "authorization_details": [policy("true")],
    }));
    let mut policies = Spoken { locals: vec!["false"], ..Spoken::default() };
    let all = Demand { local_policies: 1, ..demand(&[]) };
    let method = Method::POST;
    let answer = decide(&all, &grant, &operation(&method), &mut policies);
    assert_eq!(word(&answer), "policy_engine_failed");
    assert_eq!(policies.asked, ["policy_id true", "policy_ref true", "policy_ref error"]);
    // R-POL-022, R-POL-028: nothing is asked where the overlay or a scope has refused.
    let scopes = [Box::from("other")];
    for (demand, expected) in [
        (Demand { denied: true, ..demand(&scopes) }, "overlay_denied"),
        (demand(&scopes), "scope_missing"),
    ] {
        let mut policies = Spoken::default();
        let answer = decide(&demand, &grant, &operation(&method), &mut policies);
        assert_eq!(word(&answer), expected);
        assert!(policies.asked.is_empty());
    }
}

#[test]
fn more_than_sixteen_policies_are_refused_before_any_is_asked() {
    let minter = Minter::new();
    let method = Method::POST;
    for (named, carried, expected) in
        [(8, 8, "Policy(0)"), (8, 9, "policies_too_many"), (17, 0, "policies_too_many")]
    {
        let grant = minter.grant(&json!({
            "policy_ref": vec!["true"; named],
            "authorization_details": vec![policy("true"); carried],
        }));
        let mut policies = Spoken::default();
        let answer = decide(&demand(&[]), &grant, &operation(&method), &mut policies);
        assert_eq!(word(&answer), expected, "{named} {carried}");
        assert!(answer.is_ok() || policies.asked.is_empty());
    }
}

const WORDS: [&str; 8] =
    ["true", "false", "undefined", "other", "budget", "error", "away", "swapped"];

fn words(most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However a token combines its carriers, an allowed call is one that the overlay does not deny, that
    /// every boundary allows, and that some grant allows where there are grants.
    #[test]
    fn no_combination_of_carriers_allows_what_something_forbids(
        id in prop::option::of(prop::sample::select(&WORDS[..])),
        refs in words(4),
        locals in words(3),
        entries in words(5),
        lists in prop::collection::vec(prop::sample::select(&["buy", "sell"][..]), 0..2),
        denied: bool,
        scopes_suffice: bool,
    ) {
        let mut members = json!({});
        if let Some(id) = id {
            members["agent_operation_authorization"] = json!({"policy_id": id});
        }
        if !refs.is_empty() {
            members["policy_ref"] = json!(refs);
        }
        let details: Vec<Value> = entries.iter().chain(&lists).map(|word| entry(word)).collect();
        members["authorization_details"] = json!(details);
        let grant = Minter::new().grant(&members);
        let demand = Demand { denied, scopes_suffice, local_policies: locals.len(), ..demand(&[]) };
        let method = Method::POST;
        let mut policies = Spoken { locals: locals.clone(), ..Spoken::default() };
        let answer = decide(&demand, &grant, &operation(&method), &mut policies);
        let boundaries: Vec<_> = id.into_iter().chain(refs).chain(locals.clone()).collect();
        let holds = boundaries.iter().all(|word| *word == "true");
        let granted = entries.contains(&"true") || lists.contains(&"buy");
        let is_named = boundaries.len() > locals.len();
        let expected = !denied && holds
            && if details.is_empty() { is_named || scopes_suffice } else { granted };
        prop_assert_eq!(answer.is_ok(), expected, "{:?}", answer);
    }
}
