//! Whether the headers that repeat what a message says agree with it (`mcp-a2a.md` §3). The decision is made
//! on the body; what stands between might believe the headers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};

use super::asked::Asked;
use super::version::{META, Version};
use crate::model::exact::Json;
use crate::model::reason::{Denial, Reason};
use crate::operation::jsonrpc::Message;

/// `MCP-Protocol-Version`
pub const VERSION: &str = "mcp-protocol-version";
/// `Mcp-Session-Id`
pub const SESSION: &str = "mcp-session-id";
const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";
const PARAM: &str = "mcp-param-";

const fn mismatch(about: &'static str) -> Denial {
    Denial::about(Reason::HeaderMismatch, about)
}

/// The one value of a header, as text; a header that stands twice is refused.
pub fn single<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h str>, Denial> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(mismatch(name));
    }
    value.to_str().map(Some).map_err(|_error| mismatch(name))
}

/// Holds the headers against what `message` asks for (R-MCP-001 to 003). Gives those that say something of
/// which the message says nothing: they must not be forwarded.
pub fn check(
    headers: &HeaderMap,
    message: &Message<'_>,
    asked: &Asked,
) -> Result<Vec<HeaderName>, Denial> {
    let is_required = asked.version >= Version::V2026_07_28;
    check_version(headers, message, is_required)?;
    repeats(headers, METHOD, Some(asked.method), is_required)?;
    let repeated = match asked.method {
        "tools/call" | "prompts/get" | "resources/read" => asked.name.as_deref(),
        _ => None,
    };
    repeats(headers, NAME, repeated, is_required)?;
    parameters(headers, message)
}

fn check_version(
    headers: &HeaderMap,
    message: &Message<'_>,
    is_required: bool,
) -> Result<(), Denial> {
    let header = single(headers, VERSION)?;
    let meta = match message.meta(META) {
        None => None,
        Some(Json::String(version)) => Some(&**version),
        Some(_) => return Err(mismatch(VERSION)),
    };
    let agrees = match (header, meta) {
        (Some(header), Some(meta)) => header == meta,
        (None, Some(_)) | (Some(_) | None, None) => !is_required,
    };
    if agrees { Ok(()) } else { Err(mismatch(VERSION)) }
}

/// Whether the header `name` says `value`; what has no such value has no such header.
fn repeats(
    headers: &HeaderMap,
    name: &'static str,
    value: Option<&str>,
    is_required: bool,
) -> Result<(), Denial> {
    let agrees = match (single(headers, name)?, value) {
        (Some(header), Some(value)) => decoded(header).as_deref() == Some(value),
        (None, Some(_)) => !is_required,
        (Some(_), None) => false,
        (None, None) => true,
    };
    if agrees { Ok(()) } else { Err(mismatch(name)) }
}

/// The text of a header: `=?base64?…?=` holds what cannot stand in one.
fn decoded(header: &str) -> Option<String> {
    let coded = header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    match coded {
        Some(coded) => String::from_utf8(STANDARD.decode(coded).ok()?).ok(),
        None => Some(header.to_owned()),
    }
}

/// `Mcp-Param-…`: each says what the argument of its name does, whatever the case. Where there is no such
/// argument, nothing is known of it.
fn parameters(headers: &HeaderMap, message: &Message<'_>) -> Result<Vec<HeaderName>, Denial> {
    let arguments = message.param("arguments").and_then(Json::as_object);
    let mut stray = Vec::new();
    for name in headers.keys() {
        let Some(parameter) = name.as_str().strip_prefix(PARAM) else { continue };
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(mismatch(PARAM));
        };
        let all = arguments.into_iter().flatten();
        let mut meant = all.filter(|(name, _)| name.eq_ignore_ascii_case(parameter)).peekable();
        if meant.peek().is_none() {
            stray.push(name.clone());
            continue;
        }
        let text = value.to_str().ok().and_then(decoded).ok_or(mismatch(PARAM))?;
        if !meant.all(|(_, argument)| is_text_of(&text, argument)) {
            return Err(mismatch(PARAM));
        }
    }
    Ok(stray)
}

fn is_text_of(text: &str, argument: &Json) -> bool {
    match argument {
        Json::String(value) => **value == *text,
        Json::Number(number) => number.text() == text,
        Json::Bool(value) => text == if *value { "true" } else { "false" },
        Json::Null | Json::Array(_) | Json::Object(_) => false,
    }
}
