//! What a token can do by combining its carriers (`policy.md` §3), held against a model that is as plain
//! as the specification: lists, policies of its own, named policies, those of a chain, scopes. However they
//! are combined, nothing allows what the operator denies or any hop forbids.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::chain::{agent, evidence, record, sign};
use crate::support::gate::ISSUER;
use crate::support::{Echo, Gate, Key, Setup, Token, request};

/// A policy by what it says: its text, and whether that is a yes.
const SAID: [(&str, bool); 7] = [
    ("package agent\n\nallow if input.action == \"anything\"\n", true),
    ("package agent\n\nallow := true\n", true),
    ("package agent\n\ndefault allow := false\n", false),
    ("package agent\n\nallow if input.nothing\n", false),
    ("package agent\n\nallow := \"yes\"\n", false),
    // A yes wherever a builtin may fail.
    ("package agent\n\nallow if not to_number(input.action) > 5\n", false),
    ("package agent\n\nallow if allow\n", false),
];

/// An entry of `authorization_details`.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// A list that has the operation.
    Listed,
    /// A list that has another.
    ListedElsewhere,
    /// A policy of this place in [`SAID`].
    Policy(usize),
    /// The same, bounded to another action.
    PolicyElsewhere(usize),
}

#[derive(Clone, Debug)]
struct Combination {
    is_denied: bool,
    /// Whether the operator wants the person's confirmation for what is called.
    is_grave: bool,
    /// How many seconds ago the person confirmed, if at all.
    confirmed: Option<i64>,
    scope: Option<&'static str>,
    is_working: bool,
    entries: Vec<Entry>,
    refs: Vec<usize>,
    /// `policy_id`
    registered: Option<usize>,
    /// For each hop its policy, if it has one.
    hops: Vec<Option<usize>>,
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let any = || 0..SAID.len();
    let entry = prop_oneof![
        Just(Entry::Listed),
        Just(Entry::ListedElsewhere),
        any().prop_map(Entry::Policy),
        any().prop_map(Entry::PolicyElsewhere),
    ];
    prop::collection::vec(entry, 0..4)
}

/// Mostly a yes, or hardly any combination would allow.
fn said() -> impl Strategy<Value = usize> {
    prop_oneof![3 => 0..2_usize, 1 => 0..SAID.len()]
}

prop_compose! {
    fn combination()(
        is_denied in prop::bool::weighted(0.1),
        is_grave in any::<bool>(),
        confirmed in prop_oneof![2 => Just(Some(5)), 1 => Just(Some(400)), 1 => Just(None)],
        scope in prop_oneof![6 => Just(Some("shop")), 1 => Just(Some("shopping other")), 1 => Just(None)],
        is_working in prop::bool::weighted(0.9),
        entries in entries(),
        refs in prop::collection::vec(said(), 0..3),
        registered in prop::option::of(said()),
        hops in prop::collection::vec(prop::option::of(said()), 0..4),
    ) -> Combination {
        Combination { is_denied, is_grave, confirmed, scope, is_working, entries, refs, registered, hops }
    }
}

/// The number of the next evidence: each is of one token.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The algebra of §3.
fn is_allowed(combination: &Combination) -> bool {
    let Combination {
        is_denied, is_grave, scope, is_working, entries, refs, registered, hops, ..
    } = combination;
    let yes = |said: &usize| SAID[*said].1;
    let delegated: Vec<usize> = hops.iter().flatten().copied().collect();
    let bounds: Vec<usize> = refs.iter().chain(registered).chain(&delegated).copied().collect();
    let grants = |entry: &Entry| match entry {
        Entry::Listed => true,
        Entry::Policy(said) => SAID[*said].1,
        Entry::ListedElsewhere | Entry::PolicyElsewhere(_) => false,
    };
    !is_denied
        && *scope == Some("shop")
        && *is_working
        && (!is_grave || combination.confirmed == Some(5))
        && bounds.iter().all(yes)
        && if entries.is_empty() { !bounds.is_empty() } else { entries.iter().any(grants) }
}

fn address(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    format!("sha256:{}", opgate::model::hex::hex(digest.as_ref()))
}

fn entry(entry: Entry) -> Value {
    let policy = |said: usize| json!({"type": "authorization_policy", "policy": {"language": "rego", "content": SAID[said].0}});
    let list = |action| json!({"type": "agent_operation", "operations": [{"action": action}]});
    match entry {
        Entry::Listed => list("anything"),
        Entry::ListedElsewhere => list("create_order"),
        Entry::Policy(said) => policy(said),
        Entry::PolicyElsewhere(said) => {
            let mut policy = policy(said);
            policy["actions"] = json!(["create_order"]);
            policy
        }
    }
}

