//! The `input` object: what a policy is told of a call (`policy.md` §4, `input_version` 1).
//!
//! Only verified facts stand under their own names; what the caller chose stands under `args`,
//! `request.body`, `request.headers`, `request.query` and `context`, and can take no other name. A fact
//! that is absent is left out and never null, so that a policy which asks for it has no value, which is no.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value, json};

use crate::model::argument::Argument;
use crate::model::exact::{Json, Number};
use crate::model::hex::hex;
use crate::model::operation::{Exchange, Message, Operation, Told};
use crate::model::reason::{Denial, Reason};
use crate::model::time::Timestamp;
use crate::token::aoa::AgentIdentity;
use crate::token::delegation::Lineage;
use crate::token::evidence::Evidenced;
use crate::token::grant::Grant;
use crate::token::parties::Parties;
use crate::token::presenter::Presenter;
use crate::token::trust::Shape;

/// The names at the top that nothing of a client may take (§4.1).
const RESERVED: [&str; 21] = [
    "a2a",
    "action",
    "action_aliases",
    "agent",
    "args",
    "client",
    "constraints",
    "context",
    "delegation",
    "environment",
    "evidence",
    "input_version",
    "mcp",
    "operationType",
    "request",
    "resource",
    "resourceId",
    "timestamp",
    "token",
    "token_context",
    "user",
];

/// A request as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `http` or `https`: as agents reach the gate.
    pub scheme: &'a str,
    /// The authority as sent.
    pub host: &'a str,
    /// The headers as sent.
    pub headers: &'a HeaderMap,
    /// The address of the caller.
    pub client: Option<IpAddr>,
}

/// What the operator lets policies see of a call to a resource, beyond what all may see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// `name`
    pub name: Option<Box<str>>,
    /// `user_claims`: claims of the token that stand under `user`.
    pub user_claims: Vec<Box<str>>,
    /// `token_claims`: claims of the token that stand under `token.claims`.
    pub token_claims: Vec<Box<str>>,
    /// `policy_headers`: headers of the request.
    pub headers: Vec<HeaderName>,
}

/// Everything that an `input` is made of.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The verified token.
    pub grant: &'a Grant,
    /// What its presenter has proven.
    pub presenter: &'a Presenter,
    /// The operation.
    pub operation: &'a Operation<'a>,
    /// The request.
    pub request: Request<'a>,
    /// What may be seen.
    pub exposed: &'a Exposed,
    /// The name of this gate in its records.
    pub instance: &'a str,
    /// The time of the call.
    pub now: Timestamp,
}

/// The object, in the given shape. `context` is that of the entry, or of the token where the policy is not
/// an entry's. Refuses a call with a number that no engine would keep as it is.
pub fn object(
    given: &Given<'_>,
    shape: Shape,
    context: Option<&Map<String, Value>>,
) -> Result<Value, Denial> {
    let Given { grant, presenter, operation, exposed, now, .. } = given;
    let parties = Parties::of(grant, Some(presenter));
    let told = |json: &Json| exact(json).ok_or(INEXACT);
    let body = operation.body.map(|body| told(&body.json)).transpose()?;
    let spoken = operation.message.map(|spoken| told(spoken.args)).transpose()?;
    let arguments = arguments(operation, spoken.as_ref().or(body.as_ref()))?;
    let arguments = arguments.as_ref();
    let mut input = Map::new();
    let mut set = |name: &str, value: Value| {
        input.insert(name.into(), value);
    };
    set("input_version", 1.into());
    if let Some(user) = user(grant, &parties, exposed) {
        set("user", user);
    }
    set("agent", agent(grant, presenter, &parties));
    if let Some(client) = parties.client {
        set("client", json!({ "id": client }));
    }
    set("token", token(grant, exposed));
    set("action", operation.action.into());
    set("action_aliases", json!([operation.alias()]));
    set("resource", resource(operation));
    set("request", request(given, body.as_ref()));
    if let Some(spoken) = &operation.message {
        let name = exposed.name.as_deref().unwrap_or(operation.resource);
        match &spoken.told {
            Told::A2a(exchange) => set("a2a", a2a(exchange)),
            Told::Mcp(message) => set("mcp", mcp(message, name)),
        }
    }
    if let Some(arguments) = arguments {
        set("args", Value::Object(arguments.clone()));
    }
    if let Some(delegation) = delegation(grant) {
        set("delegation", delegation);
    }
    set("evidence", evidence(presenter.evidence(grant), *now));
    set("environment", environment(given));
    if let Some(context) = context {
        set("context", Value::Object(context.clone()));
    }
    match shape {
        Shape::Standard => {}
        Shape::DraftFlat => flatten(&mut input, arguments),
        Shape::OpenAgentAuth => compatible(&mut input, given, arguments),
    }
    Ok(Value::Object(input))
}

