//! The configuration: one TOML file (`design.md` §3.3) read into values that cannot be wrong.
//!
//! `raw` mirrors the file, [`parse()`] turns it into a [`Config`] or into every [`problem::Problem`] at
//! once, [`load()`] also looks at the files and secrets it names, and `reference` is the table of keys
//! from which the reference and the JSON schema are made.

mod a2a;
mod audit;
mod cap;
mod gate;
mod issuer;
mod liveness;
mod load;
mod mcp;
mod openapi;
mod operation;
mod parse;
pub mod policies;
pub mod problem;
mod raw;
mod reading;
pub mod reference;
mod resource;
mod revocations;
pub mod secret;
mod signers;
mod upstream;
mod value;
mod workload;

pub use load::load;
pub use parse::parse;
pub use policies::{LocalPolicy, Policies, PolicySource};
pub use upstream::{Credential, Health, Place, Target, Upstream};

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::audit::record::Discretion;
use crate::model::argument::Declared;
use crate::model::authentication::Demand;
use crate::model::confirmation;
use crate::model::pattern::Pattern;
use crate::model::template::Parameter;
use crate::operation::a2a::Agent;
use crate::operation::catalog::BodyUse;
use crate::operation::contract::Contract;
use crate::operation::mcp::Server;
use crate::policy::input::Exposed;
use crate::policy::quantities::Cap;
use crate::token::confirmation::Demands;
use crate::token::keys::MAX_KEYS;
use crate::token::trust::{Algorithm, Issuer};

/// A duration as the file writes it: `250ms`, `30s`, `5m`, `24h`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    value::duration(text)
}

/// An endpoint as the file writes it, relative to the working directory; or what is wrong with it.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    value::endpoint(text, Path::new("")).map_err(|wrong| wrong.message)
}

/// A configuration in force: checked, with every default filled in and every path made absolute.
#[derive(Debug)]
pub struct Config {
    /// The SHA-256 of the file's bytes, in lower-case hexadecimal.
    pub digest: Box<str>,
    /// `[gate]`
    pub gate: Gate,
    /// `[limits]`
    pub limits: Limits,
    /// `[admin]`, when there is an admin listener.
    pub admin: Option<Admin>,
    /// `[[issuer]]`, in file order.
    pub issuers: Vec<IssuerConfig>,
    /// `[[workload_issuer]]`, in file order.
    pub workload_issuers: Vec<WorkloadIssuer>,
    /// `[[agent_directory]]`, in file order; the identifier of each is `agents`.
    pub agent_directories: Vec<IssuerConfig>,
    /// `[[prompt_issuer]]`, in file order.
    pub prompt_issuers: Vec<IssuerConfig>,
    /// `[[upstream]]`, in file order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// `[[resource]]`, in file order.
    pub resources: Vec<Resource>,
    /// `[audit]`
    pub audit: Audit,
    /// `[policies]`
    pub policies: Policies,
    /// `revocations.file`: the operator's own revocations.
    pub revocations: PathBuf,
    /// What works, and is probably not meant.
    pub warnings: Vec<problem::Problem>,
}

/// Where a server listens, or where an upstream is reached without a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address: `127.0.0.1:8443`, `[::1]:8443`.
    Tcp(SocketAddr),
    /// A Unix socket: `unix:/run/opgate.sock`.
    Unix(PathBuf),
}