fn token(combination: &Combination, key: &Key) -> String {
    let Combination { confirmed, scope, entries, refs, registered, hops, .. } = combination;
    let mut token = Token::new().without("authorization_details");
    let id = format!("urn:uuid:{}", NEXT.fetch_add(1, Ordering::Relaxed));
    if let Some(ago) = confirmed {
        token = token.claim("evidence", evidence(&id, "button_click", *ago, key));
    }
    if let Some(scope) = scope {
        token = token.claim("scope", *scope);
    }
    if !entries.is_empty() {
        let entries: Vec<Value> = entries.iter().map(|one| entry(*one)).collect();
        token = token.claim("authorization_details", entries);
    }
    if !refs.is_empty() {
        let refs: Vec<String> = refs.iter().map(|said| address(SAID[*said].0)).collect();
        token = token.claim("policy_ref", refs);
    }
    if let Some(said) = registered {
        let identity = json!({"version": "1.0", "id": "urn:uuid:1", "issuer": ISSUER,
            "expires": "2099-01-01T00:00:00Z"});
        let authorization = json!({"policy_id": address(SAID[*said].0)});
        token = token
            .claim("agent_identity", identity)
            .claim("agent_operation_authorization", authorization);
    }
    if !hops.is_empty() {
        let hop = |(n, said): (usize, &Option<usize>)| {
            let mut record = record(n, ISSUER, key);
            if let Some(said) = said {
                record["delegated_policy"] = json!({"language": "rego", "content": SAID[*said].0});
            }
            if confirmed.is_some() {
                record["root_evidence_ref"] = json!(id);
            }
            sign(&mut record, key);
            record
        };
        let chain: Vec<Value> = hops.iter().enumerate().map(hop).rev().collect();
        token =
            token.claim("act", json!({"sub": agent(hops.len())})).claim("delegation_chain", chain);
    }
    token.sign(key)
}

fn start(echo: &Echo) -> Gate {
    let mut setup = Setup::new(echo);
    fs::create_dir(setup.dir.path().join("named")).unwrap();
    for (n, (text, _)) in SAID.iter().enumerate() {
        setup.write(&format!("named/said{n}.rego"), text);
    }
    setup.write(
        "office.rego",
        "package agent\n\nallow if input.request.headers[\"x-reason\"] == \"work\"\n",
    );
    setup.issuer = "max_lifetime = \"15m\"\ndelegation = {}".to_owned();
    setup.resource = "allow_bearer_delegation = true\nscopes = [\"shop\"]\n\
                      policy_headers = [\"x-reason\"]\n"
        .to_owned();
    setup.operations += "[[resource.deny]]\npath = \"/any/secret/**\"\n\
                         [[resource.confirm]]\npath = \"/any/*/grave\"\n\
                         [[resource.local_policy]]\nfile = \"office.rego\"\n";
    setup.more = "\n[policies]\ndirectory = \"named\"\n".to_owned();
    setup.start()
}

#[test]
fn pol_014_022_028_no_combination_of_carriers_allows_what_anything_forbids() {
    let echo = Echo::start();
    let gate = start(&echo);
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    });
    let (mut allowed, mut refused) = (0, 0);
    let counts = std::cell::RefCell::new((&mut allowed, &mut refused));
    let held = runner.run(&combination(), |combination| {
        let before = echo.requests().len();
        let bearer = format!("Bearer {}", token(&combination, &gate.setup.key));
        let reason = if combination.is_working { "work" } else { "play" };
        let lines = [("Authorization", bearer.as_str()), ("X-Reason", reason)];
        let place = if combination.is_denied { "secret" } else { "1" };
        let what = if combination.is_grave { "grave" } else { "light" };
        let target = format!("/shop/any/{place}/{what}");
        let response = gate.send(request("GET", &target, &lines, ""));
        let expected = is_allowed(&combination);
        prop_assert_eq!(response.status == 200, expected, "{}", response.everything());
        prop_assert!(matches!(response.status, 200 | 403 | 500), "{}", response.everything());
        prop_assert_eq!(echo.requests().len() - before, usize::from(expected));
        let mut counts = counts.borrow_mut();
        *if expected { &mut *counts.0 } else { &mut *counts.1 } += 1;
        Ok(())
    });
    held.unwrap();
    assert!(allowed >= 10 && refused >= 10, "{allowed} allowed, {refused} refused");
}
