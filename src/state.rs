//! The snapshot: a configuration and the world that decisions know, built aside and swapped whole.

pub mod policies;

use std::collections::HashSet;
use std::slice;
use std::sync::Arc;

use http::Method;

use self::policies::PolicyError;
use crate::config::{self, Config};
use crate::decide::exchange;
use crate::decide::world::{Resource, Signatory, World};
use crate::model::confirmation::{self, Wanted};
use crate::model::pattern::Pattern;
use crate::operation::a2a::version::Version;
use crate::operation::a2a::{Agent, card, rest};
use crate::operation::catalog::{BodyUse, Catalog, Entry};
use crate::operation::mcp::Server;
use crate::operation::route::Routes;
use crate::token::workload::TrustDomain;

/// What one request is judged by. It never changes; a reload makes another one.
#[derive(Debug)]
pub struct Snapshot {
    /// The configuration.
    pub config: Arc<Config>,
    /// The world built from it.
    pub world: World,
}

/// Why a configuration that is right in itself cannot be put into force.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The globs of a resource are too large together.
    #[error("the operations of `{resource}` cannot be compiled")]
    Globs {
        /// The resource.
        resource: Box<str>,
        /// What `globset` says.
        #[source]
        source: globset::Error,
    },
    /// A policy of the operator's own cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl Snapshot {
    /// Compiles the operations and routes of `config`.
    pub fn build(config: Arc<Config>) -> Result<Self, BuildError> {
        let mut faults = Vec::new();
        let resources: Vec<_> = config
            .resources
            .iter()
            .map(|one| resource(one, &mut faults))
            .collect::<Result<_, BuildError>>()?;
        let directory = config.policies.directory.as_deref();
        let registry = directory.map(|directory| policies::registry(directory, &mut faults));
        policies::none_of(faults)?;
        let methods = resources.iter().flat_map(|resource| resource.catalog.methods().cloned());
        let (directories, prompt_issuers) = signatories(&config);
        let world = World {
            issuers: config.issuers.iter().map(|issuer| Arc::clone(&issuer.trust)).collect(),
            domains: domains(&config),
            directories,
            prompt_issuers,
            origin: config.gate.origin.to_string().into(),
            methods: methods.collect(),
            instance: config.audit.name.clone(),
            registry: registry.unwrap_or_default(),
            routes: routes(&config),
            resources,
        };
        Ok(Self { config, world })
    }
}

/// The keys of trust domains stand after those of issuers: the order of [`Config::key_sources`].
fn domains(config: &Config) -> Vec<TrustDomain> {
    let first = config.issuers.len();
    let numbered = config.workload_issuers.iter().zip(first..);
    numbered
        .map(|(own, keys)| TrustDomain {
            issuer: Arc::clone(&own.issuer.trust),
            domain: own.trust_domain.clone(),
            agents: own.agents.clone(),
            keys,
        })
        .collect()
}

/// Those who sign what stands in tokens: behind the trust domains, in the same order.
fn signatories(config: &Config) -> (Vec<Signatory>, Vec<Signatory>) {
    let first = config.issuers.len().saturating_add(config.workload_issuers.len());
    let all = config.agent_directories.iter().chain(&config.prompt_issuers).zip(first..);
    let mut directories: Vec<_> =
        all.map(|(own, keys)| Signatory { trust: Arc::clone(&own.trust), keys }).collect();
    let prompts = directories.split_off(config.agent_directories.len());
    (directories, prompts)
}

/// Every resource is mounted at its own authority. The gate's origin and further hosts serve what no
/// resource of that authority does, wherever it is plain which resource is meant.
fn routes(config: &Config) -> Routes {
    let mut routes = Routes::default();
    for (index, resource) in config.resources.iter().enumerate() {
        routes.mount(&resource.authority, &resource.mount, index);
    }
    for authority in config.gate.hosts.iter().chain([&config.gate.origin.authority]) {
        routes.add_host(authority);
        for (index, resource) in config.resources.iter().enumerate() {
            let is_plain = config
                .resources
                .iter()
                .enumerate()
                .all(|(other, candidate)| other == index || candidate.mount != resource.mount);
            if is_plain && resource.authority != *authority {
                routes.mount(authority, &resource.mount, index);
            }
        }
    }
    routes
}