impl Config {
    /// Everybody whose keys are obtained: issuers of tokens, issuers of workloads' identities, agents,
    /// and clients that vouch for prompts.
    pub fn key_sources(&self) -> impl Iterator<Item = &IssuerConfig> {
        let workloads = self.workload_issuers.iter().map(|domain| &domain.issuer);
        let signers = self.agent_directories.iter().chain(&self.prompt_issuers);
        self.issuers.iter().chain(workloads).chain(signers)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[gate]`: the listeners and how agents reach them.
#[derive(Debug)]
pub struct Gate {
    /// `listen`: one or several endpoints.
    pub listen: Vec<Endpoint>,
    /// `origin`: scheme and authority by which agents reach the gate, without a trailing slash.
    pub origin: Origin,
    /// `hosts`: further authorities (`host` or `host:port`, lower case) that requests may name.
    pub hosts: Vec<Box<str>>,
    /// `tls`: present when the listeners speak TLS.
    pub tls: Option<Tls>,
    /// `trusted_hops`: networks of proxies in front, whose `Forwarded`/`X-Forwarded-For` is believed.
    pub trusted_hops: Vec<ipnet::IpNet>,
    /// `client_certificate_header`, when a proxy in front passes certificates on.
    pub client_certificate_header: Option<CertificateHeader>,
    /// `forwarded`: what is told to upstreams about the way of the request.
    pub forwarded: Forwarded,
    /// `drain`: how long open calls may go on after SIGTERM.
    pub drain: Duration,
    /// `threads`: how many threads serve; `None` is one for each core.
    pub threads: Option<usize>,
}

impl Gate {
    /// Whether a caller's certificate can be learned, from the connection or from a proxy in front.
    pub fn can_learn_certificates(&self) -> bool {
        let asks = |tls: &Tls| !matches!(tls.client, ClientCertificate::None);
        self.client_certificate_header.is_some() || self.tls.as_ref().is_some_and(asks)
    }
}

/// `gate.client_certificate_header`: how a proxy that ends TLS passes certificates on (RFC 9440).
#[derive(Clone, Debug)]
pub struct CertificateHeader {
    /// `header`
    pub header: http::HeaderName,
    /// `peers`: who is believed.
    pub peers: Vec<ipnet::IpNet>,
    /// `verified`: whether they have verified the chain.
    pub verified: bool,
}

/// Scheme and authority (RFC 6454), as in `https://tools.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// Lower-case `host` or `host:port`, the port left out where it is the scheme's own.
    pub authority: Box<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

/// Which forwarding headers an upstream is sent. Those that came in are always removed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// `Forwarded` (RFC 7239) and the `X-Forwarded-*` family.
    Both,
    /// None.
    None,
    /// `Forwarded` alone.
    Standard,
    /// The `X-Forwarded-*` family alone.
    Legacy,
}

/// `gate.tls`: certificate chain and key (PEM), reloaded when the files change.
#[derive(Clone, Debug)]
pub struct Tls {
    /// `certificate`: the chain, leaf first.
    pub certificate: PathBuf,
    /// `key`: the private key.
    pub key: PathBuf,
    /// `client_certificate` and `client_ca`.
    pub client: ClientCertificate,
}

/// Whether callers show a certificate of their own.
#[derive(Clone, Debug)]
pub enum ClientCertificate {
    /// `none`: not asked for.
    None,
    /// `request`: asked for; any certificate whose key is proven is taken (RFC 8705 §2.2).
    Request,
    /// `verify`: asked for; one that is shown must chain to `client_ca`.
    Verify(PathBuf),
    /// `require`: must be shown and must chain to `client_ca`.
    Require(PathBuf),
}

/// `[limits]`: a bound on everything that a caller can make the gate hold or wait for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `connections`: open at one time over all listeners.
    pub connections: usize,
    /// `connections_per_source`: open at one time from one address.
    pub connections_per_source: usize,
    /// `streams`: HTTP/2 requests open at one time on one connection.
    pub streams: u32,
    /// `header_bytes`: request line and headers together.
    pub header_bytes: usize,
    /// `header_count`: header lines.
    pub header_count: usize,
    /// `header_timeout`: from the first byte of a head to its end, and from accept to the first byte.
    pub header_timeout: Duration,
    /// `handshake_timeout`: for the TLS handshake.
    pub handshake_timeout: Duration,
    /// `keep_alive`: how long a connection may stay idle between requests.
    pub keep_alive: Duration,
    /// `body_idle`: the longest pause inside a body, in either direction.
    pub body_idle: Duration,
    /// `body_timeout`: for the whole of a body that is read before the decision.
    pub body_timeout: Duration,
    /// `judged_bodies`: bytes of such bodies that are held at one time.
    pub judged_bodies: u64,
    /// `token_cache`: how many verified tokens are remembered.
    pub token_cache: usize,
    /// `proofs`: used proofs of possession that are remembered.
    pub proofs: usize,
    /// `charges`: what calls have used of caps, as far as it still counts.
    pub charges: usize,
    /// `evidence`: ids of evidence that are remembered.
    pub evidence: usize,
    /// `evidence_memory`: for how long after their last use.
    pub evidence_memory: Duration,
    /// `refusals_per_source`: refusals recorded one by one in a minute, from one source without a valid
    /// token, or of one token by caps.
    pub refusals_per_source: u32,
}

/// `[admin]`: health, metrics and reload, never on the gate's port.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `listen`
    pub listen: Endpoint,
}