/// `args`: the parameters that a document describes, those of the path, then those of the query, and the
/// members of the body. A name with two values is refused: which of them the server takes cannot be known.
fn arguments(
    operation: &Operation<'_>,
    body: Option<&Value>,
) -> Result<Option<Map<String, Value>>, Denial> {
    let members = body.and_then(Value::as_object);
    if operation.declared.is_empty() {
        return Ok(members.cloned());
    }
    let mut arguments = members.cloned().unwrap_or_default();
    for declared in operation.declared {
        let value = match declared.read(operation) {
            Argument::Absent => continue,
            Argument::Typed(json) | Argument::Untyped(json) => exact(&json).ok_or(INEXACT)?,
        };
        let name = String::from(&*declared.name);
        if *arguments.entry(name).or_insert_with(|| value.clone()) != value {
            return Err(Denial::about(Reason::ArgumentsInvalid, "ambiguous"));
        }
    }
    Ok(Some(arguments))
}

/// Engines keep integers of 64 bits and doubles. Another number would be rounded on its way into them, and
/// a limit would be held against one that was not sent.
const INEXACT: Denial = Denial::about(Reason::BodyMalformed, "number");

/// A value as engines take it, or none where a number in it would not be the same any more.
fn exact(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => Value::from(&**text),
        Json::Number(number) => exact_number(number)?,
        Json::Array(items) => Value::Array(items.iter().map(exact).collect::<Option<_>>()?),
        Json::Object(members) => {
            let members = members.iter().map(|(name, json)| Some((name.to_string(), exact(json)?)));
            Value::Object(members.collect::<Option<_>>()?)
        }
    })
}

fn exact_number(number: &Number) -> Option<Value> {
    let text = number.text();
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    let double: f64 = text.parse().ok()?;
    let kept = Number::parse(&double.to_string())?;
    (kept == *number).then(|| Value::from(double))
}

fn user(grant: &Grant, parties: &Parties<'_>, exposed: &Exposed) -> Option<Value> {
    let user = parties.user?;
    let mut members = kept(grant, &exposed.user_claims);
    // After the claims, so that none of them can be who the person is.
    members.insert("id".into(), user.id.into());
    members.insert("issuer".into(), user.issuer.unwrap_or(&grant.issuer().id).into());
    Some(Value::Object(members))
}

fn kept(grant: &Grant, names: &[Box<str>]) -> Map<String, Value> {
    let found = |name: &str| Some((name.to_owned(), grant.kept_claim(name)?.clone()));
    names.iter().filter_map(|name| found(name)).collect()
}

fn agent(grant: &Grant, presenter: &Presenter, parties: &Parties<'_>) -> Value {
    let proof = if presenter.dpop.is_some() {
        "dpop"
    } else if presenter.certificate.is_some() {
        "mtls"
    } else if presenter.workload.is_some() {
        "wpt"
    } else {
        "none"
    };
    let mut members = Map::new();
    members.insert("proof".into(), proof.into());
    insert(&mut members, "id", parties.agent);
    insert(&mut members, "workload_id", presenter.workload.as_deref());
    if let Some(identity) = &grant.members().identity {
        members.insert("identity".into(), Value::Object(agent_identity(identity)));
    }
    Value::Object(members)
}

fn agent_identity(identity: &AgentIdentity) -> Map<String, Value> {
    let mut members = Map::new();
    insert(&mut members, "id", Some(&identity.id));
    insert(&mut members, "issuer", Some(&identity.issuer));
    insert(&mut members, "issued_to", issued_to(identity).as_deref());
    let mut issued_for = Map::new();
    insert(&mut issued_for, "platform", identity.platform.as_deref());
    insert(&mut issued_for, "client", identity.client.as_deref());
    insert(&mut issued_for, "client_instance", identity.instance.as_deref());
    if !issued_for.is_empty() {
        members.insert("issued_for".into(), Value::Object(issued_for));
    }
    for (name, moment) in [
        ("issuance_date", identity.issued),
        ("valid_from", identity.valid_from),
        ("expires", Some(identity.expires)),
    ] {
        insert(&mut members, name, moment.map(|moment| moment.to_string()).as_deref());
    }
    members
}

