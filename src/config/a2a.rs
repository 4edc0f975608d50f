//! `resource.a2a`: an agent behind the gate (`mcp-a2a.md` §8), and what protocols are spoken with.

use std::sync::Arc;

use super::raw::Section;
use super::reading::Reading;
use super::value::{self, Wrong};
use crate::operation::a2a::Agent;
use crate::operation::a2a::version::Version;

/// Keys of method and path, which say nothing where operations stand in messages.
const OF_HTTP: [&str; 6] = ["confirm", "deny", "openapi", "operation", "validate", "websocket"];
/// Keys that only mean something for one protocol.
const OF_PROTOCOLS: [(&str, &str); 3] = [("a2a", "a2a"), ("mcp", "mcp"), ("tool", "mcp")];

/// What is spoken at the resource.
fn protocol<'s>(resource: &'s Section<'_>) -> &'s str {
    resource.text_or_default("protocol").0
}

/// Whether the operations of the resource stand in messages, and not in method and path.
pub(super) fn is_spoken(resource: &Section<'_>) -> bool {
    protocol(resource) != "http"
}

/// Finds keys that mean nothing for the protocol of the resource.
pub(super) fn check_keys(resource: &Section<'_>, into: &mut Reading<'_>) {
    let own = protocol(resource);
    let hint_of_http = match own {
        "a2a" => "its operations are the methods of A2A, whichever binding they are called in",
        _ => "its operations are tools: write `[[resource.tool]]`",
    };
    let of_http =
        OF_HTTP.iter().filter(|_| own != "http").map(|key| (*key, hint_of_http.to_owned()));
    let others = OF_PROTOCOLS
        .iter()
        .filter(|(_, protocol)| *protocol != own)
        .map(|(key, protocol)| (*key, format!("set `protocol = \"{protocol}\"`, or leave it out")));
    for (key, hint) in of_http.chain(others).filter(|(key, _)| resource.has(key)) {
        let message = format!("means nothing where `protocol` is `{own}`");
        into.problems.hint(&resource.place_of(key), message, hint);
    }
}

/// The agent that the resource is, where it is one.
pub(super) fn agent(resource: &Section<'_>, into: &mut Reading<'_>) -> Option<Arc<Agent>> {
    if protocol(resource) != "a2a" {
        return None;
    }
    let section = resource.table("a2a");
    let push_hosts = into.many(&section, "push_urls", host);
    let tenants = into.many(&section, "tenants", value::name);
    let named = section.texts("versions");
    if section.is_empty_array("versions") {
        let hint = "leave it out to speak all of them";
        into.problems.hint(&section.place_of("versions"), "no version is spoken", hint);
    }
    let is_spoken = |version: &Version| {
        let is_named = named.iter().any(|(name, _)| Version::parse(name) == Some(*version));
        is_named || !section.has("versions")
    };
    Some(Arc::new(Agent {
        versions: Version::ALL.into_iter().filter(is_spoken).collect(),
        rebinds: section.text_or_default("task_unknown").0 == "allow_rebind",
        rewrites_card: section.switch("rewrite_card"),
        push_hosts: push_hosts.into_iter().map(|(host, _)| host).collect(),
        tenants: tenants.into_iter().map(|(tenant, _)| tenant).collect(),
    }))
}

/// A host by its name, and perhaps a port: what an agent may be told to call is never an address.
fn host(text: &str) -> Result<Box<str>, Wrong> {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_port = |port: &str| {
        !port.starts_with('0')
            && port.bytes().all(|b| b.is_ascii_digit())
            && port.parse::<u16>().is_ok()
    };
    let is_label = |label: &str| {
        let is_of_label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.len() < 64 && label.bytes().all(is_of_label)
    };
    // What ends in a number is an address, in whichever of its forms.
    let is_name = |name: &str| {
        name.rsplit('.')
            .next()
            .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_lowercase()))
    };
    if name.split('.').all(is_label) && is_name(name) && port.is_none_or(is_port) {
        return Ok(text.strip_suffix(":443").unwrap_or(text).into());
    }
    let message = format!("`{}` is not the name of a host", value::shown(text));
    Err(Wrong::with(
        message,
        "write it in lower case, as in `hooks.example.com`, with a port where it is not 443",
    ))
}