/// `[[issuer]]`: whom the gate trusts to issue tokens, and where its keys are.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// What is demanded of its tokens.
    pub trust: Arc<Issuer>,
    /// `jwks_file`, `jwks_uri`, or neither: metadata of the issuer.
    pub keys: KeySource,
    /// Which of them count.
    pub key_terms: KeyTerms,
    /// `refresh`: how often the keys are obtained anew; a removed key stops working within this time.
    pub refresh: Duration,
    /// `binding_service`: where it is asked which workload an agent is bound to.
    pub binding_service: Option<http::Uri>,
    /// `ca`: roots for whatever is asked of it, instead of the machine's.
    pub ca: Option<PathBuf>,
    /// Where it says that tokens were taken back.
    pub liveness: LivenessConfig,
    /// `[issuer.policies]`: where the policies that its tokens name are asked for.
    pub policies: PolicySource,
}

/// Which keys of a key set count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// The most that there may be.
    pub most: usize,
    /// `bundle_file`, `bundle_uri`: where the authorities are whose certificates the keys must come with.
    pub bundle: Option<KeySource>,
}

impl KeyTerms {
    /// Those of whoever signs for itself: whatever its key set holds is its own.
    pub const OWN: Self = Self { most: MAX_KEYS, bundle: None };
}

/// Where an issuer says that tokens were taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivenessConfig {
    /// `status_max_age`: the longest that a status list is used.
    pub status_max_age: Duration,
    /// `revocation_feed`, `revocation_interval`
    pub feed: Option<FeedConfig>,
    /// `introspection`
    pub introspection: Option<IntrospectionConfig>,
}

/// An issuer's feed of revocations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// `revocation_feed`: where it is.
    pub uri: http::Uri,
    /// `revocation_interval` between two polls.
    pub interval: Duration,
}

/// `issuer.introspection`: where the issuer is asked of a token (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntrospectionConfig {
    /// `endpoint`
    pub endpoint: http::Uri,
    /// `client_id`: as whom the gate asks, and for whom signed answers are.
    pub client_id: Box<str>,
    /// How it shows that it is that client.
    pub authentication: ClientAuthentication,
    /// `cache`: the longest that an answer is taken without asking again.
    pub cache: Duration,
}

/// How the gate authenticates to an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_certificate`, `client_key`: `tls_client_auth` (RFC 8705 §2).
    Certificate(PathBuf, PathBuf),
    /// `key`, `key_id`: `private_key_jwt` (RFC 7523 §2.2).
    PrivateKey {
        /// The key, in PEM.
        path: PathBuf,
        /// Its `kid`.
        key_id: Option<Box<str>>,
    },
    /// `secret`: `client_secret_basic` (RFC 6749 §2.3.1).
    Secret(secret::Reference),
}

/// `[[workload_issuer]]`: a trust domain, its keys obtained as those of an issuer.
#[derive(Clone, Debug)]
pub struct WorkloadIssuer {
    /// Whose word is taken, and where its keys are.
    pub issuer: IssuerConfig,
    /// `trust_domain`: the authority of its workloads' identifiers.
    pub trust_domain: Box<str>,
    /// `agents`: the agents that its workloads are, where those have ids of their own.
    pub agents: HashMap<Box<str>, Box<str>>,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// RFC 8414 metadata of the issuer, else `OpenID` Connect discovery.
    Discovery,
    /// `jwks_file`: a JWK Set on disk.
    File(PathBuf),
    /// `jwks_uri`: a JWK Set behind a URL.
    Url(http::Uri),
}

impl ClientAuthentication {
    /// The files that it is read from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (first, second) = match self {
            Self::Certificate(certificate, key) => (Some(certificate), Some(key)),
            Self::PrivateKey { path, .. } | Self::Secret(secret::Reference::File(path)) => {
                (Some(path), None)
            }
            Self::Secret(secret::Reference::Env(_)) => (None, None),
        };
        first.into_iter().chain(second).map(PathBuf::as_path)
    }
}

