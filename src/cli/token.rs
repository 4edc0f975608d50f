//! `opgate token`: access tokens for development and set-up (RFC 9068; `tokens.md`).

pub mod inspect;
mod story;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::keys::{self, SigningKey};
use super::{Outcome, Usage, output};
use crate::model::pattern::Pattern;
use crate::model::time::Timestamp;
use crate::runtime::clock;
use crate::token::details::MAX_OPERATIONS;
use crate::token::trust::Algorithm;

/// `opgate token mint`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  A token that lets an agent read products and place orders for alice:
    opgate token mint --key issuer.pem --issuer https://as.example.com \\
      --audience https://tools.example.com/shop --subject alice --agent shopping-agent \\
      --operation 'GET /products/**' --operation create_order

  A token that carries a policy (policies/README.md has every form of an entry), or claims of your own:
    opgate token mint … --details details.json --claims claims.json

  Call the gate with it:
    curl -H \"Authorization: Bearer $(opgate token mint …)\" https://tools.example.com/shop/products/7")]
pub struct MintArgs {
    /// The private key: PEM, as `opgate keys generate` writes it
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The key's name, for the header [default: its RFC 7638 thumbprint]
    #[arg(long, value_name = "KID", value_parser = keys::key_id)]
    pub kid: Option<String>,
    /// Signature algorithm: ES256, ES384, `EdDSA`, PS256 or RS256 [default: what the key is for]
    #[arg(long, value_parser = keys::algorithm)]
    pub algorithm: Option<Algorithm>,
    /// Who issues the token (`iss`)
    #[arg(long, value_name = "URL")]
    pub issuer: String,
    /// The resource it is for (`aud`); may be given several times
    #[arg(long, value_name = "URL", required = true)]
    pub audience: Vec<String>,
    /// The person who consented (`sub`)
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub subject: String,
    /// The client that the token was issued to (`client_id`)
    #[arg(long, value_name = "ID", value_parser = name)]
    pub client_id: Option<String>,
    /// The agent that acts (`act.sub`)
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub agent: Option<String>,
    /// Scopes, with spaces between them
    #[arg(long, value_name = "SCOPES")]
    pub scope: Option<String>,
    /// An operation it allows: `METHOD /path/glob`, or the name of an action; may be given several times
    #[arg(long, value_name = "OPERATION", value_parser = Allowance::parse)]
    pub operation: Vec<Allowance>,
    /// Where the operations are allowed: a URL at or below the resource; may be given several times
    #[arg(long, value_name = "URL", requires = "operation")]
    pub location: Vec<String>,
    /// Entries of `authorization_details`, a JSON array, as they are to stand in the token
    #[arg(long, value_name = "FILE")]
    pub details: Option<PathBuf>,
    /// Further claims, a JSON object; one that has the name of a claim above takes its place
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// How long it is valid: 90s, 15m, 8h
    #[arg(long, value_name = "TIME", value_parser = ttl, default_value = "15m")]
    pub ttl: Duration,
    /// How many tokens, each with its own `jti`
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub count: u32,
    /// The token's identifier [default: a fresh `UUIDv7`]
    #[arg(long, value_name = "ID", value_parser = name, conflicts_with = "count")]
    pub jti: Option<String>,
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Minting<'a> {
    /// What signs it.
    pub key: &'a SigningKey,
    /// `kid`
    pub key_id: &'a str,
    /// `iss`
    pub issuer: &'a str,
    /// `aud`
    pub audience: &'a [String],
    /// `sub`
    pub subject: &'a str,
    /// `client_id`
    pub client_id: Option<&'a str>,
    /// `act.sub`
    pub agent: Option<&'a str>,
    /// `scope`
    pub scope: Option<&'a str>,
    /// `operations` of the one `agent_operation` entry; without any there is no entry.
    pub operations: &'a [Allowance],
    /// `locations` of that entry
    pub locations: &'a [String],
    /// Entries of `authorization_details` that follow that one.
    pub details: &'a [Value],
    /// Claims that stand beside the others, or in their place.
    pub claims: &'a Map<String, Value>,
    /// `iat`
    pub issued: Timestamp,
    /// From `iat` to `exp`.
    pub ttl: Duration,
    /// `jti`; a fresh `UUIDv7` where there is none.
    pub jwt_id: Option<&'a str>,
}

/// An operation that a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// An action of the resource, by name.
    Action(String),
    /// A method, and a glob of paths below the resource.
    Request(http::Method, Pattern),
}

