//! What the operator configured, twice: as the file that the program reads, and as the plain lists
//! that the book reads.

use std::sync::LazyLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support;

pub(super) const CONFIGURATION: &str = r#"
[gate]
listen = "127.0.0.1:0"
origin = "https://tools.test"

[[issuer]]
issuer = "https://as.test"
jwks_file = "as.json"

[[issuer]]
issuer = "https://compatible.test"
jwks_file = "compatible.json"
algorithms = ["ES256", "RS256"]
allow_typ = ["JWT", ""]
leeway = "2m"
max_lifetime = "1h"
iso8601_dates = true
scope_array = true

[[issuer]]
issuer = "https://strict.test"
jwks_file = "strict.json"
algorithms = ["EdDSA"]
leeway = "0s"
rfc9068_strict = true

[[issuer]]
issuer = "https://away.test"
jwks_file = "away.json"

[[issuer]]
issuer = "https://hops.test"
jwks_file = "hops.json"
algorithms = ["ES256", "EdDSA"]
max_lifetime = "15m"
delegation = { max_depth = 3 }

[[workload_issuer]]
issuer = "wimse://b.test"
jwks_file = "domain.json"

[[agent_directory]]
agents = "wit://a.test"
jwks_file = "agents.json"

[[prompt_issuer]]
issuer = "https://client.test"
jwks_file = "client.json"

[[upstream]]
name = "shop"
url = "http://127.0.0.1:1"

[[resource]]
id = "https://tools.test/shop"
upstream = "shop"
issuers = ["https://as.test", "https://compatible.test", "https://away.test"]

[[resource.operation]]
action = "search_products"
method = ["GET", "HEAD"]
path = "/products/**"

[[resource.operation]]
action = "create_order"
method = "POST"
path = "/orders"
scopes = ["orders.write"]

[[resource.operation]]
action = "read_order"
method = "GET"
path = "/orders/*"
scopes = ["orders.read"]

[[resource.operation]]
method = "DELETE"
path = "/orders/*"

[[resource.operation]]
action = "anything"
method = ["GET", "POST"]
path = "/any/**"

[[resource.deny]]
path = "/any/secret/**"

[[resource]]
id = "https://tools.test/scoped"
upstream = "shop"
issuers = ["https://as.test", "https://strict.test"]
authorization = "scope"
scopes = ["tools"]

[[resource.operation]]
action = "look"
method = "GET"
path = "/**"

[[resource.operation]]
action = "change"
method = "POST"
path = "/**"
scopes = ["tools.write"]

[[resource]]
id = "https://tools.test/hops"
upstream = "shop"
issuers = ["https://hops.test"]
chain_as = ["https://as.test", "https://away.test"]
allow_bearer_delegation = true
evidence = "required"
evidence_max_age = "1h"
evidence_reuse = "refuse"

[[resource.operation]]
action = "look"
method = "GET"
path = "/**"

[[resource.operation]]
action = "change"
method = "POST"
path = "/**"
evidence = "ignore"

[[resource.operation]]
action = "tell"
method = "PUT"
path = "/**"
accept_prompt_credential = true

[[resource]]
id = "https://tools.test/proven"
upstream = "shop"
issuers = ["https://hops.test", "https://as.test"]
require_chain = true
dpop_algorithms = ["ES256", "EdDSA"]

[[resource.operation]]
action = "look"
method = "GET"
path = "/**"
"#;

pub(super) struct Issuer {
    pub(super) id: &'static str,
    pub(super) algorithms: &'static [&'static str],
    pub(super) allow_typ: &'static [&'static str],
    /// Seconds.
    pub(super) leeway: u64,
    /// Seconds.
    pub(super) max_lifetime: u64,
    pub(super) iso8601_dates: bool,
    pub(super) rfc9068_strict: bool,
    pub(super) scope_array: bool,
    /// Its keys were never obtained.
    pub(super) away: bool,
    /// The most records of a chain; `None` where chains are refused.
    pub(super) max_depth: Option<usize>,
}

const ORDINARY: Issuer = Issuer {
    id: "https://as.test",
    algorithms: &["ES256", "ES384", "EdDSA", "PS256", "RS256"],
    allow_typ: &[],
    leeway: 30,
    max_lifetime: 86_400,
    iso8601_dates: false,
    rfc9068_strict: false,
    scope_array: false,
    away: false,
    max_depth: None,
};