fn resource(
    resource: &config::Resource,
    faults: &mut Vec<PolicyError>,
) -> Result<Resource, BuildError> {
    let failed = |source| BuildError::Globs { resource: resource.id.clone(), source };
    let catalog = match (&resource.mcp, &resource.a2a) {
        (Some(server), _) => endpoint(resource, server),
        (None, Some(agent)) => exchanges(resource, agent),
        (None, None) => operations(resource),
    };
    let catalog = catalog.map_err(failed)?;
    let (overlay, confirm) = overlays(resource, &catalog).map_err(failed)?;
    let mut local_policies = Vec::new();
    for one in &resource.local_policies {
        match policies::local(one) {
            Ok(policy) => local_policies.push(policy),
            Err(fault) => faults.push(fault),
        }
    }
    Ok(Resource {
        id: resource.id.clone(),
        mcp: resource.mcp.clone(),
        a2a: resource.a2a.clone(),
        overlay,
        confirm,
        catalog,
        issuers: resource.issuers.clone(),
        opaque_issuer: resource.opaque_issuer,
        introspected: resource.introspected,
        chain_authorities: resource.chain_authorities.clone(),
        require_chain: resource.require_chain,
        allow_bearer_delegation: resource.allow_bearer_delegation,
        scopes: resource.scopes.clone(),
        scopes_suffice: resource.authorization == config::Authorization::Scope,
        observed: resource.mode == config::Mode::Observe,
        path_parameters: resource.path_parameters,
        strict_override: resource.strict_override,
        websocket: resource.websocket,
        token_header: resource.token_header.clone(),
        demands: resource.proofs,
        dpop_algorithms: resource.dpop_algorithms.clone(),
        dpop_nonce: resource.dpop_nonce,
        caps: resource.caps.clone(),
        exposed: resource.exposed.clone(),
        local_policies,
    })
}

/// The operations that the file and its document name.
fn operations(resource: &config::Resource) -> Result<Catalog, globset::Error> {
    let entry = |rule: &config::OperationRule| Entry {
        action: action(rule),
        scopes: rule.scopes.clone(),
        authentication: rule.authentication.clone(),
        confirmation: rule.confirmation.clone(),
        parameters: rule.parameters.clone(),
        declared: rule.declared.clone(),
        contract: rule.contract.clone(),
        body: rule.body,
        is_open: false,
        is_public: false,
    };
    let (described, written): (Vec<_>, Vec<_>) =
        resource.operations.iter().partition(|rule| rule.described.is_some());
    let written =
        written.into_iter().map(|rule| (rule.methods.as_slice(), &rule.path, entry(rule)));
    let mut catalog = Catalog::compile(written)?;
    for (rule, from) in
        described.into_iter().filter_map(|rule| Some((rule, rule.described.as_ref()?)))
    {
        for method in &rule.methods {
            catalog.describe(method, &rule.path, &from.rivals, entry(rule));
        }
    }
    Ok(catalog)
}

