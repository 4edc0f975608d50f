//! Whether a gate would believe a token: one that has these keys, or one that is configured so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::request::Parts;
use serde_json::{Map, Value};

use crate::cli::explain::{Bench, failed};
use crate::cli::{Usage, output, serve};
use crate::config::{self, Config};
use crate::decide::call;
use crate::decide::revoked;
use crate::facts::store::Settling;
use crate::model::presented::Presented;
use crate::model::reason::{Denial, Reason};
use crate::operation::head::Transport;
use crate::runtime::clock;
use crate::token::extract;
use crate::token::grant::Grant;
use crate::token::jws::Jws;
use crate::token::keys::KeySet;
use crate::token::member;
use crate::token::signers::IssuerAlone;
use crate::token::trust::{Countersigned, Delegations, Issuer};
use crate::token::verify::{self, Halt, Unverified};

/// The grant that the token stands for, or why it stands for none.
pub(super) type Verdict = Result<Arc<Grant>, String>;

/// What a gate that trusts these keys, and this issuer by name, would say.
pub(super) fn by_keys(
    presented: Presented<'_>,
    jws: &Jws<'_>,
    payload: &Map<String, Value>,
    path: &Path,
) -> anyhow::Result<Verdict> {
    let (keys, _left_out) = KeySet::from_jwks(&std::fs::read(path)?)
        .map_err(|error| Usage::error(format!("`{}`: {error}", path.display())))?;
    let issuer = Issuer {
        leeway: Duration::ZERO,
        max_lifetime: Duration::MAX,
        delegation: Some(any_chain()),
        ..Issuer::named(payload.get(member::ISS).and_then(Value::as_str).unwrap_or_default())
    };
    let (issuer, keys) = (Arc::new(issuer), Arc::new(keys));
    let signers = IssuerAlone { issuer: &issuer, keys: &keys };
    let token = Unverified::read(presented, verify::digest(presented));
    let outcome = token
        .map_err(Halt::from)
        .and_then(|token| token.verify(&issuer, &keys, &signers, clock::now()));
    Ok(match outcome {
        Ok(grant) => Ok(Arc::new(grant)),
        Err(Halt::KeyUnknown | Halt::Need(_)) => Err(format!(
            "no key is called `{}`",
            output::escaped(jws.header.key_id.as_deref().unwrap_or_default())
        )),
        Err(Halt::Refuse(denial)) => Err(failed(denial)),
    })
}

/// A chain of this issuer alone, as deep and as old as any gate takes.
fn any_chain() -> Delegations {
    Delegations {
        max_depth: 8,
        max_age: Duration::MAX,
        id_schemes: ["https", "spiffe", "urn", "wimse", "wit"].map(Into::into).to_vec(),
        preserves_foreign: false,
        countersigned: Countersigned::Verified,
        newest_policy_alone: false,
        asks_for_root: false,
        structural: false,
    }
}

/// What the configured gate would say of the token, of which nothing but the token is known: what the
/// caller must prove beside it, and whether it covers an operation, are other questions (`explain`).
pub(super) fn by_configuration(
    presented: Presented<'_>,
    payload: &Map<String, Value>,
    config: Config,
) -> anyhow::Result<Verdict> {
    let Some(resource) = resource_of(payload, &config) else {
        return Ok(Err(failed(Denial::about(Reason::AudienceMismatch, member::AUD))));
    };
    let parts = call_of(presented, resource)?;
    serve::runtime(Some(1))?.block_on(async {
        let bench = Bench::build(Arc::new(config)).await?;
        Ok(believed(&bench, &parts).await.map_err(failed))
    })
}

/// Stage C as far as it is about the token, and whether it was taken back.
async fn believed(bench: &Bench, parts: &Parts) -> Result<Arc<Grant>, Denial> {
    let (world, now) = (&bench.snapshot.world, clock::now());
    let call = call::receive(parts, Transport::default(), world)?;
    let token_header = &call.resource().token_header;
    let credentials = extract::extract(&parts.headers, call.query(), token_header, None)?;
    let grant = bench.facts.authenticate(world, &call, &credentials, now).await?;
    let credentials = Some(&credentials);
    let with = Settling { world, now, credentials, remembered: Some(&grant) };
    bench.facts.settle(&with, |facts| revoked::check(&grant, facts)).await?;
    Ok(grant)
}

/// The resource that the token is for: rather one that trusts its issuer.
fn resource_of<'c>(
    payload: &Map<String, Value>,
    config: &'c Config,
) -> Option<&'c config::Resource> {
    let is_named = |resource: &&config::Resource| match payload.get(member::AUD) {
        Some(Value::Array(several)) => several.iter().any(|one| *one == *resource.id),
        Some(one) => *one == *resource.id,
        None => false,
    };
    let is_trusting = |resource: &&config::Resource| {
        let mut issuers = resource.issuers.iter().filter_map(|index| config.issuers.get(*index));
        issuers.any(|issuer| payload.get(member::ISS).is_some_and(|iss| *iss == *issuer.trust.id))
    };
    let mut named = config.resources.iter().filter(is_named);
    named.clone().find(is_trusting).or_else(|| named.next())
}

/// A call that presents the token there.
fn call_of(presented: Presented<'_>, resource: &config::Resource) -> anyhow::Result<Parts> {
    let mut line = HeaderValue::try_from(format!("Bearer {}", presented.token()))?;
    line.set_sensitive(true);
    let request = http::Request::get(format!("{}/", resource.mount))
        .header(HOST, &*resource.authority)
        .header(AUTHORIZATION, line);
    Ok(request.body(())?.into_parts().0)
}