/// Prints tokens, one a line.
pub fn mint_all(args: &MintArgs) -> Result<Outcome> {
    if args.operation.len() > MAX_OPERATIONS {
        return Err(Usage::error(format!("more than {MAX_OPERATIONS} operations")));
    }
    let details: Vec<Value> = given(args.details.as_deref(), "JSON array")?;
    let claims: Map<String, Value> = given(args.claims.as_deref(), "JSON object")?;
    let key = SigningKey::read(&args.key, args.algorithm)?;
    let key_id = args.kid.clone().unwrap_or_else(|| key.thumbprint());
    let minting = Minting {
        key: &key,
        key_id: &key_id,
        issuer: &args.issuer,
        audience: &args.audience,
        subject: &args.subject,
        client_id: args.client_id.as_deref(),
        agent: args.agent.as_deref(),
        scope: args.scope.as_deref(),
        operations: &args.operation,
        locations: &args.location,
        details: &details,
        claims: &claims,
        issued: clock::now(),
        ttl: args.ttl,
        jwt_id: args.jti.as_deref(),
    };
    for _ in 0..args.count {
        output::print(&(mint(&minting)? + "\n"))?;
    }
    Ok(Outcome::Done)
}

/// What stands in a file of JSON; nothing where no file is named.
fn given<T: Default + DeserializeOwned>(path: Option<&Path>, form: &str) -> Result<T> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .map_err(|error| Usage::error(format!("`{}` is not a {form}: {error}", path.display())))
}

/// Makes and signs one access token (RFC 9068 §2).
pub fn mint(minting: &Minting<'_>) -> Result<String> {
    let algorithm = minting.key.algorithm().name();
    let header = json!({ "alg": algorithm, "kid": minting.key_id, "typ": "at+jwt" });
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let payload = URL_SAFE_NO_PAD.encode(Value::Object(minting.payload()).to_string());
    let input = format!("{header}.{payload}");
    let signature = minting.key.sign(input.as_bytes())?;
    Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

impl Minting<'_> {
    fn payload(&self) -> Map<String, Value> {
        let mut payload = Map::new();
        let mut say = |name: &str, value: Value| drop(payload.insert(name.to_owned(), value));
        say("iss", self.issuer.into());
        say("sub", self.subject.into());
        match self.audience {
            [one] => say("aud", one.as_str().into()),
            several => say("aud", several.into()),
        }
        say("iat", self.issued.seconds().into());
        say("exp", self.issued.after(self.ttl).seconds().into());
        let fresh = || uuid::Uuid::now_v7().to_string();
        say("jti", self.jwt_id.map_or_else(fresh, str::to_owned).into());
        if let Some(client) = self.client_id {
            say("client_id", client.into());
        }
        if let Some(agent) = self.agent {
            say("act", json!({ "sub": agent }));
        }
        if let Some(scope) = self.scope {
            say("scope", scope.into());
        }
        let listed = (!self.operations.is_empty()).then(|| self.detail());
        let details: Vec<Value> = listed.into_iter().chain(self.details.iter().cloned()).collect();
        if !details.is_empty() {
            say("authorization_details", details.into());
        }
        payload.extend(self.claims.clone());
        payload
    }

    fn detail(&self) -> Value {
        let operations: Vec<_> = self.operations.iter().map(Allowance::json).collect();
        let mut detail = json!({ "type": "agent_operation", "operations": operations });
        if let Some(members) = detail.as_object_mut().filter(|_| !self.locations.is_empty()) {
            members.insert("locations".to_owned(), self.locations.into());
        }
        detail
    }
}

impl Allowance {
    /// Reads `GET /products/**` or `create_order`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((method, path)) = text.split_once(' ') else {
            return match text {
                "" => Err("an empty name".to_owned()),
                _ if text.starts_with('/') => {
                    Err(format!("a path needs a method before it, as in `GET {text}`"))
                }
                _ => Ok(Self::Action(text.to_owned())),
            };
        };
        if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
            return Err(format!(
                "`{method}` is not a method: methods are in capitals, as in `GET`"
            ));
        }
        let method = http::Method::from_bytes(method.as_bytes())
            .map_err(|_opaque| format!("`{method}` is not a method"))?;
        let path = Pattern::parse(path).map_err(|error| error.to_string())?;
        Ok(Self::Request(method, path))
    }

    /// It, as an entry has it.
    pub fn json(&self) -> Value {
        match self {
            Self::Action(action) => json!({ "action": action }),
            Self::Request(method, path) => {
                json!({ "method": method.as_str(), "path": path.text() })
            }
        }
    }
}

/// A name that a token can carry (`tokens.md` §3).
fn name(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("a name has 1 to 255 bytes".to_owned())
    }
}

/// `90s`, `15m`, `8h`, `1d`: at least a second, at most ten years.
fn ttl(text: &str) -> Result<Duration, String> {
    const LONGEST: u64 = 3_650 * 86_400;
    let wrong = || "write a number and a unit: 90s, 15m, 8h, 1d".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at_checked(at).ok_or_else(wrong)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    seconds
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "at least one second and at most ten years".to_owned())
}

#[cfg(test)]
mod tests;
