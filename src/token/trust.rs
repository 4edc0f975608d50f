//! What is demanded of an issuer's tokens (`tokens.md` §2, §3).

use std::time::Duration;

/// A signature algorithm that access tokens may use (`tokens.md` §2): asymmetric, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519, under its old name `EdDSA` or its own `Ed25519` (RFC 9864).
    EdDsa,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// Every algorithm, which is also the default allow-list.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Ps256, Self::Rs256];

    /// The algorithm that a JOSE `alg` names. `none`, every `HS*` and anything unknown is no algorithm.
    pub fn named(alg: &str) -> Option<Self> {
        match alg {
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            "PS256" => Some(Self::Ps256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }

    /// The JOSE name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }
}

/// Which family of tokens an issuer makes, where the standards leave room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What RFC 9068 and the drafts say.
    OAuth,
    /// The public reference implementation of agent operation authorization: `typ` `JWT`, RS256, and
    /// the agent's workload presented beside the token (`verification.md`, interop profile).
    OpenAgentAuth,
}

/// An issuer that is trusted, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// `iss`, compared octet by octet.
    pub id: Box<str>,
    /// `algorithms`: which `alg` it may use.
    pub algorithms: Vec<Algorithm>,
    /// `allow_typ` holds `JWT`.
    pub allow_typ_jwt: bool,
    /// `allow_typ` holds the empty string: `typ` may be absent.
    pub allow_typ_absent: bool,
    /// `leeway` for `exp`, `nbf` and `iat`; at most two minutes.
    pub leeway: Duration,
    /// `max_lifetime`: the longest `exp` − `iat`.
    pub max_lifetime: Duration,
    /// `iso8601_dates`: also take dates as strings (`tokens.md` §3).
    pub iso8601_dates: bool,
    /// `rfc9068_strict`: `client_id` is required.
    pub rfc9068_strict: bool,
    /// `scope_array`: `scope` may be an array of strings.
    pub scope_array: bool,
    /// `profile`
    pub profile: Profile,
    /// `require_agent_identity`: a token of operation authorization names its agent.
    pub require_agent_identity: bool,
    /// `agent_identity_issuers`: who else than the issuer itself may have issued the agent's identity.
    pub agent_identity_issuers: Vec<Box<str>>,
    /// `binding_service` is there: it says which workload an agent's identity is bound to.
    pub has_binding_service: bool,
    /// `agents`: the workloads that may present its tokens, where there is no such service.
    pub agents: Vec<Box<str>>,
    /// How it says which of its tokens it has taken back.
    pub liveness: Liveness,
    /// `[issuer.policies]`: what is made of the policies that its tokens carry and name.
    pub policies: Policies,
    /// The claims that some resource shows to policies: kept of each token.
    pub kept_claims: Vec<Box<str>>,
    /// `[issuer.delegation]`: what is demanded of delegation chains; `None` refuses every one.
    pub delegation: Option<Delegations>,
}

impl Issuer {
    /// The issuer called `id`, trusted as one is of which nothing else is configured.
    pub fn named(id: &str) -> Self {
        Self {
            id: id.into(),
            algorithms: Algorithm::ALL.to_vec(),
            allow_typ_jwt: false,
            allow_typ_absent: false,
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_hours(24),
            iso8601_dates: false,
            rfc9068_strict: false,
            scope_array: false,
            profile: Profile::OAuth,
            require_agent_identity: true,
            agent_identity_issuers: Vec::new(),
            has_binding_service: false,
            agents: Vec::new(),
            liveness: Liveness::default(),
            policies: Policies::default(),
            kept_claims: Vec::new(),
            delegation: None,
        }
    }
}

/// What is made of the policies that an issuer's tokens carry and name (`policy.md` §4.3, §6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// `rego_v0`: a text that is no Rego of today may be read as the language was before.
    pub rego_v0: bool,
    /// `languages` holds `cedar`.
    pub cedar: bool,
    /// `unbound = "pin"`: the first text behind a name that nothing ties to its token is kept.
    pub pins: bool,
    /// `input`: the form in which its policies are told of a call.
    pub shape: Shape,
    /// `endpoint` is there: a registry that knows its policies by name.
    pub has_registry: bool,
    /// Scheme and authority, in lower case, of every server that its policies may be fetched from.
    pub origins: Vec<Box<str>>,
    /// `refresh`: how long the text behind a name that nothing ties to it is believed.
    pub refresh: Duration,
}

impl Policies {
    /// Whether a policy may be fetched from `uri`.
    pub fn may_fetch(&self, uri: &str) -> bool {
        is_at(uri, &self.origins)
    }
}

/// The form in which policies are told of a call (`policy.md` §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Members of `args` stand at the top too, as in the drafts' examples.
    DraftFlat,
    /// As the public reference implementation tells its own.
    OpenAgentAuth,
    /// The normative form and nothing else.
    #[default]
    Standard,
}

impl Shape {
    /// The word in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::DraftFlat => "draft-flat",
            Self::OpenAgentAuth => "open-agent-auth",
            Self::Standard => "standard",
        }
    }
}

/// Whether `uri` is at one of `origins`.
fn is_at(uri: &str, origins: &[Box<str>]) -> bool {
    let Ok(parsed) = uri.parse::<http::Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (parsed.scheme_str(), parsed.authority()) else {
        return false;
    };
    let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
    origins.iter().any(|listed| **listed == *origin)
}

/// Where an issuer says that a token is not good any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// `status = "required"`: every token refers to a status list.
    pub status_required: bool,
    /// Scheme and authority, in lower case, of every server that lists are taken from.
    pub list_origins: Vec<Box<str>>,
    /// It can be asked of its tokens (RFC 7662).
    pub introspects: bool,
    /// `revocation_max_age`, where there is a feed: an older one is none.
    pub feed_max_age: Option<Duration>,
}

impl Liveness {
    /// Whether a status list may be fetched from `uri`.
    pub fn serves_lists_at(&self, uri: &str) -> bool {
        is_at(uri, &self.list_origins)
    }
}

/// What is demanded of the delegation chains of an issuer's tokens (`delegation.md` §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegations {
    /// `max_depth`: the most records.
    pub max_depth: usize,
    /// `max_age`: how long before `iat` the oldest record may lie.
    pub max_age: Duration,
    /// `agent_id_schemes`: the URI schemes of agents' ids.
    pub id_schemes: Vec<Box<str>>,
    /// `preserves_foreign_chains`: its newest record may be another server's (D8).
    pub preserves_foreign: bool,
    /// `delegator_signature`
    pub countersigned: Countersigned,
    /// `delegated_policy_mode` is `newest`.
    pub newest_policy_alone: bool,
    /// `root_anchor` is `introspect`: the issuer is asked of every token with a chain (D15).
    pub asks_for_root: bool,
    /// `aoa_chain` is `structural`: records whose signature means nothing are kept for the record.
    pub structural: bool,
}

/// What is made of the delegators' own signatures (D12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Countersigned {
    /// `ignore`: nothing.
    Ignored,
    /// `require`: each record must have one that verifies.
    Required,
    /// `verify`: one that is there and can be verified must verify.
    Verified,
}