pub(super) const ISSUERS: &[Issuer] = &[
    ORDINARY,
    Issuer {
        id: "https://compatible.test",
        algorithms: &["ES256", "RS256"],
        allow_typ: &["JWT", ""],
        leeway: 120,
        max_lifetime: 3_600,
        iso8601_dates: true,
        scope_array: true,
        ..ORDINARY
    },
    Issuer {
        id: "https://strict.test",
        algorithms: &["EdDSA"],
        leeway: 0,
        rfc9068_strict: true,
        ..ORDINARY
    },
    Issuer { id: "https://away.test", away: true, ..ORDINARY },
    Issuer {
        id: "https://hops.test",
        algorithms: &["ES256", "EdDSA"],
        max_lifetime: 900,
        max_depth: Some(3),
        ..ORDINARY
    },
];

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) action: &'static str,
    pub(super) methods: &'static [&'static str],
    pub(super) path: &'static str,
    pub(super) scopes: &'static [&'static str],
    pub(super) evidence: Evidence,
}

/// Whether a confirmation of the person is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    IfPresent,
    Ignored,
    /// And how many seconds it may be old.
    Required(u64),
    /// The same, and a prompt that a client vouches for is good enough.
    RequiredOrTyped(u64),
}

#[derive(Debug)]
pub(super) struct Resource {
    pub(super) id: &'static str,
    pub(super) mount: &'static str,
    /// Indexes into [`ISSUERS`].
    pub(super) issuers: &'static [usize],
    pub(super) scopes: &'static [&'static str],
    pub(super) scopes_suffice: bool,
    pub(super) operations: &'static [Operation],
    pub(super) deny: &'static [&'static str],
    /// Indexes into [`ISSUERS`]: whose records may stand in chains beside the token's issuer's.
    pub(super) chain_authorities: &'static [usize],
    pub(super) allow_bearer_delegation: bool,
    pub(super) require_chain: bool,
    pub(super) dpop_algorithms: &'static [&'static str],
}

const PLAIN: Resource = Resource {
    id: "",
    mount: "",
    issuers: &[],
    scopes: &[],
    scopes_suffice: false,
    operations: &[],
    deny: &[],
    chain_authorities: &[],
    allow_bearer_delegation: false,
    require_chain: false,
    dpop_algorithms: &["ES256", "ES384", "EdDSA", "PS256", "RS256"],
};

pub(super) const RESOURCES: &[Resource] = &[
    Resource {
        id: "https://tools.test/shop",
        mount: "/shop",
        issuers: &[0, 1, 3],
        operations: &[
            operation("search_products", &["GET", "HEAD"], "/products/**", &[]),
            operation("create_order", &["POST"], "/orders", &["orders.write"]),
            operation("read_order", &["GET"], "/orders/*", &["orders.read"]),
            operation("delete", &["DELETE"], "/orders/*", &[]),
            operation("anything", &["GET", "POST"], "/any/**", &[]),
        ],
        deny: &["/any/secret/**"],
        ..PLAIN
    },
    Resource {
        id: "https://tools.test/scoped",
        mount: "/scoped",
        issuers: &[0, 2],
        scopes: &["tools"],
        scopes_suffice: true,
        operations: &[
            operation("look", &["GET"], "/**", &[]),
            operation("change", &["POST"], "/**", &["tools.write"]),
        ],
        ..PLAIN
    },
    Resource {
        id: "https://tools.test/hops",
        mount: "/hops",
        issuers: &[4],
        operations: &[
            Operation {
                evidence: Evidence::Required(3_600),
                ..operation("look", &["GET"], "/**", &[])
            },
            Operation { evidence: Evidence::Ignored, ..operation("change", &["POST"], "/**", &[]) },
            Operation {
                evidence: Evidence::RequiredOrTyped(3_600),
                ..operation("tell", &["PUT"], "/**", &[])
            },
        ],
        chain_authorities: &[0, 3],
        allow_bearer_delegation: true,
        ..PLAIN
    },
    Resource {
        id: "https://tools.test/proven",
        mount: "/proven",
        issuers: &[4, 0],
        operations: &[operation("look", &["GET"], "/**", &[])],
        require_chain: true,
        dpop_algorithms: &["ES256", "EdDSA"],
        ..PLAIN
    },
];

const fn operation(
    action: &'static str,
    methods: &'static [&'static str],
    path: &'static str,
    scopes: &'static [&'static str],
) -> Operation {
    Operation { action, methods, path, scopes, evidence: Evidence::IfPresent }
}

