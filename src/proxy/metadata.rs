//! Protected resource metadata (RFC 9728), served by the gate itself without a token.

use std::collections::HashMap;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::config::{Config, Resource};

/// Where metadata is looked for (RFC 9728 §3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The documents of all resources, rendered once.
#[derive(Debug)]
pub struct Metadata {
    documents: HashMap<Box<str>, Bytes>,
    urls: Vec<Box<str>>,
}

impl Metadata {
    /// Renders the metadata of every resource. With one resource it is served at the root form too.
    pub fn build(config: &Config) -> Self {
        let mut documents = HashMap::new();
        let mut urls = Vec::new();
        for resource in &config.resources {
            let document = Bytes::from(document(config, resource).to_string());
            let path = path_of(&resource.id);
            let (scheme, authority) = origin_of(&resource.id);
            urls.push(format!("{scheme}://{authority}{WELL_KNOWN}{path}").into());
            if config.resources.len() == 1 {
                documents.insert(WELL_KNOWN.into(), document.clone());
            }
            let path = format!("{WELL_KNOWN}{path}");
            // Resources of several hosts may share a path; each document is found by host and path.
            documents.insert(
                format!("{}{path}", authority.to_ascii_lowercase()).into(),
                document.clone(),
            );
            documents.entry(path.into()).or_insert(document);
        }
        Self { documents, urls }
    }

    /// The URL of the metadata of the resource with this index.
    pub fn url(&self, resource: usize) -> Option<&str> {
        self.urls.get(resource).map(|url| &**url)
    }

    /// The answer to a request for metadata; none for every other request.
    pub fn answer(&self, method: &Method, authority: &str, path: &str) -> Option<Response<Bytes>> {
        let by_host = format!("{}{path}", authority.to_ascii_lowercase());
        let document = self.documents.get(by_host.as_str()).or_else(|| self.documents.get(path))?;
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        let mut response = Response::new(document.clone());
        *response.status_mut() = StatusCode::OK;
        for (name, value) in [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "max-age=3600"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }
}

fn document(config: &Config, resource: &Resource) -> Value {
    let issuers: Vec<_> = resource
        .issuers
        .iter()
        .filter_map(|index| config.issuers.get(*index))
        .map(|issuer| &*issuer.trust.id)
        .collect();
    let mut members = Map::new();
    members.insert("resource".into(), Value::from(&*resource.id));
    members.insert("authorization_servers".into(), issuers.into());
    members.insert("bearer_methods_supported".into(), json!(["header"]));
    members.insert(
        "authorization_details_types_supported".into(),
        json!(["agent_operation", "authorization_evidence", "authorization_policy", "rego_policy"]),
    );
    members.insert("opgate_policy_languages_supported".into(), languages(config, resource).into());
    let scopes = scopes(resource);
    if !scopes.is_empty() {
        members.insert("scopes_supported".into(), scopes.into());
    }
    let algorithms: Vec<_> = resource.dpop_algorithms.iter().map(|own| own.name()).collect();
    members.insert("dpop_signing_alg_values_supported".into(), algorithms.into());
    members.insert("dpop_bound_access_tokens_required".into(), resource.proofs.dpop.into());
    let certificates = config.gate.can_learn_certificates();
    members.insert("tls_client_certificate_bound_access_tokens".into(), certificates.into());
    for (name, value) in
        [("resource_name", &resource.name), ("resource_documentation", &resource.documentation)]
    {
        if let Some(value) = value {
            members.insert(name.into(), Value::from(&**value));
        }
    }
    Value::Object(members)
}

/// What the policies of tokens may be written in: as some issuer of the resource is trusted with.
fn languages(config: &Config, resource: &Resource) -> Vec<&'static str> {
    let mut issuers = resource.issuers.iter().filter_map(|index| config.issuers.get(*index));
    let has_cedar = issuers.any(|issuer| issuer.trust.policies.cedar);
    std::iter::once("rego").chain(has_cedar.then_some("cedar")).collect()
}

/// Every scope that some operation of the resource requires, each once, in file order.
fn scopes(resource: &Resource) -> Vec<&str> {
    let mut scopes: Vec<&str> = Vec::new();
    let of_operations = resource.operations.iter().flat_map(|operation| &operation.scopes);
    for scope in resource.scopes.iter().chain(of_operations) {
        if !scopes.contains(&&**scope) {
            scopes.push(scope);
        }
    }
    scopes
}

fn origin_of(id: &str) -> (&str, &str) {
    let (scheme, rest) = id.split_once("://").unwrap_or(("https", id));
    (scheme, rest.split('/').next().unwrap_or(rest))
}

fn path_of(id: &str) -> &str {
    let rest = id.split_once("://").map_or(id, |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).filter(|path| *path != "/").unwrap_or("")
}