/// The one endpoint of an MCP server. What a POST asks for stands in its body; whoever sends it is admitted
/// before that is read, so that what any tool demands of evidence is demanded of every call.
fn endpoint(resource: &config::Resource, server: &Server) -> Result<Catalog, globset::Error> {
    let mut confirmation = resource.confirmation.clone();
    if confirmation.evidence == Wanted::Ignored && server.looks_at_evidence() {
        confirmation.evidence = Wanted::IfPresent;
    }
    let entry = |action: &str, body, is_open| Entry {
        action: action.into(),
        authentication: resource.authentication.clone(),
        confirmation: confirmation.clone(),
        body,
        is_open,
        ..Entry::default()
    };
    let of_sessions = server.has_sessions();
    let rules = [
        (Method::POST, entry("mcp:message", BodyUse::Json, false), true),
        (Method::GET, entry("mcp:stream", BodyUse::Stream, false), of_sessions),
        (Method::DELETE, entry("mcp:session", BodyUse::Stream, true), of_sessions),
    ];
    let rules: Vec<_> = rules.into_iter().filter(|(_, _, is_served)| *is_served).collect();
    let root = Pattern::root();
    let rules = rules.iter().map(|(method, entry, _)| (slice::from_ref(method), &root, entry));
    Catalog::compile(rules.map(|(methods, path, entry)| (methods, path, entry.clone())))
}

/// What can be asked of an agent: at its root in JSON-RPC, and below it in REST.
fn exchanges(resource: &config::Resource, agent: &Agent) -> Result<Catalog, globset::Error> {
    let entry = |action: &str| Entry {
        action: action.into(),
        authentication: resource.authentication.clone(),
        confirmation: resource.confirmation.clone(),
        body: BodyUse::Json,
        ..Entry::default()
    };
    let speaks_older = agent.versions.contains(&Version::V0_3);
    let mut rules = vec![(Method::POST, Pattern::root(), entry(exchange::MESSAGE))];
    for (method, glob, asked, is_older) in rest::paths() {
        let current = (!is_older).then(|| glob.to_owned());
        let older = speaks_older.then(|| rest::older(glob));
        let patterns = current.into_iter().chain(older);
        for pattern in patterns.filter_map(|glob| Pattern::parse(&glob).ok()) {
            rules.push((method.clone(), pattern, entry(asked.name)));
        }
    }
    let cards = card::PATHS.iter().filter(|(_, is_older)| speaks_older || !is_older);
    for pattern in cards.filter_map(|(path, _)| Pattern::parse(path).ok()) {
        for method in [Method::GET, Method::HEAD] {
            let entry = Entry { is_public: true, ..entry(exchange::CARD) };
            rules.push((method, pattern.clone(), entry));
        }
    }
    let rules = rules.iter().map(|(method, path, entry)| (slice::from_ref(method), path, entry));
    Catalog::compile(rules.map(|(methods, path, entry)| (methods, path, entry.clone())))
}

/// What the operator denies, and what the person must have confirmed just now.
fn overlays(
    resource: &config::Resource,
    catalog: &Catalog,
) -> Result<(Catalog, Catalog), globset::Error> {
    let all_methods: HashSet<_> = catalog.methods().cloned().collect();
    let all_methods: Vec<_> = all_methods.into_iter().collect();
    let denials = resource
        .deny
        .iter()
        .map(|rule| (listed(&rule.methods, &all_methods), &rule.path, Entry::default()));
    let overlay = Catalog::compile(denials)?;
    let confirmations = resource.confirm.iter().map(|rule| {
        let (evidence, max_age) = (Wanted::Required, Some(rule.max_age));
        let confirmation = confirmation::Demand { evidence, max_age, ..Default::default() };
        let entry = Entry { confirmation, ..Entry::default() };
        (listed(&rule.methods, &all_methods), &rule.path, entry)
    });
    let confirm = Catalog::compile(confirmations)?;
    Ok((overlay, confirm))
}

/// The methods that a rule lists, or all where it lists none.
fn listed<'a>(methods: &'a [Method], all: &'a [Method]) -> &'a [Method] {
    if methods.is_empty() { all } else { methods }
}

/// The configured action, else the method in lower case (`policy.md` §4.2).
fn action(rule: &config::OperationRule) -> Box<str> {
    match (&rule.action, rule.methods.as_slice()) {
        (Some(action), _) => action.clone(),
        (None, [method, ..]) => method_action(method),
        (None, []) => "".into(),
    }
}

fn method_action(method: &Method) -> Box<str> {
    method.as_str().to_ascii_lowercase().into()
}