/// `[[resource]]`: one API behind the gate (RFC 9728).
#[derive(Debug)]
pub struct Resource {
    /// `id`: the resource identifier, which its tokens carry as `aud`. Exactly as written.
    pub id: Box<str>,
    /// `name`: for people, in metadata and logs.
    pub name: Option<Box<str>>,
    /// `mount`: the path below which the gate serves it; the path of `id` where it is not set. No trailing slash.
    pub mount: Box<str>,
    /// The authority of `id`, lower case.
    pub authority: Box<str>,
    /// `upstream`: index into [`Config::upstreams`].
    pub upstream: usize,
    /// `issuers`: indexes into [`Config::issuers`].
    pub issuers: Vec<usize>,
    /// `opaque_tokens`: index into [`Config::issuers`].
    pub opaque_issuer: Option<usize>,
    /// `introspection = "always"`: the issuer is asked of every token.
    pub introspected: bool,
    /// `chain_as`: indexes into [`Config::issuers`].
    pub chain_authorities: Vec<usize>,
    /// `require_chain`
    pub require_chain: bool,
    /// `allow_bearer_delegation`
    pub allow_bearer_delegation: bool,
    /// `mode`
    pub mode: Mode,
    /// How its messages are read, where `protocol` is `mcp`.
    pub mcp: Option<Arc<Server>>,
    /// How it is spoken with, where `protocol` is `a2a`.
    pub a2a: Option<Arc<Agent>>,
    /// `authorization`
    pub authorization: Authorization,
    /// `scopes`: required of every operation.
    pub scopes: Vec<Box<str>>,
    /// `acr_values` and `max_age`: how the person must have been authenticated.
    pub authentication: Demand,
    /// `evidence` and what belongs to it: how the person must have confirmed.
    pub confirmation: confirmation::Demand,
    /// `proofs`
    pub proofs: Demands,
    /// `dpop_algorithms`
    pub dpop_algorithms: Vec<Algorithm>,
    /// `dpop_nonce = "require"`
    pub dpop_nonce: bool,
    /// `token_header`: where the token stands beside a workload's proof.
    pub token_header: http::HeaderName,
    /// `body_limit`: bytes of a request body.
    pub body_limit: u64,
    /// `judged_body_limit`: bytes of a request body that is read before the decision.
    pub judged_body_limit: u64,
    /// `websocket`: whether `Upgrade: websocket` may pass.
    pub websocket: bool,
    /// `end_stream_at_expiry`: whether a response ends when the token does.
    pub end_stream_at_expiry: bool,
    /// `strict_override`: refuse method-override headers instead of removing them.
    pub strict_override: bool,
    /// `path_parameters`: allow `;` in paths.
    pub path_parameters: bool,
    /// `cookies`: pass `Cookie` on.
    pub cookies: bool,
    /// `strip`: further request headers that never reach the upstream.
    pub strip: Vec<http::HeaderName>,
    /// `identity_headers`: tell the upstream who was verified.
    pub identity_headers: bool,
    /// `insufficient_authorization_status`: 403 or 401.
    pub insufficient_authorization_status: http::StatusCode,
    /// `guidance`
    pub guidance: Guidance,
    /// `user_claims`, `token_claims`, `policy_headers`: what policies may be told of a call.
    pub exposed: Exposed,
    /// `[[resource.local_policy]]`, in file order.
    pub local_policies: Vec<LocalPolicy>,
    /// `documentation`, for metadata.
    pub documentation: Option<Box<str>>,
    /// `openapi`: the document that further operations come from.
    pub openapi: Option<PathBuf>,
    /// `[[resource.operation]]`, in file order, and then those of the document.
    pub operations: Vec<OperationRule>,
    /// `[[resource.deny]]`: denied whatever a token says.
    pub deny: Vec<DenyRule>,
    /// `[[resource.confirm]]`: needs a new confirmation of the person, whatever an operation says.
    pub confirm: Vec<ConfirmRule>,
    /// `[[resource.cap]]`, in file order.
    pub caps: Vec<Arc<Cap>>,
}

impl Resource {
    /// The names of the versions that are spoken, where it has a protocol of its own.
    pub fn versions(&self) -> Vec<&'static str> {
        let of_server = self.mcp.iter().flat_map(|server| &server.versions);
        let of_agent = self.a2a.iter().flat_map(|agent| &agent.versions);
        of_server
            .map(|version| version.name())
            .chain(of_agent.map(|version| version.name()))
            .collect()
    }

    /// The name of its protocol.
    pub const fn protocol(&self) -> &'static str {
        match (&self.mcp, &self.a2a) {
            (Some(_), _) => "mcp",
            (None, Some(_)) => "a2a",
            (None, None) => "http",
        }
    }
}

