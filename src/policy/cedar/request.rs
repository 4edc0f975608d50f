//! What a Cedar policy is asked: principal, action, resource and context, from the one `input` (§7).

use std::collections::{HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};
use serde_json::{Map, Number, Value};

use crate::model::decimal::Decimal;
use crate::model::time::Timestamp;

/// The members of the input that are principal, action and resource, and so not in the context.
const OUTSIDE: [&str; 3] = ["action", "agent", "resource"];
/// What the time is called.
const NOW: &str = "now";
/// The most digits after the point that a decimal of Cedar has.
const FRACTION: i64 = 4;

/// The request and the entities. None where nobody acts, or nothing is asked for: no policy has a say then.
pub(super) fn of(input: &Value) -> Result<Option<(Request, Entities)>, String> {
    let Value::Object(members) = input else { return Ok(None) };
    let text = |pointer: &str| input.pointer(pointer).and_then(Value::as_str);
    let (Some(agent), Some(action)) = (text("/agent/id"), text("/action")) else { return Ok(None) };
    let (Some(kind), Some(id)) = (text("/resource/type"), text("/resource/id")) else {
        return Ok(None);
    };
    let user = text("/user/id").map(|id| uid("User", id)).transpose()?;
    let principal = uid("Agent", agent)?;
    let action = uid("Action", action)?;
    let resource = uid("Resource", &format!("{kind}/{id}"))?;
    let parents: HashSet<_> = user.iter().cloned().collect();
    let entities = [
        Entity::new(principal.clone(), attributes(members.get("agent"))?, parents),
        Entity::new(resource.clone(), attributes(members.get("resource"))?, HashSet::new()),
    ];
    let mut all = entities.into_iter().collect::<Result<Vec<_>, _>>().map_err(said)?;
    all.extend(user.map(|user| Entity::new_no_attrs(user, HashSet::new())));
    let entities = Entities::from_entities(all, None).map_err(said)?;
    let context = members.iter().filter(|(name, _)| !OUTSIDE.contains(&name.as_str()));
    let context = Context::from_pairs(context_of(context)?).map_err(said)?;
    let request = Request::new(principal, action, resource, context, None).map_err(said)?;
    Ok(Some((request, entities)))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = EntityTypeName::from_str(kind).map_err(said)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn attributes(value: Option<&Value>) -> Result<HashMap<String, RestrictedExpression>, String> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    Ok(pairs(members)?.into_iter().collect())
}

/// The rest of the input, and in the environment the time as a value that can be compared: the language
/// reads no text of microseconds, and makes no time of a number.
fn context_of<'v>(
    members: impl Iterator<Item = (&'v String, &'v Value)>,
) -> Result<Vec<(String, RestrictedExpression)>, String> {
    let mut found = Vec::new();
    for (name, value) in members {
        let now = value.get("now_ns").and_then(Value::as_u64).filter(|_| name == "environment");
        match (now, value) {
            (Some(now), Value::Object(environment)) => {
                let rest = environment.iter().filter(|(name, _)| *name != NOW);
                let mut members = pairs(rest)?;
                members.push((NOW.to_owned(), instant(now)));
                found
                    .push((name.clone(), RestrictedExpression::new_record(members).map_err(said)?));
            }
            _ => found.extend(expression(value)?.map(|value| (name.clone(), value))),
        }
    }
    Ok(found)
}

/// A `datetime`, to the millisecond.
fn instant(nanoseconds: u64) -> RestrictedExpression {
    let text = Timestamp::from_micros(nanoseconds / 1_000).to_string();
    let milliseconds = text.get(..text.len().saturating_sub("000Z".len())).unwrap_or_default();
    RestrictedExpression::new_datetime(format!("{milliseconds}Z"))
}

/// Members as values of the engine. What is null is absent.
fn pairs<'v>(
    members: impl IntoIterator<Item = (&'v String, &'v Value)>,
) -> Result<Vec<(String, RestrictedExpression)>, String> {
    let mut found = Vec::new();
    for (name, value) in members {
        if let Some(value) = expression(value)? {
            found.push((name.clone(), value));
        }
    }
    Ok(found)
}

fn expression(value: &Value) -> Result<Option<RestrictedExpression>, String> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(truth) => RestrictedExpression::new_bool(*truth),
        Value::Number(number) => numeric(number)?,
        Value::String(text) => RestrictedExpression::new_string(text.clone()),
        Value::Array(items) => {
            let mut found = Vec::new();
            for item in items {
                // Left out of a set, it would make of a list with a gap one without.
                let item =
                    expression(item)?.ok_or("a list holds null, which no value stands for")?;
                found.push(item);
            }
            RestrictedExpression::new_set(found)
        }
        Value::Object(members) => record(members)?,
    }))
}

fn record(members: &Map<String, Value>) -> Result<RestrictedExpression, String> {
    RestrictedExpression::new_record(pairs(members)?).map_err(said)
}

/// A whole number of 64 bits as that, another number as a decimal where that is exact. How it is written does
/// not matter: were `1.0` a decimal, it would not equal the `1` that a policy forbids.
fn numeric(number: &Number) -> Result<RestrictedExpression, String> {
    let text = number.to_string();
    let exact = Decimal::parse(&text);
    if let Some(long) = exact.and_then(|exact| exact.scaled(0)) {
        return Ok(RestrictedExpression::new_long(long));
    }
    match exact.and_then(|exact| exact.scaled(FRACTION)) {
        Some(parts) => Ok(RestrictedExpression::new_decimal(fraction(parts))),
        None => Err(format!(
            "{text} is neither a whole number of 64 bits nor a decimal of {FRACTION} digits"
        )),
    }
}

/// A number of ten-thousandths as a decimal is written.
fn fraction(parts: i64) -> String {
    let sign = if parts < 0 { "-" } else { "" };
    let parts = parts.unsigned_abs();
    format!("{sign}{}.{:04}", parts / 10_000, parts % 10_000)
}