/// The pairs of every issuer, of those who only sign, and last a stranger's that borrows a name.
pub(super) static PAIRS: LazyLock<Vec<Vec<support::Key>>> = LazyLock::new(|| {
    let pair = |alg: &str| support::Key::new(alg, alg);
    let mut ordinary: Vec<_> = ["ES256", "ES384", "EdDSA", "PS256", "RS256"].map(pair).into();
    // Two keys of one algorithm, between which only `kid` can choose.
    ordinary.push(support::Key::new("ES256", "ES256-2"));
    vec![
        ordinary,
        ["ES256", "RS256"].map(pair).into(),
        vec![pair("EdDSA")],
        vec![pair("ES256")],
        ["ES256", "EdDSA"].map(pair).into(),
        vec![support::Key::new("ES256", "domain")],
        vec![
            support::Key::new("ES256", "wit://a.test/0"),
            support::Key::new("EdDSA", "wit://a.test/1"),
            support::Key::new("ES256", "wit://a.test/9"),
        ],
        vec![support::Key::new("ES256", "client"), support::Key::new("EdDSA", "client-2")],
        ["ES256", "ES384", "EdDSA", "PS256", "RS256"].map(pair).into(),
    ]
});

/// The keys of who presents tokens; a proof may be made with either.
pub(super) static HOLDERS: LazyLock<Vec<support::Key>> =
    LazyLock::new(|| ["ES256", "EdDSA", "ES384"].map(|alg| support::Key::new(alg, alg)).into());

/// The places among [`PAIRS`] of those who sign and issue no tokens: the trust domain of workloads, the
/// directory of agents, the client that vouches for prompts.
pub(super) const DOMAIN: usize = 5;
pub(super) const AGENTS: usize = 6;
pub(super) const CLIENT: usize = 7;
/// The place of the stranger, whose keys nobody knows.
pub(super) const STRANGER: usize = 8;

/// A public key as the issuer's set holds it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) kid: String,
    jwk: Value,
}

impl Key {
    pub(super) fn of(pair: &support::Key) -> Self {
        Self { kid: pair.kid.clone(), jwk: pair.jwk() }
    }

    pub(super) const fn of_jwk(jwk: Value) -> Self {
        Self { kid: String::new(), jwk }
    }

    /// RFC 8725 §3.1: the algorithm of the header is that of the key, under either of its names.
    pub(super) fn fits(&self, algorithm: &str) -> bool {
        let algorithm = if algorithm == "Ed25519" { "EdDSA" } else { algorithm };
        self.jwk["alg"] == algorithm
    }

    pub(super) fn verifies(&self, algorithm: &str, input: &[u8], signature: &[u8]) -> bool {
        let part = |name: &str| {
            BASE64_URL_SAFE_NO_PAD.decode(self.jwk[name].as_str().unwrap_or_default()).unwrap()
        };
        let plain = |algorithm: &'static dyn VerificationAlgorithm, key: Vec<u8>| {
            UnparsedPublicKey::new(algorithm, key).verify(input, signature).is_ok()
        };
        let point = || [vec![4], part("x"), part("y")].concat();
        let rsa = || RsaPublicKeyComponents { n: part("n"), e: part("e") };
        match algorithm {
            "ES256" => plain(&ECDSA_P256_SHA256_FIXED, point()),
            "ES384" => plain(&ECDSA_P384_SHA384_FIXED, point()),
            "EdDSA" | "Ed25519" => plain(&ED25519, part("x")),
            "PS256" => rsa().verify(&RSA_PSS_2048_8192_SHA256, input, signature).is_ok(),
            "RS256" => rsa().verify(&RSA_PKCS1_2048_8192_SHA256, input, signature).is_ok(),
            _ => false,
        }
    }
}

/// The public keys of everybody who is known; without the one that `gone` names.
pub(super) fn keys(gone: Option<(usize, &str)>) -> Vec<Vec<Key>> {
    let issuers = PAIRS.iter().take(STRANGER).enumerate();
    issuers
        .map(|(at, pairs)| {
            let stays = |pair: &&support::Key| gone != Some((at, &*pair.kid));
            pairs.iter().filter(stays).map(Key::of).collect()
        })
        .collect()
}

/// The same as JWK Sets.
pub(super) fn sets(keys: &[Vec<Key>]) -> Vec<String> {
    let set = |keys: &Vec<Key>| {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk.clone()).collect();
        serde_json::json!({ "keys": keys }).to_string()
    };
    keys.iter().map(set).collect()
}