/// `<issuer>|<user>`, as the token has it.
fn issued_to(identity: &AgentIdentity) -> Option<String> {
    let person = identity.issued_to.as_ref()?;
    Some(match &person.issuer {
        Some(issuer) => format!("{issuer}|{}", person.user),
        None => person.user.to_string(),
    })
}

fn insert(members: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        members.insert(name.into(), value.into());
    }
}

fn token(grant: &Grant, exposed: &Exposed) -> Value {
    let claims = grant.claims();
    json!({
        "issuer": &*grant.issuer().id,
        "audience": claims.audience,
        "jti": &*claims.jwt_id,
        "scope": claims.scope,
        "issued_at": claims.issued.seconds(),
        "expires_at": claims.expires.seconds(),
        "claims": kept(grant, &exposed.token_claims),
    })
}

/// The message that asks, as far as it is not in `args`.
fn mcp(message: &Message<'_>, server: &str) -> Value {
    let mut members = Map::new();
    insert(&mut members, "version", Some(message.version));
    insert(&mut members, "method", Some(message.method));
    insert(&mut members, "name", message.name);
    insert(&mut members, "server", Some(server));
    members.insert("is_retry".into(), message.is_retry.into());
    Value::Object(members)
}

/// What is asked of an agent, as far as it is not in `args`.
fn a2a(exchange: &Exchange<'_>) -> Value {
    let mut members = Map::new();
    insert(&mut members, "version", Some(exchange.version));
    insert(&mut members, "method", Some(exchange.method));
    insert(&mut members, "task_id", exchange.task_id);
    insert(&mut members, "context_id", exchange.context_id);
    if let Some((role, part_kinds)) = exchange.message {
        members.insert("message".into(), json!({ "role": role, "part_kinds": part_kinds }));
    }
    Value::Object(members)
}

fn resource(operation: &Operation<'_>) -> Value {
    let path = if operation.path == "/" { "" } else { operation.path };
    let (kind, named) = match operation.message.map(|spoken| spoken.told) {
        None => ("http", None),
        Some(Told::A2a(_)) => ("a2a", None),
        Some(Told::Mcp(message)) => {
            ("mcp", message.name.filter(|_| message.method.starts_with("resources/")))
        }
    };
    json!({
        "type": kind,
        "id": named.unwrap_or(operation.resource),
        "location": format!("{}{path}", operation.resource),
    })
}

fn request(given: &Given<'_>, body: Option<&Value>) -> Value {
    let Given { operation, request, exposed, .. } = given;
    let mut members = Map::new();
    insert(&mut members, "method", Some(operation.method.as_str()));
    insert(&mut members, "scheme", Some(request.scheme));
    insert(&mut members, "host", Some(request.host));
    insert(&mut members, "path", Some(operation.path));
    let path_params = operation.path_params();
    let path_params = path_params.map(|(name, value)| (name.to_owned(), Value::from(value)));
    members.insert("path_params".into(), Value::Object(path_params.collect()));
    members.insert("query".into(), Value::Object(query(operation)));
    members.insert("headers".into(), Value::Object(headers(request.headers, &exposed.headers)));
    let content_type = request.headers.get(http::header::CONTENT_TYPE);
    insert(&mut members, "content_type", content_type.and_then(|value| value.to_str().ok()));
    let client = request.client.map(|client| client.to_string());
    insert(&mut members, "client_ip", client.as_deref());
    if let Some(body) = operation.body {
        insert(&mut members, "body_sha256", Some(&hex(&body.sha256)));
    }
    if let Some(body) = body {
        members.insert("body".into(), body.clone());
    }
    Value::Object(members)
}

/// Every value of every name, in their order: a policy that looks at one of several sees that there are
/// several. A pair that is not UTF-8 is there under a name that no policy asks for.
fn query(operation: &Operation<'_>) -> Map<String, Value> {
    const UNREADABLE: &str = "\u{fffd}";
    let mut members = Map::new();
    for pair in operation.query() {
        let (name, value) = pair.unwrap_or((UNREADABLE.into(), UNREADABLE.into()));
        let values = members.entry(name).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(value.into());
        }
    }
    members
}