/// What is done with a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `enforce`: a refused call is refused.
    Enforce,
    /// `observe`: decide and record, and forward whatever the decision was.
    Observe,
}

/// What a token must carry for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// `policy`: a grant or policy that covers the operation.
    Policy,
    /// `scope`: the scopes suffice.
    Scope,
}

/// `resource.guidance`: what a refused agent is told it would need, written by the operator.
#[derive(Clone, Debug, Default)]
pub struct Guidance {
    /// `enabled = false` says nothing.
    pub enabled: bool,
    /// `profile_uri`
    pub profile_uri: Option<Box<str>>,
    /// `constraints`: name to its description, as JSON.
    pub constraints: Option<serde_json::Value>,
    /// `legacy_rego_profile`: say it once more, as older clients look for it.
    pub legacy_rego_profile: bool,
    /// `required_claims`
    pub required_claims: Vec<Box<str>>,
}

/// `[[resource.operation]]`: gives a method and path the name of an action.
#[derive(Clone, Debug)]
pub struct OperationRule {
    /// `action`; the method in lower case where it is not set.
    pub action: Option<Box<str>>,
    /// `method`: one or several.
    pub methods: Vec<http::Method>,
    /// `path`: a glob below the resource.
    pub path: Pattern,
    /// The parameters in `path`.
    pub parameters: Vec<Parameter>,
    /// What the document says of its parameters.
    pub declared: Vec<Declared>,
    /// What its arguments must keep to, with `validate`.
    pub contract: Option<Arc<Contract>>,
    /// `body`: whether it is read before the decision.
    pub body: BodyUse,
    /// `scopes`: required beside those of the resource.
    pub scopes: Vec<Box<str>>,
    /// `acr_values` and `max_age`, those of the resource where they are not set.
    pub authentication: Demand,
    /// `evidence`, `evidence_max_age`, `user_actions`, those of the resource where they are not set.
    pub confirmation: confirmation::Demand,
    /// Where it comes from a document and not from the file.
    pub described: Option<Described>,
    /// The line of the file it begins on, for messages.
    pub line: usize,
}

/// Where in a document an operation comes from.
#[derive(Clone, Debug)]
pub struct Described {
    /// The JSON pointer to it.
    pub pointer: Box<str>,
    /// Other operations of the document, by their number in it, that some path could belong to as well.
    /// Such a path is refused.
    pub rivals: Vec<usize>,
}

/// `[[resource.deny]]`
#[derive(Clone, Debug)]
pub struct DenyRule {
    /// `method`: one or several; empty is every method.
    pub methods: Vec<http::Method>,
    /// `path`: a glob below the resource.
    pub path: Pattern,
    /// The line of the file it begins on, for messages.
    pub line: usize,
}

/// `[[resource.confirm]]`
#[derive(Clone, Debug)]
pub struct ConfirmRule {
    /// `method`: one or several; empty is every method.
    pub methods: Vec<http::Method>,
    /// `path`: a glob below the resource.
    pub path: Pattern,
    /// `evidence_max_age`: how long ago the person may have confirmed.
    pub max_age: Duration,
}

/// `[audit]`: the journal.
#[derive(Clone, Debug)]
pub struct Audit {
    /// `directory`
    pub directory: PathBuf,
    /// `name`: the log's name in its records.
    pub name: Box<str>,
    /// `durability`
    pub durability: Durability,
    /// `interval`: the longest that a record stays in memory in `batched`.
    pub interval: Duration,
    /// `max_wait`: how long a call waits for its record to be durable.
    pub max_wait: Duration,
    /// `segment_bytes`: size at which a new segment begins.
    pub segment_bytes: u64,
    /// `segment_age`: age at which a new segment begins.
    pub segment_age: Duration,
    /// `queue_records`: records that may wait for the disk.
    pub queue_records: usize,
    /// `queue_bytes`: bytes that may wait for the disk.
    pub queue_bytes: usize,
    /// `signing_key`: the file of the key that signs checkpoints; none where it lies in the directory.
    pub signing_key: Option<PathBuf>,
    /// `tag_key`: the key of keyed hashes; made in the directory where it is not set.
    pub tag_key: Option<secret::Reference>,
    /// `hash_ids` and `hash_only`
    pub discretion: Discretion,
}

/// When a call may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `batched`: when its record is queued; at most `interval` of records can be lost.
    Batched,
    /// `sync`: when its record is on the disk.
    Sync,
}
