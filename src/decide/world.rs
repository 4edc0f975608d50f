//! The world as the decision knows it: built once from a configuration, then only read.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderName, Method};

use crate::operation::a2a::Agent;
use crate::operation::catalog::Catalog;
use crate::operation::mcp::Server;
use crate::operation::route::Routes;
use crate::policy::engine::Policy;
use crate::policy::input::Exposed;
use crate::policy::quantities::Cap;
use crate::policy::registry::Registry;
use crate::token::confirmation::Demands;
use crate::token::trust::{Algorithm, Issuer};
use crate::token::workload::TrustDomain;

/// Everything that the operator configured and that a decision depends on.
#[derive(Debug, Default)]
pub struct World {
    /// The issuers, in file order.
    pub issuers: Vec<Arc<Issuer>>,
    /// The trust domains whose workloads are known.
    pub domains: Vec<TrustDomain>,
    /// The directories of agents' keys; each is named as its agents' ids begin.
    pub directories: Vec<Signatory>,
    /// The clients whose word for what a person typed can count.
    pub prompt_issuers: Vec<Signatory>,
    /// Scheme and authority by which agents reach the gate.
    pub origin: Box<str>,
    /// The resources, in file order.
    pub resources: Vec<Resource>,
    /// Which resource an authority and path belong to.
    pub routes: Routes,
    /// The methods that some operation has.
    pub methods: HashSet<Method>,
    /// The policies that the operator keeps for tokens to name.
    pub registry: Registry,
    /// The name of this gate in its records.
    pub instance: Box<str>,
}

/// Somebody who signs what stands in tokens, and issues none.
#[derive(Debug)]
pub struct Signatory {
    /// What it is called, and what its keys may be used with.
    pub trust: Arc<Issuer>,
    /// Where its keys are among those of all issuers.
    pub keys: usize,
}

/// One resource, as the decision sees it.
#[derive(Debug)]
pub struct Resource {
    /// Its identifier, which tokens carry as `aud`.
    pub id: Box<str>,
    /// Its operations.
    pub catalog: Catalog,
    /// How its messages are read, where it is an MCP server.
    pub mcp: Option<Arc<Server>>,
    /// How it is spoken with, where it is an agent (A2A).
    pub a2a: Option<Arc<Agent>>,
    /// What is denied whatever a token says.
    pub overlay: Catalog,
    /// What the person must have confirmed just now.
    pub confirm: Catalog,
    /// The issuers it trusts: indexes into [`World::issuers`].
    pub issuers: Vec<usize>,
    /// The issuer whose opaque tokens it takes: an index into [`World::issuers`].
    pub opaque_issuer: Option<usize>,
    /// Whether the issuer is asked of every token, of a JWT too.
    pub introspected: bool,
    /// `chain_as`: the further servers whose records may stand in a delegation chain, as indexes into
    /// [`World::issuers`].
    pub chain_authorities: Vec<usize>,
    /// `require_chain`: whether a token with `act` must prove its delegation.
    pub require_chain: bool,
    /// `allow_bearer_delegation`: whether a delegated token may come without proof of its presenter.
    pub allow_bearer_delegation: bool,
    /// The scopes required of every operation.
    pub scopes: Vec<Box<str>>,
    /// Whether scopes suffice.
    pub scopes_suffice: bool,
    /// Whether refusals are recorded and not enforced.
    pub observed: bool,
    /// Whether `;` may stand in a path.
    pub path_parameters: bool,
    /// Whether override headers are refused instead of removed.
    pub strict_override: bool,
    /// Whether a switch to WebSocket may be asked for.
    pub websocket: bool,
    /// Where a token stands beside a workload's proof.
    pub token_header: HeaderName,
    /// The proofs that every call must come with.
    pub demands: Demands,
    /// The algorithms of DPoP proofs.
    pub dpop_algorithms: Vec<Algorithm>,
    /// Whether a DPoP proof must carry a nonce.
    pub dpop_nonce: bool,
    /// How often, how many at one time, and how much in all.
    pub caps: Vec<Arc<Cap>>,
    /// What policies may be told of a call.
    pub exposed: Exposed,
    /// The operator's own policies, which bound whatever a token says.
    pub local_policies: Vec<LocalPolicy>,
}

/// A policy of the operator's own.
#[derive(Debug)]
pub struct LocalPolicy {
    /// The name of its file.
    pub name: Box<str>,
    /// It, compiled.
    pub policy: Arc<Policy>,
}

impl World {
    /// The index of the issuer called `id`.
    pub fn issuer_called(&self, id: &str) -> Option<usize> {
        self.issuers.iter().position(|issuer| *issuer.id == *id)
    }

    /// Whether a request may use `method` at all. `TRACE` echoes credentials and is never known.
    pub fn knows_method(&self, method: &Method) -> bool {
        matches!(
            *method,
            Method::GET
                | Method::HEAD
                | Method::POST
                | Method::PUT
                | Method::PATCH
                | Method::DELETE
                | Method::OPTIONS
        ) || (self.methods.contains(method) && *method != Method::TRACE)
    }
}

impl Resource {
    /// The index of the issuer called `id`, if this resource trusts it.
    pub fn issuer_named(&self, id: &str, world: &World) -> Option<usize> {
        self.issuers
            .iter()
            .copied()
            .find(|index| world.issuers.get(*index).is_some_and(|issuer| *issuer.id == *id))
    }

    /// The name of its protocol.
    pub const fn protocol(&self) -> &'static str {
        match (&self.mcp, &self.a2a) {
            (Some(_), _) => "mcp",
            (None, Some(_)) => "a2a",
            (None, None) => "http",
        }
    }

    /// The caps that count calls of `action`.
    pub fn caps_on(&self, action: &str) -> impl Iterator<Item = &Arc<Cap>> {
        self.caps.iter().filter(move |cap| cap.counts(action))
    }

    /// Whether the operator's overlay denies `method` on `path`.
    pub fn denies(&self, method: &Method, path: &str) -> bool {
        self.overlay.find(method, path).is_some()
    }
}