/// The headers that the operator lists. Several lines of one name are joined as RFC 9110 §5.3 does.
fn headers(headers: &HeaderMap, listed: &[HeaderName]) -> Map<String, Value> {
    let mut members = Map::new();
    for name in listed {
        let lines = headers.get_all(name).iter();
        let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
        if !lines.is_empty() {
            members.insert(name.as_str().into(), lines.join(", ").into());
        }
    }
    members
}

/// Through whom the token came, the first agent first. A chain that nobody could verify is not shown.
fn delegation(grant: &Grant) -> Option<Value> {
    let delegation = grant.delegation()?;
    match delegation.lineage {
        Lineage::Agents | Lineage::Tokens => {}
        Lineage::Structural => return None,
    }
    let root = &delegation.hops.last()?.delegator;
    let path: Vec<&str> = std::iter::once(&**root)
        .chain(delegation.hops.iter().rev().filter_map(|hop| hop.delegatee.as_deref()))
        .collect();
    Some(json!({ "depth": delegation.hops.len(), "root_delegator": &**root, "path": path }))
}

/// What the person confirmed, and when. What was displayed is not shown: it may hold anything.
fn evidence(found: &Evidenced, now: Timestamp) -> Value {
    let evidence = match found {
        Evidenced::Nothing => return json!({ "present": false, "verified": false }),
        // What a client says that was typed is no record of a consent, however well it is signed.
        Evidenced::Prompted(_) | Evidenced::Refused(_) => {
            return json!({ "present": true, "verified": false });
        }
        Evidenced::Shown(evidence) => evidence,
    };
    let mut members = Map::new();
    members.insert("present".into(), true.into());
    members.insert("verified".into(), true.into());
    insert(&mut members, "id", evidence.id.as_deref());
    insert(&mut members, "user_action", Some(&evidence.user_action));
    members.insert("confirmed_at".into(), evidence.confirmed.seconds().into());
    members.insert("age_seconds".into(), now.since(evidence.confirmed).as_secs().into());
    Value::Object(members)
}

fn environment(given: &Given<'_>) -> Value {
    json!({
        "now_ns": given.now.micros().saturating_mul(1_000),
        "time_rfc3339": given.now.to_string(),
        "proxy_instance": given.instance,
        "route": given.exposed.name.as_deref().unwrap_or(given.operation.resource),
    })
}

/// The drafts' examples look for arguments at the top. A name that is taken stays with its owner.
fn flatten(input: &mut Map<String, Value>, arguments: Option<&Map<String, Value>>) {
    for (name, value) in arguments.into_iter().flatten() {
        if !RESERVED.contains(&&**name) {
            input.insert(name.clone(), value.clone());
        }
    }
}

/// The names that the public reference implementation gives to the same facts.
fn compatible(
    input: &mut Map<String, Value>,
    given: &Given<'_>,
    arguments: Option<&Map<String, Value>>,
) {
    let Given { operation, exposed, now, grant, .. } = given;
    let server = exposed.name.as_deref().unwrap_or(operation.resource);
    input.insert("operationType".into(), operation.action.into());
    input.insert("resourceId".into(), server.into());
    input.insert("timestamp".into(), now.seconds().into());
    if let Some(own) = input.remove("context") {
        input.insert("token_context".into(), own);
    }
    input.insert("context".into(), Value::Object(arguments.cloned().unwrap_or_default()));
    if let (Some(Value::Object(agent)), Some(identity)) =
        (input.get_mut("agent"), &grant.members().identity)
    {
        insert(agent, "issuer", Some(&identity.issuer));
        insert(agent, "issuedTo", issued_to(identity).as_deref());
    }
    if let Some(Value::Object(members)) = input.get_mut("request") {
        let query = operation.query.map(|query| format!("?{query}")).unwrap_or_default();
        members.insert("uri".into(), format!("{}{query}", operation.path).into());
    }
}

/// The object as it is hashed for records (§10): members in the order of their names, whatever map holds
/// them, and numbers as they are. Canonical JSON would round large integers.
pub fn serialized(input: &Value) -> Vec<u8> {
    let mut into = Vec::with_capacity(1_024);
    write(input, &mut into);
    into
}

fn write(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            into.push(b'{');
            for (n, (name, value)) in sorted.into_iter().enumerate() {
                if n > 0 {
                    into.push(b',');
                }
                into.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                into.push(b':');
                write(value, into);
            }
            into.push(b'}');
        }
        Value::Array(items) => {
            into.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    into.push(b',');
                }
                write(item, into);
            }
            into.push(b']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.extend_from_slice(value.to_string().as_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
